//! The shard: a synchronous state machine that owns objects.
//!
//! [`Shard::apply`] takes one [`Event`] and the time, changes objects, and puts answers into an
//! [`Outbox`]. It has no clock, no randomness, no I/O, and never waits; given the same events it does the
//! same, which is what lets a log of them be replayed, on this node or on another.
//!
//! One call goes: [`Shard::apply`] -> `sessions` (is it new, or asked again?) -> `directory` (find or create
//! the object) -> the object's method -> `sessions` (keep the answer for a retry) -> the outbox.

mod calls;
mod context;
mod directory;
pub mod object;
mod outbox;
mod sessions;
mod waiters;

pub use context::Context;
pub use directory::SavedObject;
pub use object::{Gone, Object, SessionId, WaiterId};
pub use outbox::{Origin, Outbox, OutgoingReply};

use crate::Registry;
use abide_net::{CallError, frame::Call, route::ShardId};
use context::Surroundings;
use directory::Directory;
use sessions::Sessions;
use waiters::{CallName, Waiters};

/// Names an object of a shard. Never reused, so a stale one names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectRef {
    /// Grows with each object that is created.
    serial: u64,
    /// Its place in the directory, which is reused.
    index: usize,
}

/// Everything that can wake a shard. Closed on purpose: to know what a shard reacts to, read this.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A call on one of the shard's objects, or on the shard itself.
    Call {
        /// Where the answer goes.
        origin: Origin,
        /// Whose call it is.
        session: SessionId,
        /// The session's lease, in microseconds.
        lease_us: u64,
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

/// What a shard is and remains.
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
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    directory: Directory,
    surroundings: Surroundings,
    /// The latest time that an event brought.
    now_us: u64,
    calls: u64,
    /// A result on its way into the outbox; kept for its memory.
    result: Vec<u8>,
}

impl Shard {
    /// A shard without objects.
    pub fn new(config: ShardConfig) -> Shard {
        Shard {
            directory: Directory::new(config.registry.clone()),
            now_us: config.started_us,
            config,
            surroundings: Surroundings { sessions: Sessions::default(), waiters: Waiters::default() },
            calls: 0,
            result: Vec::new(),
        }
    }

    /// Handles one event to the end. `now_us` is the time in microseconds since 1970; a time before an
    /// earlier event's counts as that one's.
    pub fn apply(&mut self, now_us: u64, event: Event<'_>, out: &mut Outbox) {
        self.now_us = self.now_us.max(now_us);
        self.end_waits_that_are_due(out);
        match event {
            Event::Call { origin, session, lease_us, call } => {
                self.call(origin, session, lease_us, &call, out)
            }
            Event::Cancel { session, slot, sequence } => {
                if let Some(waiter) = self.surroundings.sessions.waiting(session, slot, sequence) {
                    self.end_wait(waiter, Gone::Cancelled, out);
                }
            }
            Event::Heartbeat { session } => {
                self.surroundings.sessions.renew(session, self.now_us);
            }
            Event::Goodbye { session } => self.end_session(session, false, out),
            Event::Tick => self.end_leases_that_are_due(out),
            Event::Late { by_us } => self.surroundings.sessions.extend_all(by_us),
        }
    }

    /// When the shard wants [`Event::Tick`] at the latest, in microseconds since 1970.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let (waiter, lease) =
            (self.surroundings.waiters.next_deadline_us(), self.surroundings.sessions.next_deadline_us());
        waiter.into_iter().chain(lease).min()
    }

    /// Whether this session, as far as the shard knows, has not expired.
    pub fn may_be_alive(&mut self, session: SessionId) -> bool {
        self.surroundings.sessions.renew(session, self.now_us)
    }

    /// Ends all sessions, and takes all objects out, for a store that closes.
    pub fn close(mut self, out: &mut Outbox) -> Vec<SavedObject> {
        for session in self.surroundings.sessions.ids() {
            self.end_session(session, false, out);
        }
        self.directory.save()
    }

    /// Puts an object back that an earlier incarnation saved.
    pub fn restore(&mut self, saved: &SavedObject) -> Result<(), CallError> {
        self.directory.restore(saved)
    }

    /// When the next lease ends unless its session is heard of, in microseconds since 1970. It may be later.
    pub fn next_lease_us(&self) -> Option<u64> {
        self.surroundings.sessions.next_deadline_us()
    }

    /// Calls whose time has come end before any later event is looked at.
    fn end_waits_that_are_due(&mut self, out: &mut Outbox) {
        while let Some(waiter) = self.surroundings.waiters.due(self.now_us) {
            self.end_wait(waiter, Gone::TimedOut, out);
        }
    }

    fn end_leases_that_are_due(&mut self, out: &mut Outbox) {
        while let Some(session) = self.surroundings.sessions.due(self.now_us) {
            self.end_session(session, true, out);
        }
    }

    /// Answers a call that waits with why it does so no more, then tells its object.
    fn end_wait(&mut self, waiter: WaiterId, why: Gone, out: &mut Outbox) {
        let object = self.surroundings.waiters.get(waiter).object;
        let error = match why {
            Gone::TimedOut => CallError::TimedOut,
            Gone::Cancelled => CallError::Cancelled,
            Gone::SessionEnded => CallError::SessionExpired,
        };
        self.surroundings.answer(waiter, Err(&error), out);
        self.tell(object, out, |object, context| object.waiter_gone(context, waiter, why));
    }

    fn end_session(&mut self, session: SessionId, expired: bool, out: &mut Outbox) {
        // The end of one wait can make an object end or grant another of the same session, so each is looked
        // up again, and the session is there until its last wait is over: what it is granted on the way
        // belongs to the estate.
        for waiter in self.surroundings.sessions.waits(session) {
            if self.surroundings.waiters.contains(waiter) {
                self.end_wait(waiter, Gone::SessionEnded, out);
            }
        }
        let Some(holds) = self.surroundings.sessions.end(session, expired, self.now_us) else { return };
        for object in holds {
            self.tell(object, out, |object, context| object.session_ended(context, session));
        }
    }

    /// Tells an object of something that nobody called it for.
    fn tell(
        &mut self,
        object_ref: ObjectRef,
        out: &mut Outbox,
        news: impl FnOnce(&mut dyn Object, &mut Context<'_>),
    ) {
        let Some(entry) = self.directory.by_ref(object_ref) else { return };
        let mut context = Context {
            now_us: self.now_us,
            caller: None,
            object: object_ref,
            surroundings: &mut self.surroundings,
            out,
        };
        let told = entry.guarded(|object| {
            news(object, &mut context);
            Ok(())
        });
        if let Err(error) = told {
            tracing::error!(%error, "an object failed to hear of a change");
            self.end_waits_of(object_ref.serial, &error, out);
        }
    }

    /// Answers all calls that wait in an object that will not answer them itself.
    fn end_waits_of(&mut self, serial: u64, error: &CallError, out: &mut Outbox) {
        for waiter in self.surroundings.waiters.of(serial) {
            self.surroundings.answer(waiter, Err(error), out);
        }
    }
}

#[cfg(test)]
mod tests;
