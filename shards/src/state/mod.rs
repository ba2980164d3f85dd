//! What objects are made of: fields in the blocks of a heap.
//!
//! An object is a bundle of roots in its shard's heap, and nothing of it is kept anywhere else. The same code serves both
//! kinds of objects: those of an ephemeral space live in a heap in ordinary memory, those of a persistent one in the region's
//! file, where a failure-atomic block changes them in place. All changes of a call, with the record that it was made, are one
//! block: they take effect together or not at all, also when the method gives an error or panics.
//!
//! | field | is | for |
//! |---|---|---|
//! | [`Number`] | up to 16 bytes | counters, flags, pairs of words |
//! | [`Cell`] | one value, encoded | small structures |
//! | [`ByteField`] | bytes | values and byte arrays |
//! | [`Dictionary`] | a hash map | maps and sets |
//! | [`Tree`] | a sorted map | what has an order |
//! | [`Sequence`] | a list | lists and queues of values |
//! | [`Queue`] | calls that wait | who waits in the object |

mod bytes;
mod cell;
mod dictionary;
mod number;
mod queue;
mod sequence;
mod tree;

pub use bytes::ByteField;
pub use cell::Cell;
pub use dictionary::Dictionary;
pub use number::Number;
pub use queue::{Answers, Queue, RELEASE_PART};
pub use sequence::Sequence;
pub use tree::{Pair, Tree};

use abide_net::CallError;
use abide_pmem::{
    HeapError, Mapping, Tx,
    types::{ROOT_BYTES, TypeError},
};

/// A failure-atomic block on a heap that objects live in.
pub type Block<'t> = Tx<'t, Mapping>;

/// The fields of one object, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Offset of the first field's root.
    first: u64,
    count: u32,
}

impl Fields {
    /// Fields whose roots stand one behind the other from this offset on.
    pub(crate) fn at(first: u64, count: u32) -> Fields {
        Fields { first, count }
    }

    /// Offset of a field's root.
    ///
    /// # Panics
    /// If the object's type declares fewer fields: a mistake of its implementation.
    pub fn root(self, number: u32) -> u64 {
        assert!(number < self.count, "field {number} of {}", self.count);
        self.first + u64::from(number) * ROOT_BYTES
    }
}

/// What a caller hears of a heap that does not do what an object wants.
pub(crate) fn refuse(error: impl Into<TypeError>) -> CallError {
    match error.into() {
        TypeError::Heap(HeapError::NoSpace) => CallError::NoSpace,
        // A call may change so much only: see `Tx::words_max`.
        TypeError::Heap(HeapError::TooLarge { max, .. }) => CallError::TooLarge { max: max as u64 * 8 },
        TypeError::TooLarge { max, .. } => CallError::TooLarge { max },
        TypeError::OutOfBounds { len, .. } => CallError::OutOfBounds { len },
        error => CallError::Damaged { reason: error.to_string() },
    }
}

/// What a field says whose bytes are not what its object put there.
pub(crate) fn damaged(what: &str) -> CallError {
    CallError::Damaged { reason: format!("{what} cannot be read") }
}
