//! Priority queues.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::{CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::types::priority_queue::*;
use proptest::prelude::*;

fn value(n: u64) -> Value {
    Value::encode(&n).unwrap()
}

#[derive(Default)]
struct Line {
    /// In the order of coming.
    values: Vec<(i64, Value)>,
    takers: Vec<usize>,
    pushed: u64,
}

impl Line {
    fn first(&self) -> Option<usize> {
        let least = self.values.iter().map(|(priority, _)| *priority).min()?;
        self.values.iter().position(|(priority, _)| *priority == least)
    }

    fn pop(&mut self) -> Option<(i64, Value)> {
        self.first().map(|index| self.values.remove(index))
    }

    fn settle(&mut self, ends: &mut Ends<(i64, Value)>) {
        while !self.takers.is_empty()
            && let Some(first) = self.pop()
        {
            ends.insert(self.takers.remove(0), Ok(first));
        }
    }
}

#[derive(Debug, Clone)]
enum Call {
    Push(i64),
    Pop,
    Look,
    Clear,
}

impl Model for Line {
    type Wait = Take;
    type Other = Call;

    fn timeout_ms(wait: &Take) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, _: Take, ends: &mut Ends<(i64, Value)>) {
        self.takers.push(id);
        self.settle(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<(i64, Value)>) {
        match call {
            Call::Push(priority) => {
                self.pushed += 1;
                let value = value(self.pushed);
                self.values.push((priority, value.clone()));
                assert_eq!(shard.call(session, Push { priority, value }), Ok(()));
            }
            Call::Pop => assert_eq!(shard.call(session, Pop {}), Ok(self.pop())),
            Call::Look => {
                let first = self.first().map(|index| self.values[index].clone());
                assert_eq!(shard.call(session, Peek {}), Ok(first));
                assert_eq!(shard.call(session, Len {}), Ok(self.values.len() as u64));
                assert_eq!(shard.call(session, IsEmpty {}), Ok(self.values.is_empty()));
            }
            Call::Clear => {
                self.values.clear();
                assert_eq!(shard.call(session, Clear {}), Ok(()));
            }
        }
        self.settle(ends);
    }

    fn gone(&mut self, id: usize, _: &mut Ends<(i64, Value)>) {
        self.takers.retain(|taker| *taker != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<(i64, Value)>) {}
}

proptest! {
    #[test]
    fn priority_queues_agree_with_a_slow_model(
        steps in steps(
            timeout().prop_map(|timeout_ms| Take { timeout_ms }),
            prop_oneof![
                9 => prop_oneof![4 => -2..3_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)].prop_map(Call::Push),
                3 => Just(Call::Pop),
                2 => Just(Call::Look),
                1 => Just(Call::Clear),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Line::default(), steps);
    }
}

#[test]
fn what_is_equally_urgent_leaves_in_the_order_of_coming_also_across_a_restart() {
    let mut shard = TestShard::new::<Type>(Creation {});
    for (priority, n) in [(5, 0), (-5, 1), (5, 2), (-5, 3)] {
        shard.get(Push { priority, value: value(n) });
    }
    let mut shard = shard.reopen();
    shard.get(Push { priority: -5, value: value(4) });
    let order: Vec<_> = (0..5).map(|_| shard.get(Pop {}).unwrap()).collect();
    assert_eq!(order, [(-5, 1), (-5, 3), (-5, 4), (5, 0), (5, 2)].map(|(priority, n)| (priority, value(n))));
}

/// More than one byte of the number that tells equally urgent ones apart.
#[test]
fn many_that_are_equally_urgent_leave_in_the_order_of_coming() {
    let mut shard = TestShard::new::<Type>(Creation {});
    (0..600).for_each(|n| shard.expect(Push { priority: 7, value: value(n) }, ()));
    (0..600).for_each(|n| shard.expect(Pop {}, Some((7, value(n)))));
}

#[test]
fn who_waits_is_served_in_the_order_of_asking_whatever_the_priority() {
    let mut shard = TestShard::new::<Type>(Creation {});
    let hasty = shard.begin(1, Take { timeout_ms: Some(10) });
    let dying = shard.begin(2, Take { timeout_ms: None });
    let [cancelled, first, second] = [3, 4, 5].map(|session| shard.begin(session, Take { timeout_ms: None }));
    shard.pass_ms(10);
    shard.goodbye(2);
    shard.cancel(&cancelled);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    assert_eq!(shard.take_answer(&dying), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&cancelled), Some(Err(CallError::Cancelled)));
    shard.get(Push { priority: 9, value: value(9) });
    shard.get(Push { priority: 1, value: value(1) });
    assert_eq!(shard.take_answer(&first), Some(Ok((9, value(9)))));
    assert_eq!(shard.take_answer(&second), Some(Ok((1, value(1)))));
    shard.expect(Pop {}, None);
    let larger = Value::bytes(&vec![0; VALUE_BYTES_MAX + 1]);
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Push { priority: 1, value: larger }), Err(too_large));
}
