//! What only the types tell.

#![allow(unused_variables)]

use abide_lambda::cloud_function;
use std::convert::Infallible;

struct Opaque;

struct NoDisplay;

#[cloud_function]
fn takes(number: u32, opaque: Opaque) -> Result<u32, Infallible> {
    Ok(number)
}

#[cloud_function]
fn gives() -> Result<Opaque, Infallible> {
    Ok(Opaque)
}

#[cloud_function]
fn fails() -> Result<u32, NoDisplay> {
    Err(NoDisplay)
}

#[cloud_function]
fn bare() -> u32 {
    3
}

fn main() {}
