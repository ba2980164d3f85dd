//! Locks for stores that have atomic writes, but no transactions that read first.

use abide_bench_common::mix;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many locks that two threads seldom want the same one.
const STRIPES: usize = 256;

pub(super) struct Stripes(Vec<Mutex<()>>);

impl Stripes {
    pub(super) fn new() -> Stripes {
        Stripes((0..STRIPES).map(|_| Mutex::new(())).collect())
    }

    /// The lock of this key, and of some others.
    pub(super) fn lock(&self, key: u64) -> MutexGuard<'_, ()> {
        self.0[mix(key) as usize % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
