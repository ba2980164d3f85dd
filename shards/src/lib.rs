//! Objects in shards.
//!
//! Read in this order:
//! - [`shard`]: the synchronous state machine that owns objects: events in, replies out, no clock and no I/O;
//! - [`state`]: what objects are made of, in heaps;
//! - [`registry`] and [`objects`]: which types there are, and what their methods do;
//! - [`embedded`]: the shards in the caller's own process, without a server;
//! - `node` (feature `node`): the same shards behind sockets, one glommio executor to a core.
//!
//! Deliberately absent: the wire format (`abide-net`), what methods are called (`abide-schema`), and handles
//! (`abide-client`).

mod clock;
pub mod embedded;
#[cfg(feature = "node")]
pub mod node;
pub mod objects;
pub mod regions;
pub mod registry;
pub mod shard;
pub mod state;

pub use abide_pmem::Persistence;
pub use registry::Registry;
pub use shard::{Context, Event, Outbox, Shard, SharedObject};
