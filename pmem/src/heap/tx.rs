//! A failure-atomic block in progress: its write set, and its allocations.

use super::{
    Heap, HeapError,
    allocator::{Cursor, Freed},
    record::{self, Place},
    shard::Visible,
    view::View,
    writer::WriterState,
};
use crate::{
    checksum::sealed_bytes,
    layout::Layout,
    mem::{Mem, Rule, Site, WORD},
    types::{commands::Trims, completions::CompletionHints},
};

/// New contents of more bytes than this are made durable before their record instead of being checked by it, so that
/// recovery reads little.
const CHECKED_CONTENT_MAX: usize = 4096;

/// What was done to ordinary memory, and how to take it back.
#[derive(Debug)]
pub(super) enum Undo {
    Took { mirror: u32, block: u32 },
    Freed { mirror: u32 },
    Claimed { mirror: u32, chunk: u32 },
    ClaimedRun { first: u32, len: u32 },
    Moved { class: usize, cursor: Cursor },
}

/// What a block has done so far. Kept by the shard, so that its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Words of earlier blocks of the batch that this block stored anew: slot, former value, former stamp.
    replaced: Vec<(u32, u64, u32)>,
    /// Runs of new contents that the record's checksum covers.
    pub(super) contents: Vec<u64>,
    pub(super) freed: Vec<Freed>,
    pub(super) undo: Vec<Undo>,
    /// The words that the block changes, in the order in which it first stored them.
    entries: Vec<(u64, u64)>,
    record: Vec<u64>,
}

impl Progress {
    fn clear(&mut self) {
        self.replaced.clear();
        self.contents.clear();
        self.freed.clear();
        self.undo.clear();
    }
}

/// A failure-atomic block: everything that is done through it takes effect, or nothing. It is made by
/// [`Writer::run`](super::Writer::run) and [`Heap::atomically`].
///
/// Words that change after they were reachable are stored with [`write`](Self::write). Contents of new blocks that
/// never change while they are reachable go straight to their place with [`put`](Self::put).
pub struct Tx<'t, M: Mem> {
    pub(super) heap: &'t Heap<M>,
    pub(super) shard: u32,
    visible: &'t Visible,
    pub(super) state: &'t mut WriterState,
    /// Words in the write set before this block.
    written_before: usize,
    content_crc: u32,
    /// Whether new contents must be durable before the record is written.
    order_first: bool,
    pub(super) is_urgent: bool,
    pub(super) is_finished: bool,
}

/// Words that a record may have: half of a ring slot.
pub(super) fn words_max(layout: &Layout) -> usize {
    layout.geometry().ring_slot_bytes as usize / 16
}

impl<M: Mem> std::fmt::Debug for Tx<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl<M: Mem> View for Tx<'_, M> {
    type Mem = M;

    fn heap(&self) -> &Heap<M> {
        self.heap
    }

    fn shard(&self) -> u32 {
        self.shard
    }

    #[inline]
    fn word(&self, offset: u64) -> u64 {
        if self.state.written.is_empty() {
            return self.heap.mem().load(offset);
        }
        self.visible.overlay.get(offset).unwrap_or_else(|| self.heap.mem().load(offset))
    }

    #[inline(always)]
    fn glance<R>(&self, read: impl FnOnce(&M) -> R) -> Option<R> {
        self.state.written.is_empty().then(|| read(self.heap.mem()))
    }

    fn snapshot<R>(&self, mut read: impl FnMut(&Self) -> R) -> R {
        read(self)
    }
}

impl<'t, M: Mem> Tx<'t, M> {
    pub(super) fn new(
        heap: &'t Heap<M>,
        shard: u32,
        visible: &'t Visible,
        state: &'t mut WriterState,
    ) -> Self {
        state.stamp = state.stamp.wrapping_add(1);
        state.block.clear();
        if let Some(in_place) = &mut state.in_place {
            in_place.clear();
        }
        Self {
            heap,
            shard,
            visible,
            written_before: state.written.len(),
            state,
            content_crc: heap.seed(),
            order_first: false,
            is_urgent: false,
            is_finished: false,
        }
    }

    /// Lets this block take the space that is kept for deletions. For blocks that free more than they take.
    pub fn set_urgent(&mut self) {
        self.is_urgent = true;
    }

    /// Words that one block can change at most, roughly: half of a ring slot, also where no record is written.
    #[must_use]
    pub fn words_max(&self) -> usize {
        words_max(self.heap.layout())
    }

    /// Number of the batch that this block belongs to.
    #[must_use]
    pub fn batch(&self) -> u64 {
        self.state.batch
    }

    /// Where clients' lines in the completion table are.
    pub(crate) fn completion_hints(&mut self) -> &mut CompletionHints {
        &mut self.state.completion_hints
    }

