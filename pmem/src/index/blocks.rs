//! Which blocks lanes can hand out now, in ordinary memory.
//!
//! The bitmaps in the region are the truth. A chunk's free blocks are listed when it is first needed in a run, and before
//! any bit of it is cleared, so that no block is listed twice. A block that was freed is handed out again when
//! no reader can see it and no shard's recovery can still write into its root.

use super::{Index, lane::CheckedOut, node::Node, tables::Tables};
use crate::{
    heap::{
        HeapError,
        descriptor::{Descriptor, NEXT, Use, block_bytes},
    },
    layout::MAX_CLASSES,
    mem::{Mem, Rule, WORD},
};
use crossbeam::queue::SegQueue;
use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Freed blocks are sent to wait for their readers when they are so many; sooner when space is short.
const SEND_AT: usize = 32;

/// A block of a lane's chunk, and its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) offset: u64,
    /// Offset of the word of the bitmap.
    pub(super) word: u64,
    pub(super) bit: u64,
    pub(super) class: usize,
    /// The lane whose chunk it is in.
    pub(super) lane: u16,
    pub(super) chunk: u32,
}

impl<'m, M: Mem> Tables<'m, M> {
    /// The block that begins at an offset that may be anything.
    pub(super) fn block_at(&self, offset: u64) -> Result<Block, HeapError> {
        let corrupt = HeapError::Corrupt { offset };
        let layout = self.layout;
        let chunk = layout
            .chunk_of(offset)
            .filter(|&chunk| chunk < layout.chunk_count(self.mem.len()) && layout.is_data_chunk(chunk))
            .ok_or(corrupt.clone())?;
        let (class, lane) = self.lane_chunk(chunk)?;
        let inside = offset - layout.chunk(chunk);
        let number = inside / block_bytes(class);
        if !inside.is_multiple_of(block_bytes(class)) || number >= layout.blocks(class).into() {
            return Err(corrupt);
        }
        Ok(self.block(chunk, class, lane, number as u32))
    }

    fn block(&self, chunk: u32, class: usize, lane: u16, number: u32) -> Block {
        Block {
            offset: self.layout.chunk(chunk) + u64::from(number) * block_bytes(class),
            word: self.layout.bitmap(chunk) + u64::from(number / 64) * WORD,
            bit: 1 << (number % 64),
            class,
            lane,
            chunk,
        }
    }

    /// Class and lane of a chunk that must be one of nodes.
    pub(super) fn lane_chunk(&self, chunk: u32) -> Result<(usize, u16), HeapError> {
        match Descriptor::load(self.mem, self.layout, chunk)?.used_for() {
            Use::LaneBlocks { class, lane } if u32::from(lane) < self.layout.geometry().lanes => {
                Ok((class, lane))
            }
            _ => Err(HeapError::Corrupt { offset: self.layout.descriptor(chunk) }),
        }
    }

    /// All blocks of a lane's chunk, and whether each is allocated.
    pub(super) fn blocks_of(
        &self,
        chunk: u32,
    ) -> Result<impl Iterator<Item = (Block, bool)> + use<'m, M>, HeapError> {
        let (class, lane) = self.lane_chunk(chunk)?;
        let tables = *self;
        Ok((0..self.layout.blocks(class)).map(move |number| {
            let block = tables.block(chunk, class, lane, number);
            (block, tables.mem.load(block.word) & block.bit != 0)
        }))
    }

    /// The chunk behind this one in its lane's list.
    pub(super) fn chunk_behind(&self, chunk: u32) -> Result<Option<u32>, HeapError> {
        let at = self.layout.descriptor(chunk) + NEXT;
        self.chunk_number(self.mem.load(at)).map_err(|()| HeapError::Corrupt { offset: at })
    }
}

/// A set of chunks that only grows, and that everybody can ask without locks.
#[derive(Debug)]
pub(super) struct ChunkSet {
    /// Part i holds the chunks from 2^i - 1 on, 64 a word... in words: 2^i words.
    parts: [OnceLock<Box<[AtomicU64]>>; 27],
}

impl ChunkSet {
    pub(super) fn new() -> Self {
        Self { parts: [const { OnceLock::new() }; 27] }
    }

    /// Part, word in it, and bit of a chunk. Part i has 2^i words.
    fn place(chunk: u32) -> (usize, usize, u64) {
        let word = chunk / 64 + 1;
        let part = word.ilog2();
        (part as usize, (word - (1 << part)) as usize, 1 << (chunk % 64))
    }

