//! The heap: blocks, words and failure-atomic blocks in a region's shards (mode R).
//!
//! A shard has one writer at a time, and any number of readers that it never blocks. The writer runs
//! failure-atomic blocks ([`Tx`]) whose changes stay in a write set; each becomes a record in the shard's redo ring. One
//! fence commits a batch of them with all that they allocated, freed and wrote; then the words are put in place.
//! Recovery replays the last two batches of each shard and looks at nothing else.
//!
//! Read in this order: [`Writer`] and [`Tx`] (writer.rs, tx.rs), the record (record.rs), what readers see (shard.rs,
//! view.rs), recovery (recovery.rs, watermark.rs), blocks (allocator.rs, descriptor.rs, pool.rs).
//!
//! A heap is generic over its memory and does no I/O: [`Region`](crate::Region) gives it a file.

mod allocator;
mod audit;
mod blocks;
mod damaged;
pub(crate) mod descriptor;
mod epoch;
mod error;
mod faults;
mod group;
mod in_place;
mod overlay;
mod pool;
mod record;
mod recovery;
mod shard;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tx;
mod view;
mod watermark;
mod writer;

pub use audit::{Audit, Problem, audit};
pub use error::{HeapError, HeapOpenError};
pub(crate) use faults::shard_faults;
pub use tx::Tx;
pub use view::{Reader, View};
pub use writer::Writer;
pub(crate) use writer::thread_mark;

use crate::{
    index::{self, Index, NameHash, Names, Tables},
    layout::{
        Geometry, Identity, Layout, SUPERBLOCK, SUPERBLOCK_BYTES, SUPERBLOCK_COPY, Shutdown, State,
        Superblock, SuperblockError,
    },
    mem::{LINE, Mem, Site, WORD},
};
use crossbeam::queue::SegQueue;
use group::Queued;
use in_place::InPlace;
use pool::ChunkPool;
use shard::Visible;
use std::sync::{
    Arc, Mutex, TryLockError,
    atomic::{AtomicU64, Ordering},
};
use watermark::Watermark;
use writer::WriterState;

/// Word of a shard's header: one more than the highest chunk that it ever took.
pub(crate) const SHARD_HIGH_CHUNK: u64 = 2 * LINE;
/// Words of a shard's header for its command ring: position of its oldest and of its next byte.
pub(crate) const SHARD_COMMANDS: u64 = 2 * LINE + WORD;
/// Word of a shard's header: head of its garbage list.
pub(crate) const SHARD_GARBAGE: u64 = 2 * LINE + 3 * WORD;
/// Word of a shard's header that batches write whose only purpose is their number.
pub(crate) const SHARD_NUDGE: u64 = 2 * LINE + 4 * WORD;
/// Words of a shard's header: heads of the lists of chunks with room, one a class.
pub(crate) const SHARD_LISTS: u64 = 4 * LINE;

/// One shard, in ordinary memory.
#[derive(Debug)]
struct Shard<M: Mem> {
    writer: Mutex<WriterState>,
    /// Blocks of threads that share the next fence.
    queue: SegQueue<Arc<dyn Queued<M>>>,
    visible: Visible,
    /// The last batch that is committed and in place.
    fenced: AtomicU64,
}

impl<M: Mem> Shard<M> {
    fn new(layout: &Layout, recovered: recovery::Recovered, is_unshared: bool) -> Self {
        // What is stored in place at once has no write set.
        let words = if is_unshared { 0 } else { layout.geometry().ring_slot_bytes as usize / 8 };
        let visible = Visible::new(words);
        let in_place = is_unshared.then(|| InPlace::new(tx::words_max(layout)));
        Self {
            writer: Mutex::new(WriterState::new(recovered, visible.overlay.capacity(), in_place)),
            queue: SegQueue::new(),
            visible,
            fenced: AtomicU64::new(recovered.batch),
        }
    }
}

/// A formatted region in some memory, open for reading and writing.
#[derive(Debug)]
pub struct Heap<M: Mem> {
    mem: M,
    superblock: Superblock,
    seed: u32,
    run_id: u64,
    state: Mutex<State>,
    shards: Box<[Shard<M>]>,
    pool: Mutex<ChunkPool>,
    pub(crate) epochs: epoch::Epochs,
    names: Names,
    is_read_only: bool,
    is_unshared: bool,
}

