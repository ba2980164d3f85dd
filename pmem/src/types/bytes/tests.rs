//! Byte arrays against a vector, over crashes; under readers; with damaged bytes; and what they cost.

use super::*;
use crate::{
    layout::Geometry,
    sim::Sim,
    types::{
        ROOT_BYTES, garbage,
        kit::{Kit, seeds, with_seed},
        visit_root,
    },
};

fn random(rng: &mut fastrand::Rng, max: usize) -> Vec<u8> {
    let len = match rng.u32(0..4) {
        0 => rng.usize(0..=40.min(max)),
        1 => rng.usize(0..=300.min(max)),
        _ => rng.usize(0..=max),
    };
    (0..len).map(|_| rng.u8(..)).collect()
}

/// Makes one change of an array and of its model, and compares what both say.
fn change(
    array: Bytes,
    tx: &mut Tx<'_, Sim>,
    model: &mut Vec<u8>,
    rng: &mut fastrand::Rng,
) -> Result<(), TypeError> {
    const MAX: usize = 4000;
    match rng.u32(0..20) {
        0 => {
            Bytes::discard(tx, array.root)?;
            model.clear();
        }
        1 => drop(garbage::collect(tx, rng.u32(1..6))?),
        2..4 => {
            *model = random(rng, MAX);
            array.set(tx, model)?;
        }
        4 => {
            let new = random(rng, MAX);
            assert_eq!(array.swap(tx, &new)?, *model);
            *model = new;
        }
        5 => {
            let new = random(rng, 60);
            let mut current = model.clone();
            if rng.bool() && !current.is_empty() {
                current[0] ^= 1;
                assert_eq!(array.compare_exchange(tx, &current, &new)?, Err(model.clone()));
            } else {
                assert_eq!(array.compare_exchange(tx, &current, &new)?, Ok(()));
                *model = new;
            }
        }
        6..8 => {
            let len = if rng.bool() {
                rng.usize(0..MAX)
            } else {
                (model.len() + 100).saturating_sub(rng.usize(0..200)).min(MAX)
            };
            model.resize(len, 0);
            array.resize(tx, len as u64)?;
        }
        8..12 => {
            let bytes = random(rng, (MAX - model.len()).min(400));
            model.extend_from_slice(&bytes);
            assert_eq!(array.append(tx, &bytes)?, model.len() as u64);
        }
        _ => {
            let at = rng.usize(0..=model.len());
            let longest = if rng.bool() { 150 } else { MAX };
            let bytes = random(rng, longest.min(model.len() - at));
            model[at..at + bytes.len()].copy_from_slice(&bytes);
            array.set_range(tx, at as u64, &bytes)?;
        }
    }
    Ok(())
}

fn assert_is(array: Bytes, view: &impl View, model: &[u8], rng: &mut fastrand::Rng) {
    assert_eq!(array.len(view).unwrap(), model.len() as u64);
    assert_eq!(array.is_empty(view).unwrap(), model.is_empty());
    assert_eq!(array.get(view).unwrap(), model);
    for _ in 0..4 {
        let at = rng.usize(0..=model.len());
        let len = rng.usize(0..=model.len() - at);
        assert_eq!(array.get_range(view, at as u64, len as u64).unwrap(), &model[at..at + len]);
    }
    let len = model.len() as u64;
    let beyond = array.get_range(view, 1, len);
    assert_eq!(beyond, Err(TypeError::OutOfBounds { position: len + 1, len }));
    let beyond = array.get_range(view, u64::MAX, 2);
    assert_eq!(beyond, Err(TypeError::OutOfBounds { position: u64::MAX, len }));
}

#[test]
fn an_array_is_as_the_model_says_after_any_chain_of_cuts() {
    for seed in seeds(16) {
        with_seed(seed, |rng| {
            let mut kit = Kit::tiny(1);
            let array = Bytes::at(kit.roots[0]);
            let mut model = Vec::new();
            for _ in 0..120 {
                let mut states = vec![model.clone()];
                let commits = rng.u32(0..4) > 0;
                let mut writer = kit.heap.writer(0);
                for _ in 0..rng.u32(1..4) {
                    let batch = writer.batch();
                    writer.run::<_, TypeError>(|tx| change(array, tx, &mut model, rng)).unwrap();
                    if writer.batch() != batch {
                        states = vec![states.pop().unwrap()];
                    }
                    states.push(model.clone());
                }
                if commits {
                    writer.commit().unwrap();
                    states = vec![model.clone()];
                }
                drop(writer);
                if !commits || rng.u32(0..8) == 0 {
                    kit.cut(rng);
                    model = array.get(&kit.reader()).unwrap();
                    assert!(states.contains(&model), "not a state that was");
                }
                assert_is(array, &kit.reader(), &model, rng);
                kit.check();
            }
            kit.run(|tx| Bytes::discard(tx, array.root));
            kit.collect(4);
            kit.check();
            assert_eq!(kit.audit().unwrap().blocks, 1);
        });
    }
}

