//! A region without damage is clean, each kind of damage is named, and any bytes are looked at without panic.

use super::{FindingKind as Kind, *};
use crate::{
    Geometry, HeapError, Identity, Site,
    layout::{STATE, SUPERBLOCK_COPY},
    mem::{LINE, WORD},
    sim::Sim,
    types::{
        Bytes, Directory, List, Map, Register, SortedMap, TypeError, commands::Commands, completions::*,
    },
};

/// Where things are in a region that holds some of everything.
struct Sample {
    heap: Heap<Sim>,
    text: u64,
    unnamed: UnnamedRoot,
}

fn sample() -> Sample {
    let sim = Sim::new(96 << 10);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&sim, identity, Geometry { shards: 2, ..Geometry::tiny() }).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    let heap = Heap::open(sim, [0; 16]).unwrap();
    let create = |name: &str, shard| heap.index().create(9, name.as_bytes(), shard).unwrap().root;
    let (text, number, map, list, sorted) =
        (create("text", 0), create("number", 0), create("map", 1), create("list", 0), create("sorted", 1));
    heap.atomically(0, |tx| Bytes::at(text).set(tx, &[7; 120])).unwrap();
    heap.atomically(0, |tx| Register::at(number).set(tx, 5u64)).unwrap();
    for i in 0..6u8 {
        heap.atomically(1, |tx| Map::at(map).insert(tx, &[i], &[i; 40])).unwrap();
        heap.atomically(0, |tx| List::at(list).push_back(tx, &[i; 20])).unwrap();
        heap.atomically(1, |tx| SortedMap::at(sorted).insert(tx, &[i], &[i; 30])).unwrap();
    }
    create("gone", 0);
    heap.index().remove(9, b"gone", |_, _| Ok(())).unwrap();
    heap.atomically::<_, CompletionError>(0, |tx| {
        let Arrival::New(pending) = Completions::arrive(tx, 1, 1)? else { unreachable!("a new client") };
        Completions::complete(tx, pending, &[3; 50])
    })
    .unwrap();
    heap.atomically(0, |tx| Commands::append(tx, &[1; 40])).unwrap();
    let offset = heap
        .atomically::<_, TypeError>(1, |tx| {
            let root = tx.allocate(64)?;
            for word in 0..8 {
                tx.write(root + word * WORD, 0)?;
            }
            Bytes::at(root).set(tx, &[8; 100])?;
            Ok(root)
        })
        .unwrap();
    Sample { heap, text, unnamed: UnnamedRoot { shard: 1, offset } }
}

fn image(heap: &Heap<Sim>) -> Sim {
    let words = (0..heap.mem().len() / WORD).map(|word| heap.mem().load(word * WORD)).collect();
    Sim::with_words(heap.mem().config(), words)
}

/// The findings after `damage`.
fn after(sample: &Sample, damage: impl FnOnce(&Sim)) -> Vec<Finding> {
    let sim = image(&sample.heap);
    damage(&sim);
    check_memory(sim, &[sample.unnamed]).findings
}

fn flip(sim: &Sim, at: u64) {
    sim.store(at, sim.load(at) ^ 1 << 17);
}

/// The only finding after a bit is flipped.
#[track_caller]
fn expect(sample: &Sample, at: u64, kind: Kind, offset: u64, shard: Option<u32>) {
    let found = after(sample, |sim| flip(sim, at));
    assert!(
        found.len() == 1 && (found[0].kind, found[0].offset, found[0].shard) == (kind, offset, shard),
        "{at:#x}: {found:?}"
    );
}

#[test]
fn what_is_not_damaged_is_clean_whether_or_not_it_was_closed() {
    let sample = sample();
    for is_closed in [false, true] {
        if is_closed {
            sample.heap.mark_clean().unwrap();
        }
        let report = check_memory(image(&sample.heap), &[sample.unnamed]);
        assert_eq!((report.findings, report.names, report.unattributed), (vec![], 5, 0));
        let report = check_memory(image(&sample.heap), &[]);
        assert_eq!((report.findings, report.unattributed), (vec![], 2), "a root and its value");
    }
    let sim = Sim::new(64 << 10);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&sim, identity, Geometry::tiny()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    assert_eq!(check_memory(sim, &[]).findings, []);
}

