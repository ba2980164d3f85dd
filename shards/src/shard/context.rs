//! What an object's method can see and do beyond its own fields.

use super::{
    Limits,
    alarms::Alarms,
    names::ObjectRef,
    object::{SessionId, WaiterId},
    records::{Books, RecordKey, SessionRecord, WaiterRecord},
    sessions::{Sessions, SlotState},
    waiters::{CallName, Waiter, Waiters},
};
use crate::state::{Answers, Block, Tree, damaged};
use abide_net::{CallError, codec};
use abide_pmem::types::Directory;
use serde::Serialize;
use std::ops::Range;

/// What a shard keeps in ordinary memory beside its objects. It changes only after a block has taken effect.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) sessions: Sessions,
    pub(super) waiters: Waiters,
    pub(super) alarms: Alarms,
}

/// What a block will have done to the ledger, and whom it answers, once it has taken effect.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The object that the block is about. It may be one that the block makes.
    pub(super) object: Option<ObjectRef>,
    /// The call that began to wait.
    pub(super) begun: Option<(WaiterId, Waiter)>,
    pub(super) woken: Vec<Woken>,
    /// Bodies of the answers.
    pub(super) bytes: Vec<u8>,
    /// Who holds something of the object from now on (`true`), or not any more.
    pub(super) holds: Vec<(SessionId, bool)>,
    /// Waiters that have no time-out any more.
    pub(super) patient: Vec<WaiterId>,
    /// A new alarm, or the end of the object's.
    pub(super) alarm: Option<Option<u64>>,
    /// Whether calls left a queue together that are yet to be answered.
    pub(super) releases: bool,
    /// Whether the session that ended holds more of the object still.
    pub(super) holds_more: bool,
    /// Whether the object's name is gone.
    pub(super) removed: bool,
    /// Sessions that have a record of so many slots now.
    pub(super) recorded: Vec<(SessionId, u32)>,
}

/// A waiting call that a block answers.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) id: WaiterId,
    pub(super) ok: bool,
    pub(super) body: Range<usize>,
}

impl Staged {
    pub(super) fn clear(&mut self) {
        self.object = None;
        self.begun = None;
        self.woken.clear();
        self.bytes.clear();
        self.holds.clear();
        self.patient.clear();
        self.alarm = None;
        self.releases = false;
        self.holds_more = false;
        self.removed = false;
        self.recorded.clear();
    }
}

/// The call that is being made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calling {
    pub(super) name: CallName,
    pub(super) method: u16,
    /// Set for a seeded session.
    pub(super) fingerprint: Option<u64>,
}

impl Calling {
    pub(super) fn record_key(&self) -> RecordKey {
        let CallName { session, slot, sequence, .. } = self.name;
        RecordKey { session, slot, sequence, fingerprint: self.fingerprint }
    }
}

/// The circumstances of one failure-atomic block: who calls, when, on which object, and the means to change it, to wait and to
/// wake.
#[derive(Debug)]
pub struct Context<'a, 't> {
    pub(super) now_us: u64,
    pub(super) block: &'a mut Block<'t>,
    pub(super) ledger: &'a Ledger,
    pub(super) staged: &'a mut Staged,
    pub(super) limits: &'a Limits,
    pub(super) persistent: bool,
    pub(super) directory: Directory,
    pub(super) books: Books,
    /// The call that is being made. None while the shard itself tells an object of something.
    pub(super) calling: Option<Calling>,
    /// The key of the object that the block is about.
    pub(super) key: &'a str,
}

