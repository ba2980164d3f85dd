//! Bytes as of a file.

use super::sizes::check_len;
use crate::{
    Context, SharedObject, calls,
    state::{ByteField, Fields},
};
use abide_net::{Bytes, CallError};
use abide_schema::types::blob;
use sha2::{Digest, Sha256};

/// Bytes that are read at once for a digest.
const DIGEST_PART: u64 = 64 << 10;

/// Bytes as of a file: see [`blob`].
///
/// Invariant: at most [`VALUE_BYTES_MAX`](abide_net::limits::VALUE_BYTES_MAX) bytes, so that they always fit a frame.
#[derive(Debug)]
pub struct Blob {
    bytes: ByteField,
}

impl SharedObject for Blob {
    type Type = blob::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Blob { bytes: ByteField::at(fields, 0) }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        blob::Creation {}: blob::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::blob);
}

impl blob::Methods<Context<'_, '_>> for Blob {
    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.bytes.len(context)
    }

    fn write(&mut self, context: &mut Context<'_, '_>, bytes: Bytes) -> Result<(), CallError> {
        check_len(bytes.0.len())?;
        self.bytes.set(context, &bytes.0)
    }

    fn read(&mut self, context: &mut Context<'_, '_>) -> Result<Bytes, CallError> {
        self.bytes.get(context).map(Bytes)
    }

    fn get_range(
        &mut self,
        context: &mut Context<'_, '_>,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, CallError> {
        let there = self.bytes.len(context)?;
        let left = there.checked_sub(offset).ok_or(CallError::OutOfBounds { len: there })?;
        self.bytes.get_range(context, offset, len.min(left)).map(Bytes)
    }

    fn set_range(
        &mut self,
        context: &mut Context<'_, '_>,
        offset: u64,
        bytes: Bytes,
    ) -> Result<u64, CallError> {
        let there = self.bytes.len(context)?;
        let left = there.checked_sub(offset).ok_or(CallError::OutOfBounds { len: there })?;
        let end = offset + bytes.0.len() as u64;
        check_len(end as usize)?;
        let (over, behind) = bytes.0.split_at(bytes.0.len().min(left as usize));
        self.bytes.set_range(context, offset, over)?;
        if !behind.is_empty() {
            self.bytes.append(context, behind)?;
        }
        Ok(end.max(there))
    }

    fn append(&mut self, context: &mut Context<'_, '_>, bytes: Bytes) -> Result<u64, CallError> {
        check_len(self.bytes.len(context)? as usize + bytes.0.len())?;
        self.bytes.append(context, &bytes.0)
    }

    fn truncate(&mut self, context: &mut Context<'_, '_>, len: u64) -> Result<(), CallError> {
        let there = self.bytes.len(context)?;
        if len > there {
            return Err(CallError::OutOfBounds { len: there });
        }
        self.bytes.resize(context, len)
    }

    fn digest(&mut self, context: &mut Context<'_, '_>) -> Result<String, CallError> {
        let len = self.bytes.len(context)?;
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < len {
            let part = self.bytes.get_range(context, offset, DIGEST_PART.min(len - offset))?;
            hash.update(&part);
            offset += part.len() as u64;
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
