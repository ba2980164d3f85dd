//! A tiny heap over simulated memory, for unit tests.

use super::Heap;
use crate::{
    layout::{Geometry, Identity},
    sim::Sim,
};

const BYTES: u64 = 64 << 10;

fn identity() -> Identity {
    Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 }
}

pub(crate) fn heap() -> Heap<Sim> {
    let sim = Sim::new(BYTES);
    Heap::format(&sim, identity(), Geometry::tiny()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    Heap::open(sim, [0; 16]).unwrap()
}

/// What a crash that keeps nothing more than it must leaves, opened.
pub(crate) fn reopen(heap: &Heap<Sim>) -> Heap<Sim> {
    let sim = Sim::with_words(heap.mem().config(), heap.mem().durable_words());
    Heap::open(sim, [0; 16]).unwrap()
}
