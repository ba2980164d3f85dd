//! What the attribute can tell from the tokens.

#![allow(unused_variables)]

use abide_lambda::cloud_function;
use std::convert::Infallible;

type Never<T> = Result<T, Infallible>;

#[cloud_function]
async fn waits() -> Never<()> {
    Ok(())
}

#[cloud_function]
unsafe fn trusts() -> Never<()> {
    Ok(())
}

#[cloud_function]
fn generic<T: serde::Serialize, const N: usize>(values: Vec<T>) -> Never<()> {
    Ok(())
}

#[cloud_function]
fn nameless(values: impl Iterator<Item = u32>) -> Never<()> {
    Ok(())
}

#[cloud_function]
fn borrows(text: &str, words: Vec<Option<&'static str>>) -> Never<()> {
    Ok(())
}

#[cloud_function]
fn returns_nothing(number: u32) {}

#[cloud_function]
fn nine(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> Never<()> {
    Ok(())
}

#[cloud_function]
struct NotAFunction;

#[cloud_function(retries = 3)]
fn options() -> Never<()> {
    Ok(())
}

#[cloud_function(name = "")]
fn empty() -> Never<()> {
    Ok(())
}

#[cloud_function(name = "a", name = "b")]
fn two_names() -> Never<()> {
    Ok(())
}

struct Type;

impl Type {
    #[cloud_function]
    fn method(&self) -> Never<()> {
        Ok(())
    }
}

fn main() {
    // The functions are still there: no error here.
    nine(0, 0, 0, 0, 0, 0, 0, 0, 0);
    Type.method();
}
