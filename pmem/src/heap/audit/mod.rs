//! Comparing what a shard's bitmaps say is allocated with what its structures own.
//!
//! Reads every descriptor and every bitmap of the shard once, changes nothing, and follows nothing that it has not
//! checked: any bytes are welcome. Nobody may write to the shard meanwhile, or what it finds means nothing.

use super::{
    SHARD_HIGH_CHUNK, SHARD_LISTS,
    descriptor::{Descriptor, NEXT, PREVIOUS, Use, block_bytes},
    view::View,
};
use crate::mem::{Mem, WORD};
use std::collections::{HashMap, HashSet};

/// Something that cannot be, if nothing was damaged and nothing is wrong with the code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is allocated, but nothing owns it.
    #[error("a block of {bytes} bytes at {offset:#x} is allocated and owned by nothing")]
    Leaked {
        /// Where the block is.
        offset: u64,
        /// Its size.
        bytes: u64,
    },
    /// It is owned, but not allocated: the next allocation may hand it out.
    #[error("the block at {offset:#x} is owned and not allocated")]
    Dangling {
        /// Where the block is.
        offset: u64,
    },
    /// No block of the shard begins there, or it is smaller than its owner believes.
    #[error("{bytes} bytes at {offset:#x} are owned that are not in one block of the shard")]
    NotABlock {
        /// Where it should be.
        offset: u64,
        /// Bytes that its owner asked for.
        bytes: u64,
    },
    /// Two owners name it.
    #[error("the block at {offset:#x} is owned twice")]
    OwnedTwice {
        /// Where the block is.
        offset: u64,
    },
    /// A chunk's descriptor, or its length, cannot be.
    #[error("the descriptor of chunk {chunk} is damaged")]
    Descriptor {
        /// Which chunk.
        chunk: u32,
    },
    /// Bits are set that stand for no block: of a free chunk, or behind a chunk's last block.
    #[error("the bitmap of chunk {chunk} has bits that stand for no block")]
    StrayBits {
        /// Which chunk.
        chunk: u32,
    },
    /// The shard has a chunk behind the last that it says it ever took.
    #[error("chunk {chunk} is in use, but counts as one that never was")]
    BeyondHigh {
        /// Which chunk.
        chunk: u32,
    },
    /// The list of a class's chunks with room is broken at this chunk, or at its head.
    #[error("the list of chunks with room of class {class} is damaged at offset {offset:#x}")]
    List {
        /// Which class.
        class: usize,
        /// Which word.
        offset: u64,
    },
    /// A chunk has room and is not in its class's list, so its room is lost; or is full and in the list.
    #[error("chunk {chunk} has {free} free blocks, which does not fit the list of its class")]
    Unlisted {
        /// Which chunk.
        chunk: u32,
        /// How many of its blocks are free.
        free: u32,
    },
}

/// What an audit of a shard found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// The first problems, at most [`Audit::PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problem_count: u64,
    /// How many of the problems are [`Problem::Leaked`].
    pub leaks: u64,
    /// Blocks of the shard that are allocated, runs of chunks included.
    pub blocks: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Chunks of the shard.
    pub chunks: u32,
    /// Chunks of other shards, which were not looked into.
    pub other_shards: u32,
    /// Chunks of the name index: of lanes, or pages of its directory. They were not looked into.
    pub index: u32,
    /// Free chunks.
    pub free: u32,
}

impl Audit {
    /// How many problems are listed at most.
    pub const PROBLEMS_MAX: usize = 1000;

    /// Whether there is no problem.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    fn report(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < Self::PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// A chunk of blocks, while the audit runs.
struct Chunk {
    class: usize,
    /// Bits of allocated blocks that no owner has named yet.
    unowned: Vec<u64>,
    allocated: Vec<u64>,
}

struct Auditor<'v, V> {
    view: &'v V,
    audit: Audit,
    chunks: HashMap<u32, Chunk>,
    /// First chunks of runs: chunks, and whether an owner was named.
    runs: HashMap<u32, (u32, bool)>,
}

