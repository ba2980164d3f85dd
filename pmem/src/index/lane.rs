//! Lanes: what one thread needs to change the list. There are more lanes than threads, so a thread that stands still
//! in the middle of an operation stops nobody.
//!
//! ```text
//! line 0  word 0   chunk that is being claimed plus one | page of the directory that it is for plus one << 33, sealed
//!         word 1   first of the lane's chunks plus one, sealed
//!         word 2   one more than the highest chunk that the lane ever took, sealed
//! line 1, 2        intents, written in turn: kind | sequence << 8, node, names that came through the lane less those that
//!                  went, crc32c of the three and of where it stands
//! ```
//! An intent is durable before the operation changes anything, and recovery makes the bit of its node what the list says.
//! The last bit that an operation clears is durable when the lane's next one has its first fence. Until then its
//! intent must stay: hence two (rule I5).

use super::{
    Index,
    blocks::{Block, LaneBlocks},
    link::{seal, unseal},
    tables::Tables,
};
use crate::{
    checksum::checksum,
    heap::{
        HeapError,
        descriptor::{Descriptor, NEXT, PREVIOUS, Use},
        thread_mark,
    },
    mem::{LINE, Mem, Rule, Site, WORD},
};
use std::{
    cell::Cell,
    sync::{Mutex, MutexGuard, TryLockError, atomic::Ordering},
};

/// Words of a lane's first line.
pub(super) const CLAIM: u64 = 0;
pub(super) const CHUNKS: u64 = WORD;
pub(super) const HIGH: u64 = 2 * WORD;
const PAGE_SHIFT: u32 = 33;

/// What an operation is about to do to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Insert = 1,
    Remove = 2,
}

/// An intent that was read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) sequence: u64,
    pub(super) node: u64,
    pub(super) names: i64,
}

impl Written {
    /// Reads one of a lane's two intents. A torn one is none: its operation had changed nothing.
    pub(super) fn load<M: Mem>(tables: Tables<'_, M>, lane: u32, slot: u64) -> Option<Self> {
        let at = intent(tables, lane, slot);
        let words = [0, 1, 2, 3].map(|i| tables.mem.load(at + i * WORD));
        let kind = words[0] & 0xff;
        let is_whole = words[3] == u64::from(checksum(tables.seed, &[at, words[0], words[1], words[2]]))
            && (1..=2).contains(&kind);
        is_whole.then_some(Self { sequence: words[0] >> 8, node: words[1], names: words[2] as i64 })
    }
}

fn intent<M: Mem>(tables: Tables<'_, M>, lane: u32, slot: u64) -> u64 {
    tables.layout.lane(lane) + LINE + slot * LINE
}

/// What a lane's claim word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// The chunk's number plus one.
    pub(super) chunk: u64,
    /// The page that it is for; otherwise it is for nodes.
    pub(super) page: Option<u32>,
}

impl Claim {
    fn word(self) -> u64 {
        seal(self.chunk | self.page.map_or(0, |page| u64::from(page) + 1) << PAGE_SHIFT)
    }

    pub(super) fn from_number(number: u64) -> Self {
        let page = (number >> PAGE_SHIFT).checked_sub(1);
        Self { chunk: number & ((1 << PAGE_SHIFT) - 1), page: page.map(|page| page as u32) }
    }
}

/// A lane in ordinary memory.
#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<LaneState>,
    pub(super) blocks: LaneBlocks,
}

impl Lane {
    pub(super) fn new(state: LaneState) -> Self {
        Self { state: Mutex::new(state), blocks: LaneBlocks::new() }
    }
}

/// What the users of a lane hand on to each other.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// That of the last intent.
    pub(super) sequence: u64,
    /// Names that came through this lane less those that went.
    pub(super) names: i64,
    /// Lines that were flushed without a fence behind it, and the thread that did.
    unfenced: Vec<u64>,
    unfenced_by: usize,
}

/// A lane that this thread has for itself until it drops it.
pub(super) struct CheckedOut<'h, M: Mem> {
    pub(super) index: Index<'h, M>,
    pub(super) number: u16,
    state: MutexGuard<'h, LaneState>,
}

