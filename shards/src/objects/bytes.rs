//! Byte strings.

use super::sizes::check_len;
use crate::{
    Context, SharedObject, calls,
    state::{ByteField, Fields},
};
use abide_net::{Bytes, CallError};
use abide_schema::types::atomic_byte_array;

/// A byte string: see [`atomic_byte_array`].
///
/// Invariant: at most [`VALUE_BYTES_MAX`](abide_net::limits::VALUE_BYTES_MAX) bytes, so that it always fits
/// a frame.
#[derive(Debug)]
pub struct AtomicByteArray {
    bytes: ByteField,
}

impl SharedObject for AtomicByteArray {
    type Type = atomic_byte_array::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        AtomicByteArray { bytes: ByteField::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        atomic_byte_array::Creation { initial }: atomic_byte_array::Creation,
    ) -> Result<(), CallError> {
        check_len(initial.0.len())?;
        self.bytes.set(context, &initial.0)
    }

    calls!(abide_schema::types::atomic_byte_array);
}

impl AtomicByteArray {
    /// Checks that the `len` bytes from `offset` are all there.
    fn check_range(&self, context: &Context<'_, '_>, offset: u64, len: u64) -> Result<(), CallError> {
        let there = self.bytes.len(context)?;
        match offset.checked_add(len) {
            Some(end) if end <= there => Ok(()),
            _ => Err(CallError::OutOfBounds { len: there }),
        }
    }
}

impl atomic_byte_array::Methods<Context<'_, '_>> for AtomicByteArray {
    fn get(&mut self, context: &mut Context<'_, '_>) -> Result<Bytes, CallError> {
        self.bytes.get(context).map(Bytes)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, bytes: Bytes) -> Result<(), CallError> {
        check_len(bytes.0.len())?;
        self.bytes.set(context, &bytes.0)
    }

    fn swap(&mut self, context: &mut Context<'_, '_>, bytes: Bytes) -> Result<Bytes, CallError> {
        check_len(bytes.0.len())?;
        let before = self.bytes.get(context)?;
        self.bytes.set(context, &bytes.0)?;
        Ok(Bytes(before))
    }

    fn compare_exchange(
        &mut self,
        context: &mut Context<'_, '_>,
        expected: Bytes,
        bytes: Bytes,
    ) -> Result<Result<Bytes, Bytes>, CallError> {
        check_len(bytes.0.len())?;
        let before = Bytes(self.bytes.get(context)?);
        if before != expected {
            return Ok(Err(before));
        }
        self.bytes.set(context, &bytes.0)?;
        Ok(Ok(before))
    }

    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.bytes.len(context)
    }

    fn get_range(
        &mut self,
        context: &mut Context<'_, '_>,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, CallError> {
        self.check_range(context, offset, len)?;
        self.bytes.get_range(context, offset, len).map(Bytes)
    }

    fn set_range(
        &mut self,
        context: &mut Context<'_, '_>,
        offset: u64,
        bytes: Bytes,
    ) -> Result<(), CallError> {
        self.check_range(context, offset, bytes.0.len() as u64)?;
        self.bytes.set_range(context, offset, &bytes.0)
    }

    fn append(&mut self, context: &mut Context<'_, '_>, bytes: Bytes) -> Result<u64, CallError> {
        check_len(self.bytes.len(context)? as usize + bytes.0.len())?;
        self.bytes.append(context, &bytes.0)
    }

    fn resize(&mut self, context: &mut Context<'_, '_>, len: u64) -> Result<(), CallError> {
        check_len(usize::try_from(len).unwrap_or(usize::MAX))?;
        self.bytes.resize(context, len)
    }
}
