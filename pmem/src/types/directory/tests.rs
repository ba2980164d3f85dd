//! Directories against a model, across cuts, on hostile bytes, and what they cost.

use super::super::{
    Bytes, List, Map, Register, SortedMap, discard_root, garbage,
    kit::{Kit, seeds, with_seed},
    root_kind,
    testing::{Costs, damage},
    visit_root,
};
use super::*;
use crate::{Geometry, Persistence, Region, RegionOptions, sim::Sim};
use std::collections::BTreeMap;

/// What a value holds, in the order in which its parts are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Held(Vec<Vec<u8>>);

type Model = BTreeMap<Vec<u8>, Vec<Held>>;

fn name_of(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(7) { 100 } else { 1 + number as usize % 12 };
    number.to_le_bytes().into_iter().cycle().take(len).chain([number as u8]).collect()
}

/// The field with this number is of one of all kinds.
fn kind_of(field: u32) -> Kind {
    [Kind::Register, Kind::Bytes, Kind::Map, Kind::List, Kind::SortedMap][field as usize % 5]
}

fn held<V: View>(view: &V, root: u64) -> Result<Held, TypeError> {
    let mut parts = Vec::new();
    match root_kind(view, root)? {
        None => {}
        Some(Kind::Register) => parts.push(Register::<u64>::at(root).get(view)?.to_le_bytes().to_vec()),
        Some(Kind::Bytes) => parts.push(Bytes::at(root).get(view)?),
        Some(Kind::Map) => {
            Map::at(root).page(view, None, |entry| {
                parts.push([entry.key.as_slice(), &entry.value].concat());
                Ok(true)
            })?;
            parts.sort();
        }
        Some(Kind::List) => parts = List::at(root).page(view, 0, u64::MAX)?,
        Some(Kind::SortedMap) => {
            for pair in SortedMap::at(root).range(view, ..)? {
                let (key, value) = pair?;
                parts.push([key, value].concat());
            }
        }
        Some(kind) => panic!("a field of kind {kind:?}"),
    }
    Ok(Held(parts))
}

/// Adds to a value of its field's kind.
fn fill(
    tx: &mut Tx<'_, Sim>,
    root: u64,
    field: u32,
    held: &mut Held,
    rng: &mut fastrand::Rng,
) -> Result<(), TypeError> {
    let len = if rng.u8(..20) == 0 { rng.usize(..3000) } else { rng.usize(..60) };
    let value = vec![rng.u8(..); len];
    let key = rng.u16(..200).to_be_bytes();
    let entry = |key: &[u8]| [key, &value].concat();
    let put = |held: &mut Held| {
        held.0.retain(|part| part[..2] != key);
        held.0.push(entry(&key));
        held.0.sort();
    };
    match kind_of(field) {
        Kind::Register => {
            let number = rng.u64(..);
            Register::at(root).set(tx, number)?;
            held.0 = vec![number.to_le_bytes().to_vec()];
        }
        Kind::Bytes => {
            Bytes::at(root).set(tx, &value)?;
            held.0 = vec![value];
        }
        Kind::Map => {
            Map::at(root).insert(tx, &key, &value)?;
            put(held);
        }
        Kind::List => {
            List::at(root).push_back(tx, &value)?;
            held.0.push(value);
        }
        _ => {
            SortedMap::at(root).insert(tx, &key, &value)?;
            put(held);
        }
    }
    Ok(())
}

/// Makes one change of a directory and of its model, and compares what both say.
fn change(
    directory: Directory,
    tx: &mut Tx<'_, Sim>,
    model: &mut Model,
    rng: &mut fastrand::Rng,
) -> Result<(), TypeError> {
    let name = name_of(rng.u64(..30));
    assert_eq!(directory.find(tx, &name)?.is_some(), model.contains_key(&name));
    match rng.u8(..100) {
        0 => {
            Directory::discard(tx, tx_root(directory))?;
            model.clear();
        }
        1..15 => drop(garbage::collect(tx, rng.u32(1..8))?),
        15..40 => {
            let count = if rng.u8(..10) == 0 { rng.u32(1..=64) } else { rng.u32(1..4) };
            let made = directory.create(tx, &name, count)?;
            assert_eq!(made.is_none(), model.contains_key(&name));
            if let Some(bundle) = made {
                assert_eq!(directory.find(tx, &name)?, Some(bundle));
                model.insert(name, vec![Held::default(); count as usize]);
            }
        }
        40..55 => assert_eq!(directory.remove(tx, &name)?, model.remove(&name).is_some()),
        _ => {
            let Some(bundle) = directory.find(tx, &name)? else { return Ok(()) };
            let fields = model.get_mut(&name).expect("a name of the model");
            assert_eq!(fields.len(), bundle.count() as usize);
            let field = rng.u32(..bundle.count());
            fill(tx, bundle.root(field), field, &mut fields[field as usize], rng)?;
        }
    }
    Ok(())
}