thread_local! {
    /// The lane that this thread had last, and of which index.
    static LAST: Cell<(u64, u16)> = const { Cell::new((0, 0)) };
}

impl<'h, M: Mem> Index<'h, M> {
    /// Takes a lane that nobody has, if possible the one that this thread had last. With more threads than lanes it waits.
    pub(super) fn check_out(&self) -> CheckedOut<'h, M> {
        let names = self.names();
        let lanes = &names.lanes;
        let last = match LAST.get() {
            (instance, lane) if instance == names.instance => usize::from(lane),
            _ => 0,
        };
        let mut attempts = 0;
        loop {
            for i in 0..lanes.len() {
                let number = (last + i) % lanes.len();
                let state = match lanes[number].state.try_lock() {
                    Ok(state) => state,
                    Err(TryLockError::Poisoned(error)) => error.into_inner(),
                    Err(TryLockError::WouldBlock) => continue,
                };
                LAST.set((names.instance, number as u16));
                return CheckedOut { index: *self, number: number as u16, state };
            }
            attempts += 1;
            if M::SLEEPS && attempts > 64 {
                std::thread::yield_now();
            } else {
                self.mem().pause();
            }
        }
    }
}

impl<M: Mem> CheckedOut<'_, M> {
    fn mem(&self) -> &M {
        self.index.mem()
    }

    fn header(&self) -> u64 {
        self.index.tables().layout.lane(self.number.into())
    }

    /// Makes an intent durable, with all that this thread and the lane's last one have flushed. One fence.
    pub(super) fn begin(&mut self, kind: Intent, node: u64) -> Result<(), HeapError> {
        let tables = self.index.tables();
        let mem = tables.mem;
        self.state.sequence += 1;
        // Rule I5.
        let slot = if mem.broken(Rule::I5TwoIntents) { 0 } else { self.state.sequence % 2 };
        let at = intent(tables, self.number.into(), slot);
        let names = self.state.names + if kind == Intent::Insert { 1 } else { -1 };
        let words = [self.state.sequence << 8 | kind as u64, node, names as u64];
        for (i, word) in (0..).zip(words) {
            mem.store(at + i * WORD, word);
        }
        let crc = checksum(tables.seed, &[at, words[0], words[1], words[2]]);
        mem.store(at + 3 * WORD, crc.into());
        mem.flush(Site::IntentFlush, at, LINE);
        // A fence is only for its own thread's flushes.
        if self.state.unfenced_by != thread_mark() {
            for &line in &self.state.unfenced {
                mem.flush(Site::LaneHandOverFlush, line, LINE);
            }
        }
        mem.fence(Site::IntentFence);
        mem.health()?;
        self.state.unfenced.clear();
        Ok(())
    }

    /// Flushes a line that the lane's next fence will make durable.
    pub(super) fn flush_later(&mut self, site: Site, at: u64) {
        self.mem().flush(site, at, WORD);
        let line = at & !(LINE - 1);
        if self.state.unfenced_by != thread_mark() {
            for &line in &self.state.unfenced {
                self.mem().flush(Site::LaneHandOverFlush, line, LINE);
            }
            self.state.unfenced_by = thread_mark();
        }
        if !self.state.unfenced.contains(&line) {
            self.state.unfenced.push(line);
        }
    }

    /// Counts the name that the operation linked or removed.
    pub(super) fn count(&mut self, change: i64) {
        self.state.names += change;
        self.index.names().count.fetch_add(change, Ordering::Relaxed);
    }

    /// Says that a block is allocated. Its intent must be durable, and it must not be linked yet (rule I2).
    pub(super) fn set_bit(&self, block: &Block) -> Result<(), HeapError> {
        let old = self.mem().fetch_or(block.word, block.bit);
        self.mem().flush(Site::BitSetFlush, block.word, WORD);
        if old & block.bit == 0 { Ok(()) } else { Err(HeapError::Corrupt { offset: block.word }) }
    }

    /// Says that a block is free. What led to it must be gone for good (rule I4).
    pub(super) fn clear_bit(&mut self, block: &Block) -> Result<(), HeapError> {
        let old = self.mem().fetch_and(block.word, !block.bit);
        self.flush_later(Site::BitClearFlush, block.word);
        if old & block.bit != 0 { Ok(()) } else { Err(HeapError::Corrupt { offset: block.word }) }
    }

    /// Takes a chunk for nodes of a class and puts it at the head of the lane's list. Two orderings.
    pub(super) fn claim_for_nodes(&mut self, class: usize) -> Result<Option<u32>, HeapError> {
        let Some(chunk) = self.claim(None)? else { return Ok(None) };
        let tables = self.index.tables();
        let first = tables.chunk_in(self.header() + CHUNKS)?.map_or(0, |first| u64::from(first) + 1);
        self.write_descriptor(chunk, Use::LaneBlocks { class, lane: self.number }, first);
        // Both in one line, so the claim cannot be over before the chunk is in the list. Not flushed: recovery finishes the
        // claim again and again.
        tables.mem.store(self.header() + CHUNKS, seal(u64::from(chunk) + 1));
        tables.mem.store(self.header() + CLAIM, 0);
        Ok(Some(chunk))
    }

    /// Takes a chunk for a page of the directory. Four orderings.
    pub(super) fn claim_for_page(&mut self, page: u32) -> Result<Option<u32>, HeapError> {
        let Some(chunk) = self.claim(Some(page))? else { return Ok(None) };
        let tables = self.index.tables();
        let mem = tables.mem;
        let start = tables.layout.chunk(chunk);
        let bytes = u64::from(tables.layout.geometry().chunk_bytes);
        for word in (start..start + bytes).step_by(WORD as usize) {
            if mem.load(word) != 0 {
                mem.store(word, 0);
            }
        }
        mem.flush(Site::PageZeroFlush, start, bytes);
        mem.order(Site::PageZeroOrder);
        self.write_descriptor(chunk, Use::DirectoryPage { page: page as u16 }, 0);
        let word = tables.page_word(page);
        mem.store(word, seal(u64::from(chunk) + 1));
        mem.flush(Site::PageFlush, word, WORD);
        mem.order(Site::PageOrder);
        mem.store(self.header() + CLAIM, 0);
        Ok(Some(chunk))
    }

    /// Writes the descriptor of a claimed chunk. Once it is durable, recovery finishes the claim; so others may use the
    /// chunk as soon as they see it.
    fn write_descriptor(&self, chunk: u32, used_for: Use, next: u64) {
        let mem = self.mem();
        let at = self.index.tables().layout.descriptor(chunk);
        let (word, check) = Descriptor::new(used_for, 1).words(chunk);
        mem.store(at, word);
        mem.store(at + NEXT, next);
        mem.store(at + PREVIOUS, 0);
        mem.store(at + Descriptor::CHECK, check);
        mem.flush(Site::ChunkFlush, at, LINE);
        mem.order(Site::ChunkOrder);
    }

    /// Takes a chunk from the pool and makes durable that it was.
    fn claim(&mut self, page: Option<u32>) -> Result<Option<u32>, HeapError> {
        let Some(chunk) = self.index.heap.claim_chunk() else { return Ok(None) };
        let tables = self.index.tables();
        let mem = tables.mem;
        let bitmap = tables.layout.bitmap(chunk);
        let words = u64::from(tables.layout.blocks(0).div_ceil(64));
        if let Some(word) = (0..words).map(|i| bitmap + i * WORD).find(|&word| mem.load(word) != 0) {
            self.index.heap.give_back_chunk(chunk);
            return Err(HeapError::Corrupt { offset: word });
        }
        let header = self.header();
        let high = unseal(mem.load(header + HIGH)).ok_or(HeapError::Corrupt { offset: header + HIGH })?;
        let end = u64::from(chunk) + 1;
        if high < end {
            mem.store(header + HIGH, seal(end));
        }
        mem.store(header + CLAIM, Claim { chunk: end, page }.word());
        mem.flush(Site::ClaimFlush, header, LINE);
        mem.order(Site::ClaimOrder);
        Ok(Some(chunk))
    }
}
