//! What objects exist and what they can do: the one table that clients, shards and the command line share.
//!
//! Each type is declared once, with [`object_type!`]: its number, the arguments that create it, and its
//! methods with their numbers, arguments and results. The declaration makes
//! - a struct for each method, which a handle sends ([`Method`]);
//! - a trait with all methods, which a shard implements, and the dispatch from frames to it: a method
//!   without an implementation does not compile;
//! - the description ([`TypeInfo`]) that command lines and documentation are made of.
//!
//! Numbers are part of the wire format: they are never reused. Deliberately absent: what the methods do
//! (`abide-shards`) and how a call travels (`abide-net`, `abide-client`).

mod declare;
pub mod describe;
mod numbers;
mod parts;
pub mod types;

pub use abide_net::route::check_key;
#[doc(hidden)]
pub use declare::json;
pub use declare::{MethodInfo, ObjectType, Progress, TypeInfo, Wait};
pub use numbers::{Number, NumberKind, Numbers};
pub use parts::{
    BlockedBy, ConditionWait, FutureState, Holder, Leader, MergeOp, ObjectInfo, ObjectName, Page, ShardInfo,
    TopicPage, WaitInfo,
};
pub use types::{BUILT_IN, find_type, find_type_id};

#[doc(hidden)]
pub mod export {
    pub use abide_net::{CallError, MethodKind, codec};
    pub use serde;
}

use abide_net::MethodKind;
use serde::{Serialize, de::DeserializeOwned};

/// A method of an object type, as the value that carries its arguments.
pub trait Method: Serialize + DeserializeOwned {
    /// The type that it belongs to.
    type Object: ObjectType;
    /// What a successful call returns.
    type Output: Serialize + DeserializeOwned;
    /// Its number within the type.
    const ID: u16;
    /// How it behaves.
    const KIND: MethodKind;
}
