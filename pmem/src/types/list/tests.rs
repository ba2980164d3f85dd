//! Lists against a deque in ordinary memory, with cuts, damaged bytes and readers at the same time.

use super::{super::testing::*, *};
use crate::{layout::Geometry, sim::Sim};
use std::collections::VecDeque;

type Model = VecDeque<Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PopFront,
    PopBack,
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(u64),
    Clear,
    Collect,
}

impl Op {
    fn random(rng: &mut fastrand::Rng, len: u64, element_max: usize) -> Self {
        let element = random_bytes(rng, element_max);
        match rng.u32(..100) {
            0..25 => Op::PushBack(element),
            25..45 => Op::PushFront(element),
            45..55 => Op::PopFront,
            55..65 => Op::PopBack,
            65..72 => Op::Set(rng.u64(..=len), element),
            72..84 => Op::Insert(rng.u64(..=len + 1), element),
            84..92 => Op::Remove(rng.u64(..=len)),
            92 => Op::Clear,
            _ => Op::Collect,
        }
    }

    /// Makes the change. Gives the element that was taken away, if one was.
    fn run(&self, list: List, tx: &mut Tx<'_, Sim>) -> Result<Option<Vec<u8>>, TypeError> {
        match self {
            Op::PushBack(element) => list.push_back(tx, element).map(|()| None),
            Op::PushFront(element) => list.push_front(tx, element).map(|()| None),
            Op::PopFront => list.pop_front(tx),
            Op::PopBack => list.pop_back(tx),
            Op::Set(index, element) => list.set(tx, *index, element).map(|()| None),
            Op::Insert(index, element) => list.insert(tx, *index, element).map(|()| None),
            Op::Remove(index) => list.remove(tx, *index).map(Some),
            Op::Clear => list.clear(tx).map(|()| None),
            Op::Collect => super::super::garbage::collect(tx, 2).map(|_| None),
        }
    }

    /// Makes the same change in a model. `None` if it is out of bounds.
    fn run_model(&self, model: &mut Model) -> Option<Option<Vec<u8>>> {
        let len = model.len() as u64;
        match self {
            Op::PushBack(element) => model.push_back(element.clone()),
            Op::PushFront(element) => model.push_front(element.clone()),
            Op::PopFront => return Some(model.pop_front()),
            Op::PopBack => return Some(model.pop_back()),
            Op::Set(index, element) if *index < len => model[*index as usize] = element.clone(),
            Op::Insert(index, element) if *index <= len => model.insert(*index as usize, element.clone()),
            Op::Remove(index) if *index < len => return Some(model.remove(*index as usize)),
            Op::Clear => model.clear(),
            Op::Collect => {}
            _ => return None,
        }
        Some(None)
    }
}

fn contents<V: View>(list: List, view: &V) -> Result<Model, TypeError> {
    Ok(list.page(view, 0, u64::MAX)?.into())
}

