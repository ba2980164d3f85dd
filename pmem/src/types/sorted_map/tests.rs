//! Sorted maps against a tree in ordinary memory, with cuts, damaged bytes and readers at the same time.

use super::{super::testing::*, *};
use crate::{HeapError, layout::Geometry, sim::Sim};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Insert(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    PopFirst,
    PopLast,
    Clear,
    Collect,
}

/// What an operation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    IsNew(bool),
    Value(Option<Vec<u8>>),
    Pair(Option<Pair>),
    Nothing,
}

/// Which keys and values a test uses.
#[derive(Debug, Clone, Copy)]
struct Load {
    keys: u32,
    key_max: usize,
    value_max: usize,
    /// In percent.
    inserts: u32,
}

impl Load {
    /// One of the keys: many with a common beginning, of different lengths.
    fn key(self, rng: &mut fastrand::Rng) -> Vec<u8> {
        let number = rng.u32(..self.keys);
        let mut key = format!("{number:x}").into_bytes();
        let len = (number.wrapping_mul(0x9e37_79b9) >> 7) as usize % self.key_max;
        while key.len() < len {
            key.insert(0, b'a' + (number % 3) as u8);
        }
        key.truncate(self.key_max);
        key
    }
}

impl Op {
    fn random(rng: &mut fastrand::Rng, load: Load) -> Self {
        match rng.u32(..100) {
            n if n < load.inserts => Op::Insert(load.key(rng), random_bytes(rng, load.value_max)),
            0..85 => Op::Remove(load.key(rng)),
            85..89 => Op::PopFirst,
            89..93 => Op::PopLast,
            93 if rng.u8(..4) == 0 => Op::Clear,
            _ => Op::Collect,
        }
    }

    fn run(&self, map: SortedMap, tx: &mut Tx<'_, Sim>) -> Result<Answer, TypeError> {
        match self {
            Op::Insert(key, value) => map.insert(tx, key, value).map(Answer::IsNew),
            Op::Remove(key) => map.remove(tx, key).map(Answer::Value),
            Op::PopFirst => map.pop_first(tx).map(Answer::Pair),
            Op::PopLast => map.pop_last(tx).map(Answer::Pair),
            Op::Clear => map.clear(tx).map(|()| Answer::Nothing),
            Op::Collect => super::super::garbage::collect(tx, 2).map(|_| Answer::Nothing),
        }
    }

    fn run_model(&self, model: &mut Model) -> Answer {
        match self {
            Op::Insert(key, value) => Answer::IsNew(model.insert(key.clone(), value.clone()).is_none()),
            Op::Remove(key) => Answer::Value(model.remove(key)),
            Op::PopFirst => Answer::Pair(model.pop_first()),
            Op::PopLast => Answer::Pair(model.pop_last()),
            Op::Clear => {
                model.clear();
                Answer::Nothing
            }
            Op::Collect => Answer::Nothing,
        }
    }
}

fn contents<V: View>(map: SortedMap, view: &V) -> Result<Model, TypeError> {
    map.range(view, ..)?.collect()
}

/// Checks the rules of node sizes. Gives the levels of the tree.
fn check_shape<V: View>(map: SortedMap, view: &V) -> u8 {
    fn check<V: View>(view: &V, node: &Node, low: &[u8], high: Option<&[u8]>) {
        for index in 0..node.len() {
            let at_end = index + 1 == node.len();
            let key = if index == 0 && node.level > 0 { low } else { node.key(index) };
            assert!(key >= low && high.is_none_or(|high| key < high), "{key:x?} is not its parent's");
            let next = if at_end { high } else { Some(node.key(index + 1)) };
            assert!(next.is_none_or(|next| key < next), "keys are not in order");
            if node.level > 0 {
                check(view, &node.load_child(view, index).unwrap(), key, next);
            }
        }
    }
    match map.tree(view).unwrap() {
        0 => 0,
        tree => {
            let root = Node::load(view, tree).unwrap();
            check(view, &root, &[], None);
            root.level + 1
        }
    }
}

/// Compares all ways of reading.
fn check_reads<V: View>(map: SortedMap, view: &V, model: &Model, probe: &[u8]) -> Result<(), TypeError> {
    let pair = |found: Option<(&Vec<u8>, &Vec<u8>)>| found.map(|(key, value)| (key.clone(), value.clone()));
    let below = (Bound::Unbounded, Bound::Excluded(probe.to_vec()));
    let upto = (Bound::Unbounded, Bound::Included(probe.to_vec()));
    let from = (Bound::Included(probe.to_vec()), Bound::Unbounded);
    let above = (Bound::Excluded(probe.to_vec()), Bound::Unbounded);
    assert_eq!(map.len(view)?, model.len() as u64);
    assert_eq!(map.is_empty(view)?, model.is_empty());
    assert_eq!(map.get(view, probe)?, model.get(probe).cloned());
    let rank = model.range(below.clone()).count();
    assert_eq!(map.rank(view, probe)?, rank as u64);
    assert_eq!(map.nth(view, rank as u64)?, pair(model.iter().nth(rank)));
    assert_eq!(map.first(view)?, pair(model.first_key_value()));
    assert_eq!(map.last(view)?, pair(model.last_key_value()));
    assert_eq!(map.lower(view, probe)?, pair(model.range(below.clone()).next_back()));
    assert_eq!(map.floor(view, probe)?, pair(model.range(upto.clone()).next_back()));
    assert_eq!(map.ceiling(view, probe)?, pair(model.range(from.clone()).next()));
    assert_eq!(map.higher(view, probe)?, pair(model.range(above.clone()).next()));
    let backwards: Vec<Pair> = map.range(view, ..)?.rev().collect::<Result<_, _>>()?;
    assert!(backwards.into_iter().eq(model.iter().rev().map(|found| pair(Some(found)).unwrap())));
    for bounds in [below, upto, from, above] {
        let as_ref = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(_) => Bound::Included(probe),
            Bound::Excluded(_) => Bound::Excluded(probe),
        };
        let range = map.range(view, (as_ref(&bounds.0), as_ref(&bounds.1)))?;
        assert_eq!(range.remaining(), model.range(bounds.clone()).count() as u64);
        let keys: Vec<Vec<u8>> = range.map(|pair| Ok(pair?.0)).collect::<Result<_, TypeError>>()?;
        assert!(keys.iter().eq(model.range(bounds).map(|(key, _)| key)));
    }
    Ok(())
}