    fn contains(&self, chunk: u32) -> bool {
        let (part, word, bit) = Self::place(chunk);
        self.parts[part].get().is_some_and(|words| words[word].load(Ordering::Acquire) & bit != 0)
    }

    /// Says whether it was not there yet.
    fn insert(&self, chunk: u32) -> bool {
        let (part, word, bit) = Self::place(chunk);
        let words = self.parts[part].get_or_init(|| (0..1 << part).map(|_| AtomicU64::new(0)).collect());
        words[word].fetch_or(bit, Ordering::AcqRel) & bit == 0
    }
}

/// A block that was freed and cannot be handed out yet.
#[derive(Debug, Clone, Copy)]
struct Freed {
    block: Block,
    /// The shard whose recovery may write into it...
    shard: u16,
    /// ... until this batch of it is committed and in place.
    batch: u64,
}

/// The blocks of one lane.
#[derive(Debug)]
pub(super) struct LaneBlocks {
    lists: Mutex<Lists>,
    /// Freed blocks that readers may see.
    unsent: SegQueue<Freed>,
    /// Freed blocks that no reader can see any more.
    unread: Arc<SegQueue<Vec<Freed>>>,
}

#[derive(Debug)]
struct Lists {
    /// Offsets of blocks that can be handed out, by class.
    free: Vec<Vec<Block>>,
    /// Blocks that wait for a shard's batches.
    waiting: Vec<Freed>,
    cursor: Cursor,
}

/// How far the lane's chunks are listed.
#[derive(Debug, Clone, Copy)]
enum Cursor {
    NotStarted,
    At(u32),
    Done,
}

impl LaneBlocks {
    pub(super) fn new() -> Self {
        Self {
            lists: Mutex::new(Lists {
                free: vec![Vec::new(); MAX_CLASSES],
                waiting: Vec::new(),
                cursor: Cursor::NotStarted,
            }),
            unsent: SegQueue::new(),
            unread: Arc::new(SegQueue::new()),
        }
    }
}

