//! The name index over simulated memory, one thread at a time. Schedules of several threads are explored by the recovery tests.

mod bytes;
mod crashes;
mod model;
mod threads;

use super::*;
use crate::{
    heap::testing,
    layout::{Geometry, Identity},
    sim::Sim,
};

/// A type number.
const TYPE: u16 = 3;

/// A heap of this geometry and size.
fn heap_of(geometry: Geometry, bytes: u64) -> Heap<Sim> {
    heap_over(Sim::new(bytes), geometry)
}

fn heap_over(sim: Sim, geometry: Geometry) -> Heap<Sim> {
    Heap::format(&sim, Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 }, geometry).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    Heap::open(sim, [0; 16]).unwrap()
}

fn create(heap: &Heap<Sim>, name: &str) -> Result<Entry, IndexError> {
    heap.index().create(TYPE, name.as_bytes(), 0)
}

fn remove(heap: &Heap<Sim>, name: &str) -> Result<bool, IndexError> {
    heap.index().remove(TYPE, name.as_bytes(), |_, _| Ok(()))
}

fn has(heap: &Heap<Sim>, name: &str) -> bool {
    heap.index().get(TYPE, name.as_bytes()).unwrap().is_some()
}

/// All names, in no order.
fn list(heap: &Heap<Sim>, page: usize) -> Vec<(u16, String)> {
    let (mut names, mut cursor) = (Vec::new(), Cursor::default());
    loop {
        let page = heap.index().scan(&cursor, b"", page).unwrap();
        let text = |(name, entry): (Vec<u8>, Entry)| (entry.type_number, String::from_utf8(name).unwrap());
        names.extend(page.names.into_iter().map(text));
        match page.next {
            Some(next) => cursor = Cursor::decode(&next.encode()).unwrap(),
            None => return names,
        }
    }
}

#[test]
fn operations_cost_the_fences_that_they_say() {
    let heap = testing::heap();
    let fences = |act: &dyn Fn()| {
        let before = heap.mem().counters();
        act();
        let after = heap.mem().counters();
        assert_eq!(after.fences_empty, before.fences_empty);
        after.fences - before.fences
    };
    // The first name also takes a chunk.
    assert_eq!(fences(&|| assert!(create(&heap, "a").unwrap().created)), 4);
    assert_eq!(fences(&|| assert!(create(&heap, "b").unwrap().created)), 2);
    assert_eq!(fences(&|| assert!(has(&heap, "a") && !has(&heap, "c"))), 0);
    assert_eq!(fences(&|| assert!(!create(&heap, "a").unwrap().created)), 0);
    assert_eq!(fences(&|| assert!(remove(&heap, "a").unwrap())), 3);
    assert_eq!(fences(&|| assert!(!remove(&heap, "a").unwrap())), 0);
    assert_eq!(fences(&|| assert_eq!(list(&heap, 10).len(), 1)), 0);
}

#[test]
fn names_have_types_and_a_length() {
    let heap = testing::heap();
    let index = heap.index();
    let first = index.create(1, b"name", 0).unwrap();
    let second = index.create(2, b"name", 0).unwrap();
    assert!(first.created && second.created && first.root != second.root);
    assert_eq!(index.get(1, b"name").unwrap(), Some(Entry { created: false, ..first }));
    assert_eq!(index.get(3, b"name").unwrap(), None);
    assert_eq!(index.get(1, b""), Err(IndexError::NameLength { bytes: 0 }));
    assert_eq!(index.create(1, &[7; 513], 0), Err(IndexError::NameLength { bytes: 513 }));
    assert!(index.remove(1, b"name", |_, _| Ok(())).unwrap());
    assert_eq!(index.get(2, b"name").unwrap().map(|entry| entry.root), Some(second.root));
    assert_eq!(index.len(), 1);
}

#[test]
fn a_deletion_that_fails_changes_nothing() {
    let heap = testing::heap();
    let entry = create(&heap, "a").unwrap();
    heap.atomically::<_, HeapError>(0, |tx| tx.write(entry.root, 1)).unwrap();
    let failed = heap.index().remove(TYPE, b"a", |tx, root| {
        tx.write(root, 0)?;
        Err(HeapError::NoSpace.into())
    });
    assert_eq!(failed, Err(IndexError::Heap(HeapError::NoSpace)));
    assert_eq!(heap.index().get(TYPE, b"a").unwrap(), Some(Entry { created: false, ..entry }));
    assert_eq!(heap.reader(0).word(entry.root), 1);
}

#[test]
fn a_buried_name_is_free_before_its_node_is_out() {
    let heap = testing::heap();
    let entry = create(&heap, "a").unwrap();
    heap.atomically(0, |tx| Index::bury(tx, entry.root)).unwrap();
    assert!(!has(&heap, "a"));
    assert!(!remove(&heap, "a").unwrap());
    let again = create(&heap, "a").unwrap();
    assert!(again.created && again.root != entry.root);
    assert!(!heap.index().take_out(TYPE, b"a").unwrap(), "it is the new one");
    assert_eq!(heap.index().check().unwrap().nodes, 1);
}

#[test]
fn a_listing_takes_out_what_was_only_buried() {
    let heap = testing::heap();
    let roots = ["a", "b", "c"].map(|name| create(&heap, name).unwrap().root);
    heap.atomically(0, |tx| Index::bury(tx, roots[1])).unwrap();
    let heap = testing::reopen(&heap);
    assert_eq!(heap.index().check().unwrap().buried, 1);
    assert_eq!(list(&heap, 1).len(), 2);
    let survey = heap.index().check().unwrap();
    assert_eq!((survey.nodes, survey.buried), (2, 0));
}

#[test]
fn nobody_waits_for_a_shard_whose_writer_is_the_caller() {
    let heap = testing::heap();
    let mut names = Vec::new();
    while create(&heap, &format!("n{}", names.len())).is_ok() {
        names.push(format!("n{}", names.len()));
    }
    assert!(names.len() > 50);
    remove(&heap, &names[0]).unwrap();
    let writer = heap.writer(0);
    // The block may still be written by the recovery of shard 0, which cannot have a batch now.
    assert_eq!(create(&heap, "more"), Err(IndexError::Heap(HeapError::NoSpace)));
    drop(writer);
    assert!(create(&heap, "more").unwrap().created);
}

/// A block that is used again too early gets the last words of its former life from the recovery of a shard.
#[test]
fn recovery_of_a_shard_does_not_write_into_the_next_object_in_a_block() {
    let geometry = Geometry { shards: 2, ..Geometry::tiny() };
    let heap = heap_of(geometry, 64 << 10);
    let fill = |shard| {
        let mut entries = Vec::new();
        while let Ok(entry) =
            heap.index().create(TYPE, format!("{shard} {}", entries.len()).as_bytes(), shard)
        {
            entries.push(entry);
        }
        entries
    };
    let full = fill(0).len();
    for i in 0..full {
        assert!(remove(&heap, &format!("0 {i}")).unwrap());
    }
    let entries = fill(1);
    assert!(entries.len() >= full - 1, "{} of {full}", entries.len());
    for entry in &entries {
        heap.atomically(1, |tx| tx.write(entry.root, 7)).unwrap();
    }
    // Nothing of shard 1 is to be replayed any more.
    for _ in 0..3 {
        heap.commit_up_to(1, heap.fenced_batch(1) + 1);
    }
    let heap = testing::reopen(&heap);
    for entry in &entries {
        assert_eq!(heap.reader(1).word(entry.root), 7);
    }
}