/// Runs random operations against the model, with cuts at random moments if `cuts`, and looks for leaks after each.
/// Gives the greatest height of the tree.
fn check_against_model(
    seed: u64,
    (geometry, bytes): (Geometry, u64),
    steps: usize,
    load: Load,
    cuts: bool,
) -> u8 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut heap = heap(geometry, bytes);
    let map = SortedMap::at(new_root(&heap));
    let mut model = Model::new();
    let mut height = 0;
    for step in 0..steps {
        // Now fuller, now emptier.
        let load = Load { inserts: if step / 100 % 2 == 0 { load.inserts } else { 30 }, ..load };
        let op = Op::random(&mut rng, load);
        let mut after = model.clone();
        let expected = op.run_model(&mut after);
        let (result, recovered) = if cuts && rng.u8(..3) == 0 {
            with_cut(&heap, &mut rng, || run(&heap, |tx| op.run(map, tx)))
        } else {
            (run(&heap, |tx| op.run(map, tx)), None)
        };
        let is_made = match &result {
            Ok(found) => {
                assert_eq!(found, &expected, "seed {seed}, step {step}, {op:?}");
                true
            }
            result if is_full(result) && matches!(op, Op::Insert(..)) => false,
            Err(error) => panic!("seed {seed}, step {step}, {op:?}: {error}"),
        };
        if let Some(recovered) = recovered {
            heap = recovered;
            let found = must(seed, contents(map, &heap.reader(0)));
            assert!(found == model || (is_made && found == after), "seed {seed}, step {step}, {op:?}");
            model = found;
        } else if is_made {
            model = after;
        }
        if rng.u8(..16) == 0 {
            heap = reopen(&heap);
        }
        let reader = heap.reader(0);
        assert_eq!(must(seed, contents(map, &reader)), model, "seed {seed}, step {step}, {op:?}");
        if rng.u8(..8) == 0 {
            must(seed, check_reads(map, &reader, &model, &load.key(&mut rng)));
        }
        height = height.max(check_shape(map, &reader));
        drop(reader);
        must(seed, check_no_leak(&heap, &[map.root]));
    }
    run(&heap, |tx| SortedMap::discard(tx, map.root)).unwrap();
    collect_garbage(&heap);
    check_no_leak(&heap, &[map.root]).unwrap();
    assert_eq!(heap.reader(0).word(map.root), 0);
    height
}

const TINY: (Geometry, u64) = (Geometry::tiny(), 96 << 10);
const SMALL: Load = Load { keys: 300, key_max: 10, value_max: 30, inserts: 80 };

#[test]
fn a_sorted_map_is_a_tree_map() {
    let heights = (0..8).map(|seed| check_against_model(seed, TINY, 300, SMALL, false)).max();
    assert!(heights >= Some(4), "{heights:?}");
    let large = (Geometry::default(), 16 << 20);
    for seed in [100] {
        let load = Load { keys: 3000, key_max: 20, value_max: 40, inserts: 90 };
        check_against_model(seed, large, 300, load, false);
        // Few of these fit a node, and stand beside small ones.
        let load = Load { keys: 500, key_max: 1024, value_max: 300, inserts: 80 };
        check_against_model(seed, large, 300, load, false);
    }
}

#[test]
fn a_sorted_map_is_whole_after_any_chain_of_cuts() {
    for seed in 0..24 {
        check_against_model(seed, TINY, 150, SMALL, true);
    }
}

#[test]
fn keys_and_values_that_are_too_long_are_refused() {
    let heap = tiny_heap();
    let map = SortedMap::at(new_root(&heap));
    let max = SortedMap::key_bytes_max(&heap.reader(0));
    let key = vec![7; max as usize + 1];
    let error = run(&heap, |tx| map.insert(tx, &key, &[])).unwrap_err();
    assert_eq!(error, TypeError::TooLarge { bytes: max + 1, max });
    let value = vec![7; 16 << 20 | 1];
    let error = run(&heap, |tx| map.insert(tx, &key[1..], &value)).unwrap_err();
    assert_eq!(error, TypeError::TooLarge { bytes: 16 << 20 | 1, max: 16 << 20 });
    let error = run(&heap, |tx| map.insert(tx, &key[1..], &value[1..])).unwrap_err();
    assert_eq!(error, HeapError::NoSpace.into());
    assert!(run(&heap, |tx| map.insert(tx, &key[1..], &value[..20])).unwrap());
    check_no_leak(&heap, &[map.root]).unwrap();
}
