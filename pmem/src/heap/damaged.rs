//! Opening what is left of a heap, to read it.

use super::{
    Heap, HeapOpenError, Shard, epoch,
    pool::ChunkPool,
    recovery::{self, Recovered},
};
use crate::{
    index::{self, Names, Tables},
    layout::{Shutdown, State, Superblock},
    mem::Mem,
};
use std::sync::Mutex;

impl<M: Mem> Heap<M> {
    /// Opens a heap for reading, whatever it is like. A shard is recovered if `replay` says so, and if it can be; one that is not may
    /// show its last batches in part. Recovery stores to the memory, which must be a copy and reach beyond all tables.
    /// Gives what could not be recovered.
    pub(crate) fn open_damaged(
        mem: M,
        superblock: Superblock,
        state: State,
        replay: impl Fn(u32) -> bool,
    ) -> (Self, Vec<HeapOpenError>) {
        let layout = &superblock.layout;
        assert!(mem.len() > layout.zones, "tables of {} bytes in memory of {}", layout.zones, mem.len());
        let seed = superblock.checksum_seed();
        let run_id = state.run_id.wrapping_add(1);
        let is_clean = state.shutdown == Shutdown::Clean;
        let mut errors = Vec::new();
        let mut shards = Vec::with_capacity(layout.geometry().shards as usize);
        for shard in 0..layout.geometry().shards {
            let mut recovered = Recovered { run_id, batch: 0 };
            if replay(shard) {
                match recovery::recover_shard(&mem, layout, seed, shard, run_id, is_clean) {
                    Ok(found) => recovered = found,
                    Err(error) => errors.push(error),
                }
            }
            shards.push(Shard::new(layout, recovered, false));
        }
        let lanes = index::recover(Tables { mem: &mem, layout, seed }).unwrap_or_else(|error| {
            errors.push(error);
            index::Recovered::unknown(layout.geometry().lanes)
        });
        let heap = Self {
            pool: Mutex::new(ChunkPool::new(layout, 0, 0)),
            mem,
            seed,
            run_id,
            state: Mutex::new(state),
            shards: shards.into(),
            epochs: epoch::Epochs::new(),
            names: Names::new(lanes),
            superblock,
            is_read_only: true,
            is_unshared: false,
        };
        (heap, errors)
    }
}
