//! How much a memory was asked to do.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was done to a simulated memory since it was made or took on its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Words loaded, also by changes that read what they change.
    pub loads: u64,
    /// Words stored.
    pub stores: u64,
    /// Lines flushed.
    pub flushes: u64,
    /// Of these, lines with nothing pending: work for nothing.
    pub flushes_clean: u64,
    /// Fences and orderings.
    pub fences: u64,
    /// Of these, those of threads that had flushed nothing: work for nothing.
    pub fences_empty: u64,
}

impl Counters {
    /// What was done after `earlier` was taken from the same memory.
    #[must_use]
    pub fn since(self, earlier: Counters) -> Counters {
        Counters {
            loads: self.loads - earlier.loads,
            stores: self.stores - earlier.stores,
            flushes: self.flushes - earlier.flushes,
            flushes_clean: self.flushes_clean - earlier.flushes_clean,
            fences: self.fences - earlier.fences,
            fences_empty: self.fences_empty - earlier.fences_empty,
        }
    }
}

/// [`Counters`] while they count. Plain loads and stores, since a locked addition for each load would cost more than the load; so
/// counts are lost where threads run at the same time.
#[derive(Debug, Default)]
pub(super) struct Counts {
    loads: AtomicU64,
    stores: AtomicU64,
    flushes: AtomicU64,
    flushes_clean: AtomicU64,
    fences: AtomicU64,
    fences_empty: AtomicU64,
}

#[inline]
fn add(counter: &AtomicU64, count: u64) -> u64 {
    let sum = counter.load(Relaxed) + count;
    counter.store(sum, Relaxed);
    sum
}

impl Counts {
    /// Counts a load; how many there were.
    #[inline]
    pub(super) fn load(&self) -> u64 {
        add(&self.loads, 1)
    }

    pub(super) fn loads(&self) -> u64 {
        self.loads.load(Relaxed)
    }

    pub(super) fn store(&self) {
        add(&self.stores, 1);
    }

    pub(super) fn flush(&self, pending: bool) {
        add(&self.flushes, 1);
        add(&self.flushes_clean, u64::from(!pending));
    }

    pub(super) fn fence(&self, any: bool) {
        add(&self.fences, 1);
        add(&self.fences_empty, u64::from(!any));
    }

    pub(super) fn copy(&self) -> Counters {
        Counters {
            loads: self.loads.load(Relaxed),
            stores: self.stores.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            flushes_clean: self.flushes_clean.load(Relaxed),
            fences: self.fences.load(Relaxed),
            fences_empty: self.fences_empty.load(Relaxed),
        }
    }

    pub(super) fn reset(&self) {
        let Counts { loads, stores, flushes, flushes_clean, fences, fences_empty } = self;
        for counter in [loads, stores, flushes, flushes_clean, fences, fences_empty] {
            counter.store(0, Relaxed);
        }
    }
}
