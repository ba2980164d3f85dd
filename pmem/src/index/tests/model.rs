//! Against a map in ordinary memory.

use super::*;
use crate::{
    mem::Site,
    sim::{Mutant, SimConfig},
};
use fastrand::Rng;
use std::collections::BTreeMap;

/// Puts many names into each hash.
fn colliding(_: &[u8; 16], type_number: u16, name: &[u8]) -> u64 {
    u64::from(name.last().copied().unwrap_or(0) % 3) << 62 | u64::from(type_number % 2)
}

/// Differs in the high bits only, so that all names are in the first buckets.
fn skewed(_: &[u8; 16], _: u16, name: &[u8]) -> u64 {
    u64::from(name.last().copied().unwrap_or(0)) << 56 | name.len() as u64
}

fn run(seed: u64, hash: Option<NameHash>) {
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let mut heap = testing::heap();
    let mut model: BTreeMap<(u16, String), Entry> = BTreeMap::new();
    for step in 0..600 {
        if let Some(hash) = hash {
            heap.set_name_hash(hash);
        }
        let key = (rng.u16(1..3), format!("{}", rng.u32(..40)));
        let (type_number, name) = (key.0, key.1.as_bytes());
        let index = heap.index();
        match rng.u32(..10) {
            0..4 => match index.create(type_number, name, 0) {
                Ok(entry) => {
                    assert_eq!(entry.created, !model.contains_key(&key), "step {step}");
                    model.insert(key, Entry { created: false, ..entry });
                }
                Err(error) => panic!("step {step}: {error}"),
            },
            4..7 => {
                let removed = index.remove(type_number, name, |_, _| Ok(())).unwrap();
                assert_eq!(removed, model.remove(&key).is_some(), "step {step}");
            }
            7..9 => assert_eq!(index.get(type_number, name).unwrap(), model.get(&key).copied()),
            _ if rng.u32(..8) == 0 => heap = testing::reopen(&heap),
            _ => {
                let mut listed = list(&heap, rng.usize(1..20));
                listed.sort();
                assert_eq!(listed, model.keys().cloned().collect::<Vec<_>>(), "step {step}");
            }
        }
        assert_eq!(heap.index().len(), model.len() as u64, "step {step}");
        if step % 20 == 0 {
            let survey = heap.index().check().unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert_eq!((survey.nodes, survey.buried), (model.len() as u64, 0));
            let mut roots = Vec::new();
            heap.index().visit(&mut |node| roots.push(node.entry.root)).unwrap();
            roots.sort_unstable();
            let mut expected: Vec<_> = model.values().map(|entry| entry.root).collect();
            expected.sort_unstable();
            assert_eq!(roots, expected);
        }
    }
}

#[test]
fn it_holds_what_a_map_would() {
    for seed in 0..if cfg!(miri) { 1 } else { 20 } {
        run(seed, None);
    }
}

#[test]
fn it_holds_what_a_map_would_where_names_collide() {
    for seed in 0..if cfg!(miri) { 1 } else { 20 } {
        run(seed, Some(colliding));
        run(seed, Some(skewed));
    }
}

#[test]
fn sixty_five_names_with_one_hash_and_as_many_buckets_as_there_can_be() {
    let mut heap = testing::heap();
    heap.set_name_hash(|_, _, _| 0);
    for i in 0..65 {
        assert!(create(&heap, &format!("{i}")).unwrap().created);
    }
    assert_eq!(list(&heap, 7).len(), 65);
    for i in 0..65 {
        assert!(remove(&heap, &format!("{i}")).unwrap());
    }
    assert_eq!(heap.index().check().unwrap().nodes, 0);
}

#[test]
fn a_region_is_as_full_each_time() {
    let mut heap = testing::heap();
    let mut counts = Vec::new();
    for round in 0..4 {
        let mut names = Vec::new();
        let error = loop {
            let name = format!("{round} {}", names.len());
            match create(&heap, &name) {
                Ok(_) => names.push(name),
                Err(error) => break error,
            }
        };
        assert_eq!(error, IndexError::Heap(HeapError::NoSpace));
        counts.push(names.len());
        if round % 2 == 1 {
            heap = testing::reopen(&heap);
        }
        assert!(names.iter().all(|name| has(&heap, name)));
        assert!(names.iter().all(|name| remove(&heap, name).unwrap()));
        assert_eq!(heap.index().check().unwrap().nodes, 0);
    }
    assert!(counts[0] > 50 && counts.iter().all(|&count| count == counts[0]), "{counts:?}");
}

