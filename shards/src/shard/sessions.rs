//! Sessions: who calls, what was answered, what is held, and when a lease ends.

use super::object::{SessionId, WaiterId};
use abide_net::{CallError, limits::SLOTS_MAX};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How long a shard remembers that a session expired. A client gives up retrying long before.
pub(super) const TOMBSTONE_US: u64 = 600_000_000;

/// How long the answers of a seeded session are kept after its lease ended: a cloud function is run again within that.
pub(super) const SEEDED_SLEEP_US: u64 = 3_600_000_000;

/// Bytes of answers that one session may have kept for retries. A slot gives its own up with its next call.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 20;

/// Most expired sessions remembered.
const TOMBSTONES_MAX: usize = 100_000;

/// On what terms a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// Without a sign of life for so long it ends, in microseconds.
    pub lease_us: u64,
    /// Its id and its sequences come from a seed: if its program runs again, it asks for the same calls again, and gets the
    /// recorded answers of all that it made. They are kept until the session ends in order, or an hour after its lease ended.
    pub is_seeded: bool,
}

/// What became of a slot's newest call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotState {
    /// It was a read, which a retry simply makes again; or it never got as far as its object.
    Repeatable,
    /// It waits.
    Waiting(WaiterId),
    /// It was answered like this.
    Done { ok: bool, body: Box<[u8]> },
    /// It was answered; the answer stands in the persistent heap.
    Recorded,
}

impl SlotState {
    fn kept_bytes(&self) -> usize {
        match self {
            SlotState::Done { body, .. } => body.len(),
            SlotState::Repeatable | SlotState::Waiting(_) | SlotState::Recorded => 0,
        }
    }
}

#[derive(Debug)]
struct Slot {
    sequence: u64,
    state: SlotState,
}

/// An answer that a seeded session may ask for again.
#[derive(Debug, Clone)]
struct Kept {
    fingerprint: u64,
    ok: bool,
    body: Box<[u8]>,
}

/// An object of which a session holds something, by name. Should the object be deleted and made again, the session holds
/// nothing of the new one, which its type finds out when it is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) persistent: bool,
    pub(super) type_id: u16,
    pub(super) key: Box<str>,
}

#[derive(Debug)]
struct Session {
    terms: SessionTerms,
    last_heard_us: u64,
    /// When the lease was going to end when it was last looked at; never later than its true end.
    checked_at_us: u64,
    slots: BTreeMap<u32, Slot>,
    /// Answers of a seeded session that stand in no heap, by slot and sequence.
    kept: BTreeMap<(u32, u64), Kept>,
    /// Bytes of the answers that the slots keep, and of `kept`.
    kept_bytes: usize,
    holds: BTreeSet<Held>,
    /// Slots below this have a record in the persistent heap perhaps; 0 for a session without a record there.
    recorded_slots: u32,
    /// Its lease ended, and what it held was given back, but its answers are kept for a run of the same seed.
    is_asleep: bool,
}

/// What a slot has to say about a call that arrives in it.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A new call, unless the persistent heap has a record of it (only if `may_be_recorded`).
    New { may_be_recorded: bool, behind: Option<WaiterId> },
    /// The newest call again, which waits.
    StillWaiting(WaiterId),
    /// A call that was answered.
    Answered { ok: bool, body: Box<[u8]> },
    /// A call whose answer stands in the persistent heap.
    Recorded,
}

/// The sessions of a shard, in ordinary memory. Of those that changed persistent objects the region has records too.
///
/// Invariant: `leases` holds each session once, at its `checked_at_us`.
#[derive(Debug)]
pub(super) struct Sessions {
    sessions: HashMap<SessionId, Session, foldhash::fast::RandomState>,
    sessions_max: usize,
    leases: BTreeSet<(u64, SessionId)>,
    expired: HashMap<SessionId, u64, foldhash::fast::RandomState>,
    /// The order in which `expired` is forgotten.
    expired_order: BTreeSet<(u64, SessionId)>,
}

impl Sessions {
    /// No sessions, of which there may be so many.
    pub(super) fn new(sessions_max: usize) -> Sessions {
        Sessions {
            sessions: HashMap::default(),
            sessions_max,
            leases: BTreeSet::new(),
            expired: HashMap::default(),
            expired_order: BTreeSet::new(),
        }
    }

