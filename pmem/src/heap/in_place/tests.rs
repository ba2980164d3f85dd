//! An unshared heap does what any other does, at once.

use super::super::*;
use crate::{
    Geometry, Persistence, Region, RegionOptions, View,
    mem::WORD,
    sim::Sim,
    types::{Bytes, List, Map, ROOT_BYTES, Register, SortedMap, TypeError, visit_root},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const BYTES: u64 = 512 << 10;

fn geometry() -> Geometry {
    Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() }
}

fn formatted() -> Sim {
    let sim = Sim::new(BYTES);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&sim, identity, geometry()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    sim
}

fn unshared() -> Heap<Sim> {
    Heap::open_unshared(formatted()).unwrap()
}

fn normal() -> Heap<Sim> {
    Heap::open(formatted(), [0; 16]).unwrap()
}

fn allocate(heap: &Heap<Sim>, bytes: u64) -> Result<u64, HeapError> {
    heap.atomically(0, |tx| tx.allocate(bytes))
}

fn new_root(heap: &Heap<Sim>) -> u64 {
    heap.atomically::<_, HeapError>(0, |tx| {
        let root = tx.allocate(ROOT_BYTES)?;
        (0..8).try_for_each(|i| tx.write(root + i * WORD, 0))?;
        Ok(root)
    })
    .unwrap()
}

/// All words that count: not the free ones behind the tables.
fn words(heap: &Heap<Sim>) -> Vec<u64> {
    (0..BYTES / WORD).map(|word| heap.mem().load(word * WORD)).collect()
}

#[test]
fn changes_stand_in_place_at_once_without_a_flush_or_a_fence() {
    let heap = unshared();
    let block = allocate(&heap, 64).unwrap();
    let before = heap.mem().counters();
    let mut writer = heap.writer(0);
    for value in 1..100 {
        writer
            .run::<_, HeapError>(|tx| {
                tx.write(block, value)?;
                assert_eq!((tx.word(block), tx.glance(|mem| mem.load(block))), (value, Some(value)));
                let content = tx.allocate(100)?;
                tx.put(content, &[7; 100])?;
                assert!(tx.can_change(content));
                tx.put_mutable(content, &[8; 100])?;
                tx.put_zeros(content, 100)?;
                tx.free(content)
            })
            .unwrap();
        assert_eq!(heap.mem().load(block), value);
        let batch = writer.batch();
        writer.commit().unwrap();
        assert_eq!((writer.batch(), heap.fenced_batch(0)), (batch + 1, batch));
        writer.commit().unwrap();
        assert_eq!(writer.batch(), batch + 1, "a batch without a change takes no number");
    }
    let cost = heap.mem().counters().since(before);
    assert_eq!((cost.flushes, cost.fences), (0, 0));
}

