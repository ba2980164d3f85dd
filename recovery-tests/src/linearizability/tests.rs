//! The checker rejects what it must, and agrees with the definition on random histories.

use super::*;
use crate::history::History;
use std::collections::BTreeMap;

/// A map of small numbers, with an operation that moves between two keys.
#[derive(Debug)]
struct Map<const PARTS: bool>;

#[derive(Debug, Clone)]
enum Op {
    Add(u64, u64),
    Get(u64),
    Move(u64, u64),
}
use Op::{Add, Get, Move};

type State = BTreeMap<u64, u64>;

impl<const PARTS: bool> Model for Map<PARTS> {
    type State = State;
    type Op = Op;
    type Result = u64;

    fn apply(state: &mut State, op: &Op) -> u64 {
        match *op {
            Add(key, number) => {
                let value = state.entry(key).or_default();
                *value += number;
                *value
            }
            Get(key) => state.get(&key).copied().unwrap_or(0),
            Move(from, to) => {
                let moved = state.remove(&from).unwrap_or(0);
                *state.entry(to).or_default() += moved;
                moved
            }
        }
    }

    fn part(op: &Op) -> Option<u64> {
        match *op {
            Add(key, _) | Get(key) if PARTS => Some(key),
            _ => None,
        }
    }

    fn parts(state: &State) -> Vec<u64> {
        state.keys().copied().collect()
    }

    fn project(state: &State, part: u64) -> State {
        state.get_key_value(&part).map(|(&key, &value)| (key, value)).into_iter().collect()
    }
}

fn state(pairs: &[(u64, u64)]) -> State {
    pairs.iter().copied().collect()
}

/// Each line: client, operation, time of the call, answer and its time. Times need only be ordered.
type Line = (u32, Op, u64, Option<(u64, u64)>);

fn calls<M: Model<Op = Op, Result = u64>>(lines: &[Line]) -> Vec<Call<M>> {
    let call = |(sequence, (client, op, invoked, response)): (usize, &Line)| Call {
        client: *client,
        sequence: sequence as u64,
        op: op.clone(),
        invoked: *invoked,
        response: *response,
    };
    lines.iter().enumerate().map(call).collect()
}

/// Asks all three: with parts, without, and the definition. They must agree.
fn allowed(initial: &[(u64, u64)], lines: &[Line], recovered: &[(u64, u64)]) -> bool {
    let (initial, recovered) = (state(initial), state(recovered));
    let parts =
        Admissible::<Map<true>>::new(&initial, calls(lines)).and_then(|found| found.allows(&recovered));
    let whole =
        Admissible::<Map<false>>::new(&initial, calls(lines)).and_then(|found| found.allows(&recovered));
    let brute = brute::explains::<Map<false>>(&initial, &calls(lines), &recovered);
    assert_eq!(
        (parts.is_ok(), whole.is_ok()),
        (brute, brute),
        "{lines:?} {recovered:?}: {parts:?} {whole:?}"
    );
    brute
}

#[test]
fn a_lost_acknowledgement_is_rejected() {
    let lines = [(1, Add(1, 5), 1, Some((5, 2)))];
    assert!(allowed(&[], &lines, &[(1, 5)]));
    assert!(!allowed(&[], &lines, &[]));
}

#[test]
fn a_pending_call_may_have_taken_effect_or_not_but_not_twice() {
    let lines = [(1, Add(1, 5), 1, None)];
    assert!(allowed(&[], &lines, &[]));
    assert!(allowed(&[], &lines, &[(1, 5)]));
    assert!(!allowed(&[], &lines, &[(1, 10)]));
}

#[test]
fn a_stale_read_is_rejected() {
    let early = [(1, Add(1, 5), 1, Some((5, 4))), (2, Get(1), 2, Some((0, 3)))];
    assert!(allowed(&[], &early, &[(1, 5)]), "the read may come first, it overlaps");
    let late = [(1, Add(1, 5), 1, Some((5, 2))), (2, Get(1), 3, Some((0, 4)))];
    assert!(!allowed(&[], &late, &[(1, 5)]));
}

#[test]
fn a_value_that_was_read_must_be_recovered() {
    let lines = [(1, Add(1, 5), 1, None), (2, Get(1), 2, Some((5, 3)))];
    assert!(allowed(&[], &lines, &[(1, 5)]));
    assert!(!allowed(&[], &lines, &[]), "somebody saw it");
}

#[test]
fn half_of_an_operation_on_two_keys_is_rejected() {
    let lines = [(1, Move(1, 2), 1, None)];
    assert!(allowed(&[(1, 5)], &lines, &[(1, 5)]));
    assert!(allowed(&[(1, 5)], &lines, &[(2, 5)]));
    assert!(!allowed(&[(1, 5)], &lines, &[(1, 5), (2, 5)]));
    assert!(!allowed(&[(1, 5)], &lines, &[]));
}

