//! Exchangers.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::{CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::types::exchanger::*;
use proptest::prelude::*;

#[derive(Default)]
struct Market {
    waiting: Option<(usize, Value)>,
}

#[derive(Debug, Clone)]
struct Look;

impl Model for Market {
    type Wait = Exchange;
    type Other = Look;

    fn timeout_ms(wait: &Exchange) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, wait: Exchange, ends: &mut Ends<Value>) {
        match self.waiting.take() {
            None => self.waiting = Some((id, wait.value)),
            Some((first, value)) => ends.extend([(first, Ok(wait.value)), (id, Ok(value))]),
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, _: Look, _: &mut Ends<Value>) {
        assert_eq!(shard.call(session, Waiting {}), Ok(u64::from(self.waiting.is_some())));
    }

    fn gone(&mut self, id: usize, _: &mut Ends<Value>) {
        self.waiting.take_if(|(waiting, _)| *waiting == id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<Value>) {}
}

proptest! {
    #[test]
    fn exchangers_agree_with_a_slow_model(
        steps in steps(
            (any::<u16>(), timeout()).prop_map(|(n, timeout_ms)| Exchange {
                value: Value::encode(&n).unwrap(),
                timeout_ms,
            }),
            Just(Look),
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Market::default(), steps);
    }
}

#[test]
fn values_of_the_greatest_size_are_swapped_and_greater_ones_are_refused() {
    let exchange = |value: &Value| Exchange { value: value.clone(), timeout_ms: None };
    let [mine, yours] = [1, 2].map(|byte| Value::bytes(&vec![byte; VALUE_BYTES_MAX]));
    let mut shard = TestShard::new::<Type>(Creation {});
    let waiting = shard.begin(1, exchange(&mine));
    let too_large = Value::bytes(&vec![3; VALUE_BYTES_MAX + 1]);
    assert_eq!(shard.call(2, exchange(&too_large)), Err(CallError::TooLarge { max: VALUE_BYTES_MAX as u64 }));
    assert!(shard.waits(&waiting));
    assert_eq!(shard.call(2, exchange(&yours)), Ok(mine));
    assert_eq!(shard.take_answer(&waiting), Some(Ok(yours)));
    assert!(shard.info().bytes < 1_000, "nothing of them is kept");
}

#[test]
fn a_value_whose_caller_has_left_is_given_to_nobody() {
    let value = |n: u8| Value::encode(&n).unwrap();
    let mut shard = TestShard::new::<Type>(Creation {});
    let hasty = shard.begin(1, Exchange { value: value(1), timeout_ms: Some(10) });
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    let first = shard.begin(2, Exchange { value: value(2), timeout_ms: None });
    assert!(shard.waits(&first));
    assert_eq!(shard.call(3, Exchange { value: value(3), timeout_ms: None }), Ok(value(2)));
    assert_eq!(shard.take_answer(&first), Some(Ok(value(3))));
}

#[test]
fn nobody_waits_after_a_store_was_closed() {
    let mut shard = TestShard::new::<Type>(Creation {});
    shard.begin(2, Exchange { value: Value::text("lost"), timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(Waiting {}, 0);
    let waiting = shard.begin(1, Exchange { value: Value::text("a"), timeout_ms: None });
    assert_eq!(shard.call(2, Exchange { value: Value::text("b"), timeout_ms: None }), Ok(Value::text("a")));
    assert_eq!(shard.take_answer(&waiting), Some(Ok(Value::text("b"))));
}
