//! Running a failure-atomic block, and what follows from it in ordinary memory.

use super::{
    Context, Outbox, Shard,
    context::{Calling, Woken, slot_state},
    names::ObjectRef,
    sessions::{Held, SlotState},
    waiters::CallName,
};
use crate::state::refuse;
use abide_net::CallError;
use abide_pmem::HeapError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Attempts to make room for a block that finds none: by using again what was freed, then by growing a few times.
const ROOM_ATTEMPTS: u32 = 8;

/// A block's refusal, on its way through the heap.
struct Refused(CallError);

impl From<HeapError> for Refused {
    fn from(error: HeapError) -> Self {
        Refused(refuse(error))
    }
}

/// What a block is about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// In which space it runs.
    pub(super) persistent: bool,
    pub(super) object: Option<ObjectRef>,
    /// The object's key.
    pub(super) key: &'a str,
    pub(super) calling: Option<Calling>,
    /// Whether it may take the space that is kept for what makes room.
    pub(super) is_urgent: bool,
}

impl<'a> About<'a> {
    /// A block about an object that nobody called.
    pub(super) fn object(object: ObjectRef, key: &'a str) -> About<'a> {
        About { persistent: object.persistent, object: Some(object), key, calling: None, is_urgent: true }
    }

    /// A block about the books of a space.
    pub(super) fn books(persistent: bool) -> About<'a> {
        About { persistent, object: None, key: "", calling: None, is_urgent: true }
    }
}

impl Shard {
    /// Runs a block. If it succeeds, the ledger and the outbox follow, and calls that left queues in it are answered. If it gives an
    /// error or panics, nothing was changed. It runs again where it finds no room and room can be made.
    pub(super) fn run<R>(
        &mut self,
        about: About<'_>,
        out: &mut Outbox,
        block: impl FnMut(&mut Context<'_, '_>) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let result = self.run_alone(about, out, block)?;
        if self.staged.releases {
            self.finish_releases(about.persistent, out);
        }
        Ok(result)
    }

    /// The same without answering those that left queues.
    pub(super) fn run_alone<R>(
        &mut self,
        about: About<'_>,
        out: &mut Outbox,
        mut block: impl FnMut(&mut Context<'_, '_>) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        for attempt in 0.. {
            self.staged.clear();
            self.staged.object = about.object;
            let space = match &mut self.persistent {
                Some(space) if about.persistent => space,
                _ => &mut self.ephemeral,
            };
            let mut writer = space.writer();
            let ran = writer.run(|tx| {
                if about.is_urgent {
                    tx.set_urgent();
                }
                let mut context = Context {
                    now_us: self.now_us,
                    block: tx,
                    ledger: &self.ledger,
                    staged: &mut self.staged,
                    limits: &self.config.limits,
                    persistent: about.persistent,
                    directory: space.directory,
                    books: space.books,
                    calling: about.calling,
                    key: about.key,
                };
                // What a panic leaves half-done is taken back with the block.
                match catch_unwind(AssertUnwindSafe(|| block(&mut context))) {
                    Ok(result) => result.map_err(Refused),
                    Err(panic) => {
                        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
                        Err(Refused(CallError::MethodPanicked { message: message.unwrap_or_default() }))
                    }
                }
            });
            match ran {
                Ok(result) => {
                    space.collect(&mut writer);
                    if !about.persistent {
                        // Costs next to nothing, and makes what was freed usable.
                        writer.commit().expect("ordinary memory does not fail");
                    }
                    drop(writer);
                    space.is_dirty |= about.persistent;
                    if let Some(object) = self.staged.object.filter(|_| self.staged.removed) {
                        space.nearby.forget(object.type_id, about.key);
                    }
                    self.follow(about, out);
                    return Ok(result);
                }
                Err(Refused(CallError::NoSpace)) if attempt < ROOM_ATTEMPTS => {
                    drop(writer);
                    if !space.make_room(attempt)? {
                        return Err(CallError::NoSpace);
                    }
                }
                Err(Refused(error)) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Does to the ledger what a block that took effect said.
    fn follow(&mut self, about: About<'_>, out: &mut Outbox) {
        let mut staged = std::mem::take(&mut self.staged);
        let ledger = &mut self.ledger;
        for (session, slots) in staged.recorded.drain(..) {
            ledger.sessions.set_recorded_slots(session, slots);
        }
        if let Some((id, waiter)) = staged.begun.take() {
            let name = waiter.call;
            ledger.waiters.add(id, waiter, about.key);
            ledger.sessions.settle(name.session, name.slot, name.sequence, SlotState::Waiting(id));
        }
        for (session, holds) in staged.holds.drain(..) {
            let type_id = staged.object.expect("something of an object is held").type_id;
            let held = Held { persistent: about.persistent, type_id, key: about.key.into() };
            if holds {
                ledger.sessions.hold(session, held);
            } else {
                ledger.sessions.unhold(session, &held);
            }
        }
        for id in staged.patient.drain(..) {
            ledger.waiters.forget_deadline(id);
        }
        if let Some(at_us) = staged.alarm.take() {
            ledger.alarms.set(staged.object.expect("an object sets an alarm"), about.key, at_us);
        }
        for Woken { id, ok, body } in staged.woken.drain(..) {
            let waiter = ledger.waiters.remove(id);
            let CallName { session, slot, sequence, origin } = waiter.call;
            let body = &staged.bytes[body];
            out.reply_encoded(origin, slot, sequence, ok, body);
            let is_seeded = ledger.sessions.terms(session).is_some_and(|terms| terms.is_seeded);
            if is_seeded && !about.persistent {
                ledger.sessions.keep(session, (slot, sequence), waiter.fingerprint, ok, body);
            }
            let state = slot_state(about.persistent, ok, body);
            ledger.sessions.settle(session, slot, sequence, state);
        }
        self.staged = staged;
    }

    /// Answers all calls that have left queues and are not answered yet.
    pub(super) fn finish_releases(&mut self, persistent: bool, out: &mut Outbox) {
        loop {
            match self.run_alone(About::books(persistent), out, super::release::go_on) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // They stay where they are, and are answered when the store is opened again; or when their sessions end.
                    tracing::error!(%error, "calls that were let go cannot be answered");
                    return;
                }
            }
        }
    }
}