/// Runs random operations against the model, with cuts at random moments if `cuts`, and looks for leaks after each.
fn check_against_model(
    seed: u64,
    geometry: Geometry,
    bytes: u64,
    steps: usize,
    element_max: usize,
    cuts: bool,
) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut heap = heap(geometry, bytes);
    let list = List::at(new_root(&heap));
    let mut model = Model::new();
    for step in 0..steps {
        let op = Op::random(&mut rng, model.len() as u64, element_max);
        let mut after = model.clone();
        let expected = op.run_model(&mut after);
        let (result, recovered) = if cuts && rng.u8(..3) == 0 {
            with_cut(&heap, &mut rng, || run(&heap, |tx| op.run(list, tx)))
        } else {
            (run(&heap, |tx| op.run(list, tx)), None)
        };
        let is_made = match (&result, &expected) {
            (Ok(found), Some(expected)) => {
                assert_eq!(found, expected, "seed {seed}, step {step}, {op:?}");
                true
            }
            (Err(TypeError::OutOfBounds { len, .. }), None) => {
                assert_eq!(*len, model.len() as u64, "seed {seed}, step {step}");
                false
            }
            (result, Some(_)) if is_full(result) && !matches!(op, Op::PopFront | Op::PopBack | Op::Clear) => {
                false
            }
            _ => panic!("seed {seed}, step {step}, {op:?}: {result:?}"),
        };
        if let Some(recovered) = recovered {
            heap = recovered;
            let found = must(seed, contents(list, &heap.reader(0)));
            assert!(found == model || (is_made && found == after), "seed {seed}, step {step}, {op:?}");
            model = found;
        } else if is_made {
            model = after;
        }
        if rng.u8(..16) == 0 {
            heap = reopen(&heap);
        }
        let reader = heap.reader(0);
        assert_eq!(must(seed, contents(list, &reader)), model, "seed {seed}, step {step}, {op:?}");
        let index = rng.u64(..=model.len() as u64);
        assert_eq!(must(seed, list.get(&reader, index)), model.get(index as usize).cloned(), "seed {seed}");
        assert_eq!(must(seed, list.front(&reader)).as_ref(), model.front(), "seed {seed}");
        assert_eq!(must(seed, list.back(&reader)).as_ref(), model.back(), "seed {seed}");
        drop(reader);
        must(seed, check_no_leak(&heap, &[list.root]));
    }
    run(&heap, |tx| List::discard(tx, list.root)).unwrap();
    collect_garbage(&heap);
    check_no_leak(&heap, &[list.root]).unwrap();
    assert_eq!(heap.reader(0).word(list.root), 0);
}

#[test]
fn a_list_is_a_deque_with_a_middle() {
    for seed in 0..12 {
        check_against_model(seed, Geometry::tiny(), 96 << 10, 300, 20, false);
    }
    for seed in 100..103 {
        check_against_model(seed, Geometry::default(), 16 << 20, 300, 5000, false);
    }
}

#[test]
fn a_list_is_whole_after_any_chain_of_cuts() {
    for seed in 0..24 {
        check_against_model(seed, Geometry::tiny(), 96 << 10, 150, 20, true);
    }
}

/// Slots that are moved at most before the list is made anew.
fn moved_max(heap: &crate::Heap<Sim>) -> u64 {
    run(heap, |tx| Ok(tx.words_max() as u64 / 4)).unwrap()
}

#[test]
fn far_from_both_ends_the_list_is_made_anew() {
    for (geometry, bytes) in [(Geometry::tiny(), 96 << 10), (Geometry::default(), 16 << 20)] {
        let heap = heap(geometry, bytes);
        let list = List::at(new_root(&heap));
        let moved_max = moved_max(&heap);
        let len = moved_max * 4 + 5;
        let mut model = Model::new();
        for i in 0..len {
            let element = i.to_le_bytes()[..(i % 8) as usize + 1].to_vec();
            run(&heap, |tx| list.push_front(tx, &element)).unwrap();
            model.push_front(element);
        }
        let directory = |heap: &crate::Heap<Sim>| Shape::load(&heap.reader(0), list.root).unwrap().directory;
        for _ in 0..2 {
            let before = directory(&heap);
            run(&heap, |tx| list.insert(tx, len / 2, b"a new element")).unwrap();
            model.insert(len as usize / 2, b"a new element".to_vec());
            assert_ne!(directory(&heap), before);
            assert!(super::super::garbage::is_pending(&heap.reader(0)));
            check_no_leak(&heap, &[list.root]).unwrap();
            assert_eq!(contents(list, &heap.reader(0)).unwrap(), model);
            let removed = run(&heap, |tx| list.remove(tx, len / 3 * 2)).unwrap();
            assert_eq!(Some(removed), model.remove(len as usize / 3 * 2));
            check_no_leak(&heap, &[list.root]).unwrap();
            collect_garbage(&heap);
            check_no_leak(&heap, &[list.root]).unwrap();
            assert_eq!(contents(list, &heap.reader(0)).unwrap(), model);
            let before = directory(&heap);
            run(&heap, |tx| list.insert(tx, moved_max - 1, b"near the front")).unwrap();
            model.insert(moved_max as usize - 1, b"near the front".to_vec());
            run(&heap, |tx| list.remove(tx, len - moved_max + 2)).unwrap();
            model.remove((len - moved_max) as usize + 2);
            assert_eq!(directory(&heap), before, "few slots are moved where they are");
            assert_eq!(contents(list, &heap.reader(0)).unwrap(), model);
        }
    }
}

