//! What readers of a shard see, and where its writer stands.
//!
//! Access rules of [`Visible`]: the shard's writer alone stores, in this order: the overlay's words while the sequence is
//! even; the sequence odd, which publishes the committed batch; the words in place; the sequence even; the overlay
//! cleared. A reader that meets an odd sequence takes each word from the overlay if it is there, so a writer that stands
//! still in the middle blocks nobody, and all words of a batch change at one instant.

use super::overlay::Overlay;
use crate::mem::Mem;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// The part of a shard that readers look at.
#[derive(Debug)]
pub(super) struct Visible {
    /// Odd while a committed batch is being put in place.
    sequence: AtomicU64,
    pub(super) overlay: Overlay,
}

impl Visible {
    pub(super) fn new(words: usize) -> Self {
        Self { sequence: AtomicU64::new(0), overlay: Overlay::new(words) }
    }

    /// A number that changes whenever a word of the shard does.
    #[inline(always)]
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.load(Acquire)
    }

    /// Whether the shard's words are still those of `sequence`. Orders all loads before it.
    #[inline(always)]
    pub(super) fn is_still(&self, sequence: u64) -> bool {
        fence(Acquire);
        self.sequence.load(Relaxed) == sequence
    }

    /// A word of the shard as of its last committed batch. Lock-free: repeats only if a batch was committed meanwhile.
    #[inline(always)]
    pub(super) fn word(&self, mem: &impl Mem, offset: u64) -> u64 {
        let sequence = self.sequence();
        if sequence & 1 == 0 {
            let value = mem.load(offset);
            if self.is_still(sequence) {
                return value;
            }
        }
        self.word_meanwhile(mem, offset)
    }

    /// [`word`](Self::word) while a batch is being put in place.
    #[cold]
    fn word_meanwhile(&self, mem: &impl Mem, offset: u64) -> u64 {
        loop {
            let sequence = self.sequence();
            let value = if sequence & 1 == 0 {
                mem.load(offset)
            } else {
                self.overlay.get(offset).unwrap_or_else(|| mem.load(offset))
            };
            if self.is_still(sequence) {
                return value;
            }
        }
    }

    /// Publishes the overlay's words. Only for the writer, after their fence.
    pub(super) fn publish(&self) {
        let sequence = self.sequence.load(Relaxed);
        assert!(sequence & 1 == 0, "a batch was published inside of another");
        self.sequence.store(sequence + 1, Release);
    }

    /// Says that all of the overlay's words stand in place. The overlay may be cleared after that.
    pub(super) fn settle(&self) {
        let sequence = self.sequence.load(Relaxed);
        assert!(sequence & 1 == 1, "no batch was published");
        self.sequence.store(sequence + 1, Release);
        // A reader that sees the overlay being cleared also sees the new sequence.
        fence(Release);
    }
}
