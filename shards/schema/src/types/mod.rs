//! The built-in types. The methods' meaning is that of `java.util.concurrent`, with the corrections that
//! each documents.

mod arrays;
mod atomics;
mod collections;
mod locks;
mod meetings;
mod numbers;
mod own;
mod queues;
mod sets;
mod synchronisation;

pub use arrays::{blob, matrix, vector};

pub use atomics::{
    atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, counter,
};
pub use collections::{list, map};
pub use locks::{condition, election, rw_lock};
pub use meetings::{event, exchanger, phaser, reducer, rendezvous};
pub use numbers::{id_generator, rate_limiter};
pub use own::{object, shard};
pub use queues::{priority_queue, queue, topic};
pub use sets::{set, sorted_map};
pub use synchronisation::{count_down_latch, cyclic_barrier, future, mutex, semaphore};

use crate::TypeInfo;

/// Every built-in type of object.
pub static BUILT_IN: [&TypeInfo; 32] = [
    &atomic_bool::INFO,
    &atomic_int::INFO,
    &atomic_long::INFO,
    &atomic_double::INFO,
    &counter::INFO,
    &atomic_byte_array::INFO,
    &atomic_ref::INFO,
    &map::INFO,
    &list::INFO,
    &cyclic_barrier::INFO,
    &count_down_latch::INFO,
    &semaphore::INFO,
    &future::INFO,
    &mutex::INFO,
    &sorted_map::INFO,
    &set::INFO,
    &matrix::INFO,
    &vector::INFO,
    &blob::INFO,
    &queue::INFO,
    &priority_queue::INFO,
    &topic::INFO,
    &id_generator::INFO,
    &rate_limiter::INFO,
    &rw_lock::INFO,
    &condition::INFO,
    &election::INFO,
    &phaser::INFO,
    &exchanger::INFO,
    &event::INFO,
    &rendezvous::INFO,
    &reducer::INFO,
];

/// The built-in type of this name.
pub fn find_type(name: &str) -> Option<&'static TypeInfo> {
    BUILT_IN.into_iter().find(|info| info.name == name)
}

/// The built-in type of this number.
pub fn find_type_id(id: u16) -> Option<&'static TypeInfo> {
    BUILT_IN.into_iter().find(|info| info.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_number_and_no_name_is_used_twice() {
        let ids: BTreeSet<_> = BUILT_IN.iter().map(|info| info.id).collect();
        let names: BTreeSet<_> = BUILT_IN.iter().map(|info| info.name).collect();
        assert_eq!((ids.len(), names.len()), (BUILT_IN.len(), BUILT_IN.len()));
        for info in BUILT_IN.into_iter().chain([&object::INFO, &shard::INFO]) {
            let ids: BTreeSet<_> = info.methods.iter().map(|method| method.id).collect();
            let names: BTreeSet<_> = info.methods.iter().map(|method| method.name).collect();
            assert_eq!((ids.len(), names.len()), (info.methods.len(), info.methods.len()), "{}", info.name);
            let is_own = info.id == object::INFO.id;
            assert!(info.methods.iter().all(|method| (method.id >= 0xff00) == is_own), "{}", info.name);
        }
    }
}
