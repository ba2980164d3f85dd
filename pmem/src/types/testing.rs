//! What the tests of persistent types share: heaps over simulated memory, cuts at random moments, and a look for leaks.

use super::{Owned, ROOT_BYTES, TypeError, garbage, visit_root};
use crate::{
    heap::{
        Heap, HeapError, Tx,
        descriptor::{Descriptor, Use, block_bytes},
    },
    layout::{Geometry, Identity},
    mem::{Mem, WORD},
    sim::{Hook, Limits, Sim, Step, Watch},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const SAMPLES: Limits = Limits { exhaustive_max: 16, samples: 16 };

/// A new heap in so many bytes.
pub(super) fn heap(geometry: Geometry, bytes: u64) -> Heap<Sim> {
    let sim = Sim::new(bytes);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&sim, identity, geometry).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    Heap::open(sim, [0; 16]).unwrap()
}

/// A heap of the smallest sizes.
pub(super) fn tiny_heap() -> Heap<Sim> {
    heap(Geometry::tiny(), 96 << 10)
}

/// The same heap after a cut that lost all that could be lost.
pub(super) fn reopen(heap: &Heap<Sim>) -> Heap<Sim> {
    let sim = Sim::with_words(heap.mem().config(), heap.mem().durable_words());
    Heap::open(sim, [0; 16]).unwrap()
}

/// A root of zeros in a block of its own.
pub(super) fn new_root(heap: &Heap<Sim>) -> u64 {
    run(heap, |tx| {
        let root = tx.allocate(ROOT_BYTES)?;
        (0..ROOT_BYTES / WORD).try_for_each(|i| tx.write(root + i * WORD, 0))?;
        Ok(root)
    })
    .unwrap()
}

