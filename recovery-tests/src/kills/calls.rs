//! What the killed process is asked to do: each call follows from the seed, who calls, and its sequence alone, so whoever
//! checks can say what any number of calls leaves.

use abide_pmem::{
    Entry, Geometry, Heap, Index, IndexError, Mapping, Tx,
    types::{
        Bytes, Kind, List, Map, Persistent as _, Register, TypeError,
        completions::{Arrival, Completions},
    },
};
use fastrand::Rng;

/// Shards of the region.
pub(crate) const SHARDS: u32 = 3;
/// Bytes of a new region.
pub(crate) const REGION_BYTES: u64 = 12 << 20;
/// Bytes beyond which it is not made to grow.
pub(crate) const REGION_BYTES_MAX: u64 = 20 << 20;
/// Bytes of addresses that it has.
pub(crate) const REGION_RESERVE: u64 = 64 << 20;
/// Keys of the shared map that one client of a shard sets.
const KEYS: u64 = 12;
/// Names that one thread creates and deletes.
pub(crate) const NAMES: u64 = 10;
/// Elements that a queue keeps.
const QUEUE_LEN: u64 = 20;
/// Type number of the names that come and go.
pub(crate) const NAME_TYPE: u16 = Kind::Bytes as u16;

/// A promise that the process breaks on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// It acknowledges before it commits.
    Early,
    /// It commits a call's effect and its completion one after the other.
    Apart,
    /// It forgets a block.
    Leak,
}

/// Sizes of the region: small, so that blocks and chunks are soon used again.
pub(crate) fn geometry() -> Geometry {
    Geometry {
        shards: SHARDS,
        lanes: 8,
        chunk_bytes: 16 << 10,
        zone_chunks: 128,
        ring_slot_bytes: 8 << 10,
        completions: 64,
        command_ring_bytes: 0,
        directory_pages: 16,
    }
}

/// What the clients of a shard share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots {
    pub(crate) counter: Entry,
    pub(crate) map: Entry,
    pub(crate) queue: Entry,
    /// Of each client the number of its last element that left the queue.
    pub(crate) left: Entry,
}

impl Roots {
    /// Gets them with `get`, from the index of a heap.
    pub(crate) fn with<E>(mut get: impl FnMut(Kind, &str) -> Result<Entry, E>) -> Result<Self, E> {
        Ok(Self {
            counter: get(Kind::Register, "counter")?,
            map: get(Kind::Map, "map")?,
            queue: get(Kind::List, "queue")?,
            left: get(Kind::Map, "left")?,
        })
    }

    pub(crate) fn create(heap: &Heap<Mapping>, shard: u32) -> Result<Self, IndexError> {
        Self::with(|kind, name| heap.index().create(kind as u16, Self::name(name, shard).as_bytes(), shard))
    }

    pub(crate) fn name(name: &str, shard: u32) -> String {
        format!("{name} {shard}")
    }
}

/// Who calls: a thread, in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) usize);

impl Client {
    pub(crate) fn shard(self) -> u32 {
        self.0 as u32 % SHARDS
    }

    pub(crate) fn id(self) -> u128 {
        // A number of which both words count.
        (self.0 as u128 + 1) << 64 | 0x1d
    }
}

/// What a call does besides adding to the counter.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Nothing,
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Adds an element; what is too much leaves at the other end.
    Queue(Vec<u8>),
}

/// One exactly-once call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) client: Client,
    pub(crate) sequence: u64,
    pub(crate) amount: u64,
    pub(crate) change: Change,
    pub(crate) result: Vec<u8>,
}

