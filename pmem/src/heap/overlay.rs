//! The write set of a batch: the words that it changes, by offset.
//!
//! Access rules: only the shard's writer changes it, and never while the shard's sequence is odd. Readers look into it
//! only while the sequence is odd, which is from the commit of a batch until all of its words stand in place, and
//! check afterwards that the sequence has not moved. All slots are atomic words, so a reader that comes too late reads
//! nonsense that it throws away, and not undefined behaviour.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An open-addressed table of words with linear probing. Offset zero, the superblock's, marks a free slot.
#[derive(Debug)]
pub(super) struct Overlay {
    slots: Box<[(AtomicU64, AtomicU64)]>,
    shift: u32,
}

impl Overlay {
    /// A table for at most `words` words.
    pub(super) fn new(words: usize) -> Self {
        let capacity = (words * 2).next_power_of_two().max(16);
        Self {
            slots: (0..capacity).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect(),
            shift: 64 - capacity.trailing_zeros(),
        }
    }

    /// Number of slots.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The slot of the word at this offset, or the free one where it belongs.
    pub(super) fn find(&self, offset: u64) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        // Ends: the table is never more than half full, nor is what a late reader finds in it.
        for _ in 0..self.slots.len() {
            match self.slots[at].0.load(Relaxed) {
                0 => return Err(at),
                found if found == offset => return Ok(at),
                _ => at = (at + 1) & mask,
            }
        }
        Err(0)
    }

    /// The word at this offset, if it is in the table.
    pub(super) fn get(&self, offset: u64) -> Option<u64> {
        self.find(offset).ok().map(|slot| self.slots[slot].1.load(Relaxed))
    }

    /// Puts a word into a slot that [`find`](Self::find) gave.
    pub(super) fn set(&self, slot: usize, offset: u64, value: u64) {
        self.slots[slot].1.store(value, Relaxed);
        self.slots[slot].0.store(offset, Relaxed);
    }

    /// The value in a slot that is taken.
    pub(super) fn value(&self, slot: usize) -> u64 {
        self.slots[slot].1.load(Relaxed)
    }

    /// The offset in a slot that is taken.
    pub(super) fn offset(&self, slot: usize) -> u64 {
        self.slots[slot].0.load(Relaxed)
    }

    /// Stores a new value into a slot that is taken.
    pub(super) fn set_value(&self, slot: usize, value: u64) {
        self.slots[slot].1.store(value, Relaxed);
    }

    /// Frees a slot. Only for all slots, or for the ones that were taken last, last first: others may lie behind it.
    pub(super) fn clear(&self, slot: usize) {
        self.slots[slot].0.store(0, Relaxed);
    }
}