/// Runs a block that fails with a type's error.
pub(super) fn run<R>(
    heap: &Heap<Sim>,
    block: impl FnOnce(&mut Tx<'_, Sim>) -> Result<R, TypeError>,
) -> Result<R, TypeError> {
    heap.atomically(0, block)
}

/// Frees all garbage.
pub(super) fn collect_garbage(heap: &Heap<Sim>) {
    while run(heap, |tx| garbage::collect(tx, 3)).unwrap() {}
    assert!(!garbage::is_pending(&heap.reader(0)));
}

/// Takes an image at a random fence.
struct Cutter {
    /// At which fence from now on, and the image.
    state: Mutex<(usize, fastrand::Rng, Option<Sim>)>,
}

impl Hook for Cutter {
    fn before(&self, sim: &Sim, _step: Step) {
        let (left, rng, image) = &mut *self.state.lock().unwrap();
        if *left == 0 && image.is_none() {
            let mut images = sim.crash_images(SAMPLES, rng);
            *image = Some(images.swap_remove(rng.usize(..images.len())));
        }
        *left = left.saturating_sub(1);
    }
}

/// Runs `f` on a memory and gives an image of a cut before one of its next `fences` fences, if it comes to it.
fn cut<R>(sim: &Sim, fences: usize, rng: &mut fastrand::Rng, f: impl FnOnce() -> R) -> (R, Option<Sim>) {
    let cutter = Arc::new(Cutter { state: Mutex::new((rng.usize(..fences), rng.fork(), None)) });
    sim.watch(Watch::Fences, cutter.clone());
    let result = f();
    sim.unwatch();
    let image = cutter.state.lock().unwrap().2.take();
    (result, image)
}

/// Runs `f` on a heap, and gives what it gave. If the power is cut meanwhile, also the heap that was recovered, now and then
/// after another cut while it was.
pub(super) fn with_cut<R>(
    heap: &Heap<Sim>,
    rng: &mut fastrand::Rng,
    f: impl FnOnce() -> R,
) -> (R, Option<Heap<Sim>>) {
    let (result, image) = cut(heap.mem(), 2, rng, f);
    let recovered = image.map(|image| {
        let config = image.config().clone();
        let copy = Sim::with_words(&config, image.durable_words());
        if rng.u8(..3) > 0 {
            return Heap::open(copy, [0; 16]).unwrap();
        }
        let cutter = Arc::new(Cutter { state: Mutex::new((rng.usize(..3), rng.fork(), None)) });
        copy.watch(Watch::Fences, cutter.clone());
        let heap = Heap::open(copy, [0; 16]).unwrap();
        heap.mem().unwatch();
        let again = cutter.state.lock().unwrap().2.take();
        again.map_or(heap, |again| Heap::open(again, [0; 16]).unwrap())
    });
    (result, recovered)
}

/// Checks that what is allocated is what the roots and the garbage own, and that nothing is owned twice.
pub(super) fn check_no_leak(heap: &Heap<Sim>, roots: &[u64]) -> Result<(), TypeError> {
    let layout = heap.layout();
    let mut owned: BTreeMap<u64, u64> = BTreeMap::new();
    let mut add = |Owned { offset, bytes }: Owned| {
        let bytes = layout
            .class_of(bytes)
            .map_or_else(|| bytes.next_multiple_of(layout.geometry().chunk_bytes.into()), block_bytes);
        assert_eq!(owned.insert(offset, bytes), None, "block {offset:#x} is owned twice");
    };
    let reader = heap.reader(0);
    for &root in roots {
        add(Owned { offset: root, bytes: ROOT_BYTES });
        visit_root(&reader, root, &mut add)?;
    }
    garbage::visit(&reader, &mut add)?;
    let mut allocated = BTreeMap::new();
    for chunk in 0..layout.chunk_count(heap.mem().len()) {
        if !layout.is_data_chunk(chunk) {
            continue;
        }
        let descriptor = Descriptor::load(heap.mem(), layout, chunk)?;
        match descriptor.used_for() {
            Use::ShardBlocks { class, .. } => {
                for block in 0..u64::from(layout.blocks(class)) {
                    let bits = heap.mem().load(layout.bitmap(chunk) + block / 64 * WORD);
                    if bits >> (block % 64) & 1 != 0 {
                        allocated
                            .insert(layout.chunk(chunk) + block * block_bytes(class), block_bytes(class));
                    }
                }
            }
            Use::Run { .. } => {
                let bytes = u64::from(descriptor.chunks()) * u64::from(layout.geometry().chunk_bytes);
                allocated.insert(layout.chunk(chunk), bytes);
            }
            _ => {}
        }
    }
    for (offset, bytes) in &allocated {
        assert_eq!(owned.get(offset), Some(bytes), "block {offset:#x} is leaked, or of another size");
    }
    for offset in owned.keys() {
        assert!(allocated.contains_key(offset), "block {offset:#x} is owned but not allocated");
    }
    Ok(())
}

/// Fails with a message that begins with the seed.
#[track_caller]
pub(super) fn must<T>(seed: u64, result: Result<T, TypeError>) -> T {
    result.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

/// Whether there was no room, which small regions may say.
pub(super) fn is_full<T>(result: &Result<T, TypeError>) -> bool {
    matches!(result, Err(TypeError::Heap(HeapError::NoSpace)))
}

/// Bytes of a random length up to `max`.
pub(super) fn random_bytes(rng: &mut fastrand::Rng, max: usize) -> Vec<u8> {
    let len = rng.usize(..=max);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

/// Changes words in blocks that the roots and the garbage own, and in the roots. Says whether it hit a root.
pub(super) fn damage(heap: &Heap<Sim>, roots: &[u64], rng: &mut fastrand::Rng) -> bool {
    // So that all words are durable, and what is not afterwards is damaged.
    heap.mark_clean().unwrap();
    let mut owned: Vec<Owned> = roots.iter().map(|&offset| Owned { offset, bytes: ROOT_BYTES }).collect();
    let reader = heap.reader(0);
    for &root in roots {
        visit_root(&reader, root, &mut |block| owned.push(block)).unwrap();
    }
    garbage::visit(&reader, &mut |block| owned.push(block)).unwrap();
    for _ in 0..rng.u32(1..4) {
        // Some words of a block are more worth damaging than others: the first.
        let Owned { offset, bytes } = owned[rng.usize(..owned.len())];
        let words = bytes.div_ceil(WORD);
        let word = offset + if rng.bool() { rng.u64(..words) } else { rng.u64(..words.min(5)) } * WORD;
        let old = heap.mem().load(word);
        let new = match rng.u8(..4) {
            0 => old ^ 1 << rng.u8(..64),
            1 => rng.u64(..),
            2 => owned[rng.usize(..owned.len())].offset,
            _ => old.wrapping_add(rng.u64(..4) * 8),
        };
        heap.mem().store(word, new);
    }
    // A walk that does not end, ends here.
    heap.mem().set_loads_max(2_000_000);
    !roots.iter().all(|root| {
        heap.mem().durable_words()[(root / WORD) as usize..][..8]
            .iter()
            .zip(0..)
            .all(|(&word, i)| heap.mem().load(root + i * WORD) == word)
    })
}

/// What each of several changes cost.
#[derive(Debug, Default)]
pub(super) struct Costs {
    words: Vec<usize>,
    flushes: Vec<usize>,
    /// Fences beyond one a change.
    pub(super) orderings: usize,
}

impl Costs {
    /// Makes a change in a batch of its own. It must cost one fence, but for orderings, and flush no clean line.
    pub(super) fn add(
        &mut self,
        heap: &Heap<Sim>,
        change: impl FnOnce(&mut Tx<'_, Sim>) -> Result<(), TypeError>,
    ) {
        let before = heap.mem().counters();
        let batch = heap.writer(0).batch();
        run(heap, change).unwrap();
        let after = heap.mem().counters();
        self.orderings += (after.fences - before.fences - 1) as usize;
        assert_eq!(after.fences_empty, before.fences_empty, "fences for nothing");
        assert_eq!(after.flushes_clean, before.flushes_clean, "flushes for nothing");
        self.words.push((heap.mem().load(heap.layout().ring_slot(0, batch)) >> 32) as usize);
        self.flushes.push((after.flushes - before.flushes) as usize);
    }

    fn sorted(costs: &[usize]) -> Vec<usize> {
        let mut sorted = costs.to_vec();
        sorted.sort_unstable();
        sorted
    }

    /// Words of a record, header and runs included, in the middle.
    pub(super) fn median_words(&self) -> usize {
        Self::sorted(&self.words)[self.words.len() / 2]
    }

    /// ... at least.
    pub(super) fn min_words(&self) -> usize {
        Self::sorted(&self.words)[0]
    }

    /// ... and at most.
    pub(super) fn max_words(&self) -> usize {
        Self::sorted(&self.words)[self.words.len() - 1]
    }

    /// Lines flushed, in the middle.
    pub(super) fn median_flushes(&self) -> usize {
        Self::sorted(&self.flushes)[self.flushes.len() / 2]
    }
}
