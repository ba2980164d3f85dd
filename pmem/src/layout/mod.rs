//! Where things stand in a region, byte by byte. FORMAT.md tells the same in tables.
//!
//! A region begins with a superblock that never changes ([`Superblock`]), two state slots that are written in turn
//! ([`State`]), and a copy of the superblock. Tables of fixed size follow, one after another
//! ([`Layout`]), and then zones of chunks, the only part that grows.

mod geometry;
mod state;
mod superblock;

pub(crate) use geometry::{BLOCK_CLASSES, MAX_CLASSES};
pub use geometry::{Geometry, GeometryError, Layout};
pub use state::{Shutdown, State, StateError};
pub use superblock::{Identity, Superblock, SuperblockError};

/// Offset of the superblock.
pub const SUPERBLOCK: u64 = 0;
/// Offset of the first state slot; the second is the next line.
pub const STATE: u64 = 0x1000;
/// Offset of the superblock's copy. Fixed, so that it is found without the geometry that the first one holds.
pub const SUPERBLOCK_COPY: u64 = 0x2000;
/// Offset of the first table.
pub const TABLES: u64 = 0x3000;
/// Bytes of a superblock.
pub const SUPERBLOCK_BYTES: usize = 4096;
