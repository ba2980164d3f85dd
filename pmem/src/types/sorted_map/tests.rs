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
        let mut keys_alone = map.range(view, (as_ref(&bounds.0), as_ref(&bounds.1)))?;
        let keys_alone: Vec<_> = std::iter::from_fn(|| keys_alone.next_key()).collect::<Result<_, _>>()?;
        assert!(keys_alone.iter().eq(model.range(bounds.clone()).map(|(key, _)| key)));
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
            Err(TypeError::Heap(HeapError::TooLarge { .. })) if matches!(op, Op::Insert(..)) => false,
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

/// Small nodes, and records in which deletions can afford siblings, ...
const ROOMY: (Geometry, u64) = (Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() }, 96 << 10);
/// ... and in which they cannot.
const TINY: (Geometry, u64) = (Geometry::tiny(), 96 << 10);
const SMALL: Load = Load { keys: 300, key_max: 10, value_max: 30, inserts: 80 };

#[test]
fn a_sorted_map_is_a_tree_map() {
    let heights = (0..8).map(|seed| check_against_model(seed, ROOMY, 300, SMALL, false)).max();
    assert!(heights >= Some(4), "{heights:?}");
    let heights = (10..14).map(|seed| check_against_model(seed, TINY, 300, SMALL, false)).max();
    assert_eq!(heights, Some(3), "{heights:?}");
    let large = (Geometry::default(), 16 << 20);
    let load = Load { keys: 3000, key_max: 20, value_max: 40, inserts: 90 };
    check_against_model(100, large, 300, load, false);
    // Few of these fit a node, and stand beside small ones.
    let load = Load { keys: 500, key_max: 1024, value_max: 300, inserts: 80 };
    check_against_model(101, large, 300, load, false);
}

#[test]
fn a_sorted_map_is_whole_after_any_chain_of_cuts() {
    for seed in 0..24 {
        check_against_model(seed, if seed % 2 == 0 { ROOMY } else { TINY }, 150, SMALL, true);
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
    let max = crate::types::BLOB_BYTES_MAX;
    let value = vec![7; max as usize + 1];
    let error = run(&heap, |tx| map.insert(tx, &key[1..], &value)).unwrap_err();
    assert_eq!(error, TypeError::TooLarge { bytes: max + 1, max });
    let error = run(&heap, |tx| map.insert(tx, &key[1..], &value[1..])).unwrap_err();
    assert_eq!(error, HeapError::NoSpace.into());
    assert!(run(&heap, |tx| map.insert(tx, &key[1..], &value[..20])).unwrap());
    check_no_leak(&heap, &[map.root]).unwrap();
}

/// Puts in keys until nothing fits. Gives what is in.
fn fill(heap: &crate::Heap<Sim>, map: SortedMap, rng: &mut fastrand::Rng) -> Model {
    let mut model = Model::new();
    loop {
        // Values of 100 bytes have blocks of their own.
        let load = Load { keys: 100_000, value_max: 100, ..SMALL };
        let (key, value) = (load.key(rng), random_bytes(rng, load.value_max));
        match run(heap, |tx| map.insert(tx, &key, &value)) {
            Ok(_) => model.insert(key, value),
            // The records of a tiny region are small, and its trees low: then large values fill it.
            Err(TypeError::Heap(HeapError::TooLarge { .. })) => {
                if let Some(key) = model.keys().nth(rng.usize(..model.len().max(1))).cloned() {
                    let value = vec![7; 800];
                    match run(heap, |tx| map.insert(tx, &key, &value)) {
                        Ok(_) => model.insert(key, value),
                        Err(TypeError::Heap(HeapError::TooLarge { .. })) => continue,
                        result => {
                            assert!(is_full(&result), "{result:?}");
                            return model;
                        }
                    }
                } else {
                    continue;
                }
            }
            result => {
                assert!(is_full(&result), "{result:?}");
                return model;
            }
        };
    }
}

#[test]
fn a_full_region_can_be_emptied() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (geometry, bytes) = if seed % 2 == 0 { TINY } else { ROOMY };
        let mut heap = heap(geometry, bytes - (32 << 10));
        let map = SortedMap::at(new_root(&heap));
        let mut model = fill(&heap, map, &mut rng);
        assert!(model.len() > 20, "{}", model.len());
        must(seed, check_no_leak(&heap, &[map.root]));
        if seed % 4 < 2 {
            heap = reopen(&heap);
        }
        while !model.is_empty() {
            match seed / 2 {
                0 => assert_eq!(must(seed, run(&heap, |tx| map.pop_first(tx))), model.pop_first()),
                1 => assert_eq!(must(seed, run(&heap, |tx| map.pop_last(tx))), model.pop_last()),
                2 => {
                    let key = model.keys().nth(rng.usize(..model.len())).unwrap().clone();
                    assert_eq!(must(seed, run(&heap, |tx| map.remove(tx, &key))), model.remove(&key));
                }
                _ => {
                    must(seed, run(&heap, |tx| map.clear(tx)));
                    model.clear();
                }
            }
            check_shape(map, &heap.reader(0));
            must(seed, check_no_leak(&heap, &[map.root]));
        }
        collect_garbage(&heap);
        must(seed, check_no_leak(&heap, &[map.root]));
        let again = fill(&heap, map, &mut rng);
        assert!(again.len() > 20, "{}", again.len());
    }
}