/// Where walks could begin before and after a crash, of all buckets, with 500 names.
fn ways_in_around_a_crash(mutants: &[Mutant]) -> (usize, usize, usize) {
    let config = SimConfig { mutants: mutants.to_vec(), ..SimConfig::default() };
    let geometry = Geometry { directory_pages: 64, ..Geometry::tiny() };
    let heap = heap_over(Sim::with_words(&config, vec![0; 32 << 10]), geometry);
    for i in 0..500 {
        create(&heap, &format!("{i}")).unwrap();
    }
    let buckets = 1 << heap.index().tables().size_bits().unwrap();
    let count = |heap: &Heap<Sim>| {
        let tables = heap.index().tables();
        (0..buckets).filter(|&bucket| tables.bucket_in_list(bucket).unwrap().is_some()).count()
    };
    (count(&heap), count(&testing::reopen(&heap)), buckets as usize)
}

#[test]
fn walks_begin_as_near_after_a_crash() {
    let (before, after, all) = ways_in_around_a_crash(&[]);
    assert!(before > all / 2 && after + 1 >= before, "{before} and {after} of {all}");
    // That flush is for nothing else.
    let (before, after, _) = ways_in_around_a_crash(&[Mutant::Flush(Site::BucketReadyFlush)]);
    assert!(after + 1 < before, "{before} and {after} of {all}");
}

#[test]
fn a_lookup_is_short_and_flushes_nothing_that_an_earlier_run_left() {
    let heap = heap_of(Geometry { directory_pages: 64, ..Geometry::tiny() }, 256 << 10);
    for i in 0..500 {
        create(&heap, &format!("{i}")).unwrap();
    }
    let heap = testing::reopen(&heap);
    let before = heap.mem().counters();
    assert!((0..500).all(|i| has(&heap, &format!("{i}"))));
    let after = heap.mem().counters();
    assert!((after.loads - before.loads) / 500 < 30);
    assert_eq!(after.fences, before.fences);
}

/// How many times buckets had doubled before and after a crash soon after one more time.
fn doublings_around_a_crash(mutants: &[Mutant]) -> (u32, u32) {
    let heap = heap_over(
        Sim::with_words(&SimConfig { mutants: mutants.to_vec(), ..SimConfig::default() }, vec![0; 8 << 10]),
        Geometry::tiny(),
    );
    let doublings = |heap: &Heap<Sim>| heap.index().tables().size_bits().unwrap();
    let mut names = 0..;
    let mut one_more = || create(&heap, &format!("{}", names.next().unwrap())).unwrap();
    while doublings(&heap) < 5 {
        one_more();
    }
    one_more();
    (doublings(&heap), doublings(&testing::reopen(&heap)))
}

#[test]
fn a_doubling_is_durable_one_name_later() {
    assert_eq!(doublings_around_a_crash(&[]), (5, 5));
    assert_eq!(doublings_around_a_crash(&[Mutant::Flush(Site::SizeFlush)]), (5, 4));
}

#[test]
fn recovery_reads_as_much_whatever_the_index_holds() {
    let loads = |names: usize| {
        let heap = heap_of(Geometry { directory_pages: 64, ..Geometry::tiny() }, 1 << 20);
        for i in 0..names {
            create(&heap, &format!("{i}")).unwrap();
        }
        testing::reopen(&heap).mem().counters().loads
    };
    let (few, many) = (loads(20), loads(4000));
    assert!(many < few + 100, "{few} loads with few names, {many} with many");
}

#[test]
fn a_listing_shows_once_what_is_there_all_the_time() {
    let heap = testing::heap();
    for i in 0..30 {
        create(&heap, &format!("stays {i}")).unwrap();
        create(&heap, &format!("goes {i}")).unwrap();
    }
    let (mut seen, mut cursor, mut round) = (Vec::new(), Cursor::default(), 0);
    loop {
        let page = heap.index().scan(&cursor, b"stays", 3).unwrap();
        seen.extend(page.names.into_iter().map(|(name, _)| name));
        let Some(next) = page.next else { break };
        cursor = next;
        remove(&heap, &format!("goes {round}")).unwrap();
        create(&heap, &format!("new {round}")).unwrap();
        round += 1;
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 30);
}
