//! Which objects were called lately, in ordinary memory: so that a call need not look into the heap for a name.
//!
//! A direct-mapped table. What is in it is there: an object comes into it when it was found in the heap, outside of any block,
//! and leaves it when a block that removes its name took effect. What was taken back with a block was never in it.

use super::ObjectRef;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Number of places, a power of two.
const PLACES: usize = 1024;

/// Longer keys are looked up each time, so that the table stays small.
const KEY_BYTES_MAX: usize = 128;

#[derive(Debug, Default)]
struct Place {
    object: Option<ObjectRef>,
    /// Its key; of a place that is free, memory for the next one.
    key: String,
}

/// Objects of one space by type and key.
#[derive(Debug, Default)]
pub(super) struct Nearby {
    /// Empty until the first object comes.
    places: Vec<Place>,
}

impl Nearby {
    fn place(type_id: u16, key: &str) -> usize {
        xxh3_64_with_seed(key.as_bytes(), type_id.into()) as usize % PLACES
    }

    /// The object of this name, if it is here. If it is not, it may exist all the same.
    pub(super) fn get(&self, type_id: u16, key: &str) -> Option<ObjectRef> {
        if self.places.is_empty() || key.len() > KEY_BYTES_MAX {
            return None;
        }
        let place = &self.places[Nearby::place(type_id, key)];
        place.object.filter(|object| object.type_id == type_id && place.key == key)
    }

    /// Notes an object that was found in the heap, in the place of another perhaps.
    pub(super) fn put(&mut self, object: ObjectRef, key: &str) {
        if key.len() > KEY_BYTES_MAX {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Place::default);
        }
        let place = &mut self.places[Nearby::place(object.type_id, key)];
        place.object = Some(object);
        place.key.clear();
        place.key.push_str(key);
    }

    /// Forgets the object of this name, which is gone.
    pub(super) fn forget(&mut self, type_id: u16, key: &str) {
        if self.get(type_id, key).is_some() {
            self.places[Nearby::place(type_id, key)].object = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(type_id: u16, at: u64) -> ObjectRef {
        ObjectRef { persistent: false, at, type_id, count: 3 }
    }

    #[test]
    fn an_object_is_found_by_type_and_key_until_it_is_forgotten() {
        let mut nearby = Nearby::default();
        assert_eq!(nearby.get(1, "a"), None);
        nearby.put(object(1, 64), "a");
        nearby.put(object(2, 128), "a");
        assert_eq!(nearby.get(1, "a"), Some(object(1, 64)));
        assert_eq!(nearby.get(2, "a"), Some(object(2, 128)));
        nearby.forget(1, "a");
        assert_eq!((nearby.get(1, "a"), nearby.get(2, "a")), (None, Some(object(2, 128))));
    }

    #[test]
    fn one_that_took_anothers_place_is_not_taken_for_it() {
        let mut nearby = Nearby::default();
        let mut hits = 0;
        for nth in 0..3 * PLACES as u64 {
            nearby.put(object(1, 64 * nth), &format!("key {nth}"));
        }
        for nth in 0..3 * PLACES as u64 {
            let found = nearby.get(1, &format!("key {nth}"));
            assert!(found.is_none() || found == Some(object(1, 64 * nth)), "key {nth}: {found:?}");
            hits += usize::from(found.is_some());
            // Does not take out whoever is in its place now.
            nearby.forget(1, &format!("key {}", nth + 3 * PLACES as u64));
        }
        assert!(hits > 0 && hits <= PLACES);
    }
}