    /// ... to look at.
    pub(crate) fn known_completions(&self) -> &CompletionHints {
        &self.state.completion_hints
    }

    /// What of the command ring was trimmed lately.
    pub(crate) fn trims(&mut self) -> &mut Trims {
        &mut self.state.trims
    }

    /// Stores a word. Its offset must be that of an allocated block or of one of the shard's own tables.
    ///
    /// # Panics
    /// If the offset is not aligned, or outside of the region.
    ///
    /// # Errors
    /// [`HeapError::TooLarge`] if the block has changed too much already.
    pub fn write(&mut self, offset: u64, value: u64) -> Result<(), HeapError> {
        assert!(
            offset != 0 && offset.is_multiple_of(WORD) && offset < self.heap.mem().len(),
            "a word at {offset:#x}"
        );
        let state = &mut *self.state;
        if let Some(in_place) = &mut state.in_place {
            return in_place.write(self.heap.mem(), offset, value);
        }
        match self.visible.overlay.find(offset) {
            Ok(slot) => {
                if state.stamps[slot] != state.stamp {
                    let former = (slot as u32, self.visible.overlay.value(slot), state.stamps[slot]);
                    state.block.replaced.push(former);
                    state.stamps[slot] = state.stamp;
                }
                self.visible.overlay.set(slot, offset, value);
            }
            Err(slot) => {
                let max = self.words_max();
                let found = self.words_written();
                if found >= max {
                    return Err(HeapError::TooLarge { found: found + 1, max });
                }
                self.visible.overlay.set(slot, offset, value);
                self.state.stamps[slot] = self.state.stamp;
                self.state.written.push((offset, slot as u32));
            }
        }
        Ok(())
    }