#[test]
fn damaged_bytes_give_an_error_or_what_was_stored() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let heap = tiny_heap();
        let map = SortedMap::at(new_root(&heap));
        let mut model = Model::new();
        for _ in 0..30 {
            let (key, value) = (SMALL.key(&mut rng), random_bytes(&mut rng, 30));
            must(seed, run(&heap, |tx| map.insert(tx, &key, &value)));
            model.insert(key, value);
        }
        if seed % 3 == 0 {
            must(seed, run(&heap, |tx| map.clear(tx)));
            model.clear();
        }
        let root_is_whole = !damage(&heap, &[map.root], &mut rng);
        let reader = heap.reader(0);
        // The words of the root have no checksum: another tree of this region may be found, and a map that is gone.
        if let Ok(found) = contents(map, &reader) {
            assert!(!root_is_whole || found == model, "seed {seed}");
        }
        for key in model.keys() {
            let found = map.get(&reader, key);
            assert!(!root_is_whole || found.is_err() || found == Ok(model.get(key).cloned()), "seed {seed}");
            let _ = (map.floor(&reader, key), map.higher(&reader, key), map.rank(&reader, key));
        }
        let _ = SortedMap::visit(&reader, map.root, &mut |_| {});
        let _ = super::super::garbage::visit(&reader, &mut |_| {});
        drop(reader);
        for _ in 0..10 {
            let op = Op::random(&mut rng, SMALL);
            let _ = run(&heap, |tx| op.run(map, tx));
        }
    }
}

#[test]
fn readers_see_maps_of_one_instant_while_a_writer_writes() {
    // Two keys have the same value at each instant, and each value tells its key.
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 64 << 20);
    let map = SortedMap::at(new_root(&heap));
    let pairs = 200_u32;
    let value = |key: u32, round: u64| {
        let mut value = vec![key as u8; if key.is_multiple_of(3) { 300 } else { 20 }];
        value[..8].copy_from_slice(&round.to_le_bytes());
        value
    };
    let round_of = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
    let key = |number: u32| number.to_be_bytes();
    run(&heap, |tx| {
        for number in 0..pairs * 2 {
            map.insert(tx, &key(number), &value(number, 0))?;
        }
        Ok(())
    })
    .unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (heap, done) = (&heap, &done);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let reader = heap.reader(0);
                    let start = rng.u32(..pairs);
                    let mut rounds = std::collections::HashMap::new();
                    for pair in map.range(&reader, ..).unwrap() {
                        let (found, value) = pair.unwrap();
                        let number = u32::from_be_bytes(found[..].try_into().unwrap());
                        assert!(value[8..].iter().all(|&byte| byte == number as u8));
                        rounds.insert(number, round_of(&value));
                    }
                    for number in 0..pairs {
                        assert_eq!(rounds.get(&number), rounds.get(&(number + pairs)), "{number}");
                    }
                    if let Some(value) = map.get(&reader, &key(start)).unwrap() {
                        assert!(value[8..].iter().all(|&byte| byte == start as u8));
                    }
                }
            });
        }
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 1..400 {
            let number = rng.u32(..pairs);
            run(&heap, |tx| {
                for number in [number, number + pairs] {
                    if rng.u8(..4) == 0 || round % 4 == 0 {
                        map.insert(tx, &key(number), &value(number, round))?;
                    } else {
                        map.remove(tx, &key(number))?;
                    }
                }
                // Either both or none.
                let both = [number, number + pairs].map(|number| map.get(tx, &key(number)));
                if both[0].clone()?.is_some() != both[1].clone()?.is_some() {
                    map.insert(tx, &key(number), &value(number, round))?;
                    map.insert(tx, &key(number + pairs), &value(number + pairs, round))?;
                }
                Ok(())
            })
            .unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    check_no_leak(&heap, &[map.root]).unwrap();
}

