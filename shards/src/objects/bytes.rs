//! Byte strings.

use super::sizes::check_len;
use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::{Bytes, CallError};
use abide_schema::types::atomic_byte_array;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A byte string: see [`atomic_byte_array`].
///
/// Invariant: at most [`VALUE_BYTES_MAX`](abide_net::limits::VALUE_BYTES_MAX) bytes, so that it always fits
/// a frame.
#[derive(Debug, Serialize, Deserialize)]
pub struct AtomicByteArray {
    bytes: Bytes,
}

impl SharedObject for AtomicByteArray {
    type Type = atomic_byte_array::Type;

    fn create(creation: atomic_byte_array::Creation) -> Result<Self, CallError> {
        check_len(creation.initial.0.len())?;
        Ok(AtomicByteArray { bytes: creation.initial })
    }
}

impl Object for AtomicByteArray {
    calls_and_state!(abide_schema::types::atomic_byte_array);

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.0.len()
    }
}

impl AtomicByteArray {
    fn put(&mut self, bytes: Bytes) -> Bytes {
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// The range of `len` bytes from `offset`, if they are all there.
    fn range(&self, offset: u64, len: u64) -> Result<Range<usize>, CallError> {
        let there = self.bytes.0.len() as u64;
        match offset.checked_add(len) {
            Some(end) if end <= there => Ok(offset as usize..end as usize),
            _ => Err(CallError::OutOfBounds { len: there }),
        }
    }
}

impl atomic_byte_array::Methods<Context<'_>> for AtomicByteArray {
    fn get(&mut self, _: &mut Context<'_>) -> Result<Bytes, CallError> {
        Ok(self.bytes.clone())
    }

    fn set(&mut self, _: &mut Context<'_>, bytes: Bytes) -> Result<(), CallError> {
        check_len(bytes.0.len())?;
        self.bytes = bytes;
        Ok(())
    }

    fn swap(&mut self, _: &mut Context<'_>, bytes: Bytes) -> Result<Bytes, CallError> {
        check_len(bytes.0.len())?;
        Ok(self.put(bytes))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Context<'_>,
        expected: Bytes,
        bytes: Bytes,
    ) -> Result<Result<Bytes, Bytes>, CallError> {
        check_len(bytes.0.len())?;
        Ok(if self.bytes == expected { Ok(self.put(bytes)) } else { Err(self.bytes.clone()) })
    }

    fn len(&mut self, _: &mut Context<'_>) -> Result<u64, CallError> {
        Ok(self.bytes.0.len() as u64)
    }

    fn get_range(&mut self, _: &mut Context<'_>, offset: u64, len: u64) -> Result<Bytes, CallError> {
        let range = self.range(offset, len)?;
        Ok(Bytes::from(&self.bytes.0[range]))
    }

    fn set_range(&mut self, _: &mut Context<'_>, offset: u64, bytes: Bytes) -> Result<(), CallError> {
        let range = self.range(offset, bytes.0.len() as u64)?;
        self.bytes.0[range].copy_from_slice(&bytes.0);
        Ok(())
    }

    fn append(&mut self, _: &mut Context<'_>, bytes: Bytes) -> Result<u64, CallError> {
        check_len(self.bytes.0.len() + bytes.0.len())?;
        self.bytes.0.extend_from_slice(&bytes.0);
        Ok(self.bytes.0.len() as u64)
    }

    fn resize(&mut self, _: &mut Context<'_>, len: u64) -> Result<(), CallError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        check_len(len)?;
        self.bytes.0.resize(len, 0);
        // A string that was long once does not keep the memory; some room stays for what is appended next.
        self.bytes.0.shrink_to(len.saturating_mul(2));
        Ok(())
    }
}