fn tx_root(directory: Directory) -> u64 {
    directory.map.root()
}

fn contents<V: View>(directory: Directory, view: &V) -> Result<Model, TypeError> {
    let mut found = Model::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = directory.page(view, after.as_deref(), 7)?;
        for (name, bundle) in &page.entries {
            let fields = bundle.fields().map(|root| held(view, root)).collect::<Result<_, _>>()?;
            assert!(found.insert(name.clone(), fields).is_none(), "seen twice");
            assert_eq!(directory.find(view, name)?, Some(*bundle));
        }
        if page.is_last {
            return Ok(found);
        }
        after = page.entries.last().map(|(name, _)| name.clone());
    }
}

#[test]
fn a_directory_is_what_the_model_says_whatever_is_cut_between() {
    for seed in seeds(6) {
        with_seed(seed, |rng| {
            let geometry = Geometry { ring_slot_bytes: 4096, ..Geometry::tiny() };
            let mut kit = Kit::new(geometry, 1 << 20, 1);
            let directory = Directory::at(kit.roots[0]);
            let mut model = Model::new();
            for turn in 0..1200 {
                let mut next = model.clone();
                let changed = kit.heap.atomically(0, |tx| {
                    for _ in 0..rng.u8(1..4) {
                        change(directory, tx, &mut next, rng)?;
                    }
                    if rng.u8(..10) == 0 { Err(HeapError::NoSpace.into()) } else { Ok(()) }
                });
                match changed {
                    Ok(()) => model = next,
                    Err(TypeError::Heap(HeapError::NoSpace | HeapError::TooLarge { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
                if rng.u8(..30) == 0 {
                    kit.cut(rng);
                }
                if turn % 50 == 0 {
                    assert_eq!(directory.len(&kit.reader()).unwrap(), model.len() as u64);
                    assert_eq!(contents(directory, &kit.reader()).unwrap(), model);
                    kit.check();
                }
            }
            kit.run(|tx| Directory::discard(tx, kit.roots[0]));
            kit.check();
            kit.collect(3);
            kit.check();
            assert_eq!(kit.audit().unwrap().blocks, 1, "the root alone");
        });
    }
}

/// All of a bundle hangs on the garbage list once its name is gone, however much that is, and each turn frees a bounded part.
#[test]
fn a_discarded_directory_is_freed_in_parts_of_which_each_fits_a_record() {
    for (kit, names) in [(Kit::tiny(1), 30), (Kit::real(64 << 20, 1), 400)] {
        let directory = Directory::at(kit.roots[0]);
        let rng = &mut fastrand::Rng::with_seed(5);
        for number in 0..names {
            let count = if number % 9 == 0 { 20 } else { 3 };
            let bundle = kit.run(|tx| directory.create(tx, &name_of(number), count)).expect("a new name");
            for (field, root) in (0..).zip(bundle.fields()) {
                kit.run(|tx| fill(tx, root, field, &mut Held::default(), rng));
            }
        }
        kit.check();
        let blocks = kit.audit().unwrap().blocks;
        let (mut words, mut turns) = (Costs::default(), 0);
        words.add(&kit.heap, |tx| directory.remove(tx, &name_of(0)).map(drop));
        words.add(&kit.heap, |tx| Directory::discard(tx, kit.roots[0]));
        assert!(directory.is_empty(&kit.reader()).unwrap());
        kit.check();
        while garbage::is_pending(&kit.reader()) {
            words.add(&kit.heap, |tx| garbage::collect(tx, 4).map(drop));
            turns += 1;
            if turns % 20 == 0 {
                kit.check();
            }
        }
        assert!(turns > blocks / 20, "{turns} turns for {blocks} blocks");
        assert!(words.max_words() < 300, "{}", words.max_words());
        assert_eq!(kit.audit().unwrap().blocks, 1);
        kit.check();
    }
}

#[test]
fn a_removed_name_leaves_nothing_and_large_values_go_to_the_garbage_list() {
    let kit = Kit::real(16 << 20, 1);
    let directory = Directory::at(kit.roots[0]);
    type Fill = fn(&mut Tx<'_, Sim>, u64) -> Result<(), TypeError>;
    let make = |count: u32, fill: Fill| {
        let bundle = kit.run(|tx| directory.create(tx, b"name", count)).expect("a new name");
        for root in bundle.fields() {
            kit.run(|tx| fill(tx, root));
        }
        assert!(kit.run(|tx| directory.remove(tx, b"name")));
        assert!(!kit.run(|tx| directory.remove(tx, b"name")));
        let is_pending = garbage::is_pending(&kit.reader());
        kit.check();
        kit.collect(8);
        assert_eq!(kit.audit().unwrap().blocks, 1, "{count}");
        is_pending
    };
    assert!(!make(64, |_, _| Ok(())));
    assert!(!make(64, |tx, root| Register::at(root).set(tx, 7_u64)));
    assert!(!make(3, |tx, root| Bytes::at(root).set(tx, &[1; 500])));
    assert!(!make(2, |tx, root| Map::at(root).insert(tx, &[1], &[2; 5000]).map(drop)));
    assert!(make(1, |tx, root| (0..9).try_for_each(|i| Map::at(root).insert(tx, &[i], &[2]).map(drop))));
    assert!(make(64, |tx, root| Bytes::at(root).set(tx, &[1; 500])));
    assert!(make(64, |tx, root| Map::at(root).insert(tx, &[1], &[2; 5000]).map(drop)));
}

#[test]
fn roots_are_lines_of_their_own() {
    for kit in [Kit::tiny(1), Kit::real(16 << 20, 1)] {
        let directory = Directory::at(kit.roots[0]);
        for count in 1..=BUNDLE_FIELDS_MAX {
            // Blocks of other sizes come between.
            kit.run(|tx| Ok(tx.allocate(u64::from(count) * 16)?));
            let Some(bundle) = kit.run(|tx| directory.create(tx, &[1], count)) else { panic!("a new name") };
            assert_eq!((bundle.count(), bundle.fields().len()), (count, count as usize));
            assert!(bundle.fields().all(|root| root.is_multiple_of(64)));
            for root in bundle.fields() {
                assert_eq!(root_kind(&kit.reader(), root), Ok(None));
            }
            assert!(kit.run(|tx| directory.remove(tx, &[1])));
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let kit = Kit::tiny(2);
    let directory = Directory::at(kit.roots[0]);
    let create = |name: &[u8], count| kit.heap.atomically(0, |tx| directory.create(tx, name, count));
    assert_eq!(create(&[], 1), Err(TypeError::BadName { bytes: 0 }));
    assert_eq!(create(&[7; NAME_MAX + 1], 1), Err(TypeError::BadName { bytes: NAME_MAX + 1 }));
    assert_eq!(create(b"name", 0), Err(TypeError::BadCount { count: 0 }));
    assert_eq!(create(b"name", 65), Err(TypeError::BadCount { count: 65 }));
    assert!(create(&[7; NAME_MAX], 1).unwrap().is_some());
    assert!(create(b"name", 2).unwrap().is_some());
    assert_eq!(create(b"name", 3), Ok(None));
    assert_eq!(directory.len(&kit.reader()), Ok(2));
    kit.run(|tx| Register::at(kit.roots[1]).set(tx, 5_u64));
    let other = Directory::at(kit.roots[1]);
    let wrong = TypeError::WrongType { found: 1, expected: Kind::Directory };
    assert_eq!(other.find(&kit.reader(), b"name"), Err(wrong.clone()));
    assert_eq!(kit.heap.atomically(0, |tx| other.create(tx, b"name", 1)), Err(wrong));
    let is_map = Map::at(kit.roots[0]).len(&kit.reader());
    assert_eq!(is_map, Err(TypeError::WrongType { found: 7, expected: Kind::Map }));
    kit.check();
    let failed = kit.heap.atomically::<(), TypeError>(0, |tx| {
        directory.create(tx, b"other", 2)?;
        directory.remove(tx, b"name")?;
        Err(HeapError::NoSpace.into())
    });
    assert!(failed.is_err());
    assert_eq!(directory.find(&kit.reader(), b"other"), Ok(None));
    assert!(directory.find(&kit.reader(), b"name").unwrap().is_some());
    kit.check();
}

/// A directory inside of a directory could be one that is in itself: no walk would come to an end.
#[test]
fn a_directory_in_a_bundle_counts_as_damage() {
    let kit = Kit::tiny(1);
    let directory = Directory::at(kit.roots[0]);
    let bundle = kit.run(|tx| directory.create(tx, b"name", 1)).expect("a new name");
    kit.run(|tx| Directory::at(bundle.root(0)).create(tx, b"inner", 1));
    let corrupt = TypeError::from(HeapError::Corrupt { offset: bundle.root(0) });
    assert_eq!(visit_root(&kit.reader(), kit.roots[0], &mut |_| {}), Err(corrupt.clone()));
    assert_eq!(kit.heap.atomically(0, |tx| directory.remove(tx, b"name")), Err(corrupt));
    kit.run(|tx| discard_root(tx, bundle.root(0)));
    assert!(kit.run(|tx| directory.remove(tx, b"name")));
    kit.check();
}

#[test]
fn a_name_that_is_there_all_the_time_is_on_one_page() {
    for seed in seeds(5) {
        with_seed(seed, |rng| {
            let kit = Kit::real(16 << 20, 1);
            let directory = Directory::at(kit.roots[0]);
            for number in 0..300_u64 {
                kit.run(|tx| directory.create(tx, &number.to_le_bytes(), 1));
            }
            let (mut seen, mut after) = (BTreeMap::new(), None::<Vec<u8>>);
            loop {
                let page = directory.page(&kit.reader(), after.as_deref(), 11).unwrap();
                assert!(page.entries.len() == 11 || page.is_last);
                for (name, _) in &page.entries {
                    *seen.entry(name.clone()).or_insert(0) += 1;
                }
                if page.is_last {
                    break;
                }
                after = page.entries.last().map(|(name, _)| name.clone());
                // Names from 300 on come, and those below 100 go, the cursor perhaps with them.
                for _ in 0..8 {
                    let (new, old) = (rng.u64(300..3000).to_le_bytes(), rng.u64(..100).to_le_bytes());
                    kit.run(|tx| {
                        directory.create(tx, &new, 1)?;
                        directory.remove(tx, &old)
                    });
                }
            }
            for number in 100..300_u64 {
                assert_eq!(seen.get(number.to_le_bytes().as_slice()), Some(&1), "{number}");
            }
            assert!(seen.values().all(|&times| times == 1));
        });
    }
}

#[test]
fn hostile_words_give_errors_and_every_walk_ends() {
    for seed in seeds(60) {
        with_seed(seed, |rng| {
            let kit = Kit::tiny(1);
            let directory = Directory::at(kit.roots[0]);
            for number in 0..20 {
                let bundle = kit.run(|tx| directory.create(tx, &name_of(number), 1 + number as u32 % 6));
                for (field, root) in (0..).zip(bundle.expect("a new name").fields()) {
                    kit.run(|tx| fill(tx, root, field, &mut Held::default(), rng));
                }
            }
            for number in 15..20 {
                kit.run(|tx| directory.remove(tx, &name_of(number)));
            }
            damage(&kit.heap, &kit.roots, rng);
            let reader = kit.reader();
            let _ = visit_root(&reader, kit.roots[0], &mut |_| {});
            let _ = garbage::visit(&reader, &mut |_| {});
            for number in 0..20 {
                if let Ok(Some(bundle)) = directory.find(&reader, &name_of(number)) {
                    let _ = bundle.fields().map(|root| held(&reader, root)).collect::<Vec<_>>();
                }
            }
            drop(reader);
            for number in 0..20 {
                let _ = kit.heap.atomically(0, |tx| directory.remove(tx, &name_of(number)));
                let _ = kit.heap.atomically(0, |tx| directory.create(tx, &name_of(number), 2));
            }
            let _ = kit.heap.atomically(0, |tx| Directory::discard(tx, kit.roots[0]));
            for _ in 0..40 {
                let _ = kit.heap.atomically(0, |tx| garbage::collect(tx, 4));
            }
        });
    }
}

/// Entries that all name one bundle would let a small region ask for a visit of any length.
#[test]
fn a_bundle_with_two_names_counts_as_damage() {
    let kit = Kit::tiny(1);
    let directory = Directory::at(kit.roots[0]);
    let bundle = kit.run(|tx| directory.create(tx, b"name", 1)).expect("a new name");
    kit.run(|tx| {
        directory.map.insert_absent_with(tx, b"other", |_| {
            let mut value = [0; 16];
            for (bytes, word) in value.as_chunks_mut::<8>().0.iter_mut().zip(bundle.words()) {
                *bytes = word.to_le_bytes();
            }
            Ok(value)
        })
    });
    assert_eq!(directory.find(&kit.reader(), b"other"), Ok(Some(bundle)));
    visit_root(&kit.reader(), kit.roots[0], &mut |_| {}).unwrap_err();
}

#[test]
fn what_creating_and_removing_cost_is_as_documented() {
    let kit = Kit::real(16 << 20, 1);
    let directory = Directory::at(kit.roots[0]);
    let (mut create, mut remove) = (Costs::default(), Costs::default());
    for number in 0..300_u64 {
        let name = number.to_le_bytes();
        create.add(&kit.heap, |tx| {
            let bundle = directory.create(tx, &name, 1)?.expect("a new name");
            // A value in the same record.
            Register::at(bundle.root(0)).set(tx, number)
        });
    }
    for number in 0..300_u64 {
        remove.add(&kit.heap, |tx| directory.remove(tx, &number.to_le_bytes()).map(drop));
    }
    // Three words are the register's. Half of the names put a bucket into the list.
    assert_eq!((create.min_words(), create.orderings), (16 + 3, 300));
    assert!(create.median_words() <= 16 + 3 + 4, "{}", create.median_words());
    assert_eq!((remove.median_words(), remove.orderings), (13, 0));
    let before = kit.heap.mem().counters();
    kit.run(|tx| directory.create(tx, b"name", 1));
    let loads_before_find = kit.heap.mem().counters();
    directory.find(&kit.reader(), b"name").unwrap().expect("the name");
    let find = kit.heap.mem().counters().since(loads_before_find);
    assert!(find.loads < 24, "{find:?}");
    assert_eq!((find.stores, find.fences), (0, 0));
    assert_eq!(kit.heap.mem().counters().since(before).fences, 2);
}

/// `cargo test --release -p abide-pmem --lib cost_of_finding -- --ignored --nocapture`
#[test]
#[ignore = "prints what finding costs"]
fn cost_of_finding() {
    let options = RegionOptions::new(Persistence::Volatile);
    for region in [Region::unshared(1 << 30, &options), Region::volatile(1 << 30, &options)] {
        let region = region.unwrap();
        let heap = region.heap();
        let root = heap
            .atomically::<_, HeapError>(0, |tx| {
                let root = tx.allocate(64)?;
                (0..8).try_for_each(|i| tx.write(root + i * WORD, 0))?;
                Ok(root)
            })
            .unwrap();
        let directory = Directory::at(root);
        const NAMES: u64 = 100_000;
        let print = |what, turn: &mut dyn FnMut(u64)| {
            let start = std::time::Instant::now();
            (0..NAMES).for_each(&mut *turn);
            let ns = start.elapsed().as_nanos() as u64 / NAMES;
            println!("{}: {what}: {ns} ns", if heap.is_unshared() { "unshared" } else { "volatile" });
        };
        let name = |number: u64| (number * 0x9e37_79b9 % NAMES).to_le_bytes();
        print("create", &mut |i| {
            assert!(heap.atomically(0, |tx| directory.create(tx, &name(i), 1)).unwrap().is_some());
        });
        print("find by a writer", &mut |i| {
            assert!(heap.atomically(0, |tx| directory.find(tx, &name(i))).unwrap().is_some());
        });
        print("find by a reader", &mut |i| {
            assert!(directory.find(&heap.reader(0), &name(i)).unwrap().is_some());
        });
        print("remove", &mut |i| assert!(heap.atomically(0, |tx| directory.remove(tx, &name(i))).unwrap()));
    }
}
