//! What the tests of all types share: a heap over simulated memory, roots in it, crashes, and the search for leaks.

use super::{ROOT_BYTES, TypeError, garbage, visit_root};
use crate::{
    heap::{Audit, Heap, HeapError, Reader, Tx, audit},
    layout::{Geometry, Identity},
    mem::WORD,
    sim::{Counters, Limits, Sim},
};

/// A heap with some empty roots in shard 0.
pub(crate) struct Kit {
    pub(crate) heap: Heap<Sim>,
    pub(crate) roots: Vec<u64>,
}

impl Kit {
    pub(crate) fn new(geometry: Geometry, bytes: u64, roots: usize) -> Self {
        let sim = Sim::new(bytes);
        let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
        Heap::format(&sim, identity, geometry).unwrap();
        Heap::<Sim>::finish_format(&sim).unwrap();
        let heap = Heap::open(sim, [0; 16]).unwrap();
        let roots = (0..roots)
            .map(|_| {
                heap.atomically::<_, HeapError>(0, |tx| {
                    let root = tx.allocate(ROOT_BYTES)?;
                    (0..8).try_for_each(|i| tx.write(root + i * WORD, 0))?;
                    Ok(root)
                })
                .unwrap()
            })
            .collect();
        Self { heap, roots }
    }

    /// Small enough that chunks, pages and lists of chunks come and go all the time.
    pub(crate) fn tiny(roots: usize) -> Self {
        Self::new(Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() }, 512 << 10, roots)
    }

    /// With the sizes of a real region.
    pub(crate) fn real(bytes: u64, roots: usize) -> Self {
        let geometry =
            Geometry { shards: 1, command_ring_bytes: 0, directory_pages: 1, ..Geometry::default() };
        Self::new(geometry, bytes, roots)
    }

    pub(crate) fn reader(&self) -> Reader<'_, Sim> {
        self.heap.reader(0)
    }

    pub(crate) fn run<R>(&self, block: impl FnOnce(&mut Tx<'_, Sim>) -> Result<R, TypeError>) -> R {
        self.heap.atomically(0, block).unwrap()
    }

    /// Opens what a power cut at this moment leaves: one of the images.
    pub(crate) fn cut(&mut self, rng: &mut fastrand::Rng) {
        let samples = rng.u32(1..8);
        let mut images = self.heap.mem().crash_images(Limits { exhaustive_max: 0, samples }, rng);
        self.open(images.pop().unwrap());
    }

    /// Opens an image.
    pub(crate) fn open(&mut self, image: Sim) {
        self.heap = Heap::open(image, [0; 16]).unwrap();
    }

    /// What is allocated against what is owned.
    pub(crate) fn audit(&self) -> Result<Audit, TypeError> {
        let reader = self.reader();
        let mut owned: Vec<_> = self.roots.iter().map(|&root| (root, ROOT_BYTES)).collect();
        let mut visit = |block: super::Owned| owned.push((block.offset, block.bytes));
        for &root in &self.roots {
            visit_root(&reader, root, &mut visit)?;
        }
        garbage::visit(&reader, &mut visit)?;
        Ok(audit(&reader, owned))
    }

    /// Checks that nothing leaked and nothing dangles.
    pub(crate) fn check(&self) {
        let audit = self.audit().unwrap();
        assert!(audit.is_clean(), "{:#?}", audit.problems);
    }

    /// Collects all garbage.
    pub(crate) fn collect(&self, blocks: u32) {
        let mut turns = 0;
        while self.run(|tx| garbage::collect(tx, blocks)) {
            turns += 1;
            assert!(turns < 3000, "garbage without end");
        }
    }

    /// What `block`, committed, cost.
    pub(crate) fn cost(&self, block: impl FnOnce(&mut Tx<'_, Sim>) -> Result<(), TypeError>) -> Counters {
        let before = self.heap.mem().counters();
        self.run(block);
        let after = self.heap.mem().counters();
        Counters {
            loads: after.loads - before.loads,
            stores: after.stores - before.stores,
            flushes: after.flushes - before.flushes,
            flushes_clean: after.flushes_clean - before.flushes_clean,
            fences: after.fences - before.fences,
            fences_empty: after.fences_empty - before.fences_empty,
        }
    }
}

/// The seeds of a random test: that of `SEED`, or so many.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// Prints the seed if the test panics.
pub(crate) fn with_seed(seed: u64, test: impl FnOnce(&mut fastrand::Rng)) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("rerun with SEED={}", self.0);
            }
        }
    }
    let _tell = Tell(seed);
    test(&mut fastrand::Rng::with_seed(seed));
}
