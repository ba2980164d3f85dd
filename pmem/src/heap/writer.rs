//! The writer of a shard: batches of failure-atomic blocks, and the fence that commits them.
//!
//! ```text
//! run      the block's changes go to the write set; its record goes to the ring and is flushed
//! commit   fence                            the batch is durable: it may be acknowledged
//!          publish                          readers see it, all words at once
//!          store in place, flush            no fence: that of the next batch will do
//!          settle                           the write set is empty again
//! ```

use super::{
    Heap, HeapError, SHARD_NUDGE, Shard,
    allocator::{Allocator, Freed},
    in_place::InPlace,
    recovery::Recovered,
    tx::{Progress, Tx},
};
use crate::{
    mem::{LINE, MediaError, Mem, Rule, Site},
    types::{commands::Trims, completions::CompletionHints},
};
use std::sync::MutexGuard;

/// What the writers of a shard hand on to each other.
#[derive(Debug)]
pub(super) struct WriterState {
    /// The run that records carry.
    pub(super) run_id: u64,
    /// The batch that is being built.
    pub(super) batch: u64,
    /// Its records so far, and those of the batch before.
    pub(super) records: u16,
    pub(super) records_before: u16,
    /// Words of its ring slot that are taken.
    pub(super) slot_used: usize,
    /// The write set's words in the order in which they came: offset, and slot in the overlay.
    pub(super) written: Vec<(u64, u32)>,
    /// For each slot of the overlay the failure-atomic block that stored into it last.
    pub(super) stamps: Vec<u32>,
    /// Number of the current block, for `stamps`.
    pub(super) stamp: u32,
    /// What the finished blocks of this batch freed.
    pub(super) freed: Vec<Freed>,
    pub(super) allocator: Allocator,
    /// The block that is running.
    pub(super) block: Progress,
    /// Of an unshared heap only: what the block that is running stored in place.
    pub(super) in_place: Option<InPlace>,
    /// The words that the batch changes: offset and value, block after block.
    pub(super) entries: Vec<(u64, u64)>,
    pub(super) completion_hints: CompletionHints,
    pub(super) trims: Trims,
    /// The last batch that put contents, for each class of offsets that have the same hash.
    put_marks: Box<[u64; PUT_MARKS]>,
    /// Lines of the last batch in place whose flush no fence has followed yet, and the thread that flushed them.
    unfenced: Vec<u64>,
    unfenced_by: usize,
    /// Whether a block found no room while freed blocks waited for their time.
    pub(super) is_tight: bool,
    /// Why the shard stopped.
    failed: Option<MediaError>,
}

impl WriterState {
    pub(super) fn new(recovered: Recovered, overlay_slots: usize, in_place: Option<InPlace>) -> Self {
        Self {
            run_id: recovered.run_id,
            batch: recovered.batch + 1,
            records: 0,
            records_before: 0,
            slot_used: 0,
            written: Vec::new(),
            stamps: vec![0; overlay_slots],
            stamp: 0,
            freed: Vec::new(),
            allocator: Allocator::new(),
            block: Progress::default(),
            in_place,
            entries: Vec::new(),
            completion_hints: CompletionHints::default(),
            trims: Trims::default(),
            put_marks: Box::new([0; PUT_MARKS]),
            unfenced: Vec::new(),
            unfenced_by: 0,
            is_tight: false,
            failed: None,
        }
    }
}

impl WriterState {
    /// The last batch that put contents at this offset, or at one of the same hash.
    pub(super) fn put_mark(&mut self, offset: u64) -> &mut u64 {
        let hash = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PUT_MARKS.trailing_zeros());
        &mut self.put_marks[hash as usize]
    }
}

/// A power of two. More than there are contents in most batches.
const PUT_MARKS: usize = 1 << 10;

/// Freed blocks are sent to wait for their readers when they are so many; sooner when space is short.
const SEND_AT: usize = 64;

