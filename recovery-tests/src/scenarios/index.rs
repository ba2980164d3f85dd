//! The name index, alone and together with the roots of its objects, which shards change: several threads that create,
//! delete, find and set a few names.
//!
//! Twice. [`NameIndex::tight`] is full but for a few blocks, so that every block is soon used again, by other names and for
//! other shards. [`NameIndex::growing`] is empty, so that buckets double, and chunks and pages are claimed under way.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{
    Geometry, Heap, HeapError, HeapOpenError, Identity, Index, IndexError, Mem, View,
    index::TOMBSTONE,
    layout::SuperblockError,
    sim::{Limits, Sim},
};
use fastrand::Rng;
use std::{collections::BTreeMap, sync::Arc};

/// Attempts to create a name while others hold the last blocks.
const ATTEMPTS: u32 = 2_000;
const TYPE: u16 = 9;
/// Chunks that an empty region has for data.
const FREE_CHUNKS: u64 = 8;
const GARBAGE: u64 = 0x0123_4567_89ab_cdef;

/// The scenario.
#[derive(Debug, Clone, Copy)]
pub struct NameIndex {
    name: &'static str,
    geometry: Geometry,
    region_bytes: u64,
    /// Names that stay.
    fillers: u32,
    /// Names that change.
    keys: u64,
}

impl NameIndex {
    /// Full but for a few blocks.
    #[must_use]
    pub fn tight() -> Self {
        let geometry = Geometry { shards: 2, zone_chunks: 8, directory_pages: 1, ..Geometry::tiny() };
        // A chunk for descriptors, one that is kept for deletions, a page, and two of eight blocks each, of which four
        // are free.
        let region_bytes = geometry.layout().expect("good sizes").bytes_min();
        Self { name: "index", geometry, region_bytes, fillers: 12, keys: 3 }
    }

    /// Empty.
    #[must_use]
    pub fn growing() -> Self {
        let geometry = Geometry { shards: 2, zone_chunks: 16, ..Geometry::tiny() };
        let region_bytes = geometry.layout().expect("good sizes").bytes_min() + (FREE_CHUNKS - 4) * 1024;
        Self { name: "index-growth", geometry, region_bytes, fillers: 0, keys: 5 }
    }
}

/// Names with values.
#[derive(Debug)]
pub struct Names;

/// What clients ask.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Creates a name with the value 0. The result is 1 if it was not there.
    Create(u64),
    /// Deletes a name. The result is 1 if it was there.
    Remove(u64),
    /// The value plus one, or 0 if the name is not there.
    Get(u64),
    /// Sets the value of a name, if it is there. The result is 1 if it was.
    Set(u64, u64),
}

impl Op {
    fn key(self) -> u64 {
        match self {
            Op::Create(key) | Op::Remove(key) | Op::Get(key) | Op::Set(key, _) => key,
        }
    }
}

impl Model for Names {
    type State = BTreeMap<u64, u64>;
    type Op = Op;
    type Result = u64;

    fn apply(state: &mut Self::State, op: &Op) -> u64 {
        match *op {
            Op::Create(key) => match state.entry(key) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(0);
                    1
                }
                std::collections::btree_map::Entry::Occupied(_) => 0,
            },
            Op::Remove(key) => u64::from(state.remove(&key).is_some()),
            Op::Get(key) => state.get(&key).map_or(0, |value| value + 1),
            Op::Set(key, value) => match state.get_mut(&key) {
                Some(old) => {
                    *old = value;
                    1
                }
                None => 0,
            },
        }
    }

    fn part(op: &Op) -> Option<u64> {
        Some(op.key())
    }

    fn parts(state: &Self::State) -> Vec<u64> {
        state.keys().copied().collect()
    }

    fn project(state: &Self::State, part: u64) -> Self::State {
        state.iter().filter(|&(&key, _)| key == part).map(|(&key, &value)| (key, value)).collect()
    }
}