impl<'t> Context<'_, 't> {
    /// The time of this call, in microseconds since 1970. Never goes back within a shard.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The session that makes this call.
    ///
    /// # Panics
    /// Where the object is told of something that nobody called it for.
    pub fn session(&self) -> SessionId {
        self.calling().name.session
    }

    fn calling(&self) -> Calling {
        self.calling.expect("only a call has a session")
    }

    pub(super) fn object(&self) -> ObjectRef {
        self.staged.object.expect("the block is about an object")
    }

    /// The block, to read through.
    pub(crate) fn block(&self) -> &Block<'t> {
        self.block
    }

    /// The block, to change something.
    pub(crate) fn block_mut(&mut self) -> &mut Block<'t> {
        self.block
    }

    /// Makes the calling call one that waits, at most so many milliseconds. `WaitersFull` if as many wait as may.
    pub(crate) fn begin_wait(
        &mut self,
        timeout_ms: Option<u64>,
        owner: Option<u64>,
    ) -> Result<WaiterId, CallError> {
        self.begin(timeout_ms, owner, None)
    }

    /// Makes the calling call one that waits for a version above this one.
    pub(super) fn begin_watch(
        &mut self,
        version: u64,
        timeout_ms: Option<u64>,
    ) -> Result<WaiterId, CallError> {
        self.begin(timeout_ms, None, Some(version))
    }

    fn begin(
        &mut self,
        timeout_ms: Option<u64>,
        owner: Option<u64>,
        watches: Option<u64>,
    ) -> Result<WaiterId, CallError> {
        let calling = self.calling();
        let object = self.object();
        let waiting = self.ledger.waiters.count_of(object) as u64;
        if waiting >= self.limits.waiters_max {
            return Err(CallError::WaitersFull { max: self.limits.waiters_max });
        }
        assert!(self.staged.begun.is_none(), "a call waits once");
        let id = self.ledger.waiters.next_id();
        let waiter = Waiter {
            call: calling.name,
            object,
            method: calling.method,
            owner,
            since_us: self.now_us,
            deadline_us: timeout_ms.map(|ms| self.now_us.saturating_add(ms.saturating_mul(1_000))),
            watches,
            fingerprint: calling.fingerprint.unwrap_or(0),
        };
        if self.persistent {
            let record = WaiterRecord {
                session: calling.name.session,
                slot: calling.name.slot,
                sequence: calling.name.sequence,
                type_id: object.type_id,
                key: self.key.to_owned(),
                method: waiter.method,
                owner,
                since_us: waiter.since_us,
                deadline_us: waiter.deadline_us,
                watches,
                fingerprint: waiter.fingerprint,
            };
            self.ensure_session(calling.name.session, calling.name.slot)?;
            self.books.put_waiter(self.block, id, &record)?;
        }
        self.staged.begun = Some((id, waiter));
        Ok(id)
    }

    fn waiter(&self, id: WaiterId) -> Result<&Waiter, CallError> {
        if let Some((begun, waiter)) = &self.staged.begun
            && *begun == id
        {
            return Ok(waiter);
        }
        self.ledger.waiters.get(id).ok_or_else(|| damaged("a queue of calls"))
    }

    /// Whether a call waits.
    pub(super) fn waits(&self, id: WaiterId) -> bool {
        self.ledger.waiters.get(id).is_some()
    }

    /// The session of a call that waits.
    pub fn session_of(&self, waiter: WaiterId) -> Result<SessionId, CallError> {
        Ok(self.waiter(waiter)?.call.session)
    }

    /// Answers a call that waits. Each is answered once: the object takes it out of its queue.
    pub fn wake<T: Serialize>(
        &mut self,
        waiter: WaiterId,
        result: Result<&T, CallError>,
    ) -> Result<(), CallError> {
        let encoded = result.and_then(|result| Ok(codec::encode(result)?));
        self.wake_encoded(waiter, encoded)
    }

    pub(crate) fn wake_encoded(
        &mut self,
        id: WaiterId,
        result: Result<Vec<u8>, CallError>,
    ) -> Result<(), CallError> {
        let waiter = self.waiter(id)?;
        let call = waiter.call;
        let is_seeded = self.ledger.sessions.terms(call.session).is_some_and(|terms| terms.is_seeded);
        let fingerprint = is_seeded.then_some(waiter.fingerprint);
        let (ok, body) = match result {
            Ok(body) => (true, body),
            Err(error) => (false, codec::encode(&error)?),
        };
        if self.persistent {
            self.books.remove_waiter(self.block, id)?;
            self.ensure_session(call.session, call.slot)?;
            let CallName { session, slot, sequence, .. } = call;
            self.books.put_answer(
                self.block,
                RecordKey { session, slot, sequence, fingerprint },
                ok,
                &body,
            )?;
        }
        let start = self.staged.bytes.len();
        self.staged.bytes.extend_from_slice(&body);
        self.staged.woken.push(Woken { id, ok, body: start..self.staged.bytes.len() });
        Ok(())
    }

    /// A call whose time-out has passed waits on, without one.
    pub(super) fn make_patient(&mut self, id: WaiterId) -> Result<(), CallError> {
        if self.persistent
            && let Some(record) = self.books.waiter(&*self.block, id)?
        {
            self.books.put_waiter(self.block, id, &WaiterRecord { deadline_us: None, ..record })?;
        }
        self.staged.patient.push(id);
        Ok(())
    }

    /// Records the answer of the calling call, in the block that has its effect.
    pub(super) fn record_answer(&mut self, ok: bool, body: &[u8]) -> Result<(), CallError> {
        let calling = self.calling();
        self.ensure_session(calling.name.session, calling.name.slot)?;
        self.books.put_answer(self.block, calling.record_key(), ok, body)
    }

    /// Makes sure that the heap has a record of the session, and says that this slot may have an answer.
    fn ensure_session(&mut self, session: SessionId, slot: u32) -> Result<(), CallError> {
        let staged = self.staged.recorded.iter().rev().find(|(id, _)| *id == session);
        let recorded =
            staged.map_or_else(|| self.ledger.sessions.recorded_slots(session), |(_, slots)| *slots);
        if slot < recorded {
            return Ok(());
        }
        let Some(terms) = self.ledger.sessions.terms(session) else { return Ok(()) };
        // Ahead, so that a session of many slots is not written anew for each of them.
        let slots = (slot + 1).next_power_of_two();
        self.books.put_session(self.block, session, &SessionRecord::new(terms, slots))?;
        self.staged.recorded.push((session, slots));
        Ok(())
    }

    fn name(&self) -> Vec<u8> {
        let mut name = Vec::new();
        super::names::name_of(self.object().type_id, self.key, &mut name);
        name
    }

    /// Has [`session_ended`](crate::SharedObject::session_ended) called when this session ends, because
    /// it holds something of this object.
    pub fn hold(&mut self, session: SessionId) -> Result<(), CallError> {
        if self.persistent {
            let name = self.name();
            self.ensure_session(session, 0)?;
            self.books.hold(self.block, session, &name)?;
        }
        self.staged.holds.push((session, true));
        Ok(())
    }

    /// The session holds nothing of this object any more.
    pub fn unhold(&mut self, session: SessionId) -> Result<(), CallError> {
        if self.persistent {
            let name = self.name();
            self.books.unhold(self.block, session, &name)?;
        }
        self.staged.holds.push((session, false));
        Ok(())
    }

    /// Has [`session_ended`](crate::SharedObject::session_ended), which calls this, called once more, in a block of its own:
    /// the session holds more of this object than one block can give back. A crash between two of these blocks loses nothing.
    pub fn hold_more(&mut self) {
        self.staged.holds_more = true;
    }

    /// Has [`alarm`](crate::SharedObject::alarm) called at this time, in microseconds since 1970; not at all for `None`. An object
    /// has one alarm: this one takes the place of the one before.
    pub fn set_alarm(&mut self, at_us: Option<u64>) {
        self.staged.alarm = Some(at_us);
    }

    /// Hands all calls of a queue to the shard, to be answered part by part.
    pub(crate) fn release(&mut self, queue: Tree, answers: &Answers) -> Result<(), CallError> {
        super::release::begin(self, queue, answers)?;
        self.staged.releases = true;
        Ok(())
    }
}

/// What a slot keeps of an answer: nothing where the persistent heap has it.
pub(super) fn slot_state(recorded: bool, ok: bool, body: &[u8]) -> SlotState {
    if recorded { SlotState::Recorded } else { SlotState::Done { ok, body: body.into() } }
}
