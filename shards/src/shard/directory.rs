//! The objects of a shard, by name.

use super::{Object, ObjectRef};
use crate::Registry;
use abide_net::CallError;
use abide_schema::{ObjectName, Page, TypeInfo};
use serde::{Deserialize, Serialize};
use slab::Slab;
use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// An object's state at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedObject {
    /// Its name.
    pub name: ObjectName,
    /// The encoded arguments that it was created with.
    pub creation: Vec<u8>,
    /// When it was created, in microseconds since 1970.
    pub created_us: u64,
    /// How often it was changed.
    pub version: u64,
    /// What [`Object::save`] gave.
    pub state: Vec<u8>,
}

/// An object and what the shard keeps about it.
pub(super) struct Entry {
    pub(super) serial: u64,
    pub(super) name: ObjectName,
    pub(super) info: &'static TypeInfo,
    /// The encoded arguments that it was created with.
    pub(super) creation: Box<[u8]>,
    pub(super) created_us: u64,
    pub(super) last_call_us: u64,
    pub(super) version: u64,
    object: Box<dyn Object>,
    /// Why the object answers no more: a method panicked half-way.
    panicked: Option<String>,
}

impl Entry {
    /// Uses the object; a panic makes it answer `MethodPanicked` from now on, since nobody knows how far
    /// the method came. The shard and its other objects go on.
    pub(super) fn guarded<T>(
        &mut self,
        use_object: impl FnOnce(&mut dyn Object) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        if let Some(message) = &self.panicked {
            return Err(CallError::MethodPanicked { message: message.clone() });
        }
        // The object is not looked at again after a panic, and waiters and sessions are changed by single
        // steps that do not panic half-way.
        match catch_unwind(AssertUnwindSafe(|| use_object(&mut *self.object))) {
            Ok(result) => result,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                self.panicked = Some(message.clone());
                Err(CallError::MethodPanicked { message })
            }
        }
    }

    /// The object, only to be looked at.
    pub(super) fn object(&self) -> &dyn Object {
        &*self.object
    }

    /// The creation arguments in words.
    pub(super) fn creation_text(&self) -> String {
        let json = (self.info.creation_to_json)(&self.creation);
        json.map_or_else(|_| "arguments that cannot be shown".to_owned(), |json| json.to_string())
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.info.name, self.name.key)
    }
}

/// The objects of a shard.
///
/// Invariant: `names`, `order` and `entries` hold the same objects. `names` is only looked up, never
/// iterated: whatever has an order here goes by `order`, the serial numbers.
#[derive(Debug)]
pub(super) struct Directory {
    registry: Registry,
    entries: Slab<Entry>,
    names: HashMap<u16, HashMap<String, usize>>,
    order: BTreeMap<u64, usize>,
    last_serial: u64,
}

impl Directory {
    pub(super) fn new(registry: Registry) -> Directory {
        Directory {
            registry,
            entries: Slab::new(),
            names: HashMap::new(),
            order: BTreeMap::new(),
            last_serial: 0,
        }
    }

    pub(super) fn find(&self, type_id: u16, key: &str) -> Option<ObjectRef> {
        let index = *self.names.get(&type_id)?.get(key)?;
        Some(ObjectRef { serial: self.entries[index].serial, index })
    }

    pub(super) fn by_ref(&mut self, object: ObjectRef) -> Option<&mut Entry> {
        self.entries.get_mut(object.index).filter(|entry| entry.serial == object.serial)
    }

    /// Makes a new object under a name that is free.
    pub(super) fn create(
        &mut self,
        type_id: u16,
        key: &str,
        creation: &[u8],
        now_us: u64,
    ) -> Result<ObjectRef, CallError> {
        let known = self.known(type_id)?;
        let object = (known.create)(creation)?;
        Ok(self.insert(Entry {
            serial: 0,
            name: ObjectName { type_id, key: key.to_owned() },
            info: known.info,
            creation: creation.into(),
            created_us: now_us,
            last_call_us: now_us,
            version: 0,
            object,
            panicked: None,
        }))
    }

    /// The registered type of this number.
    pub(super) fn known(&self, type_id: u16) -> Result<crate::registry::RegisteredType, CallError> {
        self.registry
            .get(type_id)
            .ok_or_else(|| CallError::NoSuchMethod { name: format!("object type {type_id}") })
    }

    fn insert(&mut self, mut entry: Entry) -> ObjectRef {
        self.last_serial += 1;
        let serial = self.last_serial;
        entry.serial = serial;
        let (type_id, key) = (entry.name.type_id, entry.name.key.clone());
        let index = self.entries.insert(entry);
        let before = self.names.entry(type_id).or_default().insert(key, index);
        assert!(before.is_none(), "two objects with one name");
        self.order.insert(serial, index);
        ObjectRef { serial, index }
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, object: ObjectRef) -> Option<Entry> {
        self.by_ref(object)?;
        let entry = self.entries.remove(object.index);
        self.order.remove(&object.serial);
        if let Some(keys) = self.names.get_mut(&entry.name.type_id) {
            keys.remove(&entry.name.key);
        }
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Objects in the order of their creation, from after the serial number `cursor`.
    pub(super) fn page(
        &self,
        type_id: Option<u16>,
        prefix: &str,
        cursor: u64,
        limit: usize,
    ) -> Page<ObjectName, u64> {
        let after = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
        let matching = self.order.range(after).map(|(serial, index)| (*serial, &self.entries[*index].name));
        let mut matching = matching
            .filter(|(_, name)| type_id.is_none_or(|id| id == name.type_id) && name.key.starts_with(prefix));
        let mut entries = Vec::new();
        let mut last = cursor;
        for (serial, name) in matching.by_ref().take(limit) {
            entries.push(name.clone());
            last = serial;
        }
        Page { next: matching.next().map(|_| last), entries }
    }

    pub(super) fn save(&self) -> Vec<SavedObject> {
        let whole = self.order.values().map(|index| &self.entries[*index]);
        whole
            .filter(|entry| entry.panicked.is_none())
            .map(|entry| SavedObject {
                name: entry.name.clone(),
                creation: entry.creation.to_vec(),
                created_us: entry.created_us,
                version: entry.version,
                state: entry.object.save(),
            })
            .collect()
    }

    pub(super) fn restore(&mut self, saved: &SavedObject) -> Result<(), CallError> {
        let known = self.known(saved.name.type_id)?;
        let object = (known.restore)(&saved.state)?;
        if self.find(saved.name.type_id, &saved.name.key).is_some() {
            return Err(CallError::bad_argument(format!("two objects named {:?}", saved.name)));
        }
        self.insert(Entry {
            serial: 0,
            name: saved.name.clone(),
            info: known.info,
            creation: saved.creation.clone().into(),
            created_us: saved.created_us,
            last_call_us: saved.created_us,
            version: saved.version,
            object,
            panicked: None,
        });
        Ok(())
    }
}