/// Names of a length for which a chunk has eight blocks.
fn name_of(key: u64) -> String {
    format!("{key:020}")
}

fn filler(number: u32) -> String {
    format!("filler {number:020}")
}

/// Every other name shares its hash with the one before. Buckets that a doubling adds get names at once.
fn hash(_: &[u8; 16], _: u16, name: &[u8]) -> u64 {
    let number: u64 =
        name.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
    match name.first() {
        Some(b'f') => number,
        _ => (9 + number / 2 * 4) | (number / 2) << 60,
    }
}

/// In which shard a name is created: not always the same.
fn shard_of(call: &Call<Names>) -> u32 {
    ((call.sequence + u64::from(call.client)) % 2) as u32
}

type Opened = Heap<Arc<Sim>>;

/// The number of a root's value.
fn value_of(word: u64) -> u64 {
    word >> 16
}

impl NameIndex {
    fn call(&self, heap: &Opened, call: &Call<Names>) -> Result<u64, String> {
        let index = heap.index();
        let name = name_of(call.op.key());
        let name = name.as_bytes();
        let failed = |error: IndexError| error.to_string();
        match call.op {
            Op::Create(_) => {
                for _ in 0..ATTEMPTS {
                    match index.create(TYPE, name, shard_of(call)) {
                        // Others have the last blocks in their hands, or still look at them.
                        Err(IndexError::Heap(HeapError::NoSpace)) => heap.mem().pause(),
                        result => return result.map(|entry| u64::from(entry.created)).map_err(failed),
                    }
                }
                Err("no space, and nobody frees any".into())
            }
            Op::Remove(_) => {
                index.remove(TYPE, name, |tx, root| Ok(tx.write(root, 0)?)).map(u64::from).map_err(failed)
            }
            Op::Get(_) => {
                let pin = heap.reader(0);
                let Some(entry) = index.get(TYPE, name).map_err(failed)? else { return Ok(0) };
                let word = heap.reader(entry.shard).word(entry.root);
                drop(pin);
                Ok(if word == TOMBSTONE { 0 } else { value_of(word) + 1 })
            }
            Op::Set(_, value) => {
                let pin = heap.reader(0);
                let Some(entry) = index.get(TYPE, name).map_err(failed)? else { return Ok(0) };
                let set = heap.atomically::<_, HeapError>(entry.shard, |tx| {
                    if tx.word(entry.root) == TOMBSTONE {
                        return Ok(0);
                    }
                    tx.write(entry.root, value << 16 | 1)?;
                    Ok(1)
                });
                drop(pin);
                set.map_err(|error| error.to_string())
            }
        }
    }
}

