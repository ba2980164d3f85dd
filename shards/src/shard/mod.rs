//! The shard: a synchronous state machine that owns objects.
//!
//! [`Shard::apply`] takes one [`Event`] and the time, changes objects, and puts answers into an
//! [`Outbox`]. It has no clock, no randomness, no I/O of its own, and never waits; given the same events it does the
//! same, which is what lets a log of them be replayed, on this node or on another. [`Shard::commit`] makes what was
//! applied durable, and only then can the answers be read.
//!
//! One call goes: [`Shard::apply`] -> `sessions` (is it new, or asked again?) -> `names` (find or create the object) ->
//! one failure-atomic block with the object's method and the record that the call was made -> `ledger` (what ordinary memory
//! knows of sessions and waiters) -> the outbox.

mod about;
mod alarms;
mod blocks;
mod calls;
mod context;
mod ends;
mod listing;
mod names;
mod nearby;
pub mod object;
mod outbox;
mod records;
mod release;
mod restore;
mod sessions;
mod space;
mod waiters;

pub use context::Context;
pub use object::{Gone, Leaves, SessionId, SharedObject, WaiterId};
pub use outbox::{Origin, Outbox, OutgoingReply};
pub use sessions::SessionTerms;
pub use space::Home;

pub(crate) use names::ObjectRef;

use crate::Registry;
use abide_net::{CallError, frame::Call, route::ShardId};
use abide_pmem::HeapError;
use alarms::Alarms;
use context::{Ledger, Staged};
use sessions::Sessions;
use space::Space;
use waiters::{CallName, Waiters};

/// Everything that can wake a shard. Closed on purpose: to know what a shard reacts to, read this.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A call on one of the shard's objects, or on the shard itself.
    Call {
        /// Where the answer goes.
        origin: Origin,
        /// Whose call it is.
        session: SessionId,
        /// On what terms the session lives, should it begin with this call.
        terms: SessionTerms,
        /// The call.
        call: Call<'a>,
    },
    /// A client gives up a call that may still wait.
    Cancel {
        /// Whose call it is.
        session: SessionId,
        /// Its slot.
        slot: u32,
        /// Its sequence.
        sequence: u64,
    },
    /// A session lives.
    Heartbeat {
        /// The session.
        session: SessionId,
    },
    /// A session ends in order, and gives back what it holds.
    Goodbye {
        /// The session.
        session: SessionId,
    },
    /// Time has passed: see [`Shard::next_deadline_us`]. Leases end by this event alone, so that an executor can
    /// first hand over what arrived before their time was over.
    Tick,
    /// The executor did not run for so long. Sessions could not be heard in that time: their leases are extended.
    Late {
        /// For how long, in microseconds.
        by_us: u64,
    },
}

/// How much a shard takes on. Each limit has an error of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls that may wait in one object: `WaitersFull` beyond. Each takes less than a kibibyte.
    pub waiters_max: u64,
    /// Sessions of one shard: `SessionsFull` beyond. Each takes a few hundred bytes.
    pub sessions_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { waiters_max: 1 << 20, sessions_max: 100_000 }
    }
}

/// What a shard is and remains, and where its objects live.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Its number.
    pub shard: ShardId,
    /// The incarnation of the store. Greater in each later one.
    pub epoch: u64,
    /// The types that it knows.
    pub registry: Registry,
    /// When it began to run, in microseconds since 1970.
    pub started_us: u64,
    /// Where ephemeral objects live: a heap of its own in ordinary memory, made for this run.
    pub ephemeral: Home,
    /// Where persistent objects live, if the store keeps any.
    pub persistent: Option<Home>,
    /// Whether an object that is made by a caller who does not say where is persistent.
    pub persistent_by_default: bool,
    /// What survives, in words, for `info`.
    pub persistence: String,
    /// How much it takes on.
    pub limits: Limits,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    ephemeral: Space,
    persistent: Option<Space>,
    ledger: Ledger,
    staged: Staged,
    /// The latest time that an event brought.
    now_us: u64,
    calls: u64,
    /// A result on its way into the outbox; kept for its memory.
    result: Vec<u8>,
    /// Whether the outbox holds answers that wait for this shard's commit.
    owes_commit: bool,
}

