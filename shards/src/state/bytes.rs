//! A field of bytes.

use super::{Fields, refuse};
use crate::Context;
use abide_net::CallError;
use abide_pmem::types::Bytes;

/// Bytes of any length up to that of a value. None until they are set.
#[derive(Debug, Clone, Copy)]
pub struct ByteField(Bytes);

impl ByteField {
    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        ByteField(Bytes::at(fields.root(number)))
    }

    /// How many there are.
    pub fn len(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.0.len(context.block()).map_err(refuse)
    }

    /// Whether there are none.
    pub fn is_empty(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        Ok(self.len(context)? == 0)
    }

    /// All of them.
    pub fn get(&self, context: &Context<'_, '_>) -> Result<Vec<u8>, CallError> {
        self.0.get(context.block()).map_err(refuse)
    }

    /// Those from `offset` on. `OutOfBounds` if there are not so many.
    pub fn get_range(
        &self,
        context: &Context<'_, '_>,
        offset: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, CallError> {
        self.0.get_range(context.block(), offset, bytes).map_err(refuse)
    }

    /// Replaces all of them.
    pub fn set(&self, context: &mut Context<'_, '_>, bytes: &[u8]) -> Result<(), CallError> {
        self.0.set(context.block_mut(), bytes).map_err(refuse)
    }

    /// Replaces those from `offset` on. `OutOfBounds` if there are not so many.
    pub fn set_range(
        &self,
        context: &mut Context<'_, '_>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), CallError> {
        self.0.set_range(context.block_mut(), offset, bytes).map_err(refuse)
    }

    /// Adds some at the end, and gives the new length.
    pub fn append(&self, context: &mut Context<'_, '_>, bytes: &[u8]) -> Result<u64, CallError> {
        self.0.append(context.block_mut(), bytes).map_err(refuse)?;
        self.len(context)
    }

    /// Cuts them off at `len`, or fills them up with zeros.
    pub fn resize(&self, context: &mut Context<'_, '_>, len: u64) -> Result<(), CallError> {
        self.0.resize(context.block_mut(), len).map_err(refuse)
    }
}
