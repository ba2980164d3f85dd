//! Reducers.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::{MergeOp, NumberKind, Numbers, types::reducer::*};
use proptest::prelude::*;

const LEN: usize = 2;

struct Sums {
    parties: usize,
    op: MergeOp,
    brought: Vec<(usize, Vec<i64>)>,
    broken: bool,
    generation: u64,
}

#[derive(Debug, Clone)]
enum Call {
    Look,
    Reset,
}

impl Sums {
    fn join(&self, there: i64, new: i64) -> Result<i64, CallError> {
        let (left, right) = (i128::from(there), i128::from(new));
        let joined = match self.op {
            MergeOp::Sum => left + right,
            MergeOp::Product => left * right,
            MergeOp::Min => left.min(right),
            MergeOp::Max => left.max(right),
            MergeOp::And => left & right,
            MergeOp::Or => left | right,
            MergeOp::Xor => left ^ right,
            MergeOp::First => left,
            MergeOp::Last => right,
            MergeOp::Concat => unreachable!("refused"),
        };
        i64::try_from(joined).map_err(|_| {
            CallError::bad_argument(format!("{:?} of {there} and {new} overflows 64 bits", self.op))
        })
    }

    /// All that was brought, joined anew each time.
    fn joined(&self, last: &[i64]) -> Result<Vec<i64>, CallError> {
        let mut vectors = self.brought.iter().map(|(_, values)| &values[..]).chain([last]);
        let first = vectors.next().expect("one at least").to_vec();
        vectors.try_fold(first, |there, new| {
            there.iter().zip(new).map(|(there, new)| self.join(*there, *new)).collect()
        })
    }

    fn break_up(&mut self, ends: &mut Ends<Numbers>) {
        ends.extend(self.brought.drain(..).map(|(id, _)| (id, Err(CallError::Broken))));
    }
}

impl Model for Sums {
    type Wait = Contribute;
    type Other = Call;

    fn timeout_ms(wait: &Contribute) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, wait: Contribute, ends: &mut Ends<Numbers>) {
        let values = wait.values.integers().expect("integers");
        if values.len() != LEN {
            let reason = format!("a vector of {} numbers, not of {LEN}", values.len());
            ends.insert(id, Err(CallError::bad_argument(reason)));
        } else if self.broken {
            ends.insert(id, Err(CallError::Broken));
        } else {
            match self.joined(&values) {
                Err(error) => drop(ends.insert(id, Err(error))),
                Ok(joined) => {
                    self.brought.push((id, values));
                    if self.brought.len() == self.parties {
                        self.generation += 1;
                        let all = self.brought.drain(..);
                        ends.extend(all.map(|(id, _)| (id, Ok(Numbers::I64(joined.clone())))));
                    }
                }
            }
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<Numbers>) {
        match call {
            Call::Look => {
                assert_eq!(shard.call(session, Waiting {}), Ok(self.brought.len() as u32));
                assert_eq!(shard.call(session, Parties {}), Ok(self.parties as u32));
                assert_eq!(shard.call(session, IsBroken {}), Ok(self.broken));
                assert_eq!(shard.call(session, Generation {}), Ok(self.generation));
            }
            Call::Reset => {
                assert_eq!(shard.call(session, Reset {}), Ok(()));
                self.break_up(ends);
                self.broken = false;
            }
        }
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<Numbers>) {
        self.brought.retain(|(waiting, _)| *waiting != id);
        self.broken = true;
        self.break_up(ends);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<Numbers>) {}
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![6 => -9..9_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => any::<i64>()]
}

fn vector() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![9 => prop::collection::vec(number(), LEN), 1 => prop::collection::vec(number(), 0..4)]
}

proptest! {
    #[test]
    fn reducers_agree_with_a_slow_model(
        parties in 1..5_u32,
        op in prop::sample::select(vec![
            MergeOp::Sum, MergeOp::Sum, MergeOp::Product, MergeOp::Min, MergeOp::Max, MergeOp::And, MergeOp::Or,
            MergeOp::Xor, MergeOp::First, MergeOp::Last,
        ]),
        steps in steps(
            (vector(), timeout()).prop_map(|(values, timeout_ms)| Contribute {
                values: Numbers::I64(values),
                timeout_ms,
            }),
            prop_oneof![Just(Call::Look), Just(Call::Reset)],
        ),
    ) {
        let creation = Creation { parties, len: LEN as u32, kind: NumberKind::I64, op };
        let model = Sums {
            parties: parties as usize,
            op,
            brought: Vec::new(),
            broken: false,
            generation: 0,
        };
        compare(TestShard::new::<Type>(creation), model, steps);
    }
}

fn reducer(parties: u32, len: u32, kind: NumberKind, op: MergeOp) -> TestShard {
    TestShard::new::<Type>(Creation { parties, len, kind, op })
}

fn bring(shard: &mut TestShard, session: u128, values: impl Into<Numbers>) -> Sent<Contribute> {
    shard.begin(session, Contribute { values: values.into(), timeout_ms: None })
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, CallError>) {
    assert!(matches!(result, Err(CallError::BadArgument { .. })), "{result:?}");
}

#[test]
fn a_reducer_that_makes_no_sense_is_refused() {
    for (parties, kind, op) in [
        (0, NumberKind::I64, MergeOp::Sum),
        (1, NumberKind::I64, MergeOp::Concat),
        (1, NumberKind::F64, MergeOp::Concat),
        (1, NumberKind::F64, MergeOp::Xor),
        (1, NumberKind::F64, MergeOp::And),
        (1, NumberKind::F64, MergeOp::Or),
    ] {
        is_refused(reducer(parties, 1, kind, op).call(1, Waiting {}));
    }
    let result = reducer(1, 1 << 22, NumberKind::F64, MergeOp::Sum).call(1, Waiting {});
    assert!(matches!(result, Err(CallError::TooLarge { .. })), "{result:?}");
}

