//! What can go wrong in a heap.

use crate::{
    layout::{GeometryError, StateError, SuperblockError},
    mem::MediaError,
};

/// Why a change of a heap was not made. Whatever the reason, nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapError {
    /// There is no room. Deleting works still, and makes some.
    #[error("the region is full")]
    NoSpace,
    /// One failure-atomic block changes more words than its record can hold.
    #[error("a failure-atomic block of {found} words; at most {max} fit")]
    TooLarge {
        /// Words of the record.
        found: usize,
        /// Words that a record may have.
        max: usize,
    },
    /// What stands at this offset cannot be. The rest of the region can still be read.
    #[error("damaged at offset {offset:#x}")]
    Corrupt {
        /// Where.
        offset: u64,
    },
    /// The memory itself cannot be relied upon any more.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The heap was opened for reading only.
    #[error("the region is open for reading only")]
    ReadOnly,
}

/// Why a heap cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapOpenError {
    /// Neither superblock can be used; the error is that of the first.
    #[error("no usable superblock")]
    Superblock(#[from] SuperblockError),
    /// Sizes that no region can have.
    #[error("impossible geometry")]
    Geometry(#[from] GeometryError),
    /// Neither state slot can be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The memory is shorter than the region.
    #[error("the region has {need} bytes, but only {have} are there")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that the region says it has.
        need: u64,
    },
    /// A batch that was acknowledged is not whole in the shard's ring, or its watermark is damaged.
    #[error("shard {shard} cannot be recovered: its {what} is damaged")]
    CorruptShard {
        /// Which shard.
        shard: u32,
        /// What is damaged.
        what: &'static str,
    },
    /// A lane's intent is damaged.
    #[error("lane {lane} cannot be recovered: its {what} is damaged")]
    CorruptLane {
        /// Which lane.
        lane: u32,
        /// What is damaged.
        what: &'static str,
    },
    /// The memory failed while the heap was recovered.
    #[error(transparent)]
    Media(#[from] MediaError),
}
