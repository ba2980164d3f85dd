//! A list and a sorted map in one shard, changed by one writer at a time and read without locks meanwhile.
//!
//! Elements and values are numbers in byte strings, short ones that stand in the structure and longer ones with blocks of their own.
//! One batch may change both. Readers look at one element or key, or at all at one instant. Garbage is
//! collected in between.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{
    Geometry, Heap, HeapOpenError, Identity, Tx,
    layout::SuperblockError,
    sim::Sim,
    types::{List, ROOT_BYTES, SortedMap, TypeError, garbage, visit_root},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// Keys of the map: few enough to be removed again, enough for three levels.
const KEYS: u64 = 30;

/// The scenario.
#[derive(Debug, Clone, Copy)]
pub struct Ordered;

/// What both hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Contents {
    list: Vec<u64>,
    map: BTreeMap<u64, u64>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Adds an element at the end.
    PushBack(u64),
    /// Adds an element at the front.
    PushFront(u64),
    /// Takes the first element.
    PopFront,
    /// Takes the last element.
    PopBack,
    /// Adds an element before the last, or at the end.
    InsertBeforeLast(u64),
    /// Takes all elements.
    ClearList,
    /// Gives a key a value.
    Insert(u64, u64),
    /// Takes a key.
    Remove(u64),
    /// Takes the least key.
    PopFirst,
    /// Takes all keys.
    ClearMap,
    /// Frees some garbage.
    Collect,
    /// An element.
    Element(u64),
    /// All elements.
    Elements,
    /// The value of a key.
    Value(u64),
    /// The least key that is not below this one.
    Ceiling(u64),
    /// All keys and values.
    Pairs,
}

impl Op {
    fn is_read(self) -> bool {
        matches!(self, Op::Element(_) | Op::Elements | Op::Value(_) | Op::Ceiling(_) | Op::Pairs)
    }
}

/// A list and a map.
#[derive(Debug)]
pub struct ContentsModel;

impl Model for ContentsModel {
    type State = Contents;
    type Op = Op;
    type Result = Vec<u64>;

    fn apply(Contents { list, map }: &mut Contents, op: &Op) -> Vec<u64> {
        match *op {
            Op::PushBack(number) => list.push(number),
            Op::PushFront(number) => list.insert(0, number),
            Op::PopFront if !list.is_empty() => return vec![list.remove(0)],
            Op::PopBack => return list.pop().into_iter().collect(),
            Op::InsertBeforeLast(number) => list.insert(list.len().saturating_sub(1), number),
            Op::ClearList => list.clear(),
            Op::Insert(key, value) => return vec![map.insert(key, value).is_none().into()],
            Op::Remove(key) => return map.remove(&key).into_iter().collect(),
            Op::PopFirst => return map.pop_first().into_iter().flat_map(<[u64; 2]>::from).collect(),
            Op::ClearMap => map.clear(),
            Op::PopFront | Op::Collect => {}
            Op::Element(index) => return list.get(index as usize).copied().into_iter().collect(),
            Op::Elements => return list.clone(),
            Op::Value(key) => return map.get(&key).copied().into_iter().collect(),
            Op::Ceiling(key) => {
                return map.range(key..).next().into_iter().flat_map(|(&k, &v)| [k, v]).collect();
            }
            Op::Pairs => return map.iter().flat_map(|(&key, &value)| [key, value]).collect(),
        }
        Vec::new()
    }
}

/// A number as bytes: of each four, one is too long for its slot or leaf, and so has a block.
fn bytes(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(4) { 40 } else { 4 };
    number.to_be_bytes()[4..].iter().copied().cycle().take(len).collect()
}

fn number(bytes: &[u8]) -> Result<u64, String> {
    let found = bytes.first_chunk().map_or(0, |&first| u64::from(u32::from_be_bytes(first)));
    if bytes == self::bytes(found) { Ok(found) } else { Err(format!("{bytes:x?} is no number's")) }
}