impl<M: Mem> Heap<M> {
    /// Writes an empty region into memory that is all zeros, but for the first word of its first superblock, without
    /// which it cannot be opened. What was written is durable on return; then [`finish_format`](Self::finish_format).
    ///
    /// # Errors
    /// If the geometry is out of range, or needs more memory than is there.
    pub fn format(mem: &M, identity: Identity, geometry: Geometry) -> Result<(), HeapOpenError> {
        let superblock = Superblock::new(identity, geometry)?;
        let layout = &superblock.layout;
        if mem.len() < layout.bytes_min() {
            return Err(HeapOpenError::Truncated { have: mem.len(), need: layout.bytes_min() });
        }
        let bytes = superblock.encode();
        mem.write(SUPERBLOCK + WORD, &bytes[WORD as usize..]);
        mem.write(SUPERBLOCK_COPY, &bytes);
        mem.flush(Site::FormatFlush, SUPERBLOCK, SUPERBLOCK_BYTES as u64);
        mem.flush(Site::FormatFlush, SUPERBLOCK_COPY, SUPERBLOCK_BYTES as u64);
        let seed = superblock.checksum_seed();
        for shard in 0..geometry.shards {
            Watermark::initial().store(mem, seed, layout.shard_header(shard), Site::FormatFlush);
        }
        let (at, bytes) = Tables { mem, layout, seed }.format();
        mem.flush(Site::FormatFlush, at, bytes);
        State::new(mem.len()).store(mem, seed);
        mem.fence(Site::FormatFence);
        Ok(mem.health()?)
    }

    /// Writes the word that makes a formatted region one that can be opened.
    ///
    /// # Errors
    /// If the memory failed.
    pub fn finish_format(mem: &M) -> Result<(), HeapOpenError> {
        mem.store(SUPERBLOCK, mem.load(SUPERBLOCK_COPY));
        mem.flush(Site::FormatFlush, SUPERBLOCK, WORD);
        mem.fence(Site::FormatFence);
        Ok(mem.health()?)
    }

    /// Opens what stands in the memory, and recovers it if it was not closed in order. The time does not depend on
    /// how much it holds. `boot_id` names the kernel's boot, for whoever opens it after a power loss.
    /// Three fences, two more for each shard, and one if names were being created or removed.
    ///
    /// # Errors
    /// See [`HeapOpenError`]. Nothing was changed, unless it is that the memory failed.
    pub fn open(mem: M, boot_id: [u8; 16]) -> Result<Self, HeapOpenError> {
        Self::open_if_clean(mem, boot_id, false)
    }

    /// [`open`](Self::open) for whoever had to say that the region is open before it was mapped: `was_clean` is whether it was closed
    /// in order until then. Of a closed region no batch is replayed, so that damage of its rings changes nothing.
    pub(crate) fn open_if_clean(mem: M, boot_id: [u8; 16], was_clean: bool) -> Result<Self, HeapOpenError> {
        Self::open_as(mem, boot_id, was_clean, false)
    }