    /// Finds the session of a call, or begins it. A session that is not there began elsewhere in time:
    /// unless this is its first contact with the shard, it has ended.
    pub(super) fn enter(
        &mut self,
        id: SessionId,
        first: bool,
        terms: SessionTerms,
        now_us: u64,
    ) -> Result<(), CallError> {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_heard_us = now_us;
            if std::mem::take(&mut session.is_asleep) {
                // Its lease counts again, which ends long before its sleep would have.
                let before = session.checked_at_us;
                session.checked_at_us = now_us.saturating_add(session.terms.lease_us);
                let checked_at_us = session.checked_at_us;
                self.leases.remove(&(before, id));
                self.leases.insert((checked_at_us, id));
            }
            return Ok(());
        }
        if !first || self.expired.contains_key(&id) {
            return Err(CallError::SessionExpired);
        }
        if self.sessions.len() >= self.sessions_max {
            return Err(CallError::SessionsFull { max: self.sessions_max as u64 });
        }
        self.begin(id, terms, now_us, 0);
        Ok(())
    }

    /// Begins a session, or brings one back that has a record of so many slots.
    pub(super) fn begin(&mut self, id: SessionId, terms: SessionTerms, now_us: u64, recorded_slots: u32) {
        let checked_at_us = now_us.saturating_add(terms.lease_us);
        self.leases.insert((checked_at_us, id));
        let session = Session {
            terms,
            last_heard_us: now_us,
            checked_at_us,
            slots: BTreeMap::new(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            holds: BTreeSet::new(),
            recorded_slots,
            is_asleep: false,
        };
        let before = self.sessions.insert(id, session);
        assert!(before.is_none(), "session {id} began twice");
    }

    /// Renews the lease. Says whether the session has not expired, as far as this shard knows.
    pub(super) fn renew(&mut self, id: SessionId, now_us: u64) -> bool {
        match self.sessions.get_mut(&id) {
            Some(session) => {
                session.last_heard_us = now_us;
                true
            }
            None => !self.expired.contains_key(&id),
        }
    }

    /// Whether the session is there.
    pub(super) fn knows(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Treats every session as heard of that much later.
    pub(super) fn extend_all(&mut self, by_us: u64) {
        for session in self.sessions.values_mut() {
            session.last_heard_us = session.last_heard_us.saturating_add(by_us);
        }
    }

    fn session(&mut self, id: SessionId) -> &mut Session {
        self.sessions.get_mut(&id).expect("the session was entered")
    }

    /// On what terms a session lives.
    pub(super) fn terms(&self, id: SessionId) -> Option<SessionTerms> {
        self.sessions.get(&id).map(|session| session.terms)
    }

    /// Looks at the slot of a call. `fingerprint` says what the call is, if its session is seeded.
    pub(super) fn arrive(
        &mut self,
        id: SessionId,
        slot: u32,
        sequence: u64,
        fingerprint: u64,
    ) -> Result<Arrival, CallError> {
        if slot >= SLOTS_MAX {
            return Err(CallError::SessionsFull { max: SLOTS_MAX.into() });
        }
        let session = self.session(id);
        let is_seeded = session.terms.is_seeded;
        let may_be_recorded = slot < session.recorded_slots || is_seeded && session.recorded_slots > 0;
        if let Some(kept) = session.kept.get(&(slot, sequence)) {
            if kept.fingerprint != fingerprint {
                return Err(other_call(sequence));
            }
            return Ok(Arrival::Answered { ok: kept.ok, body: kept.body.clone() });
        }
        let Some(known) = session.slots.get(&slot) else {
            return Ok(Arrival::New { may_be_recorded, behind: None });
        };
        if sequence < known.sequence && !is_seeded {
            return Err(CallError::StaleSequence { last: known.sequence });
        }
        if sequence != known.sequence {
            let behind = match known.state {
                SlotState::Waiting(waiter) => Some(waiter),
                _ => None,
            };
            return Ok(Arrival::New { may_be_recorded: is_seeded && may_be_recorded, behind });
        }
        Ok(match &known.state {
            SlotState::Repeatable => {
                Arrival::New { may_be_recorded: is_seeded && may_be_recorded, behind: None }
            }
            SlotState::Waiting(waiter) => Arrival::StillWaiting(*waiter),
            SlotState::Done { ok, body } => Arrival::Answered { ok: *ok, body: body.clone() },
            SlotState::Recorded => Arrival::Recorded,
        })
    }

    /// Makes a new call its slot's newest. `TooLarge` if the session's kept answers are more than they may be.
    pub(super) fn take_slot(&mut self, id: SessionId, slot: u32, sequence: u64) -> Result<(), CallError> {
        let session = self.session(id);
        let given_up = session.slots.get(&slot).map_or(0, |known| known.state.kept_bytes());
        if session.kept_bytes - given_up > KEPT_BYTES_MAX {
            return Err(CallError::TooLarge { max: KEPT_BYTES_MAX as u64 });
        }
        session.kept_bytes -= given_up;
        session.slots.insert(slot, Slot { sequence, state: SlotState::Repeatable });
        Ok(())
    }

    /// Puts a call that waits into its slot when a store is opened.
    pub(super) fn restore_wait(&mut self, id: SessionId, slot: u32, sequence: u64, waiter: WaiterId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.slots.insert(slot, Slot { sequence, state: SlotState::Waiting(waiter) });
        }
    }

    /// Records what became of a call, unless the slot has moved on.
    pub(super) fn settle(&mut self, id: SessionId, slot: u32, sequence: u64, state: SlotState) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Some(known) = session.slots.get_mut(&slot)
            && known.sequence == sequence
        {
            session.kept_bytes = session.kept_bytes + state.kept_bytes() - known.state.kept_bytes();
            known.state = state;
        }
    }

    /// Keeps an answer of a seeded session until the session ends.
    pub(super) fn keep(
        &mut self,
        id: SessionId,
        (slot, sequence): (u32, u64),
        fingerprint: u64,
        ok: bool,
        body: &[u8],
    ) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.kept_bytes += body.len();
            session.kept.insert((slot, sequence), Kept { fingerprint, ok, body: body.into() });
        }
    }

    /// How many slots of a session have a record; 0 if it has none itself.
    pub(super) fn recorded_slots(&self, id: SessionId) -> u32 {
        self.sessions.get(&id).map_or(0, |session| session.recorded_slots)
    }

    /// The session has a record of so many slots now.
    pub(super) fn set_recorded_slots(&mut self, id: SessionId, slots: u32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.recorded_slots = slots;
        }
    }

    /// The waiter of a call, if the call is the slot's newest and waits.
    pub(super) fn waiting(&self, id: SessionId, slot: u32, sequence: u64) -> Option<WaiterId> {
        let known = self.sessions.get(&id)?.slots.get(&slot)?;
        match known.state {
            SlotState::Waiting(waiter) if known.sequence == sequence => Some(waiter),
            _ => None,
        }
    }

    pub(super) fn hold(&mut self, id: SessionId, held: Held) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.holds.insert(held);
        }
    }

    pub(super) fn unhold(&mut self, id: SessionId, held: &Held) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.holds.remove(held);
        }
    }

    /// One of the objects of which a session holds something.
    pub(super) fn first_held(&self, id: SessionId) -> Option<Held> {
        self.sessions.get(&id)?.holds.first().cloned()
    }

    /// A session whose lease has ended, or whose sleep.
    pub(super) fn due(&mut self, now_us: u64) -> Option<SessionId> {
        while let Some((checked_at_us, id)) = self.leases.first().copied() {
            if checked_at_us > now_us {
                return None;
            }
            let session = self.session(id);
            let lease_us = if session.is_asleep { SEEDED_SLEEP_US } else { session.terms.lease_us };
            let ends_us = session.last_heard_us.saturating_add(lease_us);
            if ends_us <= now_us {
                return Some(id);
            }
            session.checked_at_us = ends_us;
            self.leases.remove(&(checked_at_us, id));
            self.leases.insert((ends_us, id));
        }
        None
    }

    /// Lets a seeded session whose lease has ended sleep, unless it does already.
    pub(super) fn fall_asleep(&mut self, id: SessionId, now_us: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if !session.terms.is_seeded || session.is_asleep {
            return false;
        }
        session.is_asleep = true;
        session.last_heard_us = now_us;
        let before = session.checked_at_us;
        session.checked_at_us = now_us.saturating_add(SEEDED_SLEEP_US);
        let checked_at_us = session.checked_at_us;
        self.leases.remove(&(before, id));
        self.leases.insert((checked_at_us, id));
        true
    }

    /// When [`Sessions::due`] has to be asked next.
    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        self.leases.first().map(|(ends_us, _)| *ends_us)
    }

    /// The calls of a session that wait, in the order of asking.
    pub(super) fn waits(&self, id: SessionId) -> BTreeSet<WaiterId> {
        let slots = self.sessions.get(&id).into_iter().flat_map(|session| session.slots.values());
        slots
            .filter_map(|slot| match slot.state {
                SlotState::Waiting(waiter) => Some(waiter),
                _ => None,
            })
            .collect()
    }

    /// Forgets a session. One that expired is remembered as such until `expired_until_us`.
    pub(super) fn end(&mut self, id: SessionId, expired_until_us: Option<u64>) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.leases.remove(&(session.checked_at_us, id));
        if let Some(until_us) = expired_until_us {
            self.remember_expired(id, until_us);
        }
    }

    pub(super) fn remember_expired(&mut self, id: SessionId, until_us: u64) {
        if let Some(before) = self.expired.insert(id, until_us) {
            self.expired_order.remove(&(before, id));
        }
        self.expired_order.insert((until_us, id));
    }

    /// An expired session that need not be remembered any more, and is not from here on.
    pub(super) fn forget_expired(&mut self, now_us: u64) -> Option<SessionId> {
        let (until_us, id) = self.expired_order.first().copied()?;
        if until_us > now_us && self.expired_order.len() <= TOMBSTONES_MAX {
            return None;
        }
        self.expired_order.remove(&(until_us, id));
        self.expired.remove(&id);
        Some(id)
    }

    pub(super) fn ids(&self) -> BTreeSet<SessionId> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// The answer to a seeded session's run that asks for another call than the run before did at this point.
pub(super) fn other_call(sequence: u64) -> CallError {
    CallError::bad_argument(format!(
        "the session is seeded, and call {sequence} of its run before was another one: what a function does must follow \
         from its seed and from the answers that it gets"
    ))
}