impl Shard {
    /// Opens a shard: finds the objects in its homes, and finishes what a crash interrupted. Persistent sessions, with what they
    /// hold and the calls of theirs that wait, are as they were; their leases begin anew.
    pub fn open(config: ShardConfig) -> Result<Shard, CallError> {
        let ephemeral = Space::open(config.ephemeral.clone(), false)?;
        let persistent = config.persistent.clone().map(|home| Space::open(home, true)).transpose()?;
        let mut shard = Shard {
            ephemeral,
            persistent,
            ledger: Ledger {
                sessions: Sessions::new(config.limits.sessions_max),
                waiters: Waiters::default(),
                alarms: Alarms::default(),
            },
            staged: Staged::default(),
            now_us: config.started_us,
            config,
            calls: 0,
            result: Vec::new(),
            owes_commit: false,
        };
        shard.restore()?;
        Ok(shard)
    }

    /// Handles one event to the end. `now_us` is the time in microseconds since 1970; a time before an
    /// earlier event's counts as that one's.
    pub fn apply(&mut self, now_us: u64, event: Event<'_>, out: &mut Outbox) {
        self.now_us = self.now_us.max(now_us);
        self.end_what_is_due(out);
        match event {
            Event::Call { origin, session, terms, call } => self.call(origin, session, terms, &call, out),
            Event::Cancel { session, slot, sequence } => {
                if let Some(waiter) = self.ledger.sessions.waiting(session, slot, sequence) {
                    self.end_wait(waiter, Gone::Cancelled, out);
                }
            }
            Event::Heartbeat { session } => {
                self.ledger.sessions.renew(session, self.now_us);
            }
            Event::Goodbye { session } => self.end_session(session, false, out),
            Event::Tick => self.end_leases_that_are_due(out),
            Event::Late { by_us } => self.ledger.sessions.extend_all(by_us),
        }
        self.ring_alarms(out);
        self.owe_commit(out);
    }

    /// Makes all that was applied durable; the answers to it can be read from the outbox after that. One fence, or one sync,
    /// however many calls changed persistent objects; nothing if none did.
    ///
    /// # Errors
    /// If the memory failed. Nobody knows then what of it is durable: the answers must not be sent, and the shard must not be used.
    pub fn commit(&mut self, out: &mut Outbox) -> Result<(), HeapError> {
        if std::mem::take(&mut self.owes_commit) {
            if let Some(space) = &mut self.persistent {
                space.commit()?;
            }
            out.uncommitted -= 1;
        }
        Ok(())
    }

    /// When the shard wants [`Event::Tick`] at the latest, in microseconds since 1970.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let spaces = [Some(&self.ephemeral), self.persistent.as_ref()].into_iter().flatten();
        let ledger = &self.ledger;
        [ledger.waiters.next_deadline_us(), ledger.sessions.next_deadline_us(), ledger.alarms.next_us()]
            .into_iter()
            .chain(spaces.map(|space| space.next_expiry_us))
            .flatten()
            .min()
    }

    /// Whether this session, as far as the shard knows, has not expired.
    pub fn may_be_alive(&mut self, session: SessionId) -> bool {
        self.ledger.sessions.renew(session, self.now_us)
    }

    /// Whether the shard has this session.
    pub fn knows(&self, session: SessionId) -> bool {
        self.ledger.sessions.knows(session)
    }

    /// When the next lease ends unless its session is heard of, in microseconds since 1970. It may be later.
    pub fn next_lease_us(&self) -> Option<u64> {
        self.ledger.sessions.next_deadline_us()
    }

    /// Ends all sessions, for a store whose sessions end with its process. Of seeded ones what they hold is given back, but their
    /// answers are kept for another run.
    pub fn end_sessions(&mut self, now_us: u64, out: &mut Outbox) {
        for session in self.ledger.sessions.ids() {
            if self.ledger.sessions.terms(session).is_some_and(|terms| terms.is_seeded) {
                self.give_back(session, out);
                self.ledger.sessions.fall_asleep(session, self.now_us);
                self.owe_commit(out);
            } else {
                self.apply(now_us, Event::Goodbye { session }, out);
            }
        }
    }

    /// Notes that answers wait for this shard's commit, if they do.
    fn owe_commit(&mut self, out: &mut Outbox) {
        let dirty = self.persistent.as_ref().is_some_and(|space| space.is_dirty);
        if dirty && !std::mem::replace(&mut self.owes_commit, true) {
            out.uncommitted += 1;
        }
    }

    fn space(&self, persistent: bool) -> &Space {
        match &self.persistent {
            Some(space) if persistent => space,
            _ => {
                assert!(!persistent, "a persistent object in a store without a region");
                &self.ephemeral
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
