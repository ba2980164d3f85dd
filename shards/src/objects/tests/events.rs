//! Latches and futures: many wait for one event.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::{CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::{
    FutureState,
    types::{count_down_latch as latch, future},
};
use proptest::prelude::*;

struct Latch {
    count: u64,
    waiting: Vec<usize>,
}

#[derive(Debug, Clone)]
enum LatchCall {
    CountDown(u64),
    Count,
}

impl Model for Latch {
    type Wait = latch::Await;
    type Other = LatchCall;

    fn timeout_ms(wait: &latch::Await) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, _: latch::Await, ends: &mut Ends<()>) {
        if self.count == 0 {
            ends.insert(id, Ok(()));
        } else {
            self.waiting.push(id);
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: LatchCall, ends: &mut Ends<()>) {
        match call {
            LatchCall::CountDown(n) => {
                self.count -= self.count.min(n);
                assert_eq!(shard.call(session, latch::CountDown { n }), Ok(self.count));
            }
            LatchCall::Count => assert_eq!(shard.call(session, latch::Count {}), Ok(self.count)),
        }
        if self.count == 0 {
            ends.extend(self.waiting.drain(..).map(|id| (id, Ok(()))));
        }
    }

    fn gone(&mut self, id: usize, _: &mut Ends<()>) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<()>) {}
}

struct Promise {
    state: Option<FutureState>,
    waiting: Vec<usize>,
}

#[derive(Debug, Clone)]
enum FutureCall {
    Complete(FutureState),
    IsDone,
}

impl Model for Promise {
    type Wait = future::Get;
    type Other = FutureCall;

    fn timeout_ms(wait: &future::Get) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, _: future::Get, ends: &mut Ends<FutureState>) {
        match &self.state {
            Some(state) => drop(ends.insert(id, Ok(state.clone()))),
            None => self.waiting.push(id),
        }
    }

    fn other(
        &mut self,
        shard: &mut TestShard,
        session: u128,
        call: FutureCall,
        ends: &mut Ends<FutureState>,
    ) {
        let first = self.state.is_none();
        let result = match call.clone() {
            FutureCall::IsDone => {
                assert_eq!(shard.call(session, future::IsDone {}), Ok(!first));
                return;
            }
            FutureCall::Complete(FutureState::Value(value)) => shard.call(session, future::Set { value }),
            FutureCall::Complete(FutureState::Error(message)) => {
                shard.call(session, future::SetError { message })
            }
            FutureCall::Complete(FutureState::Cancelled) => shard.call(session, future::Cancel {}),
        };
        assert_eq!(result, Ok(first));
        if let FutureCall::Complete(state) = call {
            let state = self.state.get_or_insert(state);
            ends.extend(self.waiting.drain(..).map(|id| (id, Ok(state.clone()))));
        }
    }

    fn gone(&mut self, id: usize, _: &mut Ends<FutureState>) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<FutureState>) {}
}

fn completion() -> impl Strategy<Value = FutureState> {
    prop_oneof![
        (0..3_u8).prop_map(|n| FutureState::Value(Value::encode(&n).unwrap())),
        Just(FutureState::Error("it failed".to_owned())),
        Just(FutureState::Cancelled),
    ]
}

proptest! {
    #[test]
    fn latches_agree_with_a_slow_model(
        count in 0..10_u64,
        steps in steps(
            timeout().prop_map(|timeout_ms| latch::Await { timeout_ms }),
            prop_oneof![(0..3_u64).prop_map(LatchCall::CountDown), Just(LatchCall::Count)],
        ),
    ) {
        let shard = TestShard::new::<latch::Type>(latch::Creation { count });
        compare(shard, Latch { count, waiting: Vec::new() }, steps);
    }

    #[test]
    fn futures_agree_with_a_slow_model(
        steps in steps(
            timeout().prop_map(|timeout_ms| future::Get { timeout_ms }),
            prop_oneof![1 => completion().prop_map(FutureCall::Complete), 6 => Just(FutureCall::IsDone)],
        ),
    ) {
        let shard = TestShard::new::<future::Type>(future::Creation {});
        compare(shard, Promise { state: None, waiting: Vec::new() }, steps);
    }
}

#[test]
fn the_first_completion_wins_and_later_ones_learn_that_they_did_not() {
    let value = Value::text("first");
    let mut shard = TestShard::new::<future::Type>(future::Creation {});
    let waiting = shard.begin(2, future::Get { timeout_ms: None });
    shard.expect(future::IsDone {}, false);
    shard.expect(future::Set { value: value.clone() }, true);
    shard.expect(future::Set { value: Value::text("second") }, false);
    shard.expect(future::SetError { message: "late".to_owned() }, false);
    shard.expect(future::Cancel {}, false);
    let expected = FutureState::Value(value);
    assert_eq!(shard.take_answer(&waiting), Some(Ok(expected.clone())));
    assert_eq!(shard.call(3, future::Get { timeout_ms: Some(0) }), Ok(expected));
}

#[test]
fn a_future_takes_nothing_above_the_limit_and_stays_open() {
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    let mut shard = TestShard::new::<future::Type>(future::Creation {});
    let value = Value::bytes(&vec![1; VALUE_BYTES_MAX + 1]);
    assert_eq!(shard.call(1, future::Set { value }), Err(too_large.clone()));
    assert_eq!(shard.call(1, future::SetError { message: "x".repeat(VALUE_BYTES_MAX + 1) }), Err(too_large));
    shard.expect(future::IsDone {}, false);
}

#[test]
fn a_latch_at_zero_lets_everybody_through_at_once_and_for_ever() {
    let mut shard = TestShard::new::<latch::Type>(latch::Creation { count: 2 });
    let waiting: Vec<_> =
        (2..6).map(|session| shard.begin(session, latch::Await { timeout_ms: None })).collect();
    shard.expect(latch::CountDown { n: 1 }, 1);
    assert!(waiting.iter().all(|call| shard.waits(call)));
    shard.expect(latch::CountDown { n: u64::MAX }, 0);
    for call in &waiting {
        assert_eq!(shard.take_answer(call), Some(Ok(())));
    }
    shard.expect(latch::Await { timeout_ms: Some(0) }, ());
    shard.expect(latch::CountDown { n: 1 }, 0);
    shard.expect(latch::Await { timeout_ms: None }, ());
}
