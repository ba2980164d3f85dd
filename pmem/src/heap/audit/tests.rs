//! Each kind of damage is found, and nothing else is.

use super::*;
use crate::{
    Geometry, Heap, Identity,
    heap::{HeapError, descriptor},
    mem::LINE,
    sim::Sim,
};

/// A heap in which some blocks of several classes and a run are allocated; the blocks.
fn heap() -> (Heap<Sim>, Vec<(u64, u64)>) {
    let sim = Sim::new(64 << 10);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&sim, identity, Geometry::tiny()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    let heap = Heap::open(sim, [0; 16]).unwrap();
    let sizes = [64, 64, 100, 128, 2000].into_iter().chain([64; 20]);
    let blocks = sizes
        .map(|bytes| (heap.atomically::<_, HeapError>(0, |tx| tx.allocate(bytes)).unwrap(), bytes))
        .collect();
    (heap, blocks)
}

/// All that threads see.
fn words_of(heap: &Heap<Sim>) -> Vec<u64> {
    (0..heap.mem().len() / WORD).map(|word| heap.mem().load(word * WORD)).collect()
}

/// What an audit finds in the heap's memory after `damage`.
fn after(heap: &Heap<Sim>, owned: &[(u64, u64)], damage: impl FnOnce(&Sim)) -> Vec<Problem> {
    heap.writer(0).commit().unwrap();
    let sim = Sim::with_words(heap.mem().config(), words_of(heap));
    let damaged = Heap::open(sim, [0; 16]).unwrap();
    damage(damaged.mem());
    let audit = audit(&damaged.reader(0), owned.iter().copied());
    assert_eq!(audit.problem_count, audit.problems.len() as u64);
    audit.problems
}

#[test]
fn what_is_owned_and_allocated_is_no_problem() {
    let (heap, blocks) = heap();
    let audit = audit(&heap.reader(0), blocks.iter().copied());
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.blocks, blocks.len() as u64);
    assert_eq!(audit.index + audit.other_shards, 0);
    assert!(audit.free > 0 && audit.chunks >= 6);
}

#[test]
fn leaks_danglers_and_blocks_with_two_owners_are_told_apart() {
    let (heap, blocks) = heap();
    for i in 0..blocks.len() {
        let mut owned = blocks.clone();
        let (offset, bytes) = owned.remove(i);
        let found = after(&heap, &owned, |_| {});
        assert!(matches!(found[..], [Problem::Leaked { offset: at, .. }] if at == offset), "{found:?}");
        owned.extend([(offset, bytes), (offset, bytes)]);
        assert_eq!(after(&heap, &owned, |_| {}), [Problem::OwnedTwice { offset }]);
    }
    let mut owned = blocks.clone();
    for wrong in [8, 3, u64::MAX, blocks[0].0 + 16, blocks[4].0 + 1024] {
        owned.push((wrong, 64));
        assert_eq!(after(&heap, &owned, |_| {}), [Problem::NotABlock { offset: wrong, bytes: 64 }]);
        owned.pop();
    }
    owned[0].1 = 65;
    assert_eq!(
        after(&heap, &owned, |_| {}),
        [
            Problem::NotABlock { offset: blocks[0].0, bytes: 65 },
            Problem::Leaked { offset: blocks[0].0, bytes: 64 }
        ]
    );
    let free = blocks.iter().filter(|block| block.1 == 64).map(|block| block.0).max().unwrap() + 64;
    owned[0].1 = 64;
    owned.push((free, 64));
    assert_eq!(after(&heap, &owned, |_| {}), [Problem::Dangling { offset: free }]);
}

#[test]
fn damaged_descriptors_bitmaps_and_lists_are_named() {
    let (heap, blocks) = heap();
    let layout = heap.layout();
    // A chunk with room of 128-byte blocks, and the run.
    let chunk = layout.chunk_of(blocks[3].0).unwrap();
    let run = layout.chunk_of(blocks[4].0).unwrap();
    let (class, high) = (layout.class_of(128).unwrap(), layout.shard_header(0) + 2 * LINE);
    let flip = |at: u64, bits: u64| move |sim: &Sim| sim.store(at, sim.load(at) ^ bits);
    let found = after(&heap, &blocks, flip(layout.descriptor(chunk), 1 << 9));
    assert!(found.contains(&Problem::Descriptor { chunk }), "{found:?}");
    let found = after(&heap, &blocks, flip(layout.descriptor(run) + descriptor::NEXT, 1));
    assert_eq!(found, [], "the links of a run mean nothing");
    let found = after(&heap, &blocks, flip(layout.bitmap(chunk), 1 << 8));
    assert_eq!(found, [Problem::StrayBits { chunk }], "eight blocks of 128 bytes in a chunk");
    let free = (0..).find(|&chunk| layout.is_data_chunk(chunk) && chunk > run + 3).unwrap();
    let found = after(&heap, &blocks, flip(layout.bitmap(free), 2));
    assert_eq!(found, [Problem::StrayBits { chunk: free }]);
    let found = after(&heap, &blocks, |sim| sim.store(high, u64::from(run) + 1));
    assert!(found.contains(&Problem::BeyondHigh { chunk: run }), "{found:?}");
    let head = layout.shard_header(0) + SHARD_LISTS + class as u64 * WORD;
    let found = after(&heap, &blocks, |sim| sim.store(head, 0));
    assert_eq!(found, [Problem::Unlisted { chunk, free: 7 }]);
    for wrong in [u64::from(run) + 1, u64::MAX, 1] {
        let found = after(&heap, &blocks, |sim| sim.store(head, wrong));
        assert_eq!(found[0], Problem::List { class, offset: head });
    }
    let next = layout.descriptor(chunk) + NEXT;
    let found = after(&heap, &blocks, |sim| sim.store(next, u64::from(chunk) + 1));
    assert_eq!(found, [Problem::List { class, offset: next }], "a list that bites its tail");
    let found = after(&heap, &blocks, flip(layout.descriptor(chunk) + PREVIOUS, 1));
    assert_eq!(found, [Problem::List { class, offset: head }, Problem::Unlisted { chunk, free: 7 }]);
}

#[test]
fn any_bytes_are_audited_without_panic() {
    let (heap, blocks) = heap();
    let words = words_of(&heap);
    let zones = (heap.layout().zones / WORD) as usize;
    let header = (heap.layout().shard_header(0) + 2 * LINE) / WORD;
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let image = Sim::with_words(heap.mem().config(), words.clone());
        let heap = Heap::open(image, [0; 16]).unwrap();
        for _ in 0..rng.u32(1..400) {
            let word = if rng.u32(0..4) == 0 {
                header + rng.u64(0..40)
            } else {
                rng.usize(zones..words.len().min(zones + 1024)) as u64
            };
            let value = if rng.bool() { rng.u64(..) } else { rng.u64(0..80) };
            heap.mem().store(word * WORD, value);
        }
        heap.mem().set_loads_max(100_000);
        let audit = audit(&heap.reader(0), blocks.iter().copied());
        assert!(audit.problems.len() <= Audit::PROBLEMS_MAX);
    }
}