#[test]
fn an_update_costs_one_fence_and_the_words_that_are_documented() {
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 64 << 20);
    let map = SortedMap::at(new_root(&heap));
    let mut rng = fastrand::Rng::with_seed(1);
    for i in 0..20_000_u32 {
        let key = i.wrapping_mul(0x9e37_79b9).to_be_bytes();
        run(&heap, |tx| map.insert(tx, &key, &i.to_le_bytes())).unwrap();
    }
    let height = usize::from(check_shape(map, &heap.reader(0)));
    let mut costs = Costs::default();
    for _ in 0..400 {
        let key = rng.u32(..20_000).wrapping_mul(0x9e37_79b9).to_be_bytes();
        costs.add(&heap, |tx| map.insert(tx, &key, b"1234").map(drop));
    }
    assert!(costs.median_words() <= 9 + 5 * height, "height {height}: {costs:?}");
    assert!(costs.max_words() <= 60 + 6 * height, "height {height}: {costs:?}");
    // Two thirds of the nodes' 512 bytes are in use in the middle; the record and the words in place are 12 lines.
    assert!(costs.median_flushes() <= 6 * height + 12, "height {height}: {costs:?}");
    assert_eq!(costs.orderings, 0);
    let mut costs = Costs::default();
    for i in 0..400_u32 {
        let key = i.wrapping_mul(0x9e37_79b9).to_be_bytes();
        costs.add(&heap, |tx| map.remove(tx, &key).map(drop));
    }
    assert!(costs.median_words() <= 9 + 5 * height, "height {height}: {costs:?}");
    assert_eq!(costs.orderings, 0);
}

#[test]
fn deletions_leave_no_tree_of_nearly_empty_nodes() {
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 16 << 20);
    let map = SortedMap::at(new_root(&heap));
    let mut numbers: Vec<u32> = (0..2000).collect();
    let mut rng = fastrand::Rng::with_seed(5);
    rng.shuffle(&mut numbers);
    for number in &numbers {
        run(&heap, |tx| map.insert(tx, &number.to_be_bytes(), b"1234")).unwrap();
    }
    rng.shuffle(&mut numbers);
    for number in &numbers[200..] {
        run(&heap, |tx| map.remove(tx, &number.to_be_bytes())).unwrap().unwrap();
    }
    let mut nodes = 0;
    SortedMap::visit(&heap.reader(0), map.root, &mut |_| nodes += 1).unwrap();
    // Keys of 12 bytes each would fill five leaves; each has a quarter at least, and there is a root.
    assert!((6..=21).contains(&nodes), "{nodes}");
    assert_eq!(check_shape(map, &heap.reader(0)), 2);
    check_no_leak(&heap, &[map.root]).unwrap();
}

#[test]
fn a_cut_in_a_batch_keeps_what_its_first_blocks_did() {
    for seed in 0..24 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut heap = heap(ROOMY.0, ROOMY.1);
        let map = SortedMap::at(new_root(&heap));
        let mut model = Model::new();
        for step in 0..60 {
            let mut states = vec![model.clone()];
            let mut choose = rng.fork();
            let (committed, recovered) = with_cut(&heap, &mut rng, || {
                let mut writer = heap.writer(0);
                for _ in 0..choose.u32(1..5) {
                    let op = Op::random(&mut choose, SMALL);
                    if let Ok(answer) = writer.run(|tx| op.run(map, tx)) {
                        assert_eq!(op.run_model(&mut model), answer, "seed {seed}, step {step}");
                        states.push(model.clone());
                    }
                }
                writer.commit()
            });
            committed.unwrap();
            if let Some(recovered) = recovered {
                heap = recovered;
            }
            let found = must(seed, contents(map, &heap.reader(0)));
            assert!(states.contains(&found), "seed {seed}, step {step}: {found:?}");
            model = found;
            check_shape(map, &heap.reader(0));
            must(seed, check_no_leak(&heap, &[map.root]));
        }
    }
}
