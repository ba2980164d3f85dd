//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions.

mod checksum;
pub mod heap;
pub mod index;
pub mod layout;
pub mod mem;
pub mod sim;
pub mod types;

pub use heap::{Heap, HeapError, HeapOpenError, Reader, Tx, View, Writer};
pub use index::{Entry, Index, IndexError};
pub use layout::{Geometry, Identity};
pub use mem::{MediaError, Mem, Rule, Site};

/// What survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Nothing.
    Volatile,
}