#[test]
fn sixteen_mebibytes_fit_and_are_changed_in_place_of_one_extent() {
    let kit = Kit::real(80 << 20, 1);
    let array = Bytes::at(kit.roots[0]);
    let mut model: Vec<u8> = (0..BYTES_MAX).map(|i| (i % 251) as u8).collect();
    kit.run(|tx| array.set(tx, &model));
    assert!(array.get(&kit.reader()).unwrap() == model);
    let cost = kit.cost(|tx| array.set_range(tx, 5_000_000, b"abc"));
    model[5_000_000..5_000_003].copy_from_slice(b"abc");
    assert!(cost.stores < 512 + 60 && cost.fences == 1, "{cost:?}");
    // More than a record holds, so a new body.
    kit.run(|tx| array.set_range(tx, 100, &vec![7; 8 << 20]));
    model[100..100 + (8 << 20)].fill(7);
    assert!(array.get(&kit.reader()).unwrap() == model);
    let too_large = Err(TypeError::TooLarge { bytes: BYTES_MAX + 1, max: BYTES_MAX });
    assert_eq!(kit.heap.atomically(0, |tx| array.append(tx, b"x").map(drop)), too_large);
    assert_eq!(kit.heap.atomically(0, |tx| array.resize(tx, BYTES_MAX + 1)), too_large);
    model.push(0);
    assert_eq!(kit.heap.atomically(0, |tx| array.set(tx, &model)), too_large);
    let out = kit.heap.atomically(0, |tx| array.set_range(tx, BYTES_MAX - 1, b"xy"));
    assert_eq!(out, Err(TypeError::OutOfBounds { position: BYTES_MAX + 1, len: BYTES_MAX }));
    kit.check();
    kit.collect(64);
    kit.check();
}

#[test]
fn zeros_that_are_added_take_no_space() {
    let kit = Kit::real(8 << 20, 1);
    let array = Bytes::at(kit.roots[0]);
    kit.run(|tx| array.set(tx, b"start"));
    kit.run(|tx| array.resize(tx, BYTES_MAX));
    kit.run(|tx| array.set_range(tx, BYTES_MAX - 3, b"end"));
    assert!(kit.audit().unwrap().bytes < 256 << 10);
    let reader = kit.reader();
    assert_eq!(array.get_range(&reader, 0, 8).unwrap(), b"start\0\0\0");
    assert_eq!(array.get_range(&reader, 7 << 20, 4).unwrap(), [0; 4]);
    assert_eq!(array.get_range(&reader, BYTES_MAX - 4, 4).unwrap(), b"\0end");
    kit.check();
}

#[test]
fn appending_to_a_long_array_does_not_copy_it_each_time() {
    let kit = Kit::real(64 << 20, 1);
    let array = Bytes::at(kit.roots[0]);
    let before = kit.heap.mem().counters().stores;
    for i in 0..1000_u64 {
        kit.run(|tx| array.append(tx, &[i as u8; 1000]));
    }
    // The last extent each time, and all of it whenever the table is full.
    let stored = (kit.heap.mem().counters().stores - before) * 8;
    assert!(stored < 8_000_000, "{stored}");
    let found = array.get(&kit.reader()).unwrap();
    assert!((0..1_000_000).all(|i| found[i] == (i / 1000) as u8));
}

#[test]
fn an_operation_costs_one_fence_and_flushes_nothing_twice() {
    let kit = Kit::real(8 << 20, 1);
    let array = Bytes::at(kit.roots[0]);
    let check = |what: &str, words: u64, orders: u64, cost: crate::sim::Counters| {
        let fences = (cost.fences, cost.fences_empty, cost.flushes_clean);
        assert_eq!(fences, (1 + orders, 0, 0), "{what}: {cost:?}");
        assert!(cost.stores <= words, "{what}: {cost:?}");
    };
    for _ in 0..3 {
        for len in [10, 40, 100, 5000, 100_000] {
            kit.run(|tx| array.set(tx, &vec![1; len]));
        }
    }
    kit.collect(100);
    kit.run(|tx| array.set(tx, &[1; 10]));
    check("10 bytes", 10 + 5, 0, kit.cost(|tx| array.set(tx, &[2; 10])));
    check("a byte of 10", 10 + 5, 0, kit.cost(|tx| array.set_range(tx, 5, &[3])));
    kit.run(|tx| array.set(tx, &[1; 200]));
    check("200 bytes", 25 + 15 + 8, 0, kit.cost(|tx| array.set(tx, &[2; 200])));
    kit.run(|tx| array.set(tx, &[1; 100_000]));
    kit.run(|tx| array.set_range(tx, 0, &[3; 4]));
    check("4 bytes of 100000", 512 + 18 + 9, 0, kit.cost(|tx| array.set_range(tx, 8192, &[3; 4])));
    check("100000 bytes", 12_500 + 60 + 40, 1, kit.cost(|tx| array.set(tx, &[1; 100_000])));
    let nothing = kit.cost(|tx| array.set_range(tx, 5, &[]));
    assert_eq!((nothing.fences, nothing.stores), (0, 0));
}

