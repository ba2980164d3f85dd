//! A field of up to 16 bytes.

use super::{Fields, refuse};
use crate::Context;
use abide_net::CallError;
use abide_pmem::types::{Register, Scalar};

/// A number, or a pair of words. Zero until it is set.
#[derive(Debug, Clone, Copy)]
pub struct Number<T>(Register<T>);

impl<T: Scalar> Number<T> {
    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Number(Register::at(fields.root(number)))
    }

    /// Its value.
    pub fn get(&self, context: &Context<'_, '_>) -> Result<T, CallError> {
        self.0.get(context.block()).map_err(refuse)
    }

    /// Replaces it.
    pub fn set(&self, context: &mut Context<'_, '_>, value: T) -> Result<(), CallError> {
        self.0.set(context.block_mut(), value).map_err(refuse)
    }

    /// Replaces it by what `change` makes of it, and gives the value before.
    pub fn update(&self, context: &mut Context<'_, '_>, change: impl FnOnce(T) -> T) -> Result<T, CallError> {
        self.0.update(context.block_mut(), change).map_err(refuse)
    }
}
