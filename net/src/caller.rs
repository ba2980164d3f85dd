//! The seam between object handles and whatever carries their calls: sockets, or shards in this process.

use crate::{error::CallError, route::ShardId};
use std::{future::Future, pin::Pin, sync::Arc};

/// How a method behaves, as far as retries and time limits care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// Changes nothing: may simply run again.
    Read,
    /// Changes the object: a retry must find the first result.
    Write,
    /// May wait for others: its answer can take any time.
    Wait,
}

/// Whether, and how, a call may create its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation<'a> {
    /// The object must exist.
    Never,
    /// Create it with these encoded arguments if it is absent; take it as it is if it exists.
    IfAbsent(&'a [u8]),
    /// Create it with these encoded arguments if it is absent; if it exists, they must be equal.
    Exactly(&'a [u8]),
}

impl<'a> Creation<'a> {
    /// As a CALL frame carries it: the arguments, and whether those of an existing object must be equal.
    pub fn in_frame(self) -> Option<(&'a [u8], bool)> {
        match self {
            Creation::Never => None,
            Creation::IfAbsent(arguments) => Some((arguments, false)),
            Creation::Exactly(arguments) => Some((arguments, true)),
        }
    }
}

/// One call, before it has a session and a place to go.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The object's type.
    pub type_id: u16,
    /// The object's key. Unused when `shard` is set.
    pub key: &'a str,
    /// Asks this shard itself rather than the owner of `(type_id, key)`.
    pub shard: Option<ShardId>,
    /// The method.
    pub method: u16,
    /// What kind of method it is.
    pub kind: MethodKind,
    /// Whether the call may create the object.
    pub creation: Creation<'a>,
    /// The epoch in which the caller last saw the object, or 0.
    pub epoch: u64,
    /// On how many nodes the caller wants the object: 0 for an ephemeral one, nothing if it takes it as it is.
    pub replicas: Option<u8>,
    /// The encoded arguments.
    pub arguments: &'a [u8],
}

/// Carries calls and blocks the calling thread until they are answered.
pub trait Caller: Send + Sync + std::fmt::Debug {
    /// Makes one call, exactly once. `result` gets the encoded result of a call that succeeded.
    /// Returns the epoch that answered.
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError>;

    /// Number of shards, for calls that visit each.
    fn shards(&self) -> Result<u32, CallError>;

    /// A caller for the same objects under a session of its own: what it holds is given back when it is dropped.
    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError>;

    /// A caller for the same objects under a session whose id and sequences come from a seed: a program that runs again with the
    /// same seed, and makes the same calls, gets the recorded answers of those that an earlier run made. It makes them one after the
    /// other. When it is dropped, what the session holds stays held until its lease ends, and its answers are kept for an hour
    /// after that; [`end_session`](Self::end_session) ends it at once.
    fn seeded_session(&self, seed: u128) -> Result<Arc<dyn Caller>, CallError>;

    /// Ends the session in order: gives back what it holds, and forgets its answers. It makes no more calls.
    fn end_session(&self) -> Result<(), CallError>;

    /// How another process reaches the same objects (an address), or nothing when they live in this process alone.
    fn address(&self) -> Option<String>;
}

/// The future of an asynchronous call: the epoch that answered, and the encoded result.
pub type CallFuture<'a> = Pin<Box<dyn Future<Output = Result<(u64, Vec<u8>), CallError>> + Send + 'a>>;

/// Carries calls without blocking a thread. Dropping the future cancels a call that still waits.
pub trait AsyncCaller: Send + Sync + std::fmt::Debug {
    /// Makes one call, exactly once. The request is copied before this returns.
    fn call(&self, request: &Request<'_>) -> CallFuture<'static>;

    /// Number of shards, for calls that visit each.
    fn shards(&self) -> u32;
}
