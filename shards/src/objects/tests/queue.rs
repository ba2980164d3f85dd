//! Queues, bounded and not.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout, waits},
};
use crate::objects::sizes::ANSWER_BYTES_MAX;
use abide_net::{CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::types::queue::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn value(n: u64) -> Value {
    Value::encode(&n).unwrap()
}

#[derive(Debug, Clone)]
enum Ask {
    Put(Put),
    Take(Take),
}

#[derive(Debug, Clone, PartialEq)]
enum Got {
    Put,
    Taken(Value),
}

waits!(Ask -> Got { Put(Put) => |()| Got::Put, Take(Take) => Got::Taken });

#[derive(Debug, Clone)]
enum Call {
    Offer(u64),
    Poll,
    Drain(u32),
    Look,
}

struct Line {
    capacity: usize,
    values: VecDeque<Value>,
    putters: VecDeque<(usize, Value)>,
    takers: VecDeque<usize>,
}

impl Line {
    /// Lets in and out whoever can, until nobody can.
    fn settle(&mut self, ends: &mut Ends<Got>) {
        loop {
            if self.values.len() < self.capacity
                && let Some((putter, value)) = self.putters.pop_front()
            {
                self.values.push_back(value);
                ends.insert(putter, Ok(Got::Put));
            } else if !self.values.is_empty()
                && let Some(taker) = self.takers.pop_front()
            {
                ends.insert(taker, Ok(Got::Taken(self.values.pop_front().unwrap())));
            } else {
                return;
            }
        }
    }
}

impl Model for Line {
    type Wait = Ask;
    type Other = Call;

    fn timeout_ms(wait: &Ask) -> Option<u64> {
        match wait {
            Ask::Put(put) => put.timeout_ms,
            Ask::Take(take) => take.timeout_ms,
        }
    }

    fn wait(&mut self, id: usize, _: u128, wait: Ask, ends: &mut Ends<Got>) {
        match wait {
            Ask::Put(put) => self.putters.push_back((id, put.value)),
            Ask::Take(_) => self.takers.push_back(id),
        }
        self.settle(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<Got>) {
        match call {
            Call::Offer(n) => {
                let has_room = self.values.len() < self.capacity;
                if has_room {
                    self.values.push_back(value(n));
                }
                assert_eq!(shard.call(session, Offer { value: value(n) }), Ok(has_room));
            }
            Call::Poll => assert_eq!(shard.call(session, Poll {}), Ok(self.values.pop_front())),
            Call::Drain(n) => {
                let drained = self.values.drain(..self.values.len().min(n as usize)).collect();
                assert_eq!(shard.call(session, Drain { n }), Ok(drained));
            }
            Call::Look => {
                assert_eq!(shard.call(session, Len {}), Ok(self.values.len() as u64));
                assert_eq!(shard.call(session, IsEmpty {}), Ok(self.values.is_empty()));
                assert_eq!(shard.call(session, Peek {}), Ok(self.values.front().cloned()));
            }
        }
        self.settle(ends);
    }

    fn gone(&mut self, id: usize, _: &mut Ends<Got>) {
        self.putters.retain(|(putter, _)| *putter != id);
        self.takers.retain(|taker| *taker != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<Got>) {}
}

proptest! {
    #[test]
    fn queues_agree_with_a_slow_model(
        capacity in prop::option::of(1..4_u64),
        steps in steps(
            prop_oneof![
                (any::<u64>(), timeout()).prop_map(|(n, timeout_ms)| Ask::Put(Put { value: value(n), timeout_ms })),
                timeout().prop_map(|timeout_ms| Ask::Take(Take { timeout_ms })),
            ],
            prop_oneof![
                3 => any::<u64>().prop_map(Call::Offer),
                3 => Just(Call::Poll),
                1 => (0..4_u32).prop_map(Call::Drain),
                2 => Just(Call::Look),
            ],
        ),
    ) {
        let model = Line {
            capacity: capacity.map_or(usize::MAX, |capacity| capacity as usize),
            values: VecDeque::new(),
            putters: VecDeque::new(),
            takers: VecDeque::new(),
        };
        compare(TestShard::new::<Type>(Creation { capacity }), model, steps);
    }
}

fn bounded(capacity: u64) -> TestShard {
    TestShard::new::<Type>(Creation { capacity: Some(capacity) })
}

fn put(shard: &mut TestShard, session: u128, n: u64) -> Sent<Put> {
    shard.begin(session, Put { value: value(n), timeout_ms: None })
}

fn take(shard: &mut TestShard, session: u128) -> Sent<Take> {
    shard.begin(session, Take { timeout_ms: None })
}

#[test]
fn who_offers_does_not_overtake_those_who_wait_to_put() {
    let mut shard = bounded(1);
    shard.expect(Offer { value: value(1) }, true);
    let second = put(&mut shard, 2, 2);
    let third = put(&mut shard, 3, 3);
    shard.expect(Poll {}, Some(value(1)));
    assert_eq!(shard.take_answer(&second), Some(Ok(())));
    assert!(shard.waits(&third));
    assert_eq!(shard.call(4, Offer { value: value(4) }), Ok(false), "the room is the third's");
    shard.expect(Drain { n: 9 }, vec![value(2)]);
    assert_eq!(shard.take_answer(&third), Some(Ok(())));
    shard.expect(Poll {}, Some(value(3)));
    shard.expect(Poll {}, None);
}

#[test]
fn those_who_wait_to_take_are_served_in_the_order_of_asking_and_the_dead_are_passed_over() {
    let mut shard = TestShard::new::<Type>(Creation { capacity: None });
    let hasty = shard.begin(1, Take { timeout_ms: Some(5) });
    let calls: Vec<_> = (2..6).map(|session| take(&mut shard, session)).collect();
    shard.pass_ms(5);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    shard.goodbye(2);
    assert_eq!(shard.take_answer(&calls[0]), Some(Err(CallError::SessionExpired)));
    shard.cancel(&calls[1]);
    assert_eq!(shard.take_answer(&calls[1]), Some(Err(CallError::Cancelled)));
    shard.expect(Offer { value: value(7) }, true);
    shard.expect(Put { value: value(8), timeout_ms: None }, ());
    shard.expect(Offer { value: value(9) }, true);
    assert_eq!(shard.take_answer(&calls[2]), Some(Ok(value(7))));
    assert_eq!(shard.take_answer(&calls[3]), Some(Ok(value(8))));
    shard.expect(Len {}, 1);
}

#[test]
fn a_put_that_gave_up_puts_nothing_and_the_next_moves_up() {
    let mut shard = bounded(1);
    shard.expect(Put { value: value(1), timeout_ms: None }, ());
    let hasty = shard.begin(2, Put { value: value(2), timeout_ms: Some(10) });
    let dying = put(&mut shard, 3, 3);
    let cancelled = put(&mut shard, 4, 4);
    let last = put(&mut shard, 5, 5);
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    shard.goodbye(3);
    shard.cancel(&cancelled);
    assert_eq!(shard.take_answer(&dying), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&cancelled), Some(Err(CallError::Cancelled)));
    assert_eq!(shard.info().waiters, 1);
    shard.expect(Take { timeout_ms: None }, value(1));
    assert_eq!(shard.take_answer(&last), Some(Ok(())));
    shard.expect(Drain { n: 9 }, vec![value(5)]);
}

#[test]
fn a_drain_that_makes_room_for_a_thousand_lets_all_of_them_in_in_order() {
    const CAPACITY: u64 = 1_000;
    let mut shard = bounded(CAPACITY);
    (0..CAPACITY).for_each(|n| shard.expect(Offer { value: value(n) }, true));
    let calls: Vec<_> =
        (0..CAPACITY + 5).map(|n| put(&mut shard, (n % 7) as u128 + 2, CAPACITY + n)).collect();
    shard.expect(Drain { n: u32::MAX }, (0..CAPACITY).map(value).collect());
    for call in &calls[..CAPACITY as usize] {
        assert_eq!(shard.take_answer(call), Some(Ok(())));
    }
    assert!(calls[CAPACITY as usize..].iter().all(|call| shard.waits(call)));
    shard.expect(Drain { n: u32::MAX }, (CAPACITY..2 * CAPACITY).map(value).collect());
    shard.expect(Drain { n: 3 }, (2 * CAPACITY..2 * CAPACITY + 3).map(value).collect());
    shard.expect(Len {}, 2);
}

#[test]
fn a_drain_takes_no_more_than_a_frame_can_carry() {
    let mut shard = bounded(2);
    let largest = |byte: u8| Value::bytes(&vec![byte; VALUE_BYTES_MAX]);
    shard.expect(Put { value: largest(1), timeout_ms: None }, ());
    shard.expect(Put { value: largest(2), timeout_ms: None }, ());
    let waiting = shard.begin(2, Put { value: largest(3), timeout_ms: None });
    const { assert!(2 * VALUE_BYTES_MAX + 64 > ANSWER_BYTES_MAX) }
    shard.expect(Drain { n: 9 }, vec![largest(1)]);
    assert_eq!(shard.take_answer(&waiting), Some(Ok(())));
    shard.expect(Drain { n: 0 }, vec![]);
    shard.expect(Drain { n: 9 }, vec![largest(2)]);
    shard.expect(Drain { n: 9 }, vec![largest(3)]);
    let larger = Value::bytes(&vec![0; VALUE_BYTES_MAX + 1]);
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Offer { value: larger.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Put { value: larger, timeout_ms: None }), Err(too_large));
}

#[test]
fn a_queue_says_its_bound_which_is_at_least_one() {
    assert!(matches!(bounded(0).call(1, Len {}), Err(CallError::BadArgument { .. })));
    bounded(u64::MAX).expect(Capacity {}, Some(u64::MAX));
    TestShard::new::<Type>(Creation { capacity: None }).expect(Capacity {}, None);
}