/// Compares the view's shard with the blocks that its structures own: offset, and bytes that were asked for.
pub fn audit<V: View>(view: &V, owned: impl IntoIterator<Item = (u64, u64)>) -> Audit {
    let mut auditor = Auditor { view, audit: Audit::default(), chunks: HashMap::new(), runs: HashMap::new() };
    auditor.read_chunks();
    for (offset, bytes) in owned {
        auditor.claim(offset, bytes);
    }
    auditor.check_lists();
    // Last, since they can be so many that nothing else would be listed.
    auditor.report_leaks();
    auditor.audit
}

impl<V: View> Auditor<'_, V> {
    fn read_chunks(&mut self) {
        let heap = self.view.heap();
        let layout = heap.layout();
        let count = layout.chunk_count(heap.mem().len());
        let zone = layout.geometry().zone_chunks;
        let high = self.view.word(layout.shard_header(self.view.shard()) + SHARD_HIGH_CHUNK);
        let mut chunk = 0;
        while chunk < count {
            if !layout.is_data_chunk(chunk) {
                chunk += 1;
                continue;
            }
            let at = layout.descriptor(chunk);
            // A zone that was cut short may have no room for its descriptors.
            if layout.bitmap(chunk) + layout.descriptor_stride > heap.mem().len() {
                break;
            }
            let (word, check) = (self.view.word(at), self.view.word(at + Descriptor::CHECK));
            let room = zone - chunk % zone;
            let descriptor = match Descriptor::from_words(layout, chunk, word, check) {
                Ok(descriptor) if descriptor.chunks() <= room.min(count - chunk) => descriptor,
                _ => {
                    self.audit.report(Problem::Descriptor { chunk });
                    chunk += 1;
                    continue;
                }
            };
            let mine = |shard| u32::from(shard) == self.view.shard();
            match descriptor.used_for() {
                Use::Free => {
                    self.audit.free += 1;
                    self.check_no_bits(chunk, 0);
                }
                Use::ShardBlocks { class, shard } if mine(shard) => self.read_blocks(chunk, class),
                Use::Run { shard } if mine(shard) => {
                    self.audit.chunks += descriptor.chunks();
                    self.audit.blocks += 1;
                    self.audit.bytes +=
                        u64::from(descriptor.chunks()) * u64::from(layout.geometry().chunk_bytes);
                    self.runs.insert(chunk, (descriptor.chunks(), false));
                }
                Use::ShardBlocks { .. } | Use::Run { .. } => self.audit.other_shards += descriptor.chunks(),
                Use::LaneBlocks { .. } | Use::DirectoryPage { .. } => self.audit.index += descriptor.chunks(),
            }
            let is_mine = self.chunks.contains_key(&chunk) || self.runs.contains_key(&chunk);
            if is_mine && u64::from(chunk + descriptor.chunks()) > high {
                self.audit.report(Problem::BeyondHigh { chunk });
            }
            chunk += descriptor.chunks();
        }
    }

    /// Checks that no bit from `first` on is set in the bitmap.
    fn check_no_bits(&mut self, chunk: u32, first: u32) {
        let layout = self.view.heap().layout();
        let all = layout.geometry().chunk_bytes / 64;
        let stray = (0..all.div_ceil(64)).any(|i| {
            let word = self.view.word(layout.bitmap(chunk) + u64::from(i) * WORD);
            let keep = first.saturating_sub(i * 64);
            keep < 64 && word >> keep != 0
        });
        if stray {
            self.audit.report(Problem::StrayBits { chunk });
        }
    }

    fn read_blocks(&mut self, chunk: u32, class: usize) {
        let layout = self.view.heap().layout();
        let capacity = layout.blocks(class);
        self.check_no_bits(chunk, capacity);
        let allocated: Vec<u64> = (0..capacity.div_ceil(64))
            .map(|i| {
                let word = self.view.word(layout.bitmap(chunk) + u64::from(i) * WORD);
                let behind = capacity - i * 64;
                if behind < 64 { word & ((1 << behind) - 1) } else { word }
            })
            .collect();
        let blocks: u32 = allocated.iter().map(|word| word.count_ones()).sum();
        self.audit.chunks += 1;
        self.audit.blocks += u64::from(blocks);
        self.audit.bytes += u64::from(blocks) * block_bytes(class);
        self.chunks.insert(chunk, Chunk { class, unowned: allocated.clone(), allocated });
    }

    /// Finds the block that an owner names.
    fn claim(&mut self, offset: u64, bytes: u64) {
        let layout = self.view.heap().layout();
        let chunk_bytes = u64::from(layout.geometry().chunk_bytes);
        let chunk = layout.chunk_of(offset);
        let stray = Problem::NotABlock { offset, bytes };
        if let Some(run) = chunk.and_then(|chunk| self.runs.get_mut(&chunk)) {
            let (len, is_owned) = run;
            let is_start = chunk.is_some_and(|chunk| layout.chunk(chunk) == offset);
            if !is_start || u64::from(*len) * chunk_bytes < bytes {
                self.audit.report(stray);
            } else if std::mem::replace(is_owned, true) {
                self.audit.report(Problem::OwnedTwice { offset });
            }
            return;
        }
        let Some((number, chunk)) = chunk.and_then(|n| Some((n, self.chunks.get_mut(&n)?))) else {
            self.audit.report(stray);
            return;
        };
        let inside = offset - layout.chunk(number);
        let size = block_bytes(chunk.class);
        let block = inside / size;
        if !inside.is_multiple_of(size) || bytes > size || block >= layout.blocks(chunk.class).into() {
            self.audit.report(stray);
            return;
        }
        let (word, bit) = (block as usize / 64, 1 << (block % 64));
        if chunk.allocated[word] & bit == 0 {
            self.audit.report(Problem::Dangling { offset });
        } else if chunk.unowned[word] & bit == 0 {
            self.audit.report(Problem::OwnedTwice { offset });
        }
        chunk.unowned[word] &= !bit;
    }

    fn report_leaks(&mut self) {
        let layout = self.view.heap().layout();
        let mut leaks = Vec::new();
        for (&number, chunk) in &self.chunks {
            let size = block_bytes(chunk.class);
            for (i, &word) in chunk.unowned.iter().enumerate() {
                let mut bits = word;
                while bits != 0 {
                    let block = i as u64 * 64 + u64::from(bits.trailing_zeros());
                    leaks.push((layout.chunk(number) + block * size, size));
                    bits &= bits - 1;
                }
            }
        }
        for (&first, &(len, is_owned)) in &self.runs {
            if !is_owned {
                let bytes = u64::from(len) * u64::from(layout.geometry().chunk_bytes);
                leaks.push((layout.chunk(first), bytes));
            }
        }
        leaks.sort_unstable();
        self.audit.leaks = leaks.len() as u64;
        for (offset, bytes) in leaks {
            self.audit.report(Problem::Leaked { offset, bytes });
        }
    }

    /// Walks the lists of chunks with room: each of their chunks has room and knows the one before, and no chunk
    /// with room is missing.
    fn check_lists(&mut self) {
        let heap = self.view.heap();
        let layout = heap.layout();
        let mut listed = HashSet::new();
        for class in 0..layout.classes {
            let mut at = layout.shard_header(self.view.shard()) + SHARD_LISTS + class as u64 * WORD;
            let mut previous = 0;
            loop {
                let link = self.view.word(at);
                let Some(number) = link.checked_sub(1) else { break };
                let is_good = u32::try_from(number).is_ok_and(|number| {
                    self.chunks.get(&number).is_some_and(|chunk| chunk.class == class)
                        && self.view.word(layout.descriptor(number) + PREVIOUS) == previous
                        && listed.insert(number)
                });
                if !is_good {
                    self.audit.report(Problem::List { class, offset: at });
                    break;
                }
                previous = link;
                at = layout.descriptor(number as u32) + NEXT;
            }
        }
        let mut wrong: Vec<(u32, u32)> = self
            .chunks
            .iter()
            .map(|(&number, chunk)| {
                let used: u32 = chunk.allocated.iter().map(|word| word.count_ones()).sum();
                (number, layout.blocks(chunk.class) - used)
            })
            .filter(|&(number, free)| (free > 0) != listed.contains(&number))
            .collect();
        wrong.sort_unstable();
        for (chunk, free) in wrong {
            self.audit.report(Problem::Unlisted { chunk, free });
        }
    }
}

#[cfg(test)]
mod tests;