#[test]
fn readers_see_values_of_one_moment_while_a_writer_changes_parts() {
    let kit = Kit::new(Geometry { ring_slot_bytes: 4096, ..Geometry::tiny() }, 512 << 10, 1);
    let array = Bytes::at(kit.roots[0]);
    // All bytes are the same at every moment, but for a length that differs.
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (kit, is_done) = (&kit, &is_done);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(reader);
                while !is_done.load(order) {
                    let view = kit.reader();
                    let len = array.len(&view).unwrap();
                    let found = if rng.bool() || len < 20 {
                        array.get(&view).unwrap()
                    } else {
                        let at = rng.u64(0..len);
                        array.get_range(&view, at, rng.u64(0..=len - at)).unwrap_or_default()
                    };
                    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
                }
            });
        }
        let mut rng = fastrand::Rng::with_seed(7);
        let mut len = 0;
        for i in 0..1200_u64 {
            let byte = i as u8;
            let result = kit.heap.atomically(0, |tx| {
                if rng.u32(0..8) == 0 {
                    len = rng.usize(0..900);
                    return array.set(tx, &vec![byte; len]);
                }
                // The parts one by one, in one block.
                let mut at = 0;
                while at < len {
                    let part = rng.usize(1..=400).min(len - at);
                    array.set_range(tx, at as u64, &vec![byte; part])?;
                    at += part;
                }
                garbage::collect(tx, 4)?;
                Ok(())
            });
            match result {
                Ok(()) => {}
                Err(TypeError::Heap(HeapError::NoSpace)) => len = array.len(&kit.reader()).unwrap() as usize,
                Err(error) => panic!("{error}"),
            }
        }
        is_done.store(true, order);
    });
    kit.check();
}

#[test]
fn flipped_bits_give_right_answers_or_errors() {
    for seed in seeds(4) {
        with_seed(seed, |rng| {
            let kit = Kit::tiny(1);
            let array = Bytes::at(kit.roots[0]);
            let len = [30, 150, 1500, 3000][seed as usize % 4];
            let mut model: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            kit.run(|tx| array.set(tx, &model));
            for _ in 0..6 {
                let at = rng.usize(0..len);
                model[at] = rng.u8(..);
                kit.run(|tx| array.set_range(tx, at as u64, &model[at..=at]));
            }
            kit.heap.mark_clean().unwrap();
            let mut places = vec![(array.root, ROOT_BYTES)];
            visit_root(&kit.reader(), array.root, &mut |block| places.push((block.offset, block.bytes)))
                .unwrap();
            let words = kit.heap.mem().durable_words();
            let mut errors = 0;
            for _ in 0..400 {
                let mut words = words.clone();
                let (offset, bytes) = places[rng.usize(0..places.len())];
                for _ in 0..if rng.bool() { 1 } else { rng.u32(1..6) } {
                    let word = offset / 8 + rng.u64(0..bytes.div_ceil(8));
                    words[word as usize] ^= 1 << rng.u32(0..64);
                }
                let heap = crate::Heap::open(Sim::with_words(&Default::default(), words), [0; 16]).unwrap();
                heap.mem().set_loads_max(10_000_000);
                let reader = heap.reader(0);
                let at = rng.usize(0..len);
                match array.get(&reader) {
                    Ok(found) => assert_eq!(found, model),
                    Err(_) => errors += 1,
                }
                match array.get_range(&reader, at as u64, (len - at) as u64) {
                    Ok(found) => assert_eq!(found, model[at..]),
                    Err(_) => errors += 1,
                }
                assert!(array.len(&reader).is_ok_and(|found| found == len as u64) || errors > 0);
                let _ = visit_root(&reader, array.root, &mut |_| {});
                drop(reader);
                let _ = heap.atomically(0, |tx| array.set_range(tx, at as u64, &[9]));
                let _ = heap.atomically(0, |tx| array.resize(tx, len as u64 + 300));
                let _ = heap.atomically(0, |tx| Bytes::discard(tx, array.root));
                for _ in 0..20 {
                    let _ = heap.atomically(0, |tx| garbage::collect(tx, 4));
                }
                let _ = garbage::visit(&heap.reader(0), &mut |_| {});
            }
            assert!(errors > 0);
        });
    }
}
