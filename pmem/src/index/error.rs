//! What can go wrong in the name index.

use super::NAME_BYTES_MAX;
use crate::{heap::HeapError, mem::MediaError, types::TypeError};

/// Why an operation on the name index was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The heap could not do it.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// The name's value could not be discarded.
    #[error(transparent)]
    Value(TypeError),
    /// A name is empty or too long.
    #[error("a name of {bytes} bytes; it must have 1 to {NAME_BYTES_MAX}")]
    NameLength {
        /// Bytes of the name.
        bytes: usize,
    },
}

impl From<TypeError> for IndexError {
    fn from(error: TypeError) -> Self {
        match error {
            TypeError::Heap(error) => Self::Heap(error),
            other => Self::Value(other),
        }
    }
}

impl From<MediaError> for IndexError {
    fn from(error: MediaError) -> Self {
        Self::Heap(error.into())
    }
}
