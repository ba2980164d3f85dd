//! Shared, linearizable objects for threads that run as cloud functions.
//!
//! Serverless functions vanish; their state abides. A [`Store`] gives out handles to objects (counters, maps,
//! barriers, locks) that all threads see at once, wherever they run: in this process, in others, or as
//! functions in a cloud.
//!
//! ```
//! use abide::{CallError, CloudThread, Store, cloud_function};
//!
//! #[cloud_function]
//! fn add_up(from: i64, to: i64) -> Result<(), CallError> {
//!     Store::current()?.atomic_long("total").add_and_get((from..to).sum())?;
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     abide::init();
//!     let store = Store::in_memory();
//!     let threads: Vec<_> = (0..4).map(|n| CloudThread::spawn(add_up, (n * 25, (n + 1) * 25))).collect();
//!     for thread in threads {
//!         thread.join()?;
//!     }
//!     assert_eq!(store.atomic_long("total").get()?, 4950);
//!     Ok(())
//! }
//! ```
//!
//! Where objects live is one choice, made when the store is opened: [`Store::in_memory`] and [`Store::open`]
//! keep them in this process, [`Store::connect`] reaches a node (`abide serve`, or [`node::Node`]).
//!
//! This crate only joins others: handles are in `abide_client`, cloud threads in `abide_lambda`, shards and
//! nodes in `abide_shards`. A function that only calls a node builds it with `default-features = false`.

mod store;

pub use abide_client::{
    Bytes, CallError, ListFilter, ListedObject, RemoteOptions, Value,
    handles::{self, *},
};
pub use abide_lambda::{Backend, CloudThread, JoinError, JoinHandle, cloud_function, init};
pub use abide_schema::{MergeOp, ObjectInfo, ShardInfo};
pub use abide_shards::{Persistence, shard::Limits};
pub use store::{OpenError, PlaceError, Store, StoreOptions, names_a_node};

/// Handles and stores, without a choice of where objects live.
pub use abide_client as client;
/// Cloud threads, beyond the names that this crate has at its root.
pub use abide_lambda as lambda;
/// The types and methods of objects, described.
pub use abide_schema as schema;

/// A node: a server of objects inside of this process. `abide serve` is one with a command line.
#[cfg(feature = "node")]
pub mod node {
    pub use abide_shards::{
        node::{Node, NodeConfig, StartError},
        regions::DataOptions,
    };
}

/// The programs in the README are compiled and run with the documentation's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
