//! Times at which objects want to be looked at.

use super::names::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};

/// At most one alarm an object. Only in ordinary memory: when a store is opened, objects in which calls wait set theirs anew.
///
/// Invariant: `times` and `objects` hold the same alarms.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    times: BTreeSet<(u64, ObjectRef)>,
    objects: BTreeMap<ObjectRef, (u64, Box<str>)>,
}

impl Alarms {
    /// Sets an object's alarm anew, or ends it.
    pub(super) fn set(&mut self, object: ObjectRef, key: &str, at_us: Option<u64>) {
        self.take(object);
        if let Some(at_us) = at_us {
            self.times.insert((at_us, object));
            self.objects.insert(object, (at_us, key.into()));
        }
    }

    /// Ends an object's alarm. Gives the object's key if it had one.
    pub(super) fn take(&mut self, object: ObjectRef) -> Option<Box<str>> {
        let (at_us, key) = self.objects.remove(&object)?;
        self.times.remove(&(at_us, object));
        Some(key)
    }

    /// An object whose time has come; its alarm ends with that.
    pub(super) fn take_due(&mut self, now_us: u64) -> Option<(ObjectRef, Box<str>)> {
        let (_, object) = self.times.first().filter(|(at_us, _)| *at_us <= now_us).copied()?;
        self.take(object).map(|key| (object, key))
    }

    pub(super) fn next_us(&self) -> Option<u64> {
        self.times.first().map(|(at_us, _)| *at_us)
    }
}
