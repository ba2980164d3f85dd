//! What travels between an Abide client and a node, and nothing about what it means.
//!
//! Read in this order:
//! - [`frame`]: the length-prefixed frames, documented byte by byte;
//! - [`value`]: the one dynamic value that users put into objects, and its canonical bytes;
//! - [`codec`]: the only module that names bincode;
//! - [`error`]: every error that a call can end with;
//! - [`route`]: which shard owns an object, and where a node's cores listen;
//! - [`caller`]: the seam between object handles and whatever carries their calls.
//!
//! Deliberately absent: object types and their methods (crate `abide-schema`), sockets and executors
//! (`abide-client` and the node in `abide-shards`). The replication core will live here, without I/O.

pub mod caller;
pub mod codec;
pub mod error;
pub mod frame;
pub mod limits;
pub mod route;
pub mod value;

pub use caller::{Caller, Creation, MethodKind, Request};
pub use error::CallError;
pub use value::{Bytes, Value};