#[test]
fn a_block_that_fails_or_panics_changes_no_word() {
    let heap = unshared();
    let block = allocate(&heap, 64).unwrap();
    let run = allocate(&heap, 3000).unwrap();
    heap.atomically(0, |tx| tx.write(block, 1)).unwrap();
    let before = words(&heap);
    let change = |tx: &mut Tx<'_, Sim>| -> Result<(), HeapError> {
        tx.write(block, 2)?;
        tx.write(block, 3)?;
        tx.free(block)?;
        tx.free(run)?;
        for bytes in [64, 64, 200, 5000] {
            let new = tx.allocate(bytes)?;
            assert!(new != block && new != run);
            tx.write(new, 5)?;
        }
        Ok(())
    };
    let free_words = |heap: &Heap<Sim>| -> Vec<u64> {
        heap.atomically::<_, HeapError>(0, |tx| (0..3).map(|_| tx.allocate(64)).collect()).unwrap()
    };
    let failed = heap.atomically::<(), HeapError>(0, |tx| {
        change(tx)?;
        Err(HeapError::NoSpace)
    });
    assert_eq!(failed, Err(HeapError::NoSpace));
    assert_eq!(words(&heap), before);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        heap.atomically::<(), HeapError>(0, |tx| {
            change(tx)?;
            panic!("the user's fault")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(words(&heap), before);
    let new = free_words(&heap);
    assert!(!new.contains(&block));
    heap.atomically(0, change).unwrap();
    let owned = new.iter().map(|&offset| (offset, 64));
    let found = audit(&heap.reader(0), owned);
    assert_eq!(found.blocks, 3 + 4, "{found:?}");
}

#[test]
fn what_is_freed_is_used_again_at_once() {
    let heap = unshared();
    for bytes in [64, 500, 3000, 20 << 10] {
        let first = allocate(&heap, bytes).unwrap();
        for _ in 0..1000 {
            heap.atomically(0, |tx| tx.free(first)).unwrap();
            assert_eq!(allocate(&heap, bytes), Ok(first), "{bytes} bytes");
        }
        heap.atomically(0, |tx| tx.free(first)).unwrap();
        heap.atomically(0, |tx| tx.free(first)).expect_err("freed twice");
    }
    let found = audit(&heap.reader(0), []);
    assert!(found.is_clean(), "{found:?}");
}

#[test]
fn a_full_heap_has_as_much_room_again_when_it_was_emptied() {
    let heap = unshared();
    let mut counts = Vec::new();
    for _ in 0..4 {
        let mut blocks = Vec::new();
        while let Ok(block) = allocate(&heap, 500) {
            blocks.push(block);
        }
        blocks.iter().for_each(|&block| heap.atomically(0, |tx| tx.free(block)).unwrap());
        counts.push(blocks.len());
    }
    assert!(counts[0] > 400 && counts.iter().all(|&count| count == counts[0]), "{counts:?}");
}

/// Blocks of so many words, each stored `times` times, with so many contents, on both kinds of heap.
#[test]
fn blocks_are_refused_for_their_size_as_on_any_other_heap() {
    let (unshared, normal) = (unshared(), normal());
    let max = geometry().ring_slot_bytes as usize / 16;
    let mut refused = 0;
    for words in (0..max + 20).step_by(3) {
        for contents in [0, 1, 20, 64, 70] {
            for stride in [1, 2] {
                for times in [1, 3] {
                    let [here, there] = [&unshared, &normal].map(|heap| {
                        let block = allocate(heap, 4096).unwrap();
                        let content = allocate(heap, 8192).unwrap();
                        let result = heap.atomically::<_, HeapError>(0, |tx| {
                            for _ in 0..times {
                                for i in 0..words as u64 {
                                    tx.write(block + i * stride * WORD, i)?;
                                }
                            }
                            (0..contents).try_for_each(|i| tx.put(content + i * 64, &[1]))
                        });
                        heap.atomically(0, |tx| tx.free(block).and_then(|()| tx.free(content))).unwrap();
                        result
                    });
                    assert_eq!(here, there, "{words} words, {contents} contents, {stride}, {times}");
                    refused += usize::from(here.is_err());
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Random blocks over all kinds of values, some of which fail or panic, on an unshared heap and on a normal one.
#[test]
fn values_hold_and_answer_the_same_as_on_any_other_heap() {
    for seed in crate::types::kit::seeds(4) {
        crate::types::kit::with_seed(seed, |rng| {
            let heaps = [unshared(), normal()];
            let roots = [0, 1].map(|heap| [0; 5].map(|_| new_root(&heaps[heap])));
            for _ in 0..1500 {
                let block_seed = rng.u64(..);
                let [here, there] = [0, 1].map(|i| {
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        heaps[i].atomically(0, |tx| {
                            random_block(tx, &roots[i], &mut fastrand::Rng::with_seed(block_seed))
                        })
                    }));
                    caught.map_err(|_| "panicked")
                });
                assert_eq!(here, there);
            }
            let mut owned: Vec<_> = roots[0].iter().map(|&root| (root, ROOT_BYTES)).collect();
            let reader = heaps[0].reader(0);
            for &root in &roots[0] {
                visit_root(&reader, root, &mut |block| owned.push((block.offset, block.bytes))).unwrap();
            }
            crate::types::garbage::visit(&reader, &mut |block| owned.push((block.offset, block.bytes)))
                .unwrap();
            let found = audit(&reader, owned);
            assert!(found.is_clean(), "{:#?}", found.problems);
        });
    }
}

/// One to four changes, and what they gave.
fn random_block(
    tx: &mut Tx<'_, Sim>,
    roots: &[u64; 5],
    rng: &mut fastrand::Rng,
) -> Result<Vec<String>, TypeError> {
    let mut said = Vec::new();
    for _ in 0..rng.u8(1..5) {
        let key = vec![rng.u8(..20); rng.usize(1..12)];
        let value = vec![rng.u8(..); rng.usize(..200)];
        said.push(match rng.u8(..12) {
            0 => format!("{:?}", Register::<u64>::at(roots[0]).fetch_add(tx, rng.u64(..))?),
            1 => format!("{:?}", Map::at(roots[1]).insert(tx, &key, &value)?),
            2 => format!("{:?}", Map::at(roots[1]).remove(tx, &key)?),
            3 => format!("{:?}", Map::at(roots[1]).get(tx, &key)?),
            4 => format!("{:?}", List::at(roots[2]).push_back(tx, &value)?),
            5 => format!("{:?}", List::at(roots[2]).pop_front(tx)?),
            6 => format!("{:?}", SortedMap::at(roots[3]).insert(tx, &key, &value)?),
            7 => format!("{:?}", SortedMap::at(roots[3]).remove(tx, &key)?),
            8 => format!("{:?}", Bytes::at(roots[4]).append(tx, &value)?),
            9 => format!("{:?}", Bytes::at(roots[4]).set(tx, &value)?),
            10 if rng.bool() => return Err(HeapError::NoSpace.into()),
            10 => std::panic::panic_any("the user's fault"),
            _ => format!("{:?}", List::at(roots[2]).len(tx)?),
        });
    }
    Ok(said)
}

fn options() -> RegionOptions {
    RegionOptions { reserve: 128 << 30, ..RegionOptions::new(Persistence::Volatile) }
}

#[test]
fn a_region_takes_memory_only_when_it_is_stored_to_and_grows() {
    // More than most machines have.
    let region = Region::unshared(64 << 30, &options()).unwrap();
    assert!(region.heap().is_unshared() && region.path().is_none());
    let heap = region.heap();
    let block = heap.atomically::<_, HeapError>(3, |tx| tx.allocate(8 << 20)).unwrap();
    heap.atomically(3, |tx| tx.write(block, 5)).unwrap();
    region.grow(96 << 30).unwrap();
    assert_eq!(region.bytes(), 96 << 30);
    assert_eq!(heap.reader(3).word(block), 5);
    region.close().unwrap();

    let small = RegionOptions { geometry: Geometry::tiny(), ..options() };
    let region = Region::unshared(64 << 10, &small).unwrap();
    let fill = || {
        let fit = |_| region.heap().atomically::<_, HeapError>(0, |tx| tx.allocate(500)).ok();
        (0..).map_while(fit).count()
    };
    assert!(fill() > 10);
    assert_eq!(fill(), 0);
    region.grow(256 << 10).unwrap();
    assert!(fill() > 100);
}

#[test]
fn a_reader_waits_for_the_writer_and_the_other_way_round() {
    let region =
        Region::unshared(64 << 10, &RegionOptions { geometry: Geometry::tiny(), ..options() }).unwrap();
    let heap = region.heap();
    let block = heap.atomically::<_, HeapError>(0, |tx| tx.allocate(64)).unwrap();
    heap.atomically(0, |tx| tx.write(block, 0).and_then(|()| tx.write(block + WORD, 0))).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1..20_000 {
                heap.atomically(0, |tx| tx.write(block, value).and_then(|()| tx.write(block + WORD, value)))
                    .unwrap();
            }
        });
        for _ in 0..20_000 {
            let reader = heap.reader(0);
            assert_eq!(reader.word(block), reader.word(block + WORD), "half a block was seen");
        }
    });
}

