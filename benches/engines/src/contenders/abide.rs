//! Abide's regions: a hash map in each shard, and a register for each counter under its name in the index.
//!
//! `ProcessCrash` maps the file and flushes nothing. `Instructions` is the same with every flush and fence made, as on
//! persistent memory. `PowerFail` is the log beside an ordinary file; threads that commit at the same time share its sync.
//!
//! Keys are spread over shards by their hash, and a shard has one writer at a time. `PowerFail` has one shard, so that all
//! threads share a sync. There `put_all` is one failure-atomic block if it fits in half a ring slot, as the batches that
//! are measured do; the larger ones that fill a store are cut into several, and so are those for several shards.

use crate::store::{Call, Durability, Session, Sizes, Store};
use abide_bench_common::mix;
use abide_pmem::{
    Geometry, HeapError, Index, Mapping, Persistence, Region, RegionOptions, Tx,
    index::{Entry, IndexError},
    types::{
        Kind, Map, Register, TypeError,
        completions::{Arrival, Completions},
    },
};
use anyhow::Context as _;
use std::path::Path;

pub(crate) fn open(directory: &Path, durability: Durability, sizes: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let power_fail = durability == Durability::PowerFail;
    let persistence = if power_fail { Persistence::PowerFail } else { Persistence::ProcessCrash };
    let mut options = RegionOptions::new(persistence);
    options.force_flush = durability == Durability::Instructions;
    options.geometry = if power_fail {
        Geometry { shards: 1, ring_slot_bytes: 256 << 10, ..Geometry::default() }
    } else {
        Geometry::default()
    };
    // Zones of 64 MiB, of which updates need some that are not taken yet.
    let bytes = (192 << 20) + sizes.keys as u64 * (sizes.value_bytes as u64 + 192) * 2;
    let region = Region::open_or_create(directory.join("region"), bytes.next_multiple_of(1 << 20), &options)?;
    let heap = region.heap();
    let maps = (0..heap.shard_count())
        .map(|shard| Ok(Map::at(heap.index().create(Kind::Map as u16, &shard.to_le_bytes(), shard)?.root)))
        .collect::<Result<_, IndexError>>()?;
    Ok(Box::new(Abide { region, maps, grouped: power_fail }))
}

struct Abide {
    region: Region,
    /// That of each shard.
    maps: Vec<Map>,
    /// Whether threads share fences.
    grouped: bool,
}

impl Abide {
    /// The shard of a key or counter, and its map.
    fn place(&self, key: u64) -> (u32, Map) {
        let shard = (mix(key) % self.maps.len() as u64) as usize;
        (shard as u32, self.maps[shard])
    }

    fn atomically<R: Send + 'static>(
        &self,
        shard: u32,
        block: impl FnOnce(&mut Tx<'_, Mapping>) -> Result<R, TypeError> + Send + 'static,
    ) -> Result<R, TypeError> {
        let heap = self.region.heap();
        if self.grouped { heap.atomically_grouped(shard, block) } else { heap.atomically(shard, block) }
    }

    /// Puts entries of one shard in one block, or in several if they are too many.
    fn put_some(&self, shard: u32, entries: &[(u64, Vec<u8>)]) -> Result<(), TypeError> {
        let map = self.maps[shard as usize];
        let put = self.region.heap().atomically(shard, |tx| {
            entries.iter().try_for_each(|(key, value)| map.insert(tx, &key.to_le_bytes(), value).map(drop))
        });
        match put {
            Err(TypeError::Heap(HeapError::TooLarge { .. })) if entries.len() > 1 => {
                let (first, second) = entries.split_at(entries.len() / 2);
                self.put_some(shard, first)?;
                self.put_some(shard, second)
            }
            put => put,
        }
    }

    fn index(&self) -> Index<'_, Mapping> {
        self.region.heap().index()
    }

    fn counter(&self, counter: u64) -> Result<Option<Entry>, IndexError> {
        self.index().get(Kind::Register as u16, &counter.to_le_bytes())
    }
}

impl Store for Abide {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(OfThread { store: self, value: Vec::new() }))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.region.close()?)
    }
}

struct OfThread<'s> {
    store: &'s Abide,
    /// What was read last, so that reading allocates nothing.
    value: Vec<u8>,
}

impl Session for OfThread<'_> {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        let (shard, map) = self.store.place(key);
        if !self.store.grouped {
            let heap = self.store.region.heap();
            heap.atomically(shard, |tx| map.insert(tx, &key.to_le_bytes(), value))?;
            return Ok(());
        }
        let value = value.to_vec();
        self.store.atomically(shard, move |tx| map.insert(tx, &key.to_le_bytes(), &value))?;
        Ok(())
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        let (shard, map) = self.store.place(key);
        let reader = self.store.region.heap().reader(shard);
        let found = map.get_into(&reader, &key.to_le_bytes(), &mut self.value)?;
        if found {
            show(&self.value);
        }
        Ok(found)
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let (shard, map) = self.store.place(key);
        Ok(self.store.atomically(shard, move |tx| map.remove(tx, &key.to_le_bytes()))?)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let shards = self.store.maps.len();
        if shards == 1 {
            return Ok(self.store.put_some(0, entries)?);
        }
        let mut by_shard = vec![Vec::new(); shards];
        for (key, value) in entries {
            by_shard[self.store.place(*key).0 as usize].push((*key, value.clone()));
        }
        for (shard, entries) in by_shard.iter().enumerate() {
            self.store.put_some(shard as u32, entries)?;
        }
        Ok(())
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        // A call again is one of the same counter, so it meets its completion in the same shard.
        let (shard, _) = self.store.place(call.counter);
        let entry = match self.store.counter(call.counter)? {
            Some(entry) => entry,
            None => self.store.index().create(Kind::Register as u16, &call.counter.to_le_bytes(), shard)?,
        };
        let register = Register::<u64>::at(entry.root);
        // Sequences of regions begin at 1.
        let (client, sequence) = (call.client.into(), call.sequence + 1);
        let result = self.store.atomically(entry.shard, move |tx| {
            match Completions::arrive(tx, client, sequence)? {
                Arrival::Done(result) => Ok(result),
                Arrival::New(pending) => {
                    let sum = register.fetch_add(tx, call.by)? + call.by;
                    Completions::complete(tx, pending, &sum.to_le_bytes())?;
                    Ok(sum.to_le_bytes().to_vec())
                }
            }
        })?;
        Ok(u64::from_le_bytes(result.as_slice().try_into().context("a result of 8 bytes")?))
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        let Some(entry) = self.store.counter(counter)? else { return Ok(0) };
        Ok(Register::<u64>::at(entry.root).get(&self.store.region.heap().reader(entry.shard))?)
    }
}
