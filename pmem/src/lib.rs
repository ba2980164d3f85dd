//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions.
//!
//! ```
//! use abide_pmem::{Geometry, Persistence, Region, RegionOptions, types::{Kind, Register, TypeError}};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("hits.region");
//! let options = RegionOptions { geometry: Geometry::tiny(), ..RegionOptions::new(Persistence::ProcessCrash) };
//! let region = Region::open_or_create(&path, 256 << 10, &options)?;
//! let hits = Register::<u64>::at(region.heap().index().create(Kind::Register as u16, b"hits", 0)?.root);
//! let count = region.heap().atomically(0, |tx| hits.fetch_add(tx, 1))?; // durable on return: a kill -9 does not lose it
//! # assert_eq!(count, 0);
//! region.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is promised is asked for, and opening fails where it cannot be had:
//!
//! | [`Persistence`] | found [`Domain`] | survives | a fence is |
//! |---|---|---|---|
//! | `Volatile` | `Volatile` | nothing | nothing |
//! | `ProcessCrash` | `ProcessCrash` | the death of the process at any instruction | nothing but an order for the compiler |
//! | `PowerFail` | `Dax`, `Eadr` | the loss of power too | `sfence`, after `clwb` where caches are not durable |
//! | `PowerFail` | `File` | the loss of power too | an `fdatasync` of the log, shared by those who wait |
//!
//! Read in this order: [`mem`] (the one way to touch memory), [`heap`] (batches, failure-atomic blocks, recovery), [`types`]
//! (what values are made of), [`index`] (names), [`layout`] (where things stand), [`mapping`], [`line_log`] and [`region`] (files),
//! [`check`] (what is wrong with one), [`salvage`] (what is left of one). [`sim`] is memory whose power can be cut, for tests.
//!
//! What costs how many fences; the words of each operation's record are in the documentation of its type:
//!
//! | operation | fences |
//! |---|---|
//! | any read | 0 |
//! | looking a name up | 0; 1 where it meets another thread's change that is not durable yet |
//! | a batch of failure-atomic blocks, whatever registers, byte arrays, maps, lists, sorted maps, directories, completions and commands they change, allocate and free | 1; an ordering of flushes too for contents of more than 4 KiB, and for new pages of a table, and bundles |
//! | a batch that changes nothing | 0 |
//! | creating a name of the index | 2 |
//! | removing a name of the index | 3, of which 1 is its value's batch |
//! | anything in an unshared region ([`Region::unshared`]) | 0 |
//! | opening | 3; 2 more for each shard, and 1 if names were being changed |
//!
//! Deliberately absent: blocks that span shards, garbage collection, defragmentation and shrinking, and machines that are
//! not 64-bit little-endian.

pub mod check;
mod checksum;
pub mod heap;
pub mod index;
pub mod layout;
pub mod line_log;
pub mod mapping;

pub mod mem;
pub mod region;
pub mod salvage;
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
pub use salvage::{SalvageError, SalvageOptions, SalvageReport, salvage_file};
