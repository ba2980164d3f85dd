//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions.

pub mod check;
mod checksum;
pub mod heap;
pub mod index;
pub mod layout;
pub mod line_log;
pub mod mapping;

pub mod mem;
pub mod region;
pub mod sim;
#[cfg(test)]
mod test_child;
pub mod types;

pub use heap::{Heap, HeapError, HeapOpenError, Reader, Tx, View, Writer};
pub use index::{Entry, Index, IndexError};
pub use layout::{Geometry, Identity};
pub use mapping::{Domain, Mapping, Persistence};
pub use mem::{MediaError, Mem, Rule, Site};
pub use region::{ReadOnlyRegion, Region, RegionOptions};
