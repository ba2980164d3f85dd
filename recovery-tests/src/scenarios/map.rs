//! A hash map of few keys, which still has buckets, long values, and garbage.

use super::values::{Memory, ValueModel};
use crate::history::Model;
use abide_pmem::{
    Tx, View,
    types::{Map, TypeError, garbage},
};
use fastrand::Rng;
use std::collections::BTreeMap;

/// A map from bytes to bytes.
#[derive(Debug)]
pub(super) struct HashMap;

/// A value: so many of this byte.
type Run = (u16, u8);

/// What clients ask of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Sets a value; gives the old one.
    Insert(u8, Run),
    /// Sets it if there is none; gives the one that there is.
    InsertIfAbsent(u8, Run),
    /// Removes a key; gives its value.
    Remove(u8),
    /// Removes all.
    Clear,
    /// Frees a part of the garbage.
    Collect,
    /// Gives a value.
    Get(u8),
    /// Gives the number of entries.
    Len,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Told {
    /// A value, or that there is none.
    Value(Option<Vec<u8>>),
    /// A number.
    Len(u64),
}

fn bytes((len, byte): Run) -> Vec<u8> {
    vec![byte; len.into()]
}

impl Model for HashMap {
    type State = BTreeMap<u8, Vec<u8>>;
    type Op = Op;
    type Result = Told;

    fn apply(state: &mut Self::State, op: &Op) -> Told {
        Told::Value(match *op {
            Op::Insert(key, value) => state.insert(key, bytes(value)),
            Op::InsertIfAbsent(key, value) => {
                let old = state.get(&key).cloned();
                state.entry(key).or_insert_with(|| bytes(value));
                old
            }
            Op::Remove(key) => state.remove(&key),
            Op::Clear => {
                state.clear();
                None
            }
            Op::Collect => None,
            Op::Get(key) => state.get(&key).cloned(),
            Op::Len => return Told::Len(state.len() as u64),
        })
    }
}

impl ValueModel for HashMap {
    type Ask = Op;

    const NAME: &'static str = "map";

    fn empty() -> Self::State {
        BTreeMap::new()
    }

    fn ask(rng: &mut Rng, reads: bool) -> Op {
        // One so often that a batch meets it twice.
        let key = if rng.bool() { 0 } else { rng.u8(0..24) };
        let len = *rng.choice(&[0, 8, 8, 40, 40, 100, 4200]).expect("a choice");
        let value = (len, rng.u8(..));
        match rng.u32(0..20) {
            0..2 if reads => Op::Len,
            _ if reads => Op::Get(key),
            0..10 => Op::Insert(key, value),
            10..12 => Op::InsertIfAbsent(key, value),
            12..17 => Op::Remove(key),
            17..19 => Op::Collect,
            _ => Op::Clear,
        }
    }

    fn is_read(op: &Op) -> bool {
        matches!(op, Op::Get(_) | Op::Len)
    }

    fn write(tx: &mut Tx<'_, Memory>, root: u64, op: &Op) -> Result<Told, TypeError> {
        let map = Map::at(root);
        Ok(Told::Value(match *op {
            Op::Insert(key, value) => map.swap(tx, &[key], &bytes(value))?,
            Op::InsertIfAbsent(key, value) => {
                let old = map.get(tx, &[key])?;
                assert_eq!(map.insert_if_absent(tx, &[key], &bytes(value))?, old.is_none());
                old
            }
            Op::Remove(key) => map.take(tx, &[key])?,
            Op::Clear => {
                map.clear(tx)?;
                None
            }
            Op::Collect => {
                garbage::collect(tx, 3)?;
                None
            }
            Op::Get(_) | Op::Len => None,
        }))
    }

    fn read(view: &impl View, root: u64, op: &Op) -> Result<Told, TypeError> {
        Ok(match *op {
            Op::Get(key) => Told::Value(Map::at(root).get(view, &[key])?),
            _ => Told::Len(Map::at(root).len(view)?),
        })
    }

    fn state(view: &impl View, root: u64) -> Result<Self::State, TypeError> {
        let mut state = BTreeMap::new();
        Map::at(root).page(view, None, |entry| {
            state.insert(entry.key[0], entry.value.clone());
            Ok(true)
        })?;
        Ok(state)
    }
}