impl<M: Mem> Index<'_, M> {
    fn blocks(&self, lane: u16) -> &LaneBlocks {
        &self.names().lanes[usize::from(lane)].blocks
    }

    /// Takes a listed block.
    fn take_listed(&self, lane: u16, class: usize) -> Option<Block> {
        self.mem().lock(&self.blocks(lane).lists).free[class].pop()
    }

    /// Lists the free blocks of a chunk, unless that was done in this run. Must come before a bit of it changes.
    pub(super) fn ensure_listed(&self, block: &Block) -> Result<(), HeapError> {
        if self.names().listed.contains(block.chunk) {
            return Ok(());
        }
        let mut lists = self.mem().lock(&self.blocks(block.lane).lists);
        self.list(&mut lists, block.chunk)
    }

    fn list(&self, lists: &mut Lists, chunk: u32) -> Result<(), HeapError> {
        if self.names().listed.contains(chunk) {
            return Ok(());
        }
        for (block, is_allocated) in self.tables().blocks_of(chunk)? {
            if !is_allocated {
                lists.free[block.class].push(block);
            }
        }
        assert!(self.names().listed.insert(chunk), "chunk {chunk} is listed under its lane's lock");
        Ok(())
    }

    /// Lists chunks of a lane until there is a block of the class.
    fn list_more(&self, lane: u16, class: usize) -> Result<(), HeapError> {
        let tables = self.tables();
        let mut lists = self.mem().lock(&self.blocks(lane).lists);
        let mut left = tables.layout.chunk_count(tables.mem.len());
        while lists.free[class].is_empty() {
            let chunk = match lists.cursor {
                Cursor::NotStarted => {
                    tables.chunk_in(tables.layout.lane(lane.into()) + super::lane::CHUNKS)?
                }
                Cursor::At(chunk) => Some(chunk),
                Cursor::Done => None,
            };
            let Some(chunk) = chunk else {
                lists.cursor = Cursor::Done;
                return Ok(());
            };
            let corrupt = HeapError::Corrupt { offset: tables.layout.descriptor(chunk) };
            left = left.checked_sub(1).ok_or(corrupt.clone())?;
            if tables.lane_chunk(chunk)?.1 != lane {
                return Err(corrupt);
            }
            self.list(&mut lists, chunk)?;
            lists.cursor = tables.chunk_behind(chunk)?.map_or(Cursor::Done, Cursor::At);
        }
        Ok(())
    }

    /// Lists freed blocks of a lane that can be handed out now.
    fn absorb(&self, lane: u16) {
        let blocks = self.blocks(lane);
        let mut lists = self.mem().lock(&blocks.lists);
        while let Some(freed) = blocks.unread.pop() {
            lists.waiting.extend(freed);
        }
        let Lists { free, waiting, .. } = &mut *lists;
        waiting.retain(|freed| {
            let waits = self.heap.fenced_batch(freed.shard.into()) < freed.batch;
            if !waits {
                free[freed.block.class].push(freed.block);
            }
            waits
        });
    }

    /// Lets freed blocks of a lane arrive once no reader of now is left.
    fn send(&self, lane: u16) {
        let blocks = self.blocks(lane);
        let freed: Vec<Freed> = std::iter::from_fn(|| blocks.unsent.pop()).collect();
        if !freed.is_empty() {
            let unread = blocks.unread.clone();
            let guard = self.heap.epochs.pin();
            guard.defer(move || unread.push(freed));
            guard.flush();
        }
    }

    /// Gives back a block that nobody has seen.
    pub(super) fn put_back(&self, block: Block) {
        self.mem().lock(&self.blocks(block.lane).lists).free[block.class].push(block);
    }

    /// The batch of a shard from which on no recovery writes what it wrote, up to now, into a node of it (rule I6). A batch
    /// that readers see is the one after the last that is in place, at most; the last two are replayed.
    pub(super) fn batch_of_reuse(&self, shard: u16) -> u64 {
        if self.mem().broken(Rule::I6ReuseAfterReplay) {
            return 0;
        }
        self.heap.fenced_batch(shard.into()) + 3
    }

    /// Frees the block of a node that was taken out: its bit is cleared already.
    pub(super) fn retire(&self, block: Block, node: &Node, batch: u64) {
        let blocks = self.blocks(block.lane);
        blocks.unsent.push(Freed { block, shard: node.shard, batch });
        if blocks.unsent.len() >= SEND_AT {
            self.send(block.lane);
        }
    }

    /// Lists what an earlier run or other threads left of a lane, as far as it is needed for one block.
    fn gather(&self, lane: u16, class: usize) -> Result<Option<Block>, HeapError> {
        self.absorb(lane);
        self.list_more(lane, class)?;
        if let Some(block) = self.take_listed(lane, class) {
            return Ok(Some(block));
        }
        self.send(lane);
        self.heap.epochs.advance();
        self.absorb(lane);
        Ok(self.take_listed(lane, class))
    }

    /// Commits batches of shards whose recovery could still write into freed blocks. Shards that have a writer now have
    /// batches of their own.
    fn hurry_shards(&self) {
        let lanes = self.names().lanes.iter();
        let mut batches = std::collections::BTreeMap::new();
        for lane in lanes {
            for freed in &self.mem().lock(&lane.blocks.lists).waiting {
                let batch = batches.entry(freed.shard).or_insert(0);
                *batch = freed.batch.max(*batch);
            }
        }
        for (shard, batch) in batches {
            self.heap.commit_up_to(shard.into(), batch);
        }
    }
}

impl<M: Mem> CheckedOut<'_, M> {
    /// Takes a block without looking far.
    pub(super) fn take(&self, class: usize) -> Option<Block> {
        self.index.take_listed(self.number, class)
    }

    /// Finds a block, wherever there is one. The thread must have no epoch pinned, or freed blocks cannot come back.
    pub(super) fn allocate(&mut self, class: usize) -> Result<Block, HeapError> {
        let index = self.index;
        if let Some(block) = index.gather(self.number, class)? {
            return Ok(block);
        }
        if let Some(chunk) = self.claim_for_nodes(class)? {
            let mut lists = index.mem().lock(&index.blocks(self.number).lists);
            index.list(&mut lists, chunk)?;
            if let Some(block) = lists.free[class].pop() {
                return Ok(block);
            }
        }
        let lanes = index.names().lanes.len() as u16;
        let others = || (1..=lanes).map(|i| (self.number + i) % lanes);
        for hurry in [false, true] {
            if hurry {
                index.hurry_shards();
            }
            for lane in others() {
                if let Some(block) = index.gather(lane, class)? {
                    return Ok(block);
                }
            }
        }
        Err(HeapError::NoSpace)
    }
}

#[cfg(test)]
mod tests {
    use super::ChunkSet;

    #[test]
    fn each_chunk_of_a_set_has_a_bit_of_its_own() {
        let mut places: Vec<_> = (0..5000).map(ChunkSet::place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 5000);
        let set = ChunkSet::new();
        assert!(!set.contains(4711) && set.insert(4711) && set.contains(4711) && !set.insert(4711));
        assert!(!set.contains(4712) && ChunkSet::place(u32::MAX).0 < 27);
    }
}
