//! Any bytes as arguments: an answer or a wait, and never a panic.

use super::driver::TestShard;
use abide_net::{Bytes, CallError, Value, codec};
use abide_schema::{BUILT_IN, MergeOp};
use proptest::prelude::*;

/// One argument, well-formed as often as not.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0..4_u64, any::<u64>(), Just(u64::MAX), Just(1 << 62)];
    let value = prop_oneof![
        any::<i64>().prop_map(|n| Value::encode(&n).unwrap()),
        any::<f64>().prop_map(Value::float),
        ".{0,4}".prop_map(|text| Value::text(&text)),
        Just(Value::encode(&(1, 2)).unwrap()),
    ];
    let op = prop::sample::select(vec![MergeOp::Sum, MergeOp::Product, MergeOp::Concat, MergeOp::Xor]);
    prop_oneof![
        number.clone().prop_map(|number| codec::encode(&number).unwrap()),
        prop::option::of(number).prop_map(|number| codec::encode(&number).unwrap()),
        any::<i64>().prop_map(|number| codec::encode(&number).unwrap()),
        value.clone().prop_map(|value| codec::encode(&value).unwrap()),
        prop::option::of(value.clone()).prop_map(|value| codec::encode(&value).unwrap()),
        prop::collection::vec(value.clone(), 0..4).prop_map(|values| codec::encode(&values).unwrap()),
        prop::collection::vec((value.clone(), value), 0..4).prop_map(|pairs| codec::encode(&pairs).unwrap()),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| codec::encode(&Bytes(bytes)).unwrap()),
        op.prop_map(|op| codec::encode(&op).unwrap()),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn arguments() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(argument(), 0..4).prop_map(|arguments| arguments.concat())
}

/// Encoded creation arguments where there are no defaults: a few parties, counts, permits or numbers.
fn usual_creation(name: &str) -> Vec<u8> {
    match name {
        "CyclicBarrier" | "CountDownLatch" => vec![5],
        "Semaphore" => vec![5, 0],
        "RateLimiter" => vec![5, 10, 5],
        "Matrix" => vec![2, 2, 1, 0, 0],
        "Vector" => vec![3, 1, 0, 0],
        "Reducer" => vec![2, 2, 1, 0],
        other => panic!("what is {other} made with?"),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_method_panic(
        creation in prop::option::of(arguments()),
        calls in prop::collection::vec((0..34_u16, arguments(), 1..4_u128, 0..3_u64), 1..40),
    ) {
        for info in BUILT_IN {
            let defaults = info.default_creation.map(|defaults| defaults());
            let defaults = defaults.unwrap_or_else(|| usual_creation(info.name));
            let creation = creation.clone().unwrap_or(defaults);
            let mut shard = TestShard::untyped(info.id, creation);
            for (method, arguments, session, ms) in &calls {
                shard.call_untyped(*session, *method, arguments.clone());
                shard.pass_ms(*ms);
            }
            (1..4).for_each(|session| shard.goodbye(session));
            let mut errors = shard.all_errors().into_iter();
            let panicked = errors.find(|error| matches!(error, CallError::MethodPanicked { .. }));
            prop_assert_eq!(panicked, None, "{}", info.name);
        }
    }
}
