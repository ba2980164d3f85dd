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
    /// About how many bytes of memory it takes.
    pub bytes: u64,
    /// When it was created, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it was last called, in milliseconds since 1970.
    pub last_call_unix_ms: u64,
    /// How many calls that may change it were executed on it. Only grows.
    pub version: u64,
    /// How many callers wait in it.
    pub waiters: u64,
    /// On how many nodes it lives.
    pub replicas: u32,
    /// Whether it survives its node.
    pub persistent: bool,
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
}