impl Scenario for NameIndex {
    type Model = Names;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        self.name
    }

    fn region_bytes(&self) -> u64 {
        self.region_bytes
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        let identity = Identity { uuid: [5; 16], hash_key: [6; 16], created_s: 0 };
        Heap::format(sim, identity, self.geometry).map_err(|error| error.to_string())?;
        if self.fillers == 0 {
            // What stands in free chunks is arbitrary.
            let chunks = sim.len() - FREE_CHUNKS * 1024;
            for at in (chunks..sim.len()).step_by(8) {
                sim.store(at, GARBAGE);
            }
            sim.flush(abide_pmem::Site::FormatFlush, chunks, sim.len() - chunks);
            sim.fence(abide_pmem::Site::FormatFence);
            return Heap::<Arc<Sim>>::finish_format(sim).map_err(|error| error.to_string());
        }
        // The fillers belong to what is formatted: nobody may open it before they are there.
        let copy = Arc::new(Sim::with_words(sim.config(), sim.durable_words()));
        let words: Vec<u64> = (0..copy.len()).step_by(8).map(|at| sim.load(at)).collect();
        words.iter().zip(0..).for_each(|(&word, i)| copy.store(i * 8, word));
        Heap::<Arc<Sim>>::finish_format(&copy).map_err(|error| error.to_string())?;
        {
            let mut heap = Heap::open(Arc::clone(&copy), [0; 16]).map_err(|error| error.to_string())?;
            heap.set_name_hash(hash);
            for number in 0..self.fillers {
                let shard = number % 2;
                heap.index()
                    .create(TYPE, filler(number).as_bytes(), shard)
                    .map_err(|error| format!("filler {number}: {error}"))?;
            }
        }
        for at in (8..copy.len()).step_by(8) {
            if sim.load(at) != copy.load(at) {
                sim.store(at, copy.load(at));
            }
        }
        sim.flush(abide_pmem::Site::FormatFlush, 0, sim.len());
        sim.fence(abide_pmem::Site::FormatFence);
        Heap::<Arc<Sim>>::finish_format(sim).map_err(|error| error.to_string())
    }

    fn empty(&self) -> BTreeMap<u64, u64> {
        BTreeMap::new()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        match Heap::open(Arc::clone(sim), [0; 16]) {
            Ok(mut heap) => {
                heap.set_name_hash(hash);
                Ok(heap)
            }
            Err(HeapOpenError::Superblock(SuperblockError::NotARegion)) => Err(Refused::NotFormatted),
            Err(error) => Err(Refused::Other(error.to_string())),
        }
    }

    fn recovery_loads_max(&self) -> u64 {
        // Superblock and state, four slots a shard, and two short walks a lane.
        4_000
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        rng.usize(1..4)
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op)>> {
        let op = |rng: &mut Rng| {
            let key = rng.u64(..self.keys);
            match rng.u32(..10) {
                0..4 => Op::Create(key),
                4..7 => Op::Remove(key),
                7..9 => Op::Get(key),
                _ => Op::Set(key, rng.u64(1..1000)),
            }
        };
        (0..rng.u32(3..8)).map(|_| vec![(thread as u32, op(rng))]).collect()
    }

    fn perform(
        &self,
        heap: &Opened,
        calls: &[Call<Names>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        for (at, call) in calls.iter().enumerate() {
            respond(at, self.call(heap, call)?);
        }
        Ok(())
    }

    fn read(&self, heap: &Opened) -> Result<BTreeMap<u64, u64>, String> {
        let (mut state, mut fillers) = (BTreeMap::new(), 0);
        let mut twice = None;
        let visited = heap.index().visit(&mut |node| {
            let name = String::from_utf8_lossy(&node.name).into_owned();
            if name.starts_with('f') {
                fillers += 1;
            } else if !node.is_buried {
                let value = value_of(heap.reader(node.entry.shard).word(node.entry.root));
                if state.insert(name.parse().unwrap_or(u64::MAX), value).is_some() {
                    twice = Some(name);
                }
            }
        });
        visited.map_err(|error| error.to_string())?;
        match twice {
            Some(name) => Err(format!("{name} is there twice")),
            None if fillers != self.fillers => Err(format!("{fillers} fillers of {}", self.fillers)),
            None => Ok(state),
        }
    }

    fn check(&self, heap: &Opened, state: &BTreeMap<u64, u64>) -> Result<(), String> {
        let index: Index<'_, Arc<Sim>> = heap.index();
        index.check().map_err(|error| format!("the index: {error}"))?;
        // The ways in, too.
        for key in 0..self.keys {
            let found = index.get(TYPE, name_of(key).as_bytes()).map_err(|error| error.to_string())?;
            if found.is_some() != state.contains_key(&key) {
                return Err(format!("{key}: found is {found:?}"));
            }
        }
        Ok(())
    }

    fn limits(&self, threads: usize) -> Limits {
        if threads == 1 {
            Limits { exhaustive_max: 64, samples: 16 }
        } else {
            Limits { exhaustive_max: 8, samples: 5 }
        }
    }

    fn crash_recovery_one_in(&self, level: usize) -> u32 {
        [60, 12][level.min(1)]
    }
}
