//! Byte strings and references, against the same in Rust.

use super::driver::TestShard;
use abide_net::{Bytes, CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::types::{atomic_byte_array, atomic_ref};
use proptest::prelude::*;

fn few_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0..3_u8, 0..6).prop_map(Bytes)
}

/// Mostly near the length of a short string, sometimes far out.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

proptest! {
    #[test]
    fn byte_arrays_do_what_a_vec_does(
        initial in few_bytes(),
        calls in prop::collection::vec((0..9_u8, few_bytes(), few_bytes(), offset(), offset()), 1..50),
    ) {
        use atomic_byte_array::*;
        let mut shard = TestShard::new::<Type>(Creation { initial: initial.clone() });
        let mut model = initial.0;
        for (method, a, b, offset, len) in calls {
            let before = Bytes(model.clone());
            let out_of_bounds = CallError::OutOfBounds { len: model.len() as u64 };
            match method {
                0 => shard.expect(Get {}, before),
                1 => {
                    model = a.0.clone();
                    shard.expect(Set { bytes: a }, ());
                }
                2 => {
                    model = a.0.clone();
                    shard.expect(Swap { bytes: a }, before);
                }
                3 => {
                    let expected = if offset % 2 == 0 { before.clone() } else { a };
                    let equal = expected == before;
                    model = if equal { b.0.clone() } else { model };
                    let result = if equal { Ok(before) } else { Err(before) };
                    shard.expect(CompareExchange { expected, bytes: b }, result);
                }
                4 => shard.expect(Len {}, model.len() as u64),
                5 => {
                    let end = u128::from(offset) + u128::from(len);
                    let expected = (end <= model.len() as u128)
                        .then(|| Bytes(model[offset as usize..end as usize].to_vec()))
                        .ok_or(out_of_bounds);
                    prop_assert_eq!(shard.call(1, GetRange { offset, len }), expected);
                }
                6 => {
                    let end = u128::from(offset) + a.0.len() as u128;
                    let expected = if end <= model.len() as u128 {
                        model.splice(offset as usize..end as usize, a.0.clone());
                        Ok(())
                    } else {
                        Err(out_of_bounds)
                    };
                    prop_assert_eq!(shard.call(1, SetRange { offset, bytes: a }), expected);
                }
                7 => {
                    model.extend(&a.0);
                    shard.expect(Append { bytes: a }, model.len() as u64);
                }
                _ => {
                    let expected = if offset <= VALUE_BYTES_MAX as u64 {
                        model.resize(offset as usize, 0);
                        Ok(())
                    } else {
                        Err(CallError::TooLarge { max: VALUE_BYTES_MAX as u64 })
                    };
                    prop_assert_eq!(shard.call(1, Resize { len: offset }), expected);
                }
            }
            shard.expect(Get {}, Bytes(model.clone()));
        }
    }

    #[test]
    fn references_do_what_an_option_does(
        initial in prop::option::of(0..3_u8),
        calls in prop::collection::vec(
            (0..7_u8, prop::option::of(0..3_u8), prop::option::of(0..3_u8), 0..20_u64), 1..50,
        ),
    ) {
        use atomic_ref::*;
        let value = |n: Option<u8>| n.map(|n| Value::encode(&vec![n]).unwrap());
        let mut shard = TestShard::new::<Type>(Creation { initial: value(initial) });
        let mut model = value(initial);
        let mut version = 0;
        for (method, a, b, guess) in calls {
            let (a, b, before) = (value(a), value(b), model.clone());
            match method {
                0 => shard.expect(Get {}, before),
                1 => {
                    (model, version) = (a.clone(), version + 1);
                    shard.expect(Set { value: a }, ());
                }
                2 => {
                    (model, version) = (a.clone(), version + 1);
                    shard.expect(Swap { value: a }, before);
                }
                3 => {
                    let result = if a == before {
                        (model, version) = (b.clone(), version + 1);
                        Ok(before)
                    } else {
                        Err(before)
                    };
                    shard.expect(CompareExchange { expected: a, value: b }, result);
                }
                4 => {
                    version += u64::from(model.take().is_some());
                    shard.expect(Take {}, before);
                }
                5 => shard.expect(GetVersioned {}, (version, before)),
                _ => {
                    let guess = if guess % 2 == 0 { version } else { guess };
                    let result = if guess == version {
                        (model, version) = (a.clone(), version + 1);
                        Ok(version)
                    } else {
                        Err(version)
                    };
                    shard.expect(SetIfVersion { version: guess, value: a }, result);
                }
            }
            shard.expect(GetVersioned {}, (version, model.clone()));
        }
    }
}

#[test]
fn a_byte_array_never_grows_past_the_limit_and_stays_as_it_was_when_it_would() {
    use atomic_byte_array::*;
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    let mut shard = TestShard::new::<Type>(Creation { initial: Bytes::default() });
    shard.expect(Resize { len: VALUE_BYTES_MAX as u64 }, ());
    shard.expect(Append { bytes: Bytes::default() }, VALUE_BYTES_MAX as u64);
    assert_eq!(shard.call(1, Append { bytes: Bytes(vec![1]) }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Resize { len: VALUE_BYTES_MAX as u64 + 1 }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Set { bytes: Bytes(vec![1; VALUE_BYTES_MAX + 1]) }), Err(too_large));
    shard.expect(Len {}, VALUE_BYTES_MAX as u64);
    // The longest one travels whole.
    assert_eq!(shard.get(Get {}).0.len(), VALUE_BYTES_MAX);
    shard.get(Set { bytes: Bytes(vec![1; VALUE_BYTES_MAX]) });
    assert_eq!(shard.info().bytes / VALUE_BYTES_MAX as u64, 1);
    shard.expect(Resize { len: 0 }, ());
    assert!(shard.info().bytes < 1_000);
}

#[test]
fn a_reference_takes_a_value_of_the_limit_and_none_above() {
    use atomic_ref::*;
    let mut shard = TestShard::new::<Type>(Creation { initial: None });
    let largest = Some(Value::bytes(&vec![7; VALUE_BYTES_MAX]));
    shard.expect(Set { value: largest.clone() }, ());
    let larger = Some(Value::bytes(&vec![7; VALUE_BYTES_MAX + 1]));
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Set { value: larger }), Err(too_large));
    shard.expect(GetVersioned {}, (1, largest));
}

#[test]
fn a_value_that_came_back_has_another_version() {
    use atomic_ref::*;
    let mut shard = TestShard::new::<Type>(Creation { initial: Some(Value::bool(true)) });
    let (seen, _) = shard.get(GetVersioned {});
    shard.get(Set { value: None });
    shard.get(Set { value: Some(Value::bool(true)) });
    shard.expect(SetIfVersion { version: seen, value: None }, Err(seen + 2));
}
