//! The chunks that nobody owns, in ordinary memory.
//!
//! A chunk's descriptor is the truth; this is a way to find free ones. Chunks that no run ever used are known when a
//! region is opened: they lie behind all others. Free chunks among those are looked for only when the rest is used up.
//! That a chunk was taken is made durable by its taker, in the record that also makes use of it; a crash before that
//! leaves it free.

use super::descriptor::Descriptor;
use crate::{layout::Layout, mem::Mem};
use std::collections::{BTreeMap, HashSet};

/// Free chunks.
#[derive(Debug)]
pub(super) struct ChunkPool {
    /// Runs of free chunks: first chunk and length.
    free: BTreeMap<u32, u32>,
    free_chunks: u32,
    /// Chunks before this one may be free without being in `free`.
    unscanned: u32,
    /// Chunks that this run gave back. A scan must not take them for free: they may wait for readers, or be taken again.
    given_back: HashSet<u32>,
    /// Chunks in the region.
    count: u32,
    /// Chunks that only a deletion may take.
    reserve: u32,
}

impl ChunkPool {
    /// A pool of a region with `count` chunks of which those before `high` may have been used.
    pub(super) fn new(layout: &Layout, count: u32, high: u32) -> Self {
        let geometry = layout.geometry();
        let mut pool = Self {
            free: BTreeMap::new(),
            free_chunks: 0,
            unscanned: high.min(count),
            given_back: HashSet::new(),
            count: high.min(count),
            reserve: (geometry.shards + 1).min(count / 16).max(1),
        };
        pool.grow(layout, count);
        pool
    }

    /// Adds the chunks up to `count`, which have never been used.
    pub(super) fn grow(&mut self, layout: &Layout, count: u32) {
        let zone = layout.geometry().zone_chunks;
        let mut chunk = self.count;
        while chunk < count {
            let zone_end = (chunk / zone + 1).saturating_mul(zone).min(count);
            let first = chunk.max(chunk / zone * zone + layout.descriptor_chunks);
            if first < zone_end {
                self.insert(first, zone_end - first, zone);
            }
            chunk = zone_end;
        }
        self.count = self.count.max(count);
    }

    /// Adds a run and joins it with its neighbours, but never across zones.
    fn insert(&mut self, first: u32, len: u32, zone: u32) {
        let (mut start, mut end) = (first, first + len);
        if let Some((&before, &before_len)) = self.free.range(..first).next_back() {
            assert!(before + before_len <= first, "chunk {first} is free twice");
            if before + before_len == first && before / zone == first / zone {
                self.free.remove(&before);
                start = before;
            }
        }
        if let Some((&after, &after_len)) = self.free.range(first..).next() {
            assert!(end <= after, "chunk {after} is free twice");
            if end == after && after / zone == first / zone {
                self.free.remove(&after);
                end += after_len;
            }
        }
        self.free.insert(start, end - start);
        self.free_chunks += len;
    }

    /// Takes `len` chunks in a row. `urgent` may use the reserve that deletions need.
    pub(super) fn claim(&mut self, mem: &impl Mem, layout: &Layout, len: u32, urgent: bool) -> Option<u32> {
        let reserve = if urgent { 0 } else { self.reserve };
        if let Some(first) = self.claim_known(len, reserve) {
            return Some(first);
        }
        if self.unscanned == 0 {
            return None;
        }
        self.scan(mem, layout);
        self.claim_known(len, reserve)
    }

    fn claim_known(&mut self, len: u32, reserve: u32) -> Option<u32> {
        if self.free_chunks < len.saturating_add(reserve) {
            return None;
        }
        let (&first, &run) = self.free.iter().find(|&(_, &run)| run >= len)?;
        self.free.remove(&first);
        if run > len {
            self.free.insert(first + len, run - len);
        }
        self.free_chunks -= len;
        Some(first)
    }

    /// Looks for free chunks among those that earlier runs used.
    fn scan(&mut self, mem: &impl Mem, layout: &Layout) {
        let zone = layout.geometry().zone_chunks;
        let mut chunk = 0;
        while chunk < self.unscanned {
            if !layout.is_data_chunk(chunk) {
                chunk += 1;
                continue;
            }
            match Descriptor::load(mem, layout, chunk) {
                Ok(descriptor) if descriptor.is_free() => {
                    if !self.given_back.contains(&chunk) {
                        self.insert(chunk, 1, zone);
                    }
                    chunk += 1;
                }
                Ok(descriptor) => chunk += descriptor.chunks(),
                // Damaged: nobody's to give away.
                Err(_) => chunk += 1,
            }
        }
        self.unscanned = 0;
    }

    /// Says that a run of chunks will be given back, before its descriptor says that it is free.
    pub(super) fn announce(&mut self, first: u32, len: u32) {
        if self.unscanned > 0 {
            self.given_back.extend(first..first + len);
        }
    }

    /// Gives a run of chunks back for anyone to take.
    pub(super) fn give_back(&mut self, layout: &Layout, first: u32, len: u32) {
        self.insert(first, len, layout.geometry().zone_chunks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Geometry;

    #[test]
    fn runs_join_again_and_stay_inside_of_their_zone() {
        let layout = Geometry::tiny().layout().unwrap();
        let mut pool = ChunkPool::new(&layout, 64, 0);
        let all = pool.free_chunks;
        assert_eq!(all, 64 - 2 * layout.descriptor_chunks);
        let run = 32 - layout.descriptor_chunks;
        let first = pool.claim_known(run, 0).unwrap();
        let second = pool.claim_known(run, 0).unwrap();
        assert_eq!((first, second), (layout.descriptor_chunks, 32 + layout.descriptor_chunks));
        assert!(pool.claim_known(1, 0).is_none());
        for chunk in (first..first + run).rev() {
            pool.give_back(&layout, chunk, 1);
        }
        assert_eq!(pool.claim_known(run, 0), Some(first));
    }

    #[test]
    #[should_panic(expected = "free twice")]
    fn a_chunk_cannot_be_free_twice() {
        let layout = Geometry::tiny().layout().unwrap();
        let mut pool = ChunkPool::new(&layout, 64, 0);
        pool.give_back(&layout, layout.descriptor_chunks, 1);
    }
}
