//! A shard's view of its chunks in ordinary memory: which blocks can be handed out now.
//!
//! The bitmaps in the region are the truth, and change only through records. A mirror of a chunk's bitmap has besides
//! those bits one for each block that is free but not to be used yet: freed by a batch that recovery may still
//! replay, or perhaps still read. Mirrors are made when a chunk is first touched in a run, before any block of it is
//! freed or handed out, so a restart need not look at any.

use crate::layout::{Layout, MAX_CLASSES};
use crossbeam::queue::SegQueue;
use std::{collections::VecDeque, sync::Arc};

/// What a batch freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freed {
    /// A block of a chunk that blocks share.
    Block(u64),
    /// A run of whole chunks.
    Chunks { first: u32, len: u32 },
}

/// A chunk of blocks as this run sees it.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) chunk: u32,
    pub(super) class: usize,
    pub(super) capacity: u32,
    /// Bits that are set in the region, the batch that is being built included.
    pub(super) used: u32,
    /// Blocks that can be handed out.
    pub(super) free: u32,
    /// A bit for each block that cannot be handed out.
    pub(super) busy: Box<[u64]>,
    pub(super) is_ready: bool,
}

impl Mirror {
    /// Finds a block that can be handed out.
    pub(super) fn find(&self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let (word, bits) = self.busy.iter().enumerate().find(|(_, bits)| **bits != u64::MAX)?;
        let block = word as u32 * 64 + bits.trailing_ones();
        (block < self.capacity).then_some(block)
    }
}

/// Where the walk along a class's list of chunks with room has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    NotStarted,
    At(u32),
    Done,
}

/// Chunks of one class.
#[derive(Debug)]
pub(super) struct ClassState {
    /// Mirrors with blocks to hand out. The last is used first.
    pub(super) ready: Vec<u32>,
    pub(super) cursor: Cursor,
}

/// What of a shard's blocks can be handed out.
#[derive(Debug)]
pub(super) struct Allocator {
    /// Index of a chunk's mirror, plus one.
    mirror_of: Vec<u32>,
    mirrors: Vec<Option<Mirror>>,
    unused_mirrors: Vec<u32>,
    pub(super) classes: Vec<ClassState>,
    /// Freed blocks that no reader can see any more, and the batch that freed them.
    pub(super) limbo: VecDeque<(u64, Freed)>,
    /// Where blocks arrive once no reader can see them any more.
    pub(super) unread: Arc<SegQueue<Vec<(u64, Freed)>>>,
    /// Freed blocks of committed batches for which no epoch has begun yet.
    pub(super) unsent: Vec<(u64, Freed)>,
    /// Blocks that were freed and have not arrived there yet, roughly.
    pub(super) under_eyes: usize,
    /// Mirrors whose blocks are all free: their chunk could be given back.
    pub(super) empty: Vec<u32>,
}

impl Allocator {
    pub(super) fn new() -> Self {
        Self {
            mirror_of: Vec::new(),
            mirrors: Vec::new(),
            unused_mirrors: Vec::new(),
            classes: (0..MAX_CLASSES)
                .map(|_| ClassState { ready: Vec::new(), cursor: Cursor::NotStarted })
                .collect(),
            limbo: VecDeque::new(),
            unread: Arc::new(SegQueue::new()),
            unsent: Vec::new(),
            under_eyes: 0,
            empty: Vec::new(),
        }
    }

    /// The mirror of a chunk, if it was made in this run.
    pub(super) fn mirror_index(&self, chunk: u32) -> Option<u32> {
        self.mirror_of.get(chunk as usize).copied().and_then(|index| index.checked_sub(1))
    }

    pub(super) fn mirror(&mut self, index: u32) -> &mut Mirror {
        self.mirrors[index as usize].as_mut().expect("a mirror that is in use")
    }

    /// Adds the mirror of a chunk from the words of its bitmap.
    pub(super) fn add_mirror(
        &mut self,
        layout: &Layout,
        chunk: u32,
        class: usize,
        mut bits: Box<[u64]>,
    ) -> u32 {
        let capacity = layout.blocks(class);
        let used: u32 = bits.iter().map(|word| word.count_ones()).sum();
        // Bits behind the last block are busy for ever.
        for block in capacity..bits.len() as u32 * 64 {
            bits[block as usize / 64] |= 1 << (block % 64);
        }
        let mirror =
            Mirror { chunk, class, capacity, used, free: capacity - used, busy: bits, is_ready: false };
        let index = self.unused_mirrors.pop().unwrap_or_else(|| {
            self.mirrors.push(None);
            self.mirrors.len() as u32 - 1
        });
        self.mirrors[index as usize] = Some(mirror);
        if self.mirror_of.len() <= chunk as usize {
            self.mirror_of.resize(chunk as usize + 1, 0);
        }
        self.mirror_of[chunk as usize] = index + 1;
        self.make_ready(index);
        index
    }

    /// Forgets the mirror of a chunk that is not the shard's any more.
    pub(super) fn remove_mirror(&mut self, index: u32) {
        let mirror = self.mirrors[index as usize].take().expect("a mirror that is in use");
        self.mirror_of[mirror.chunk as usize] = 0;
        self.classes[mirror.class].ready.retain(|&other| other != index);
        self.empty.retain(|&other| other != index);
        self.unused_mirrors.push(index);
    }

    /// Puts a chunk among those that blocks are taken from, if it has any to give.
    pub(super) fn make_ready(&mut self, index: u32) {
        let mirror = self.mirrors[index as usize].as_mut().expect("a mirror that is in use");
        if mirror.free > 0 && !mirror.is_ready {
            mirror.is_ready = true;
            let class = mirror.class;
            self.classes[class].ready.push(index);
        }
    }

    /// Marks a block as one that cannot be handed out.
    pub(super) fn take(&mut self, index: u32, block: u32) {
        let mirror = self.mirror(index);
        let (word, bit) = (block as usize / 64, 1 << (block % 64));
        assert!(mirror.busy[word] & bit == 0, "block {block} of chunk {} was handed out", mirror.chunk);
        mirror.busy[word] |= bit;
        mirror.free -= 1;
        if mirror.free == 0 && mirror.is_ready {
            mirror.is_ready = false;
            let class = mirror.class;
            self.classes[class].ready.retain(|&other| other != index);
        }
    }

    /// Marks a block as one that can be handed out again.
    pub(super) fn put_back(&mut self, index: u32, block: u32) {
        let mirror = self.mirror(index);
        let (word, bit) = (block as usize / 64, 1 << (block % 64));
        assert!(mirror.busy[word] & bit != 0, "block {block} of chunk {} was put back twice", mirror.chunk);
        mirror.busy[word] &= !bit;
        mirror.free += 1;
        if mirror.free == mirror.capacity && mirror.used == 0 && !self.empty.contains(&index) {
            self.empty.push(index);
        }
        self.make_ready(index);
    }
}