impl<M: Mem> Heap<M> {
    /// Lets freed blocks arrive at the allocator's queue once no reader of now is left.
    pub(super) fn send_freed(&self, allocator: &mut Allocator) {
        if !allocator.unsent.is_empty() {
            let freed = std::mem::take(&mut allocator.unsent);
            allocator.under_eyes += freed.len();
            let unread = allocator.unread.clone();
            self.epochs.pin().defer(move || unread.push(freed));
        }
    }
}

/// A number for the current thread.
pub(crate) fn thread_mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// The only one who changes a shard, until it is dropped. What it has run but not committed is committed by
/// whoever commits next, or lost in a crash.
pub struct Writer<'h, M: Mem> {
    heap: &'h Heap<M>,
    shard: u32,
    shard_ref: &'h Shard<M>,
    state: MutexGuard<'h, WriterState>,
    /// After the lock, so that it is free when somebody is woken.
    _wake: WakeQueued<'h, M>,
}

/// Wakes somebody who waits for the shard, when it is dropped.
struct WakeQueued<'h, M: Mem>(&'h Heap<M>, u32);

impl<M: Mem> Drop for WakeQueued<'_, M> {
    fn drop(&mut self) {
        self.0.wake_queued(self.1);
    }
}

impl<M: Mem> std::fmt::Debug for Writer<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("shard", &self.shard).field("batch", &self.state.batch).finish()
    }
}

impl<'h, M: Mem> Writer<'h, M> {
    pub(super) fn new(
        heap: &'h Heap<M>,
        shard: u32,
        shard_ref: &'h Shard<M>,
        state: MutexGuard<'h, WriterState>,
    ) -> Self {
        Self { heap, shard, shard_ref, state, _wake: WakeQueued(heap, shard) }
    }

