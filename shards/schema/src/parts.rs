//! Types that appear in the arguments and results of several methods.

use abide_net::Value;
use serde::{Deserialize, Serialize};

/// A built-in function that joins the value that is there (left) with a new one (right).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeOp {
    /// left + right, of integers (an overflow of 64 bits is an error) or floats.
    Sum,
    /// left * right, likewise.
    Product,
    /// The smaller one, of integers, floats or texts.
    Min,
    /// The greater one, likewise.
    Max,
    /// Bitwise of integers, logical of bools.
    And,
    /// Bitwise of integers, logical of bools.
    Or,
    /// Bitwise of integers, logical of bools.
    Xor,
    /// left followed by right, of texts, bytes or JSON arrays.
    Concat,
    /// left: what is there stays.
    First,
    /// right: what is new replaces it.
    Last,
}

/// A part of an iteration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, C> {
    /// The entries, at most as many as asked for.
    pub entries: Vec<T>,
    /// Where the next page begins, or nothing after the last.
    pub next: Option<C>,
}

/// Who holds a mutex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The session, in hexadecimal.
    pub session: String,
    /// The owner within the session: a thread, or a number that the caller chose.
    pub owner: u64,
    /// The fencing token of the lock.
    pub token: u64,
    /// How many times the owner has locked it.
    pub holds: u32,
}

/// What a future holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FutureState {
    /// It was completed with this value.
    Value(Value),
    /// It was completed with this error.
    Error(String),
    /// It was cancelled.
    Cancelled,
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// The number of its type.
    pub type_id: u16,
    /// Its key.
    pub key: String,
}

/// What a node knows of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The name of its type.
    pub type_name: String,
    /// Its key.
    pub key: String,
    /// How many bytes of its heap it takes.
    pub bytes: u64,
    /// When it was created, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it was last changed by a call, in milliseconds since 1970.
    pub last_call_unix_ms: u64,
    /// How many calls that may change it were executed on it. Only grows.
    pub version: u64,
    /// How many callers wait in it.
    pub waiters: u64,
    /// On how many nodes it lives.
    pub replicas: u32,
    /// Whether it survives its node.
    pub persistent: bool,
    /// When it is deleted, in milliseconds since 1970, if it is to be.
    pub expires_unix_ms: Option<u64>,
}

/// What a shard knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Its number.
    pub shard: u32,
    /// How many objects it owns.
    pub objects: u64,
    /// How many sessions it knows.
    pub sessions: u64,
    /// How many calls wait in its objects.
    pub waiters: u64,
    /// How many calls it has executed since it started.
    pub calls: u64,
    /// The epoch that it runs in.
    pub epoch: u64,
    /// The version of the program that runs it.
    pub program: String,
    /// How long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// How many of its objects are persistent.
    pub persistent_objects: u64,
    /// What persistent objects survive.
    pub persistence: String,
    /// Bytes of the memory that its ephemeral objects have.
    pub bytes: u64,
    /// How many they may have.
    pub bytes_max: u64,
    /// Bytes of the region that persistent objects of this and of the node's other shards share.
    pub persistent_bytes: u64,
    /// How many it may have.
    pub persistent_bytes_max: u64,
}

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitInfo {
    /// The object that it waits in.
    pub object: ObjectName,
    /// The name of the object's type.
    pub type_name: String,
    /// Whose call it is: the session, in hexadecimal.
    pub session: String,
    /// The slot of the call.
    pub slot: u32,
    /// The sequence of the call.
    pub sequence: u64,
    /// The method that was called.
    pub method: String,
    /// As which owner (a thread) of its session it waits, if its method says.
    pub owner: Option<u64>,
    /// Since when it waits, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Until when it waits, in milliseconds since 1970, if not for ever.
    pub deadline_unix_ms: Option<u64>,
    /// Who holds what it waits for, as far as that is somebody.
    pub holders: Vec<BlockedBy>,
}

/// Somebody who holds what others wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedBy {
    /// The session, in hexadecimal.
    pub session: String,
    /// The owner within the session, if the object tells them apart.
    pub owner: Option<u64>,
    /// What it holds, in words.
    pub what: String,
}

/// How a wait for a condition ended. The caller has the lock again in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionWait {
    /// The fencing token of the lock.
    pub token: u64,
    /// Whether it was notified; if not, its time-out passed.
    pub notified: bool,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The session, in hexadecimal.
    pub session: String,
    /// What it campaigned as.
    pub candidate: String,
    /// The fencing token of its election.
    pub token: u64,
}

/// What a subscriber of a topic reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPage {
    /// Values with their positions.
    pub entries: Vec<(u64, Value)>,
    /// The cursor to go on from.
    pub next: u64,
    /// How many values from the cursor on were forgotten before they could be read.
    pub missed: u64,
}
