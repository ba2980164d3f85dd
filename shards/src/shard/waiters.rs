//! Calls that wait: a record each, no thread and no task.

use super::{
    names::ObjectRef,
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
    pub(super) method: u16,
    /// As which owner (a thread) of its session it waits, if its method says.
    pub(super) owner: Option<u64>,
    pub(super) since_us: u64,
    pub(super) deadline_us: Option<u64>,
    /// The version that it has seen, if it waits for a newer one. It is in no queue of the object then.
    pub(super) watches: Option<u64>,
    /// What the call was, if its session is seeded.
    pub(super) fingerprint: u64,
}

/// The calls that wait in one object.
#[derive(Debug, Clone)]
pub(super) struct Gathering {
    pub(super) key: Box<str>,
    pub(super) ids: BTreeSet<WaiterId>,
    /// Those of them that wait for a newer version than this.
    pub(super) watchers: BTreeMap<WaiterId, u64>,
}

/// All calls of a shard that wait. In ordinary memory; those in persistent objects have a record in the region too.
///
/// Invariant: `deadlines` holds exactly the waiters that have one, and `gatherings` each waiter once, in its object's.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiters: BTreeMap<WaiterId, Waiter>,
    deadlines: BTreeSet<(u64, WaiterId)>,
    gatherings: BTreeMap<ObjectRef, Gathering>,
    last: u64,
}

impl Waiters {
    /// The id that the next waiter gets.
    pub(super) fn next_id(&self) -> WaiterId {
        WaiterId(self.last + 1)
    }

    /// Adds a waiter, in an object of this key. Its id is above all before, or (when a store is opened) was given in an earlier run.
    pub(super) fn add(&mut self, id: WaiterId, waiter: Waiter, key: &str) {
        self.last = self.last.max(id.0);
        self.deadlines.extend(waiter.deadline_us.map(|deadline_us| (deadline_us, id)));
        let gathering = self.gatherings.entry(waiter.object).or_insert_with(|| Gathering {
            key: key.into(),
            ids: BTreeSet::new(),
            watchers: BTreeMap::new(),
        });
        gathering.ids.insert(id);
        gathering.watchers.extend(waiter.watches.map(|version| (id, version)));
        let before = self.waiters.insert(id, waiter);
        assert!(before.is_none(), "{id:?} was given twice");
    }

    /// The waiter, if it still waits.
    pub(super) fn get(&self, id: WaiterId) -> Option<&Waiter> {
        self.waiters.get(&id)
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Waiter {
        let waiter = self.waiters.remove(&id);
        let waiter = waiter.unwrap_or_else(|| panic!("{id:?} was woken twice"));
        if let Some(deadline_us) = waiter.deadline_us {
            self.deadlines.remove(&(deadline_us, id));
        }
        let gathering = self.gatherings.get_mut(&waiter.object).expect("a waiter's object has a gathering");
        gathering.ids.remove(&id);
        gathering.watchers.remove(&id);
        if gathering.ids.is_empty() {
            self.gatherings.remove(&waiter.object);
        }
        waiter
    }

    /// Lets a waiter wait for ever.
    pub(super) fn forget_deadline(&mut self, id: WaiterId) {
        if let Some(deadline_us) = self.waiters.get_mut(&id).and_then(|waiter| waiter.deadline_us.take()) {
            self.deadlines.remove(&(deadline_us, id));
        }
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

    /// Those that wait in an object, if any do.
    pub(super) fn of(&self, object: ObjectRef) -> Option<&Gathering> {
        self.gatherings.get(&object)
    }

    /// How many wait in an object.
    pub(super) fn count_of(&self, object: ObjectRef) -> usize {
        self.of(object).map_or(0, |gathering| gathering.ids.len())
    }

    /// All objects in which calls wait.
    pub(super) fn gatherings(&self) -> impl Iterator<Item = (ObjectRef, &Gathering)> {
        self.gatherings.iter().map(|(object, gathering)| (*object, gathering))
    }

    /// Waiters behind an id, in the order of asking.
    pub(super) fn after(&self, id: WaiterId) -> impl Iterator<Item = (WaiterId, &Waiter)> {
        let behind = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
        self.waiters.range(behind).map(|(id, waiter)| (*id, waiter))
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}