    /// Opens what stands in memory that nothing survives, and of which each shard is used by one thread at a time. Its
    /// failure-atomic blocks store in place at once, and take back what they stored if they fail: no record, no flush, no
    /// fence, and what is freed can be used again at once. Structures notice nothing of that, and blocks that are too large for a
    /// record are refused as ever.
    ///
    /// A crash in the middle of a block would leave half of it, so this is never for memory that something else than this heap
    /// will look at.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_unshared(mem: M) -> Result<Self, HeapOpenError> {
        Self::open_as(mem, [0; 16], false, true)
    }

    fn open_as(mem: M, boot_id: [u8; 16], was_clean: bool, is_unshared: bool) -> Result<Self, HeapOpenError> {
        let superblock = Self::read_superblock(&mem)?;
        let seed = superblock.checksum_seed();
        let mut state = State::load(&mem, seed)?;
        if mem.len() < state.region_bytes {
            return Err(HeapOpenError::Truncated { have: mem.len(), need: state.region_bytes });
        }
        // Where a newer state may have been, it said that the region is open. Recovery changes nothing of one that is closed.
        let clean = was_clean || state.shutdown == Shutdown::Clean && !state.may_be_stale(&mem, seed);
        // A run of a state that is lost must not come again: its records would count again.
        let layout = &superblock.layout;
        let known_runs = (0..layout.geometry().shards)
            .filter_map(|shard| Watermark::load(&mem, seed, layout.shard_header(shard)))
            .map(|watermark| watermark.run_id);
        state.run_id = known_runs.fold(state.run_id, u64::max).saturating_add(1);
        state.shutdown = Shutdown::Open;
        state.boot_id = boot_id;
        state.store_next(&mem, seed);
        mem.health()?;
        let mut shards = Vec::with_capacity(layout.geometry().shards as usize);
        let chunk_count = layout.chunk_count(state.region_bytes);
        let mut high = 0;
        for shard in 0..layout.geometry().shards {
            let recovered = recovery::recover_shard(&mem, layout, seed, shard, state.run_id, clean)?;
            high = high.max(mem.load(layout.shard_header(shard) + SHARD_HIGH_CHUNK));
            shards.push(Shard::new(layout, recovered, is_unshared));
        }
        let lanes = index::recover(Tables { mem: &mem, layout, seed })?;
        high = high.max(lanes.high_chunk);
        let high = u32::try_from(high).unwrap_or(u32::MAX).min(chunk_count);
        let pool = ChunkPool::new(layout, chunk_count, high);
        Ok(Self {
            mem,
            seed,
            run_id: state.run_id,
            state: Mutex::new(state),
            shards: shards.into(),
            pool: Mutex::new(pool),
            epochs: epoch::Epochs::new(),
            names: Names::new(lanes),
            superblock,
            is_read_only: false,
            is_unshared,
        })
    }

    /// Opens what stands in the memory for reading only. Recovery still stores to the memory, which should be a copy. From then on
    /// every change ends with [`HeapError::ReadOnly`]. Fences as [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_read_only(mem: M, boot_id: [u8; 16]) -> Result<Self, HeapOpenError> {
        Ok(Self { is_read_only: true, ..Self::open(mem, boot_id)? })
    }

    /// Refuses a change if the heap was opened for reading only.
    pub(crate) fn expect_writable(&self) -> Result<(), HeapError> {
        if self.is_read_only { Err(HeapError::ReadOnly) } else { Ok(()) }
    }

    /// Reads the superblock, or its copy if it is damaged.
    fn read_superblock(mem: &M) -> Result<Superblock, HeapOpenError> {
        if mem.len() < SUPERBLOCK_COPY + SUPERBLOCK_BYTES as u64 {
            return Err(HeapOpenError::Truncated {
                have: mem.len(),
                need: SUPERBLOCK_COPY + SUPERBLOCK_BYTES as u64,
            });
        }
        let read = |at: u64| {
            let mut bytes = [0; SUPERBLOCK_BYTES];
            mem.read(at, &mut bytes);
            Superblock::decode(&bytes)
        };
        match read(SUPERBLOCK) {
            Ok(superblock) => Ok(superblock),
            // A half-made region has a good copy, but no first word.
            Err(SuperblockError::NotARegion) if mem.load(SUPERBLOCK) == 0 => {
                Err(SuperblockError::NotARegion.into())
            }
            Err(error) => match read(SUPERBLOCK_COPY) {
                Ok(superblock) => {
                    tracing::warn!(%error, "the superblock is damaged; its copy is used");
                    Ok(superblock)
                }
                Err(_) => Err(error.into()),
            },
        }
    }

    /// Whether it stores in place at once; see [`open_unshared`](Self::open_unshared).
    #[must_use]
    pub fn is_unshared(&self) -> bool {
        self.is_unshared
    }

    /// The memory underneath.
    pub fn mem(&self) -> &M {
        &self.mem
    }

    /// Which region this is, and its sizes.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Where the tables are.
    pub fn layout(&self) -> &Layout {
        &self.superblock.layout
    }

    /// The number of this opening; it only grows.
    pub fn run_id(&self) -> u64 {
        self.run_id
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u32 {
        self.layout().geometry().shards
    }

    /// What checksums begin with.
    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    /// The last batch of a shard that is committed and in place. Words of batches before the one before it are never
    /// replayed.
    pub(crate) fn fenced_batch(&self, shard: u32) -> u64 {
        self.shards[shard as usize].fenced.load(Ordering::Acquire)
    }

    /// The index of names.
    pub fn index(&self) -> Index<'_, M> {
        Index::new(self)
    }

    /// Hashes names in another way from here on. For tests of names that collide: all names of a region must be hashed
    /// alike in all its life.
    pub fn set_name_hash(&mut self, hash: NameHash) {
        self.names.set_hash(hash);
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// A word of a shard as readers see it.
    #[inline]
    pub(crate) fn visible_word(&self, shard: u32, offset: u64) -> u64 {
        self.shards[shard as usize].visible.word(&self.mem, offset)
    }

    /// Takes a chunk that nobody owns.
    pub(crate) fn claim_chunk(&self) -> Option<u32> {
        self.mem.lock(&self.pool).claim(&self.mem, self.layout(), 1, false)
    }

    /// Gives a chunk back of which nothing durable says that it was taken.
    pub(crate) fn give_back_chunk(&self, chunk: u32) {
        self.mem.lock(&self.pool).give_back(self.layout(), chunk, 1);
    }

    /// Commits batches of a shard that change nothing, until this one is in place. Does nothing if the shard has a
    /// writer, which may be the caller itself.
    pub(crate) fn commit_up_to(&self, shard: u32, batch: u64) {
        let shard_ref = &self.shards[shard as usize];
        let state = match shard_ref.writer.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut writer = Writer::new(self, shard, shard_ref, state);
        while self.fenced_batch(shard) < batch {
            if writer.nudge().is_err() {
                return;
            }
        }
    }

    /// Reads a shard without locks.
    ///
    /// Of an unshared heap it is the shard's writer until it is dropped, since changes stand in place before they are
    /// committed: it waits for the writer before it, and a thread that is the shard's writer itself must read through its
    /// [`Tx`] and not make a reader besides, which would wait for ever.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn reader(&self, shard: u32) -> Reader<'_, M> {
        let visible = &self.shards[shard as usize].visible;
        if self.is_unshared {
            let writer = self.writer(shard);
            return Reader::of_writer(self, shard, visible, writer);
        }
        Reader::new(self, shard, visible)
    }

    /// Becomes the shard's writer; waits until the one before is done.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn writer(&self, shard: u32) -> Writer<'_, M> {
        let shard_ref = &self.shards[shard as usize];
        Writer::new(self, shard, shard_ref, self.mem.lock(&shard_ref.writer))
    }

    /// Runs a failure-atomic block on a shard and commits it. One fence, or none if it changes nothing.
    ///
    /// # Errors
    /// The block's own, or why it could not be committed. Then, as after a panic of the block, nothing was changed;
    /// unless the memory failed, when it is unknown until the region is opened anew.
    pub fn atomically<R, E: From<HeapError>>(
        &self,
        shard: u32,
        block: impl FnOnce(&mut Tx<'_, M>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut writer = self.writer(shard);
        let result = writer.run(block)?;
        writer.commit()?;
        Ok(result)
    }

    /// Adds memory that has been added behind the region to what can be allocated. One fence.
    ///
    /// # Errors
    /// If the memory failed.
    pub fn extend(&self) -> Result<(), HeapError> {
        self.expect_writable()?;
        let mut state = self.mem.lock(&self.state);
        let bytes = self.mem.len();
        if bytes > state.region_bytes {
            state.region_bytes = bytes;
            state.store_next(&self.mem, self.seed);
            self.mem.health()?;
            let count = self.layout().chunk_count(bytes);
            self.mem.lock(&self.pool).grow(self.layout(), count);
        }
        Ok(())
    }

    /// Makes all that was committed durable in place too, so that nothing is left to recover. One fence for each shard.
    ///
    /// # Errors
    /// If the memory failed.
    pub fn settle(&self) -> Result<(), HeapError> {
        (0..self.shard_count()).try_for_each(|shard| self.writer(shard).settle())
    }

    /// Says that the region was closed in order. Nobody may use the heap any more.
    /// One fence, and one for each shard.
    ///
    /// # Errors
    /// If the memory failed.
    pub fn mark_clean(&self) -> Result<(), HeapError> {
        self.expect_writable()?;
        self.settle()?;
        let mut state = self.mem.lock(&self.state);
        state.shutdown = Shutdown::Clean;
        state.store_next(&self.mem, self.seed);
        Ok(self.mem.health()?)
    }
}