#[test]
fn keys_that_nobody_called_stay_as_they_were() {
    let lines = [(1, Add(1, 5), 1, Some((5, 2)))];
    assert!(allowed(&[(3, 3)], &lines, &[(1, 5), (3, 3)]));
    assert!(!allowed(&[(3, 3)], &lines, &[(1, 5)]));
    assert!(!allowed(&[], &lines, &[(1, 5), (3, 3)]));
    assert!(!allowed(&[(3, 3)], &[], &[]));
}

#[test]
fn answers_that_contradict_each_other_are_rejected_whatever_is_recovered() {
    let lines = [(1, Add(1, 5), 1, Some((5, 3))), (2, Add(1, 5), 2, Some((5, 4)))];
    for total in [0, 5, 10] {
        assert!(!allowed(&[], &lines, &[(1, total)]));
    }
    let found = Admissible::<Map<false>>::new(&state(&[]), calls(&lines));
    assert!(matches!(found, Err(Unexplained::History)));
}

#[test]
fn a_clients_pending_calls_take_effect_in_their_order() {
    let one_client = [(1, Add(1, 1), 1, None), (1, Add(1, 2), 2, None)];
    assert!(allowed(&[], &one_client, &[(1, 1)]));
    assert!(!allowed(&[], &one_client, &[(1, 2)]));
    let two_clients = [(1, Add(1, 1), 1, None), (2, Add(1, 2), 2, None)];
    assert!(allowed(&[], &two_clients, &[(1, 2)]));
}

#[test]
fn a_repeated_call_is_told_its_first_answer_or_takes_effect_now() {
    let mut history = History::<Map<false>>::default();
    let done = history.invoke(1, 1, Add(1, 5));
    history.respond(done, 5);
    let pending = history.invoke(1, 2, Add(1, 2));
    let found = Admissible::new(&state(&[]), history.at(history.now())).unwrap();
    let after = |recovered: &[(u64, u64)], told: u64, then: &[(u64, u64)]| {
        let mut explanations = found.explanations(&state(recovered)).unwrap();
        assert_eq!(explanations.pending(), [pending]);
        explanations.repeated(pending, &told).and_then(|()| explanations.allows(&state(then)))
    };
    assert_eq!(after(&[(1, 5)], 7, &[(1, 7)]), Ok(()));
    assert_eq!(after(&[(1, 7)], 7, &[(1, 7)]), Ok(()));
    assert!(matches!(after(&[(1, 7)], 9, &[(1, 9)]), Err(Unexplained::Repeated { .. })), "applied twice");
    assert!(
        matches!(after(&[(1, 7)], 7, &[(1, 9)]), Err(Unexplained::State { .. })),
        "applied twice, quietly"
    );
    assert!(
        matches!(after(&[(1, 5)], 7, &[(1, 5)]), Err(Unexplained::State { .. })),
        "acknowledged, not applied"
    );
    assert!(found.explanations(&state(&[(1, 6)])).is_none());
}

#[test]
fn the_history_at_a_time_knows_nothing_of_later() {
    let mut history = History::<Map<false>>::default();
    let first = history.invoke(1, 1, Add(1, 5));
    let between = history.now();
    history.respond(first, 5);
    history.invoke(1, 2, Add(1, 2));
    let calls = history.at(between);
    assert_eq!(calls.len(), 1);
    assert!(calls[0].response.is_none());
    assert_eq!(history.at(history.now()).len(), 2);
}

/// Random histories of three clients, some of which are possible, against the definition.
#[test]
fn the_search_agrees_with_the_definition_on_random_histories() {
    let mut explained = 0;
    let rounds = if cfg!(miri) { 20 } else { 4000 };
    for seed in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut lines, mut open, mut model, mut now) = (Vec::<Line>::new(), [None; 3], State::new(), 0);
        // Calls take effect when they are made; answers come later and are sometimes wrong, effects sometimes late.
        for _ in 0..rng.usize(1..14) {
            now += 1;
            let client = rng.usize(..3);
            match open[client].take() {
                Some((line, result)) => {
                    let line: &mut Line = &mut lines[line];
                    line.3 = Some((if rng.u32(..12) == 0 { result + 1 } else { result }, now));
                }
                None if lines.len() < 7 => {
                    let op = match rng.u32(..8) {
                        0..4 => Add(rng.u64(..2), rng.u64(1..3)),
                        4..7 => Get(rng.u64(..2)),
                        _ => Move(rng.u64(..2), rng.u64(..2)),
                    };
                    let result = Map::<false>::apply(&mut model, &op);
                    lines.push((client as u32, op, now, None));
                    open[client] = Some((lines.len() - 1, result));
                }
                None => {}
            }
        }
        if rng.u32(..4) == 0 {
            *model.entry(rng.u64(..2)).or_default() += 1;
        }
        model.retain(|_, value| *value != 0 || rng.u32(..4) != 0);
        println!("seed {seed}");
        let recovered: Vec<(u64, u64)> = model.into_iter().collect();
        explained += u64::from(allowed(&[], &lines, &recovered));
    }
    assert!(explained > rounds / 10 && explained < rounds * 9 / 10, "one-sided: {explained} of {rounds}");
}
