//! Chunk descriptors: who owns a chunk and what for.
//!
//! ```text
//! word 0   kind (8 bits) | class (8) | owner, or number of the directory's page (16) | chunks of the run (32)
//!      1   next chunk of the owner's list, plus one; zero for none
//!      2   previous chunk of the owner's list, plus one
//!      3   crc32c of word 0 and the chunk's number
//! ```
//! A descriptor of zeros is that of a free chunk. Only the first chunk of a run has one. The bitmap stands behind it.

use super::HeapError;
use crate::{
    checksum::checksum,
    layout::{BLOCK_CLASSES, Layout},
    mem::{Mem, WORD},
};

/// What a chunk is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing.
    Free,
    /// Blocks of one class, of one shard.
    ShardBlocks { class: usize, shard: u16 },
    /// Blocks of one class, of one lane of the name index.
    LaneBlocks { class: usize, lane: u16 },
    /// The first chunk of a run that a shard uses as one block.
    Run { shard: u16 },
    /// A page of the name index's bucket directory.
    DirectoryPage { page: u16 },
}

/// A chunk's descriptor, without its list links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    used_for: Use,
    chunks: u32,
}

/// Offset of a descriptor's words.
pub(crate) const NEXT: u64 = WORD;
pub(crate) const PREVIOUS: u64 = 2 * WORD;
const CHECK: u64 = 3 * WORD;

impl Descriptor {
    pub(crate) fn new(used_for: Use, chunks: u32) -> Self {
        Self { used_for, chunks }
    }

    /// The descriptor's word 0 and its check.
    pub(crate) fn words(self, chunk: u32) -> (u64, u64) {
        let (kind, class, owner) = match self.used_for {
            Use::Free => return (0, 0),
            Use::ShardBlocks { class, shard } => (1, class, shard),
            Use::LaneBlocks { class, lane } => (2, class, lane),
            Use::Run { shard } => (3, 0, shard),
            Use::DirectoryPage { page } => (4, 0, page),
        };
        let word = kind | (class as u64) << 8 | u64::from(owner) << 16 | u64::from(self.chunks) << 32;
        (word, checksum(chunk, &[word]).into())
    }

    /// Reads the descriptor of a chunk.
    pub(crate) fn load(mem: &impl Mem, layout: &Layout, chunk: u32) -> Result<Self, HeapError> {
        let at = layout.descriptor(chunk);
        Self::from_words(layout, chunk, mem.load(at), mem.load(at + CHECK))
    }

    /// Reads a descriptor from its word 0 and its check.
    pub(crate) fn from_words(layout: &Layout, chunk: u32, word: u64, check: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset: layout.descriptor(chunk) };
        let class = (word >> 8) as u8 as usize;
        let owner = (word >> 16) as u16;
        let chunks = (word >> 32) as u32;
        if word == 0 && check == 0 {
            return Ok(Self { used_for: Use::Free, chunks: 1 });
        }
        if check != u64::from(checksum(chunk, &[word])) || chunks == 0 {
            return Err(corrupt);
        }
        let used_for = match word as u8 {
            1 if class < layout.classes => Use::ShardBlocks { class, shard: owner },
            2 if class < layout.classes => Use::LaneBlocks { class, lane: owner },
            3 => Use::Run { shard: owner },
            4 => Use::DirectoryPage { page: owner },
            _ => return Err(corrupt),
        };
        Ok(Self { used_for, chunks })
    }

    pub(crate) fn used_for(self) -> Use {
        self.used_for
    }

    /// Chunks from this one on that the descriptor stands for.
    pub(crate) fn chunks(self) -> u32 {
        self.chunks
    }

    pub(crate) fn is_free(self) -> bool {
        self.used_for == Use::Free
    }

    /// Offset of the descriptor's check word, from the descriptor.
    pub(crate) const CHECK: u64 = CHECK;
}

/// Bytes of a block of this class.
pub(crate) fn block_bytes(class: usize) -> u64 {
    BLOCK_CLASSES[class].into()
}