/// `cargo test --release -p abide-pmem --lib cost_of_a_register -- --ignored --nocapture`
#[test]
#[ignore = "prints what a change costs"]
fn cost_of_a_register() {
    let region = Region::unshared(16 << 20, &options()).unwrap();
    let volatile = Region::volatile(16 << 20, &options()).unwrap();
    for (name, heap) in [("unshared", region.heap()), ("volatile", volatile.heap())] {
        let root = heap
            .atomically::<_, HeapError>(0, |tx| {
                let root = tx.allocate(ROOT_BYTES)?;
                tx.put_zeros(root, ROOT_BYTES)?;
                tx.write(root, 0)?;
                Ok(root)
            })
            .unwrap();
        let register = Register::<u64>::at(root);
        const TURNS: u32 = 5_000_000;
        let print = |what, start: std::time::Instant| {
            println!("{name}: {what}: {:.1} ns", start.elapsed().as_nanos() as f64 / f64::from(TURNS));
        };
        let start = std::time::Instant::now();
        for _ in 0..TURNS {
            heap.atomically(0, |tx| register.fetch_add(tx, 1)).unwrap();
        }
        print("an update with its writer", start);
        let mut writer = heap.writer(0);
        let start = std::time::Instant::now();
        for _ in 0..TURNS {
            writer.run(|tx| register.fetch_add(tx, 1)).unwrap();
            writer.commit().unwrap();
        }
        print("an update and a commit of one writer", start);
        let start = std::time::Instant::now();
        for i in 0..TURNS {
            writer.run(|tx| register.set(tx, i.into())).unwrap();
            writer.commit().unwrap();
        }
        print("a store and a commit of one writer", start);
        let start = std::time::Instant::now();
        for _ in 0..TURNS {
            std::hint::black_box(writer.run(|tx| register.get(tx)).unwrap());
        }
        print("a read of the writer", start);
        drop(writer);
        let start = std::time::Instant::now();
        for _ in 0..TURNS {
            std::hint::black_box(register.get(&heap.reader(0)).unwrap());
        }
        print("a read with its reader", start);
    }
}