#[test]
fn a_list_too_long_to_be_made_anew_refuses_and_stays() {
    let heap = heap(Geometry { zone_chunks: 512, ..Geometry::tiny() }, 700 << 10);
    let list = List::at(new_root(&heap));
    let mut len = 0_u64;
    let found = loop {
        run(&heap, |tx| (0..4).try_for_each(|i| list.push_back(tx, &[i]))).unwrap();
        len += 4;
        if let Err(error) = run(&heap, |tx| list.insert(tx, len / 2, b"new")) {
            break error;
        }
        run(&heap, |tx| list.remove(tx, len / 2)).unwrap();
        collect_garbage(&heap);
    };
    assert!(matches!(found, TypeError::Heap(HeapError::TooLarge { max: 64, .. })), "{found}");
    assert!(len > 200, "{len}");
    assert_eq!(list.len(&heap.reader(0)).unwrap(), len);
    check_no_leak(&heap, &[list.root]).unwrap();
}

#[test]
fn a_full_region_can_be_emptied() {
    for seed in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let heap = tiny_heap();
        let list = List::at(new_root(&heap));
        let mut model = Model::new();
        loop {
            let element = random_bytes(&mut rng, 30);
            let pushed = run(&heap, |tx| list.push_back(tx, &element));
            if is_full(&pushed) {
                break;
            }
            must(seed, pushed);
            model.push_back(element);
        }
        assert!(model.len() > 50, "{}", model.len());
        must(seed, check_no_leak(&heap, &[list.root]));
        while !model.is_empty() {
            match seed {
                0 => assert_eq!(run(&heap, |tx| list.pop_front(tx)).unwrap(), model.pop_front()),
                1 => assert_eq!(run(&heap, |tx| list.pop_back(tx)).unwrap(), model.pop_back()),
                2 => {
                    // Near an end, so that no new segments are needed.
                    let index = model.len().min(9) - 1;
                    let removed = run(&heap, |tx| list.remove(tx, index as u64)).unwrap();
                    assert_eq!(Some(removed), model.remove(index));
                }
                _ => {
                    run(&heap, |tx| list.clear(tx)).unwrap();
                    model.clear();
                }
            }
            must(seed, check_no_leak(&heap, &[list.root]));
        }
        collect_garbage(&heap);
        must(seed, check_no_leak(&heap, &[list.root]));
        // What was freed can be used again.
        (0..50).for_each(|_| must(seed, run(&heap, |tx| list.push_front(tx, b"a new element"))));
    }
}

#[test]
fn damaged_bytes_give_an_error_or_what_was_stored() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let heap = tiny_heap();
        let list = List::at(new_root(&heap));
        let mut model = Model::new();
        for _ in 0..30 {
            // Long enough for a checksum.
            let mut element = random_bytes(&mut rng, 20);
            element.resize(element.len().max(8), 0);
            must(seed, run(&heap, |tx| list.push_back(tx, &element)));
            model.push_back(element);
        }
        if seed % 3 == 0 {
            must(seed, run(&heap, |tx| list.clear(tx)));
            model.clear();
        }
        let root_is_damaged = damage(&heap, &[list.root], &mut rng);
        let reader = heap.reader(0);
        let _ = list.len(&reader);
        for index in 0..40 {
            // Links have no checksum: an element may stand for another one. But it is one.
            if let Ok(Some(found)) = list.get(&reader, index) {
                assert!(found.len() < 8 || root_is_damaged || model.contains(&found), "seed {seed}");
            }
        }
        let _ = list.page(&reader, 0, 100);
        let _ = List::visit(&reader, list.root, &mut |_| {});
        let _ = super::super::garbage::visit(&reader, &mut |_| {});
        drop(reader);
        for _ in 0..10 {
            let op = Op::random(&mut rng, 30, 20);
            let _ = run(&heap, |tx| op.run(list, tx));
        }
    }
}

