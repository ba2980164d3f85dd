//! Calls that wait: a record each, no thread and no task.

use super::{
    ObjectRef,
    object::{SessionId, WaiterId},
    outbox::Origin,
};
use std::collections::{BTreeMap, BTreeSet};

/// Names a call and says where its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallName {
    pub(super) session: SessionId,
    pub(super) slot: u32,
    pub(super) sequence: u64,
    pub(super) origin: Origin,
}

/// A call that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) call: CallName,
    pub(super) object: ObjectRef,
    pub(super) deadline_us: Option<u64>,
}

/// All calls of a shard that wait.
///
/// Invariant: `deadlines` holds exactly the waiters that have one; each waiter is in exactly one object's
/// keeping and in exactly one slot's state.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiters: BTreeMap<WaiterId, Waiter>,
    deadlines: BTreeSet<(u64, WaiterId)>,
    last: u64,
}

impl Waiters {
    pub(super) fn add(&mut self, call: CallName, object: ObjectRef, deadline_us: Option<u64>) -> WaiterId {
        self.last += 1;
        let id = WaiterId(self.last);
        self.deadlines.extend(deadline_us.map(|deadline_us| (deadline_us, id)));
        self.waiters.insert(id, Waiter { call, object, deadline_us });
        id
    }

    /// A waiter that its object or a slot names: it is there, or the shard's books are wrong.
    pub(super) fn get(&self, id: WaiterId) -> &Waiter {
        self.waiters
            .get(&id)
            .unwrap_or_else(|| panic!("{id:?} waits no more, but is still in someone's keeping"))
    }

    /// Whether it still waits.
    pub(super) fn contains(&self, id: WaiterId) -> bool {
        self.waiters.contains_key(&id)
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Waiter {
        let waiter = self.waiters.remove(&id);
        let waiter = waiter.unwrap_or_else(|| panic!("{id:?} was woken twice"));
        if let Some(deadline_us) = waiter.deadline_us {
            self.deadlines.remove(&(deadline_us, id));
        }
        waiter
    }

    /// The client reconnected and asked again: the answer goes to the new connection.
    pub(super) fn redirect(&mut self, id: WaiterId, origin: Origin) {
        self.waiters.get_mut(&id).expect("the slot says that it waits").call.origin = origin;
    }

    /// A waiter whose time has come.
    pub(super) fn due(&self, now_us: u64) -> Option<WaiterId> {
        self.deadlines.first().filter(|(deadline_us, _)| *deadline_us <= now_us).map(|(_, id)| *id)
    }

    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }

    /// The newest waiter's id.
    pub(super) fn last(&self) -> WaiterId {
        WaiterId(self.last)
    }

    /// The waiter that was added since `before` was the newest, if it still waits.
    pub(super) fn newer_than(&self, before: WaiterId) -> Option<WaiterId> {
        self.waiters.last_key_value().map(|(id, _)| *id).filter(|id| *id > before)
    }

    /// The waiters that are in this object's keeping. Looks at all of the shard's.
    pub(super) fn of(&self, serial: u64) -> Vec<WaiterId> {
        let theirs = self.waiters.iter().filter(|(_, waiter)| waiter.object.serial == serial);
        theirs.map(|(id, _)| *id).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}
