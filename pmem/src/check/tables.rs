//! The tables that recovery reads, as they stand before it.

use super::{FindingKind, Report};
use crate::{
    heap,
    layout::{STATE, SUPERBLOCK, SUPERBLOCK_BYTES, SUPERBLOCK_COPY, Shutdown, State, Superblock, TABLES},
    mem::{LINE, Mem, WORD},
};

pub(super) fn check(mem: &impl Mem, report: &mut Report) {
    if mem.len() < TABLES {
        // Opening says so.
        return;
    }
    let Some(superblock) = check_superblocks(mem, report) else { return };
    check_states(mem, superblock.checksum_seed(), report);
    if mem.len() >= superblock.layout.bytes_min() {
        check_shards(mem, &superblock, report);
    }
}

/// Says what is wrong with the watermarks and rings of all shards. The memory must reach beyond the tables.
pub(crate) fn check_shards(mem: &impl Mem, superblock: &Superblock, report: &mut Report) {
    let seed = superblock.checksum_seed();
    let is_clean = State::load(mem, seed).is_ok_and(|state| state.shutdown == Shutdown::Clean);
    for shard in 0..superblock.layout.geometry().shards {
        for fault in heap::shard_faults(mem, &superblock.layout, seed, shard, is_clean) {
            let kind = if fault.in_ring { FindingKind::Ring } else { FindingKind::Watermark };
            report.add(kind, fault.offset, Some(shard), fault.what);
        }
    }
}

/// Says what is wrong with the two superblocks; gives one that can be used.
pub(crate) fn check_superblocks(mem: &impl Mem, report: &mut Report) -> Option<Superblock> {
    let read = |at: u64| {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        mem.read(at, &mut bytes);
        (Superblock::decode(&bytes), bytes)
    };
    let (first, first_bytes) = read(SUPERBLOCK);
    let (copy, copy_bytes) = read(SUPERBLOCK_COPY);
    for (at, superblock) in [(SUPERBLOCK, &first), (SUPERBLOCK_COPY, &copy)] {
        if let Err(error) = superblock {
            report.add(FindingKind::Superblock, at, None, error);
        }
    }
    if first.is_ok() && copy.is_ok() && first_bytes != copy_bytes {
        report.add(FindingKind::Superblock, SUPERBLOCK_COPY, None, "the superblock and its copy differ");
    }
    first.or(copy).ok()
}

/// A slot is whole; or it is all zeros, and the other one is the first that was ever written.
pub(crate) fn check_states(mem: &impl Mem, seed: u32, report: &mut Report) {
    let mut bytes = [0; 2 * LINE as usize];
    mem.read(STATE, &mut bytes);
    let line = LINE as usize;
    let slot = |number: usize| {
        let mut alone = bytes;
        alone[(1 - number) * line..][..line].fill(0);
        State::decode_slots(&alone, seed).ok()
    };
    let slots = [slot(0), slot(1)];
    for number in 0..2 {
        let is_unused = bytes[number * line..][..line].iter().all(|&byte| byte == 0)
            && slots[1 - number].is_some_and(|state| state.generation == 1);
        let is_in_place = slots[number].is_some_and(|state| state.generation % 2 == number as u64);
        if !is_unused && !is_in_place {
            let at = STATE + number as u64 * LINE;
            report.add(FindingKind::State, at, None, "the state slot is damaged");
        }
    }
    let ends = [State::load(mem, seed).map_or(0, |state| state.region_bytes), mem.len() / WORD * WORD];
    if ends[0] > ends[1] {
        let text = format!("the region has {} bytes, but only {} are there", ends[0], ends[1]);
        report.add(FindingKind::Truncated, ends[1], None, text);
    }
}