fn numbers(found: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<u64>, String> {
    found.into_iter().map(|bytes| number(&bytes)).collect()
}

fn pairs(found: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Vec<u64>, String> {
    numbers(found.into_iter().flat_map(<[Vec<u8>; 2]>::from))
}

/// A key as bytes: not longer than a tiny region's.
fn key(key: u64) -> [u8; 4] {
    // Odd, so that it is a short number.
    (key as u32 * 2 + 1).to_be_bytes()
}

/// The heap, opened.
#[derive(Debug)]
pub struct Opened {
    heap: Heap<Arc<Sim>>,
    list: List,
    map: SortedMap,
    roots: [u64; 2],
}

fn geometry() -> Geometry {
    Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() }
}

fn format(sim: &Arc<Sim>) -> Result<[u64; 2], Box<dyn std::error::Error>> {
    let identity = Identity { uuid: [5; 16], hash_key: [6; 16], created_s: 0 };
    Heap::format(sim, identity, geometry())?;
    Heap::<Arc<Sim>>::finish_format(sim)?;
    let heap = Heap::open(Arc::clone(sim), [0; 16])?;
    let roots = heap.atomically::<_, TypeError>(0, |tx| {
        let roots = [tx.allocate(ROOT_BYTES)?, tx.allocate(ROOT_BYTES)?];
        roots.iter().try_for_each(|&root| tx.write_all(root, &[0; 8]))?;
        Ok(roots)
    })?;
    Ok(roots)
}

/// Where the roots are: formatting gives the same each time.
fn roots() -> [u64; 2] {
    static ROOTS: OnceLock<[u64; 2]> = OnceLock::new();
    *ROOTS.get_or_init(|| format(&Arc::new(Sim::new(Ordered.region_bytes()))).expect("a good geometry"))
}

impl Opened {
    fn change(&self, tx: &mut Tx<'_, Arc<Sim>>, op: Op) -> Result<Vec<Vec<u8>>, TypeError> {
        let Self { list, map, .. } = *self;
        match op {
            Op::PushBack(number) => list.push_back(tx, &bytes(number))?,
            Op::PushFront(number) => list.push_front(tx, &bytes(number))?,
            Op::PopFront => return Ok(list.pop_front(tx)?.into_iter().collect()),
            Op::PopBack => return Ok(list.pop_back(tx)?.into_iter().collect()),
            Op::InsertBeforeLast(number) => {
                let index = list.len(tx)?.saturating_sub(1);
                list.insert(tx, index, &bytes(number))?;
            }
            Op::ClearList => list.clear(tx)?,
            Op::Insert(at, value) => {
                let is_new = map.insert(tx, &key(at), &bytes(value))?;
                return Ok(vec![bytes(is_new.into())]);
            }
            Op::Remove(at) => return Ok(map.remove(tx, &key(at))?.into_iter().collect()),
            Op::PopFirst => return Ok(map.pop_first(tx)?.into_iter().flat_map(<[_; 2]>::from).collect()),
            Op::ClearMap => map.clear(tx)?,
            Op::Collect => {
                garbage::collect(tx, 3)?;
            }
            _ => unreachable!("readers do it"),
        }
        Ok(Vec::new())
    }

    fn look(&self, op: Op) -> Result<Vec<u64>, String> {
        let reader = self.heap.reader(0);
        let Self { list, map, .. } = *self;
        let text = |error: TypeError| error.to_string();
        match op {
            Op::Element(index) => numbers(list.get(&reader, index).map_err(text)?),
            Op::Elements => numbers(list.page(&reader, 0, u64::MAX).map_err(text)?),
            Op::Value(at) => numbers(map.get(&reader, &key(at)).map_err(text)?),
            Op::Ceiling(at) => pairs(map.ceiling(&reader, &key(at)).map_err(text)?).map(keys_back),
            _ => {
                let all: Result<Vec<_>, _> = map.range(&reader, ..).map_err(text)?.collect();
                pairs(all.map_err(text)?).map(keys_back)
            }
        }
    }
}

/// Keys and values, with the keys as they were asked for.
fn keys_back(mut pairs: Vec<u64>) -> Vec<u64> {
    pairs.chunks_mut(2).for_each(|pair| pair[0] = (pair[0] - 1) / 2);
    pairs
}

impl Scenario for Ordered {
    type Model = ContentsModel;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "ordered"
    }

    fn region_bytes(&self) -> u64 {
        geometry().layout().expect("a good geometry").bytes_min()
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        roots();
        format(sim).map(drop).map_err(|error| error.to_string())
    }

    fn empty(&self) -> Contents {
        Contents::default()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let heap = Heap::open(Arc::clone(sim), [0; 16]).map_err(|error| match error {
            HeapOpenError::Superblock(SuperblockError::NotARegion) => Refused::NotFormatted,
            other => Refused::Other(other.to_string()),
        })?;
        let roots = roots();
        Ok(Opened { heap, list: List::at(roots[0]), map: SortedMap::at(roots[1]), roots })
    }

    fn recovery_loads_max(&self) -> u64 {
        // Superblock, state, watermarks, four headers and two slots of the ring twice over, and contents.
        4000
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        if rng.bool() { 2 } else { 1 }
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op)>> {
        let client = |at: usize| (thread * 4 + at) as u32;
        let fills = rng.bool();
        let change = |rng: &mut Rng| {
            let at = rng.u64(..KEYS);
            match rng.u8(..32) {
                0..5 => Op::PushBack(rng.u64(1..100)),
                5..8 => Op::PushFront(rng.u64(1..100)),
                8..10 => Op::PopFront,
                10..12 => Op::PopBack,
                12 => Op::InsertBeforeLast(rng.u64(1..100)),
                13 if rng.u8(..4) == 0 => Op::ClearList,
                14 if rng.u8(..4) == 0 => Op::ClearMap,
                13..17 => Op::Collect,
                17..26 if fills => Op::Insert(at, rng.u64(1..100)),
                17..19 => Op::Insert(at, rng.u64(1..100)),
                19..30 => Op::Remove(at),
                _ => Op::PopFirst,
            }
        };
        let look = |rng: &mut Rng| match rng.u8(..5) {
            0 => Op::Element(rng.u64(..4)),
            1 => Op::Elements,
            2 => Op::Value(rng.u64(..KEYS)),
            3 => Op::Ceiling(rng.u64(..KEYS)),
            _ => Op::Pairs,
        };
        (0..1 << rng.u32(..5))
            .map(|_| {
                if thread > 0 || rng.u8(..8) == 0 {
                    return vec![(client(0), look(rng))];
                }
                let len = if rng.bool() { 1 } else { rng.usize(1..4) };
                (0..len).map(|at| (client(at), change(rng))).collect()
            })
            .collect()
    }

    fn perform(
        &self,
        instance: &Opened,
        calls: &[Call<ContentsModel>],
        respond: &mut dyn FnMut(usize, Vec<u64>),
    ) -> Result<(), String> {
        if let [call] = calls
            && call.op.is_read()
        {
            respond(0, instance.look(call.op)?);
            return Ok(());
        }
        let mut writer = instance.heap.writer(0);
        let results: Result<Vec<_>, TypeError> =
            calls.iter().map(|call| writer.run(|tx| instance.change(tx, call.op))).collect();
        let results = results.map_err(|error| error.to_string())?;
        writer.commit().map_err(|error| error.to_string())?;
        for ((at, found), call) in results.into_iter().enumerate().zip(calls) {
            let found = numbers(found)?;
            respond(at, if matches!(call.op, Op::PopFirst) { keys_back(found) } else { found });
        }
        Ok(())
    }

    fn read(&self, instance: &Opened) -> Result<Contents, String> {
        let pairs = instance.look(Op::Pairs)?;
        Ok(Contents {
            list: instance.look(Op::Elements)?,
            map: pairs.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
        })
    }

    fn check(&self, instance: &Opened, _: &Contents) -> Result<(), String> {
        let reader = instance.heap.reader(0);
        let mut seen = BTreeSet::from(instance.roots);
        let mut twice = None;
        let mut visit = |block: abide_pmem::types::Owned| {
            if !seen.insert(block.offset) {
                twice = Some(block.offset);
            }
        };
        let visited = instance
            .roots
            .iter()
            .try_for_each(|&root| visit_root(&reader, root, &mut visit))
            .and_then(|()| garbage::visit(&reader, &mut visit));
        visited.map_err(|error| error.to_string())?;
        twice.map_or(Ok(()), |offset| Err(format!("block {offset:#x} is owned twice")))
    }
}