#[test]
fn floats_are_joined_in_the_order_of_arrival() {
    let (large, small) = (1e16, 1.0);
    let mut shard = reducer(3, 3, NumberKind::F64, MergeOp::Sum);
    let first = bring(&mut shard, 1, vec![large, small, f64::NAN]);
    let second = bring(&mut shard, 2, vec![small, large, 1.0]);
    let third = bring(&mut shard, 3, vec![-large, -large, 1.0]);
    let expected = [large + small - large, small + large - large, f64::NAN];
    for call in [first, second, third] {
        let Some(Ok(Numbers::F64(sums))) = shard.take_answer(&call) else { panic!("a vector of floats") };
        assert!(
            sums.iter().zip(expected).all(|(sum, expected)| sum.to_bits() == expected.to_bits()),
            "{sums:?}"
        );
    }
    shard.expect(Generation {}, 1);
}

#[test]
fn numbers_of_the_other_kind_are_taken_if_they_are_exact() {
    let mut shard = reducer(1, 1, NumberKind::F64, MergeOp::Sum);
    let contribute = |values: Numbers| Contribute { values, timeout_ms: None };
    shard.expect(contribute(vec![7_i64].into()), vec![7.0].into());
    is_refused(shard.call(1, contribute(vec![(1_i64 << 53) + 1].into())));
    let mut shard = reducer(1, 1, NumberKind::I64, MergeOp::Sum);
    shard.expect(contribute(vec![7.0].into()), vec![7_i64].into());
    is_refused(shard.call(1, contribute(vec![7.5].into())));
    is_refused(shard.call(1, contribute(vec![1_i64, 2].into())));
    shard.expect(Generation {}, 1);
}

#[test]
fn a_party_whose_numbers_overflow_has_not_arrived_and_may_try_again() {
    let mut shard = reducer(2, 2, NumberKind::I64, MergeOp::Sum);
    let waiting = bring(&mut shard, 2, vec![5, i64::MAX]);
    let contribute = |values: Vec<i64>| Contribute { values: values.into(), timeout_ms: None };
    is_refused(shard.call(1, contribute(vec![1, 1])));
    assert!(shard.waits(&waiting));
    shard.expect(Waiting {}, 1);
    shard.expect(IsBroken {}, false);
    let sums = Numbers::I64(vec![6, i64::MAX - 1]);
    shard.expect(contribute(vec![1, -1]), sums.clone());
    assert_eq!(shard.take_answer(&waiting), Some(Ok(sums)));
}

#[test]
fn one_party_that_dies_breaks_the_generation_and_nothing_of_it_is_left_after_a_reset() {
    let mut shard = reducer(3, 1, NumberKind::I64, MergeOp::Sum);
    let (dead, living) = (bring(&mut shard, 2, vec![100_i64]), bring(&mut shard, 1, vec![10_i64]));
    shard.goodbye(2);
    assert_eq!(shard.take_answer(&dead), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&living), Some(Err(CallError::Broken)));
    shard.expect(IsBroken {}, true);
    let result = shard.call(1, Contribute { values: vec![1_i64].into(), timeout_ms: None });
    assert_eq!(result, Err(CallError::Broken));
    shard.get(Reset {});
    let calls: Vec<_> = (1..4).map(|session| bring(&mut shard, session, vec![1_i64])).collect();
    for call in &calls {
        assert_eq!(shard.take_answer(call), Some(Ok(vec![3_i64].into())));
    }
}

#[test]
fn very_many_parties_get_one_result() {
    const PARTIES: u32 = 1_000;
    let mut shard = reducer(PARTIES, 1, NumberKind::I64, MergeOp::Sum);
    let calls: Vec<_> =
        (0..PARTIES).map(|n| bring(&mut shard, u128::from(n % 5) + 1, vec![i64::from(n)])).collect();
    let sum = i64::from(PARTIES * (PARTIES - 1) / 2);
    for call in &calls {
        assert_eq!(shard.take_answer(call), Some(Ok(vec![sum].into())));
    }
}

#[test]
fn vectors_of_the_greatest_length_are_joined() {
    const LEN: usize = 1 << 21;
    let mut shard = reducer(2, LEN as u32, NumberKind::F64, MergeOp::Max);
    let waiting = bring(&mut shard, 2, vec![1.5; LEN]);
    shard.expect(Contribute { values: vec![0.5; LEN].into(), timeout_ms: None }, vec![1.5; LEN].into());
    assert_eq!(shard.take_answer(&waiting), Some(Ok(vec![1.5; LEN].into())));
    let mut shard = reducer(1, 0, NumberKind::F64, MergeOp::Sum);
    shard.expect(Contribute { values: Numbers::F64(Vec::new()), timeout_ms: None }, Numbers::F64(Vec::new()));
}

#[test]
fn a_generation_that_a_closing_store_interrupted_is_broken() {
    let mut shard = reducer(2, 1, NumberKind::I64, MergeOp::Sum);
    shard.get(Reset {});
    let mut shard = shard.reopen();
    shard.expect(IsBroken {}, false);
    bring(&mut shard, 2, vec![100_i64]);
    let mut shard = shard.reopen();
    shard.expect(IsBroken {}, true);
    shard.get(Reset {});
    bring(&mut shard, 2, vec![1_i64]);
    shard.expect(Contribute { values: vec![2_i64].into(), timeout_ms: None }, vec![3_i64].into());
}
