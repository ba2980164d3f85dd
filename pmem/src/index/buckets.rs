//! Buckets: how they get into the list, and how they become more.
//!
//! A bucket is initialised by one thread at a time, which tries a lock in ordinary memory; others begin at an
//! ancestor meanwhile.
//!
//! ```text
//! link to what follows | CLAIMED, flush, order     the bucket's own words are good before anything leads to them
//! swing the link before it, flush, fence           it is in the list for good
//! take CLAIMED away, flush                         walks may begin there
//! ```
//! Whoever finds a bucket CLAIMED with the lock in hand looks for it in the list first: a crash may have come between.
//!
//! The table doubles by one word. Nothing moves: names are in the order in which any number of buckets splits them.

use super::{
    Index,
    lane::CheckedOut,
    link::{Link, seal},
    list::Found,
    node::Target,
    tables::{BUCKET_BYTES, order_of_bucket, parent},
};
use crate::{
    heap::HeapError,
    mem::{Mem, Site, WORD},
};
use std::sync::atomic::{AtomicBool, Ordering};

/// Names a bucket, on average, before their number doubles.
const LOAD: i64 = 2;
/// Generations of buckets, each split from one before.
const GENERATIONS_MAX: usize = 33;

/// A lock that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct TryLock(AtomicBool);

/// Frees its lock when it is dropped.
struct TryLocked<'l>(&'l TryLock);

impl TryLock {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn try_lock(&self) -> Option<TryLocked<'_>> {
        (!self.0.swap(true, Ordering::Acquire)).then(|| TryLocked(self))
    }
}

impl Drop for TryLocked<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl<M: Mem> Index<'_, M> {
    /// As [`Tables::start`](super::tables::Tables::start), but initialises the bucket that names of this order belong to.
    pub(super) fn start_for_change(
        &self,
        lane: &mut CheckedOut<'_, M>,
        order: u64,
    ) -> Result<u64, HeapError> {
        let tables = self.tables();
        let mut missing = [0; GENERATIONS_MAX];
        let mut count = 0;
        let mut bucket = tables.bucket_of(order)?;
        let mut start = loop {
            match tables.bucket_in_list(bucket)? {
                Some(at) => break at,
                None if bucket == 0 => return Err(HeapError::Corrupt { offset: tables.first_bucket() }),
                None => {
                    missing[count] = bucket;
                    count += 1;
                    bucket = parent(bucket);
                }
            }
        };
        for &bucket in missing[..count].iter().rev() {
            match self.initialise(lane, bucket, start)? {
                Some(at) => start = at,
                None => break,
            }
        }
        Ok(start)
    }

    /// Puts a bucket into the list behind the one at `ancestor`. `None` if another thread is at it, or if there is no room.
    fn initialise(
        &self,
        lane: &mut CheckedOut<'_, M>,
        bucket: u32,
        ancestor: u64,
    ) -> Result<Option<u64>, HeapError> {
        let locks = &self.names().bucket_locks;
        let Some(_locked) = locks[bucket as usize % locks.len()].try_lock() else { return Ok(None) };
        let tables = self.tables();
        let mem = tables.mem;
        let Some(at) = self.bucket_with_page(lane, bucket)? else { return Ok(None) };
        let word = tables.raw_link(at)?;
        if !word.is_unset() && !word.is_claimed() {
            return Ok(Some(at));
        }
        let order = order_of_bucket(bucket);
        loop {
            let position = self.find(ancestor, &Target::Bucket(order))?;
            match position.found {
                Some(Found::Bucket(found)) if found == at => break,
                Some(_) => return Err(HeapError::Corrupt { offset: position.link.offset() }),
                None => {}
            }
            mem.store(at + WORD, tables.order_word(at, order));
            mem.store(at, position.link.target().claimed().word());
            mem.flush(Site::BucketFlush, at, BUCKET_BYTES);
            mem.order(Site::BucketOrder);
            let sites = (Site::BucketLinkFlush, Site::BucketLinkFence);
            if self.swing(sites, position.from, position.link, Link::to_bucket(at))?.is_some() {
                break;
            }
        }
        loop {
            let link = tables.link(at)?;
            if mem.compare_exchange(at, link.word(), link.unclaimed().word()).is_ok() {
                break;
            }
        }
        lane.flush_later(Site::BucketReadyFlush, at);
        Ok(Some(at))
    }

    /// Offset of a bucket, whose page is made if there is none. `None` if another thread is at it, or if there is no room.
    fn bucket_with_page(&self, lane: &mut CheckedOut<'_, M>, bucket: u32) -> Result<Option<u64>, HeapError> {
        let tables = self.tables();
        if let Some(at) = tables.bucket(bucket)? {
            return Ok(Some(at));
        }
        let Some(_locked) = self.names().page_lock.try_lock() else { return Ok(None) };
        if tables.bucket(bucket)?.is_none() && lane.claim_for_page(bucket / tables.page_buckets())?.is_none()
        {
            return Ok(None);
        }
        tables.bucket(bucket)
    }

    /// Doubles the number of buckets if there are too many names for it.
    pub(super) fn grow(&self, lane: &mut CheckedOut<'_, M>) -> Result<(), HeapError> {
        let tables = self.tables();
        let bits = tables.size_bits()?;
        if bits < tables.size_bits_max() && self.names().count.load(Ordering::Relaxed) > LOAD << bits {
            let (old, new) = (seal(bits.into()), seal(u64::from(bits) + 1));
            if tables.mem.compare_exchange(tables.size_word(), old, new).is_ok() {
                lane.flush_later(Site::SizeFlush, tables.size_word());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::TryLock;

    #[test]
    fn a_lock_that_was_tried_in_vain_stays_locked() {
        let lock = TryLock::new();
        let locked = lock.try_lock();
        assert!(locked.is_some() && lock.try_lock().is_none() && lock.try_lock().is_none());
        drop(locked);
        assert!(lock.try_lock().is_some());
    }
}
