//! The minimal Abide client: what a program links to call shared objects.
//!
//! Read in this order:
//! - [`store`]: the store, where handles come from;
//! - [`handles`]: one handle for each type of object, its guards and iterators;
//! - [`mode`]: how one handle both blocks and returns futures;
//! - [`current`]: the store that code finds without being handed one;
//! - [`remote`]: how calls reach a node, are made once, and what is known when no answer comes;
//! - [`transport`]: the blocking connections that carry frames to nodes;
//! - `remote_tokio` (feature `tokio`): the same as `remote` for many calls at once, on one connection to a core.
//!
//! Deliberately absent: what objects do (`abide-shards`), and executors: the asynchronous handles run on any.

pub mod current;
pub mod handles;
pub mod mode;
pub mod remote;
#[cfg(feature = "tokio")]
pub mod remote_tokio;
pub mod store;
pub mod transport;

pub use abide_net::{Bytes, CallError, Value};
pub use abide_schema::{
    BlockedBy, Holder, Leader, MergeOp, ObjectInfo, ObjectName, Page, ShardInfo, WaitInfo,
};
pub use current::Entered;
pub use mode::{Asynchronous, Blocking, Mode};
pub use remote::RemoteOptions;
pub use store::{AsyncStore, ListCursor, ListFilter, ListedObject, Store, StoreOf, WaitsCursor};
