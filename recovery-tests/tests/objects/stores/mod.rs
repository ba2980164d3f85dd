//! What is judged: shards in the test's hand, an embedded store, a node behind TCP.

pub(crate) mod embedded;
pub(crate) mod raw_client;
pub(crate) mod shard;
pub(crate) mod tcp;

use crate::{
    asked::Asked,
    model::{CallId, Session, world::Answers},
};
use std::time::Duration;

/// A call on its way.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) call: CallId,
    pub(crate) session: Session,
    pub(crate) slot: u32,
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) creation: Vec<u8>,
    /// As in a frame: 0 for an ephemeral object, 1 for a persistent one.
    pub(crate) replicas: u8,
    pub(crate) asked: Asked,
}

/// How long an answer that must come may take. Nothing but a failure takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A store as a run sees it: with sessions that make several calls at once.
pub(crate) trait Store {
    /// Begins a session.
    fn begin(&mut self, session: Session);

    /// Makes a call.
    fn start(&mut self, envelope: &Envelope);

    /// Makes the newest call of a slot once more. Says whether this store can.
    fn retry(&mut self, envelope: &Envelope) -> bool;

    /// Gives a call up. Says whether it will be answered.
    fn cancel(&mut self, envelope: &Envelope) -> bool;

    /// Ends a session. Says whether its waiting calls will be answered.
    fn end(&mut self, session: Session) -> bool;

    /// Lets a session's lease end, and no other's. Says at what time it does, if this store can.
    fn expire(&mut self, _session: Session) -> Option<u64> {
        None
    }

    /// Lets time pass, up to this moment, where the test has the clock.
    fn pass_until(&mut self, now_us: u64);

    /// The store ends, in order or not, and is opened again. `waiting` are the calls that wait.
    fn restart(&mut self, in_order: bool, waiting: &[Envelope]);

    /// All answers that came; at least so many, unless they do not come at all.
    fn answers(&mut self, expected: usize) -> Answers;
}