#[test]
fn readers_see_whole_elements_in_order_while_a_writer_writes() {
    // Elements are numbers that only grow from front to back, each filled up with bytes of its own.
    let element = |number: u64| {
        let mut element = number.to_le_bytes().to_vec();
        element.resize(8 + (number % 50) as usize, number as u8);
        element
    };
    let number_of = |found: &[u8]| u64::from_le_bytes(found[..8].try_into().unwrap());
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 16 << 20);
    let list = List::at(new_root(&heap));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (heap, done) = (&heap, &done);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                let mut seen = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let reader = heap.reader(0);
                    let page = list.page(&reader, rng.u64(..100), 20).unwrap();
                    assert!(page.iter().all(|found| *found == element(number_of(found))));
                    assert!(
                        page.windows(2).all(|pair| number_of(&pair[0]) < number_of(&pair[1])),
                        "{page:?}"
                    );
                    // The queue moves on, never back.
                    if let Some(front) = list.front(&reader).unwrap() {
                        assert!(number_of(&front) >= seen);
                        seen = number_of(&front);
                    }
                    if let Some(back) = list.back(&reader).unwrap() {
                        assert!(number_of(&back) >= seen && back == element(number_of(&back)));
                    }
                }
            });
        }
        let mut rng = fastrand::Rng::with_seed(7);
        let mut next = 0_u64;
        for _ in 0..3000 {
            let len = list.len(&heap.reader(0)).unwrap();
            run(&heap, |tx| match rng.u8(..10) {
                0 if len > 2 => list.remove(tx, 1 + rng.u64(..len - 1)).map(drop),
                1..5 if len > 0 => list.pop_front(tx).map(drop),
                _ => {
                    next += 2;
                    list.push_back(tx, &element(next))
                }
            })
            .unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    check_no_leak(&heap, &[list.root]).unwrap();
}

#[test]
fn changes_cost_one_fence_and_the_words_that_are_documented() {
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 16 << 20);
    let list = List::at(new_root(&heap));
    run(&heap, |tx| (0..100_u8).try_for_each(|i| list.push_back(tx, &[i; 20]))).unwrap();
    let header = 5;
    let push = |element: &'static [u8]| {
        let mut costs = Costs::default();
        (0..200).for_each(|_| costs.add(&heap, |tx| list.push_back(tx, element)));
        costs
    };
    // So many that the directory doubles now and then, for which it has to be durable first.
    let short = push(&[1; 7]);
    assert_eq!(short.median_words(), header + 4, "{short:?}");
    // Of the record one line and a half, the slot, the root, and now and then a segment and the directory.
    assert!(short.median_flushes() <= 4, "{short:?}");
    let long = push(&[1; 40]);
    assert_eq!(long.median_words(), header + 7, "{long:?}");
    assert!(long.median_flushes() <= 6, "{long:?}");
    assert!(short.max_words() <= header + 32 && long.max_words() <= header + 32, "{short:?} {long:?}");
    assert!(short.orderings + long.orderings <= 3, "{short:?} {long:?}");
    let mut pop = Costs::default();
    (0..400).for_each(|_| pop.add(&heap, |tx| list.pop_back(tx).map(drop)));
    assert!([header + 2, header + 4].contains(&pop.median_words()), "{pop:?}");
    assert!(pop.median_flushes() <= 4, "{pop:?}");
    let mut insert = Costs::default();
    (0..50).for_each(|_| insert.add(&heap, |tx| list.insert(tx, 10, &[7])));
    assert!(insert.median_words() <= header + 4 + 10 + 2, "{insert:?}");
    let mut clear = Costs::default();
    clear.add(&heap, |tx| list.clear(tx));
    assert!(clear.max_words() <= header + 14, "{clear:?}");
    assert_eq!(pop.orderings + insert.orderings + clear.orderings, 0);
}

