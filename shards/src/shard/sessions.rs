//! Sessions: who calls, what was answered, what is held, and when a lease ends.

use super::{
    ObjectRef,
    object::{SessionId, WaiterId},
};
use abide_net::{CallError, limits::SLOTS_MAX};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most sessions that one shard keeps. Each takes a few hundred bytes.
pub(super) const SESSIONS_MAX: usize = 100_000;

/// How long a shard remembers that a session expired. A client gives up retrying long before.
const TOMBSTONE_US: u64 = 600_000_000;

/// Bytes of answers that one session may have kept for retries. A slot gives its own up with its next call.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 20;

/// Most expired sessions remembered.
const TOMBSTONES_MAX: usize = 100_000;

/// What became of a slot's newest call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotState {
    /// It was a read, which a retry simply makes again; or it never got as far as its object.
    Repeatable,
    /// It waits.
    Waiting(WaiterId),
    /// It was answered like this.
    Done { ok: bool, body: Box<[u8]> },
}

impl SlotState {
    fn kept_bytes(&self) -> usize {
        match self {
            SlotState::Done { body, .. } => body.len(),
            SlotState::Repeatable | SlotState::Waiting(_) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    pub(super) state: SlotState,
}

#[derive(Debug)]
struct Session {
    lease_us: u64,
    last_heard_us: u64,
    /// When the lease was going to end when it was last looked at; never later than its true end.
    checked_at_us: u64,
    slots: BTreeMap<u32, Slot>,
    /// Bytes of the answers that the slots keep.
    kept_bytes: usize,
    holds: BTreeSet<ObjectRef>,
}

/// What a slot has to say about a call that arrives in it.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A new call.
    New,
    /// A new call, while an older one still waits that its client has given up.
    NewBehind(WaiterId),
    /// The newest call again, which waits.
    StillWaiting(WaiterId),
    /// The newest call again, which was answered.
    Answered { ok: bool, body: Box<[u8]> },
}

/// The sessions of a shard.
///
/// Invariant: `leases` holds each session once, at its `checked_at_us`.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<SessionId, Session>,
    leases: BTreeSet<(u64, SessionId)>,
    expired: HashMap<SessionId, u64>,
    /// The order in which `expired` is forgotten.
    expired_order: BTreeSet<(u64, SessionId)>,
}

impl Sessions {
    /// Finds the session of a call, or begins it. A session that is not there began elsewhere in time:
    /// unless this is its first contact with the shard, it has ended.
    pub(super) fn enter(
        &mut self,
        id: SessionId,
        first: bool,
        lease_us: u64,
        now_us: u64,
    ) -> Result<(), CallError> {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_heard_us = now_us;
            return Ok(());
        }
        if !first || self.expired.contains_key(&id) {
            return Err(CallError::SessionExpired);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(CallError::SessionsFull { max: SESSIONS_MAX as u64 });
        }
        let checked_at_us = now_us.saturating_add(lease_us);
        self.leases.insert((checked_at_us, id));
        let session = Session {
            lease_us,
            last_heard_us: now_us,
            checked_at_us,
            slots: BTreeMap::new(),
            kept_bytes: 0,
            holds: BTreeSet::new(),
        };
        self.sessions.insert(id, session);
        Ok(())
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

    /// Treats every session as heard of that much later.
    pub(super) fn extend_all(&mut self, by_us: u64) {
        for session in self.sessions.values_mut() {
            session.last_heard_us = session.last_heard_us.saturating_add(by_us);
        }
    }

    fn session(&mut self, id: SessionId) -> &mut Session {
        self.sessions.get_mut(&id).expect("the session was entered")
    }

    /// Looks at the slot of a call, and makes it the slot's newest if it is new.
    pub(super) fn arrive(&mut self, id: SessionId, slot: u32, sequence: u64) -> Result<Arrival, CallError> {
        let session = self.session(id);
        if slot >= SLOTS_MAX {
            return Err(CallError::SessionsFull { max: SLOTS_MAX.into() });
        }
        let new = || Slot { sequence, state: SlotState::Repeatable };
        let too_much = CallError::TooLarge { max: KEPT_BYTES_MAX as u64 };
        let Some(known) = session.slots.get_mut(&slot) else {
            if session.kept_bytes > KEPT_BYTES_MAX {
                return Err(too_much);
            }
            session.slots.insert(slot, new());
            return Ok(Arrival::New);
        };
        if sequence < known.sequence {
            return Err(CallError::StaleSequence { last: known.sequence });
        }
        if sequence > known.sequence {
            let given_up = known.state.kept_bytes();
            if session.kept_bytes - given_up > KEPT_BYTES_MAX {
                return Err(too_much);
            }
            session.kept_bytes -= given_up;
            let before = std::mem::replace(known, new());
            return Ok(match before.state {
                SlotState::Waiting(waiter) => Arrival::NewBehind(waiter),
                _ => Arrival::New,
            });
        }
        Ok(match &known.state {
            SlotState::Repeatable => Arrival::New,
            SlotState::Waiting(waiter) => Arrival::StillWaiting(*waiter),
            SlotState::Done { ok, body } => Arrival::Answered { ok: *ok, body: body.clone() },
        })
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

    /// The waiter of a call, if the call is the slot's newest and waits.
    pub(super) fn waiting(&self, id: SessionId, slot: u32, sequence: u64) -> Option<WaiterId> {
        let known = self.sessions.get(&id)?.slots.get(&slot)?;
        match known.state {
            SlotState::Waiting(waiter) if known.sequence == sequence => Some(waiter),
            _ => None,
        }
    }

    pub(super) fn hold(&mut self, id: SessionId, object: ObjectRef) {
        self.session(id).holds.insert(object);
    }

    pub(super) fn unhold(&mut self, id: SessionId, object: ObjectRef) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.holds.remove(&object);
        }
    }

    /// A session whose lease has ended.
    pub(super) fn due(&mut self, now_us: u64) -> Option<SessionId> {
        while let Some((until_us, id)) = self.expired_order.first().copied()
            && (until_us <= now_us || self.expired_order.len() > TOMBSTONES_MAX)
        {
            self.expired_order.remove(&(until_us, id));
            self.expired.remove(&id);
        }
        while let Some((checked_at_us, id)) = self.leases.first().copied() {
            if checked_at_us > now_us {
                return None;
            }
            let session = self.session(id);
            let ends_us = session.last_heard_us.saturating_add(session.lease_us);
            if ends_us <= now_us {
                return Some(id);
            }
            session.checked_at_us = ends_us;
            self.leases.remove(&(checked_at_us, id));
            self.leases.insert((ends_us, id));
        }
        None
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

    /// Forgets a session, and returns the objects of which it holds something. One that expired is
    /// remembered as such for a while.
    pub(super) fn end(&mut self, id: SessionId, expired: bool, now_us: u64) -> Option<BTreeSet<ObjectRef>> {
        let session = self.sessions.remove(&id)?;
        self.leases.remove(&(session.checked_at_us, id));
        if expired {
            let until_us = now_us.saturating_add(TOMBSTONE_US);
            self.expired.insert(id, until_us);
            self.expired_order.insert((until_us, id));
        }
        Some(session.holds)
    }

    pub(super) fn ids(&self) -> BTreeSet<SessionId> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}
