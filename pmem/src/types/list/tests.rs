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