    /// Runs a failure-atomic block as a part of the current batch. All of its changes take effect, or none. It sees those
    /// of the blocks before it; readers see them, and they may be acknowledged, only after [`commit`](Self::commit).
    ///
    /// Commits the batch first if the ring's slot has no room left for one more block.
    ///
    /// # Errors
    /// The block's own error, or why its changes cannot be made. Then, as after a panic of the block, it changed nothing.
    /// [`HeapError::ReadOnly`] without running the block, if the heap was opened for reading.
    pub fn run<R, E: From<HeapError>>(
        &mut self,
        block: impl FnOnce(&mut Tx<'_, M>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.heap.expect_writable()?;
        if let Some(error) = self.state.failed {
            return Err(HeapError::Media(error).into());
        }
        if self.state.is_tight {
            self.reclaim()?;
        }
        self.run_now(block)
    }

    fn run_now<R, E: From<HeapError>>(
        &mut self,
        block: impl FnOnce(&mut Tx<'_, M>) -> Result<R, E>,
    ) -> Result<R, E> {
        let slot_words = self.heap.layout().geometry().ring_slot_bytes as usize / 8;
        let full =
            self.state.slot_used + slot_words / 2 > slot_words || self.state.written.len() > slot_words / 2;
        if full || self.state.records == u16::MAX {
            self.commit()?;
        }
        let mut tx = Tx::new(self.heap, self.shard, &self.shard_ref.visible, &mut self.state);
        let result = block(&mut tx)?;
        tx.finish()?;
        Ok(result)
    }

    /// Commits the batch: what it ran so far is durable on return, and may be acknowledged. One fence; none if nothing
    /// was changed.
    ///
    /// # Errors
    /// If the memory failed. Then nobody knows whether the batch will be there when the region is opened anew.
    #[inline]
    pub fn commit(&mut self) -> Result<(), HeapError> {
        if self.state.in_place.is_some() {
            self.finish_in_place();
            return Ok(());
        }
        self.commit_records()
    }

    fn commit_records(&mut self) -> Result<(), HeapError> {
        let mem = self.heap.mem();
        if let Some(error) = self.state.failed {
            return Err(error.into());
        }
        // Rule R7: a batch without records takes no number.
        if self.state.records == 0 && !mem.broken(Rule::R7EmptyBatch) {
            return Ok(());
        }
        if mem.broken(Rule::R4ApplyAfterFence) {
            self.apply();
        }
        self.flush_of_other_thread();
        mem.fence(Site::CommitFence);
        if let Err(error) = mem.health() {
            self.state.failed = Some(error);
            return Err(error.into());
        }
        self.shard_ref.visible.publish();
        self.apply();
        self.shard_ref.visible.settle();
        self.finish_batch();
        Ok(())
    }

    /// Ends a batch of an unshared heap: everything stands in place already.
    fn finish_in_place(&mut self) {
        let state = &mut *self.state;
        if state.records > 0 {
            self.shard_ref.fenced.store(state.batch, std::sync::atomic::Ordering::Release);
            state.records = 0;
            state.batch += 1;
        }
    }

    /// Makes room of what was freed: commits, and commits two more batches, after which no crash brings back what
    /// was there. A block that finds no room while there is such space has this done before the next block. Four fences.
    ///
    /// # Errors
    /// If the memory failed.
    pub fn reclaim(&mut self) -> Result<(), HeapError> {
        self.state.is_tight = false;
        self.commit()?;
        (0..3).try_for_each(|_| self.nudge())
    }

    /// Commits a batch whose only purpose is its number.
    pub(super) fn nudge(&mut self) -> Result<(), HeapError> {
        let nudge = self.heap.layout().shard_header(self.shard) + SHARD_NUDGE;
        self.run_now(|tx| tx.write(nudge, tx.batch()))?;
        self.commit()
    }

    /// Makes all that was committed durable in place too. One fence.
    pub(super) fn settle(&mut self) -> Result<(), HeapError> {
        self.commit()?;
        self.flush_of_other_thread();
        self.heap.mem().fence(Site::SettleFence);
        self.state.unfenced.clear();
        Ok(self.heap.mem().health()?)
    }

    /// Stores the batch's words in place and flushes their lines.
    fn apply(&mut self) {
        let mem = self.heap.mem();
        let state = &mut *self.state;
        state.unfenced.clear();
        for &(offset, value) in &state.entries {
            mem.store(offset, value);
            let line = offset & !(LINE - 1);
            if state.unfenced.last() != Some(&line) {
                state.unfenced.push(line);
            }
        }
        state.unfenced.sort_unstable();
        state.unfenced.dedup();
        for &line in &state.unfenced {
            mem.flush(Site::ApplyFlush, line, LINE);
        }
        state.unfenced_by = thread_mark();
    }

    /// A fence is only for its own thread's flushes: if another one put the last batch in place, that is flushed again.
    fn flush_of_other_thread(&mut self) {
        if !self.state.unfenced.is_empty() && self.state.unfenced_by != thread_mark() {
            for &line in &self.state.unfenced {
                self.heap.mem().flush(Site::HandOverFlush, line, LINE);
            }
        }
    }

    /// Empties the write set, sends off what the batch freed, and begins the next batch.
    fn finish_batch(&mut self) {
        let state = &mut *self.state;
        let overlay = &self.shard_ref.visible.overlay;
        for (_, slot) in state.written.drain(..) {
            overlay.clear(slot as usize);
        }
        state.entries.clear();
        self.shard_ref.fenced.store(state.batch, std::sync::atomic::Ordering::Release);
        let batch = state.batch;
        state.allocator.unsent.extend(state.freed.drain(..).map(|freed| (batch, freed)));
        if state.allocator.unsent.len() >= SEND_AT {
            self.heap.send_freed(&mut state.allocator);
        }
        state.records_before = state.records;
        state.records = 0;
        state.slot_used = 0;
        state.batch += 1;
    }

    /// The shard that is written.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Number of the batch that is being built.
    pub fn batch(&self) -> u64 {
        self.state.batch
    }
}