#[test]
fn each_kind_of_damage_is_named_with_its_place() {
    let sample = sample();
    sample.heap.mark_clean().unwrap();
    let (heap, layout) = (&sample.heap, sample.heap.layout());
    expect(&sample, 8, Kind::Superblock, 0, None);
    expect(&sample, SUPERBLOCK_COPY + 8, Kind::Superblock, SUPERBLOCK_COPY, None);
    let oldest =
        STATE + (crate::layout::State::load(heap.mem(), heap.seed()).unwrap().generation + 1) % 2 * LINE;
    expect(&sample, oldest + WORD, Kind::State, oldest, None);
    let line = layout.shard_header(1);
    // The ring holds records of a later run than the older watermark, so the shard cannot be recovered either. There is one state
    // only, beside which a later one that says that it was open may be lost.
    let found = after(&sample, |sim| flip(sim, line + WORD));
    let kinds: Vec<_> = found.iter().map(|found| (found.kind, found.shard)).collect();
    assert_eq!(kinds, [(Kind::Watermark, Some(1)), (Kind::Recovery, Some(1))], "{found:?}");
    let slot = layout.ring_slot(0, heap.fenced_batch(0) - 1);
    let found = after(&sample, |sim| flip(sim, slot + 5 * WORD));
    assert!(
        found.iter().all(|found| (found.kind, found.shard) == (Kind::Ring, Some(0))) && !found.is_empty()
    );
    let table = layout.completion_table(0);
    let line = (0..4).map(|i| table + i * LINE).find(|&at| heap.mem().load(at) == 1).unwrap();
    let result = heap.mem().load(line + 4 * WORD);
    expect(&sample, result, Kind::Completions, result, Some(0));
    let ring = layout.command_ring(0);
    expect(&sample, ring + WORD, Kind::Commands, ring, Some(0));
    let mut block = 0;
    crate::types::visit_root(&heap.reader(0), sample.text, &mut |owned| block = owned.offset).unwrap();
    expect(&sample, block, Kind::Value, block, Some(0));
    let node = heap.index().visit(&mut |node| {
        if node.name == b"text" {
            block = node.node
        }
    });
    node.unwrap();
    let found = after(&sample, |sim| sim.store(block + WORD, !sim.load(block + WORD)));
    assert!(found.iter().any(|found| found.kind == Kind::Index), "{found:?}");
    let chunk = layout.chunk_of(result).unwrap();
    let found = after(&sample, |sim| flip(sim, layout.descriptor(chunk)));
    assert!(
        found.iter().any(|found| (found.kind, found.offset) == (Kind::Chunk, layout.descriptor(chunk))),
        "{found:?}"
    );
    let found = after(&sample, |sim| sim.store(layout.bitmap(chunk), 0));
    assert!(found.iter().any(|found| (found.kind, found.offset) == (Kind::Block, result)), "{found:?}");
    let head = layout.shard_header(0) + crate::heap::SHARD_GARBAGE;
    let found = after(&sample, |sim| sim.store(head, 3));
    assert!(found.iter().any(|found| found.kind == Kind::Garbage), "{found:?}");
    let report = check_memory(image(heap), &[UnnamedRoot { shard: 9, offset: 8 }]);
    assert!(matches!(report.findings[..], [Finding { kind: Kind::Value, offset: 8, shard: Some(9), .. }]));
}

/// A value of an object of a directory, its bundle, and a root that is none.
#[test]
fn damage_below_a_directory_is_named_with_its_place() {
    let sample = sample();
    let root = sample.heap.index().create(9, b"objects", 0).unwrap().root;
    let directory = Directory::at(root);
    let bundle = sample.heap.atomically(0, |tx| directory.create(tx, b"object", 2)).unwrap().unwrap();
    sample.heap.atomically(0, |tx| Bytes::at(bundle.root(1)).set(tx, &[7; 100])).unwrap();
    sample.heap.mark_clean().unwrap();
    let report = check_memory(image(&sample.heap), &[sample.unnamed]);
    assert_eq!((report.findings, report.unattributed), (vec![], 0));
    let mut bytes = 0;
    crate::types::visit_root(&sample.heap.reader(0), bundle.root(1), &mut |owned| bytes = owned.offset)
        .unwrap();
    expect(&sample, bytes, Kind::Value, bytes, Some(0));
    expect(&sample, bundle.at() + 2 * WORD, Kind::Value, bundle.at(), Some(0));
    let found = after(&sample, |sim| sim.store(bundle.root(0), 99));
    assert_eq!((found.len(), found[0].kind, found[0].offset), (1, Kind::Value, bundle.root(0)), "{found:?}");
}

#[test]
fn a_heap_for_reading_refuses_every_change() {
    let heap = Heap::open_read_only(image(&sample().heap), [0; 16]).unwrap();
    let refused = Err(HeapError::ReadOnly);
    assert_eq!(heap.atomically(0, |_| -> Result<(), HeapError> { panic!("the block runs") }), refused);
    assert_eq!(heap.atomically_grouped(0, |tx| tx.write(0, 0)), refused);
    assert_eq!((heap.extend(), heap.mark_clean()), (refused.clone(), refused));
    assert_eq!(heap.index().create(9, b"new", 0), Err(HeapError::ReadOnly.into()));
    assert_eq!(heap.index().remove(9, b"text", |_, _| Ok(())), Err(HeapError::ReadOnly.into()));
    assert_eq!(heap.index().take_out(9, b"text"), Err(HeapError::ReadOnly.into()));
    assert!(heap.index().create(9, b"text", 0).is_ok_and(|entry| !entry.created));
}

#[test]
fn any_bytes_are_checked_without_panic() {
    let sample = sample();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut noticed = 0;
    for _ in 0..200 {
        let sim = image(&sample.heap);
        let words = sim.len() / WORD;
        for _ in 0..rng.u32(1..100) {
            // Some of it where the tables are.
            let word = if rng.bool() { rng.u64(512..words / 4) } else { rng.u64(..words) };
            sim.store(word * WORD, if rng.bool() { rng.u64(..) } else { rng.u64(0..100) });
        }
        sim.flush(Site::FormatFlush, 0, sim.len());
        sim.set_loads_max(5_000_000);
        let report = check_memory(sim, &[sample.unnamed]);
        // What was hit may mean nothing.
        noticed += u32::from(!report.is_clean());
    }
    assert!(noticed > 150, "{noticed} of 200");
}