#[test]
fn a_cut_in_a_batch_keeps_what_its_first_blocks_did() {
    for seed in 0..24 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut heap = tiny_heap();
        let list = List::at(new_root(&heap));
        let mut model = Model::new();
        for step in 0..60 {
            let mut states = vec![model.clone()];
            let mut choose = rng.fork();
            let (committed, recovered) = with_cut(&heap, &mut rng, || {
                let mut writer = heap.writer(0);
                for _ in 0..choose.u32(1..5) {
                    let op = Op::random(&mut choose, model.len() as u64, 20);
                    if writer.run(|tx| op.run(list, tx)).is_ok() {
                        op.run_model(&mut model).expect("what a list can do, a model can");
                        states.push(model.clone());
                    }
                }
                writer.commit()
            });
            committed.unwrap();
            if let Some(recovered) = recovered {
                heap = recovered;
            }
            let found = must(seed, contents(list, &heap.reader(0)));
            assert!(states.contains(&found), "seed {seed}, step {step}: {found:?}");
            model = found;
            must(seed, check_no_leak(&heap, &[list.root]));
        }
    }
}

#[test]
fn a_list_is_cut_short_at_any_place_and_grows_again() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let tiny = Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() };
        let (geometry, bytes, max) =
            if seed % 2 == 0 { (tiny, 512 << 10, 300) } else { (Geometry::default(), 16 << 20, 3000) };
        let heap = heap(Geometry { shards: 1, ..geometry }, bytes);
        let root = new_root(&heap);
        let list = List::at(root);
        let mut model = std::collections::VecDeque::new();
        for turn in 0..12 {
            for _ in 0..rng.u64(..max) {
                let element = random_bytes(&mut rng, 30);
                // Also from the front, so that positions wrap around.
                if rng.u8(..3) == 0 {
                    must(seed, run(&heap, |tx| list.push_front(tx, &element)));
                    model.push_front(element);
                } else {
                    must(seed, run(&heap, |tx| list.push_back(tx, &element)));
                    model.push_back(element);
                }
            }
            let len = if turn % 5 == 0 { model.len() + 1 } else { rng.usize(..=model.len()) };
            must(seed, run(&heap, |tx| list.truncate(tx, len as u64)));
            model.truncate(len);
            let all = must(seed, list.page(&heap.reader(0), 0, u64::MAX));
            assert!(all.iter().eq(&model), "seed {seed}, cut to {len}");
            must(seed, check_no_leak(&heap, &[root]));
            if rng.bool() {
                collect_garbage(&heap);
                must(seed, check_no_leak(&heap, &[root]));
            }
        }
        must(seed, run(&heap, |tx| list.truncate(tx, 0)));
        assert_eq!(must(seed, list.len(&heap.reader(0))), 0);
        collect_garbage(&heap);
        must(seed, check_no_leak(&heap, &[root]));
    }
}

/// All but the elements of one segment, and the directory, are left to the garbage list.
#[test]
fn cutting_a_long_list_short_and_emptying_it_take_records_of_few_words() {
    let heap = heap(Geometry { shards: 1, ..Geometry::default() }, 64 << 20);
    let root = new_root(&heap);
    let list = List::at(root);
    for i in 0..20_000_u32 {
        run(&heap, |tx| list.push_back(tx, &[i as u8; 20])).unwrap();
    }
    let mut costs = Costs::default();
    costs.add(&heap, |tx| list.truncate(tx, 10_001));
    assert_eq!(list.len(&heap.reader(0)), Ok(10_001));
    assert!(costs.max_words() < 64 * 4, "{}", costs.max_words());
    let mut costs = Costs::default();
    costs.add(&heap, |tx| list.clear(tx));
    assert!(costs.max_words() < 24, "{}", costs.max_words());
}
