//! What an object's method can see and do beyond its own state.

use super::{
    ObjectRef, Outbox,
    object::{SessionId, WaiterId},
    sessions::{Sessions, SlotState},
    waiters::{CallName, Waiters},
};
use abide_net::{CallError, codec};
use serde::Serialize;

/// The parts of a shard that stand beside its objects.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) sessions: Sessions,
    pub(super) waiters: Waiters,
}

/// The circumstances of one call: who calls, when, and the means to wait and to wake.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) now_us: u64,
    /// The call that is being made. None while the shard itself tells the object of something.
    pub(super) caller: Option<CallName>,
    pub(super) object: ObjectRef,
    pub(super) surroundings: &'a mut Surroundings,
    pub(super) out: &'a mut Outbox,
}

impl Context<'_> {
    /// The time of this call, in microseconds since 1970. Never goes back within a shard.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The session that makes this call.
    ///
    /// # Panics
    /// In [`Object::waiter_gone`](super::Object::waiter_gone) and `session_ended`, which nobody calls.
    pub fn session(&self) -> SessionId {
        self.caller().session
    }

    fn caller(&self) -> CallName {
        self.caller.expect("only a call has a session")
    }

    /// Makes the caller wait, at most so many milliseconds. The object keeps the id and returns `Waiting`.
    pub fn wait(&mut self, timeout_ms: Option<u64>) -> WaiterId {
        let deadline_us = timeout_ms.map(|ms| self.now_us.saturating_add(ms.saturating_mul(1_000)));
        let caller = self.caller();
        self.surroundings.waiters.add(caller, self.object, deadline_us)
    }

    /// The session of a call that waits.
    pub fn session_of(&self, waiter: WaiterId) -> SessionId {
        self.surroundings.waiters.get(waiter).call.session
    }

    /// Answers a call that waits. Each waiter is woken once: the object forgets its id.
    pub fn wake<T: Serialize>(&mut self, waiter: WaiterId, result: Result<T, CallError>) {
        let encoded = result.and_then(|result| Ok(codec::encode(&result)?));
        self.surroundings.answer(waiter, encoded.as_deref(), self.out);
    }

    /// Has [`Object::session_ended`](super::Object::session_ended) called when this session ends, because
    /// it holds something of this object.
    pub fn hold(&mut self, session: SessionId) {
        self.surroundings.sessions.hold(session, self.object);
    }

    /// The session holds nothing of this object any more.
    pub fn unhold(&mut self, session: SessionId) {
        self.surroundings.sessions.unhold(session, self.object);
    }
}

impl Surroundings {
    /// Ends a wait: sends the answer, and keeps it for a retry.
    pub(super) fn answer(&mut self, waiter: WaiterId, result: Result<&[u8], &CallError>, out: &mut Outbox) {
        let waiter = self.waiters.remove(waiter);
        let CallName { session, slot, sequence, origin } = waiter.call;
        let reply = out.reply(origin, slot, sequence, result).clone();
        let state = SlotState::Done { ok: reply.ok, body: out.body(&reply).into() };
        self.sessions.settle(session, slot, sequence, state);
    }
}