    /// Stores consecutive words.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_all(&mut self, offset: u64, values: &[u64]) -> Result<(), HeapError> {
        values.iter().zip(0..).try_for_each(|(&value, i)| self.write(offset + i * WORD, value))
    }

    /// Puts contents into a block that this failure-atomic block allocated. They must not change in the same batch (see
    /// [`can_change`](Self::can_change)); words that may are stored with [`write`](Self::write) or
    /// [`put_mutable`](Self::put_mutable) at first. The last word is filled up with zeros.
    ///
    /// # Errors
    /// None today; contents are bounded by their block.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HeapError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > CHECKED_CONTENT_MAX || self.state.block.contents.len() >= 64 {
            return self.put_mutable(offset, bytes);
        }
        let mem = self.heap.mem();
        mem.write(offset, bytes);
        let words = bytes.len().div_ceil(8);
        if self.state.in_place.is_some() {
            // Only counted, as a record would.
            self.state.block.contents.push(0);
            return Ok(());
        }
        mem.flush(Site::ContentFlush, offset, words as u64 * WORD);
        self.state.block.contents.push(record::run_word(offset, words as u64));
        let batch = self.state.batch;
        *self.state.put_mark(offset) = batch;
        self.content_crc = sealed_bytes(self.content_crc, bytes);
        Ok(())
    }

    /// Whether words of contents that were [`put`](Self::put) at this offset may be stored with [`write`](Self::write) now.
    ///
    /// Not in the batch that put them (rule R2): should that batch be the last one before a crash, recovery asks whether its
    /// contents are whole, and finds the changed words if they were in place already. From the next batch on it does not ask, for
    /// whoever changes words in place has committed first. May say no although it could.
    pub fn can_change(&mut self, offset: u64) -> bool {
        let batch = self.state.batch;
        self.heap.mem().broken(Rule::R2ChangeInBatch) || *self.state.put_mark(offset) != batch
    }

    /// Puts the first contents of words that will change into a block that this failure-atomic block allocated. Unlike
    /// [`put`](Self::put) this costs one more ordering of flushes; unlike [`write`](Self::write) it is not bounded.
    ///
    /// # Errors
    /// None today; contents are bounded by their block.
    pub fn put_mutable(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HeapError> {
        let mem = self.heap.mem();
        if mem.broken(Rule::R2ImmutableOnly) && bytes.len() <= CHECKED_CONTENT_MAX {
            return self.put(offset, bytes);
        }
        mem.write(offset, bytes);
        if self.state.in_place.is_some() {
            return Ok(());
        }
        mem.flush(Site::LargeContentFlush, offset, bytes.len() as u64);
        self.order_first = true;
        Ok(())
    }

    /// Fills new words that will change with zeros. See [`put_mutable`](Self::put_mutable).
    ///
    /// # Errors
    /// As [`put_mutable`](Self::put_mutable).
    pub fn put_zeros(&mut self, offset: u64, bytes: u64) -> Result<(), HeapError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while at < bytes {
            let part = (bytes - at).min(ZEROS.len() as u64);
            self.put_mutable(offset + at, &ZEROS[..part as usize])?;
            at += part;
        }
        Ok(())
    }

    /// Words that the block changes.
    pub(super) fn words_written(&self) -> usize {
        if let Some(in_place) = &self.state.in_place {
            return in_place.len();
        }
        self.state.written.len() - self.written_before + self.state.block.replaced.len()
    }

    /// Ends the block.
    #[inline]
    pub(super) fn finish(self) -> Result<(), HeapError> {
        if self.state.in_place.is_some() { self.finish_in_place() } else { self.finish_record() }
    }

    /// Writes the block's record into the ring and flushes it.
    fn finish_record(mut self) -> Result<(), HeapError> {
        if self.words_written() == 0 {
            self.is_finished = self.state.block.undo.is_empty();
            return Ok(());
        }
        self.give_back_empty_chunk()?;
        let words = self.encode()?;
        let mem = self.heap.mem();
        if self.order_first {
            mem.order(Site::LargeContentOrder);
        }
        let at = self.record_offset();
        let state = &mut *self.state;
        mem.store_all(at, &state.block.record);
        mem.flush(Site::RecordFlush, at, words as u64 * WORD);
        state.slot_used += record::padded(words);
        state.records += 1;
        state.entries.append(&mut state.block.entries);
        state.freed.append(&mut state.block.freed);
        self.is_finished = true;
        Ok(())
    }

    /// Gives a chunk back whose blocks are all free, if there is one and words are left for it.
    #[inline]
    pub(super) fn give_back_empty_chunk(&mut self) -> Result<(), HeapError> {
        // Only when nothing can fail any more but for want of words, of which these few are kept.
        if !self.state.allocator.empty.is_empty() && self.words_written() < self.words_max() / 2 {
            self.release_empty_chunk()?;
        }
        Ok(())
    }

    /// Where the block's record goes.
    fn record_offset(&self) -> u64 {
        let slot = record::ring_slot(self.heap.mem(), self.state.batch);
        self.heap.layout().ring_slot(self.shard, slot) + self.state.slot_used as u64 * WORD
    }

    /// Builds the record in the block's buffer. Gives its words.
    fn encode(&mut self) -> Result<usize, HeapError> {
        let at = self.record_offset();
        let state = &mut *self.state;
        let overlay = &self.visible.overlay;
        let Progress { replaced, contents, entries, record, .. } = &mut state.block;
        entries.clear();
        entries.extend(
            state.written[self.written_before..]
                .iter()
                .map(|&(offset, slot)| (offset, overlay.value(slot as usize))),
        );
        entries.extend(replaced.iter().map(|&(slot, ..)| {
            let slot = slot as usize;
            (overlay.offset(slot), overlay.value(slot))
        }));
        let place = Place {
            run_id: state.run_id,
            batch: state.batch,
            index: state.records,
            records_before: state.records_before,
        };
        record::encode(record, self.heap.seed(), at, place, (contents, self.content_crc), entries);
        let (words, max) = (record.len(), self.words_max());
        if words > max {
            return Err(HeapError::TooLarge { found: words, max });
        }
        Ok(words)
    }

    /// Takes everything back that was done outside of the region, last first, and in it if it is unshared.
    #[cold]
    fn roll_back(&mut self) {
        let state = &mut *self.state;
        if let Some(in_place) = &mut state.in_place {
            in_place.roll_back(self.heap.mem());
        }
        for (offset, slot) in state.written.drain(self.written_before..).rev() {
            debug_assert_eq!(self.visible.overlay.find(offset), Ok(slot as usize));
            self.visible.overlay.clear(slot as usize);
        }
        for (slot, value, stamp) in state.block.replaced.drain(..).rev() {
            let slot = slot as usize;
            self.visible.overlay.set_value(slot, value);
            state.stamps[slot] = stamp;
        }
        for undo in state.block.undo.drain(..).rev() {
            match undo {
                Undo::Took { mirror, block } => {
                    state.allocator.mirror(mirror).used -= 1;
                    state.allocator.put_back(mirror, block);
                }
                Undo::Freed { mirror } => state.allocator.mirror(mirror).used += 1,
                Undo::Claimed { mirror, chunk } => {
                    state.allocator.remove_mirror(mirror);
                    self.heap.mem().lock(&self.heap.pool).give_back(self.heap.layout(), chunk, 1);
                }
                Undo::ClaimedRun { first, len } => {
                    self.heap.mem().lock(&self.heap.pool).give_back(self.heap.layout(), first, len);
                }
                Undo::Moved { class, cursor } => state.allocator.classes[class].cursor = cursor,
            }
        }
    }
}

impl<M: Mem> Drop for Tx<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_finished {
            self.roll_back();
        }
    }
}
