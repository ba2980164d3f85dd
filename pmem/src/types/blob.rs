//! Bytes that never change, in a block of their own: elements of lists, and large values.
//!
//! ```text
//! word 0   crc32c of the block's offset, the length and the bytes (low half) | length in bytes (high half)
//!      1.. the bytes; the last word is filled up with zeros
//! ```
//! The checksum is seeded with the region's, so a block of another region, or of another place, does not pass for this one.

use super::{Owned, TypeError};
use crate::{
    checksum::{checksum, checksum_bytes},
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};

/// The longest that bytes in a block of their own can be: 16 MiB, and room for a header of whoever stores them.
pub const BLOB_BYTES_MAX: u64 = (16 << 20) + 4096;

/// Refuses bytes that are too long, before anything is written.
pub(crate) fn check_len(bytes: &[u8]) -> Result<(), TypeError> {
    let len = bytes.len() as u64;
    if len > BLOB_BYTES_MAX {
        return Err(TypeError::TooLarge { bytes: len, max: BLOB_BYTES_MAX });
    }
    Ok(())
}

fn crc(seed: u32, offset: u64, bytes: &[u8]) -> u32 {
    checksum_bytes(checksum(seed, &[offset, bytes.len() as u64]), bytes)
}

/// Puts bytes into a new block. Two words of the record, at least: the block's bit, and what its contents are.
pub(crate) fn create<M: Mem>(tx: &mut Tx<'_, M>, bytes: &[u8]) -> Result<u64, TypeError> {
    check_len(bytes)?;
    let offset = tx.allocate(WORD + bytes.len() as u64)?;
    let head = u64::from(crc(tx.heap().seed(), offset, bytes)) | (bytes.len() as u64) << 32;
    let mut block = Vec::with_capacity(bytes.len() + 8);
    block.extend_from_slice(&head.to_le_bytes());
    block.extend_from_slice(bytes);
    tx.put(offset, &block)?;
    Ok(offset)
}

/// The block's memory, as far as its first word can be believed.
pub(crate) fn owned<V: View>(view: &V, offset: u64) -> Result<Owned, HeapError> {
    view.check(offset, WORD)?;
    let len = view.content_word(offset) >> 32;
    if offset == 0 || len > BLOB_BYTES_MAX {
        return Err(HeapError::Corrupt { offset });
    }
    view.check(offset, WORD + len)?;
    Ok(Owned { offset, bytes: WORD + len })
}

/// Reads the bytes of a block.
///
/// # Errors
/// [`HeapError::Corrupt`] if they are not those that were put there.
pub(crate) fn read<V: View>(view: &V, offset: u64) -> Result<Vec<u8>, HeapError> {
    let len = owned(view, offset)?.bytes - WORD;
    let mut bytes = vec![0; len as usize];
    view.contents(offset + WORD, &mut bytes);
    if view.content_word(offset) as u32 != crc(view.heap().seed(), offset, &bytes) {
        return Err(HeapError::Corrupt { offset });
    }
    Ok(bytes)
}