fn rng(seed: u64, kind: u64, who: u64, sequence: u64) -> Rng {
    let mut mixed = seed;
    for word in [kind, who, sequence] {
        mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    Rng::with_seed(mixed)
}

/// Bytes that begin with who made them, of very different lengths.
fn payload(rng: &mut Rng, who: u64, sequence: u64) -> Vec<u8> {
    let more = match rng.u32(..40) {
        0..20 => rng.usize(..24),
        20..37 => rng.usize(..600),
        37..39 => rng.usize(..4_000),
        // Longer than a chunk.
        _ => rng.usize(16_000..40_000),
    };
    let mut bytes = [who.to_le_bytes(), sequence.to_le_bytes()].concat();
    bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
    bytes
}

impl Call {
    pub(crate) fn new(seed: u64, client: Client, sequence: u64) -> Self {
        let who = client.0 as u64;
        let mut rng = rng(seed, 1, who, sequence);
        let amount = rng.u64(1..1_000_000);
        let key = format!("{who} {}", rng.u64(..KEYS)).into_bytes();
        let change = match rng.u32(..10) {
            0..2 => Change::Nothing,
            2..5 => Change::Put(key, payload(&mut rng, who, sequence)),
            5..7 => Change::Delete(key),
            _ => Change::Queue(payload(&mut rng, who, sequence)),
        };
        let mut result = sequence.to_le_bytes().to_vec();
        // Some fit the line of the completion table, some do not.
        result.resize(8 + rng.usize(..60), who as u8);
        Self { client, sequence, amount, change, result }
    }

    /// The value that a call put, or its element.
    pub(crate) fn value(seed: u64, client: Client, sequence: u64) -> Vec<u8> {
        match Self::new(seed, client, sequence).change {
            Change::Put(_, value) | Change::Queue(value) => value,
            Change::Nothing | Change::Delete(_) => Vec::new(),
        }
    }

    /// Makes it, unless it was made; gives its result.
    pub(crate) fn make(
        &self,
        tx: &mut Tx<'_, Mapping>,
        roots: &Roots,
        fault: Option<Fault>,
    ) -> Result<Vec<u8>, TypeError> {
        match Completions::arrive(tx, self.client.id(), self.sequence)? {
            Arrival::Done(result) => Ok(result),
            Arrival::New(pending) => {
                self.take_effect(tx, roots)?;
                if fault == Some(Fault::Leak) && self.sequence.is_multiple_of(50) {
                    tx.allocate(100)?;
                }
                if fault != Some(Fault::Apart) {
                    Completions::complete(tx, pending, &self.result)?;
                }
                Ok(self.result.clone())
            }
        }
    }

    /// Notes that it was made. Only for [`Fault::Apart`].
    pub(crate) fn complete(&self, tx: &mut Tx<'_, Mapping>) -> Result<(), TypeError> {
        if let Arrival::New(pending) = Completions::arrive(tx, self.client.id(), self.sequence)? {
            Completions::complete(tx, pending, &self.result)?;
        }
        Ok(())
    }

    fn take_effect(&self, tx: &mut Tx<'_, Mapping>, roots: &Roots) -> Result<(), TypeError> {
        Register::<u64>::at(roots.counter.root).fetch_add(tx, self.amount)?;
        let map = Map::at(roots.map.root);
        match &self.change {
            Change::Nothing => {}
            Change::Put(key, value) => drop(map.insert(tx, key, value)?),
            Change::Delete(key) => drop(map.remove(tx, key)?),
            Change::Queue(element) => {
                let queue = List::at(roots.queue.root);
                queue.push_back(tx, element)?;
                if queue.len(tx)? > QUEUE_LEN
                    && let Some(first) = queue.pop_front(tx)?
                    && let Some((who, sequence)) = author(&first)
                {
                    Map::at(roots.left.root).insert(tx, &who.to_le_bytes(), &sequence.to_le_bytes())?;
                }
            }
        }
        Ok(())
    }
}

/// Who made these bytes, and in which call.
pub(crate) fn author(bytes: &[u8]) -> Option<(u64, u64)> {
    let (who, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*who), u64::from_le_bytes(*rest.first_chunk()?)))
}

/// One change of a name. Repeating it changes nothing.
#[derive(Debug, Clone)]
pub(crate) struct NameChange {
    pub(crate) key: u64,
    pub(crate) name: Vec<u8>,
    shard: u32,
    /// The value to create it with, or nothing to delete it.
    pub(crate) value: Option<Vec<u8>>,
    /// A name over which all threads fight.
    contested: Vec<u8>,
}

impl NameChange {
    pub(crate) fn new(seed: u64, thread: usize, sequence: u64) -> Self {
        let mut rng = rng(seed, 2, thread as u64, sequence);
        let key = rng.u64(..NAMES);
        let value = rng.bool().then(|| payload(&mut rng, thread as u64, sequence));
        Self {
            key,
            name: Self::name_of(thread, key),
            shard: rng.u32(..SHARDS),
            value,
            contested: format!("contested {}", rng.u32(..3)).into_bytes(),
        }
    }

    pub(crate) fn name_of(thread: usize, key: u64) -> Vec<u8> {
        format!("{thread} {key}").into_bytes()
    }

    pub(crate) fn make(&self, heap: &Heap<Mapping>) -> Result<(), IndexError> {
        let index: Index<'_, Mapping> = heap.index();
        match &self.value {
            Some(value) => {
                index.create(NAME_TYPE, &self.contested, self.shard)?;
                let entry = index.create(NAME_TYPE, &self.name, self.shard)?;
                heap.atomically(entry.shard, |tx| Bytes::at(entry.root).set(tx, value))?;
            }
            None => {
                index.remove(NAME_TYPE, &self.contested, Bytes::discard)?;
                index.remove(NAME_TYPE, &self.name, Bytes::discard)?;
            }
        }
        Ok(())
    }
}

/// Frees some of a shard's garbage.
pub(crate) fn collect(heap: &Heap<Mapping>, shard: u32) -> Result<bool, TypeError> {
    heap.atomically(shard, |tx| abide_pmem::types::garbage::collect(tx, 8))
}
