//! Integers, floats, truth values and counters, against the same in Rust.

use super::driver::TestShard;
use abide_schema::types::{atomic_bool, atomic_double, atomic_int, atomic_long, counter};
use proptest::prelude::*;

macro_rules! integer_model {
    ($test:ident, $module:ident, $integer:ty) => {
        proptest! {
            #[test]
            fn $test(
                initial: $integer,
                calls in prop::collection::vec((0..17_u8, interesting(), interesting()), 1..50),
            ) {
                use $module::*;
                let mut shard = TestShard::new::<Type>(Creation { initial });
                let mut model = initial;
                for (method, a, b) in calls {
                    let (a, b, before) = (a as $integer, b as $integer, model);
                    match method {
                        0 => shard.expect(Get {}, before),
                        1 => { model = a; shard.expect(Set { value: a }, ()) }
                        2 => { model = a; shard.expect(Swap { value: a }, before) }
                        3 => {
                            // Half of the time the expectation is right.
                            let expected = if a % 2 == 0 { before } else { a };
                            let result = if expected == before { model = b; Ok(before) } else { Err(before) };
                            shard.expect(CompareExchange { expected, value: b }, result);
                        }
                        4 => { model = before.wrapping_add(a); shard.expect(AddAndGet { delta: a }, model) }
                        5 => { model = before.wrapping_add(a); shard.expect(GetAndAdd { delta: a }, before) }
                        6 => { model = before.wrapping_add(1); shard.expect(IncrementAndGet {}, model) }
                        7 => { model = before.wrapping_sub(1); shard.expect(DecrementAndGet {}, model) }
                        8 => { model = before.wrapping_add(1); shard.expect(GetAndIncrement {}, before) }
                        9 => { model = before.wrapping_sub(1); shard.expect(GetAndDecrement {}, before) }
                        10 => { model = before.min(a); shard.expect(FetchMin { value: a }, before) }
                        11 => { model = before.max(a); shard.expect(FetchMax { value: a }, before) }
                        12 => { model = before.wrapping_mul(a); shard.expect(FetchMul { factor: a }, before) }
                        13 => { model = before & a; shard.expect(FetchAnd { value: a }, before) }
                        14 => { model = before | a; shard.expect(FetchOr { value: a }, before) }
                        15 => { model = before ^ a; shard.expect(FetchXor { value: a }, before) }
                        _ => {
                            let sum = before.checked_add(a);
                            model = sum.unwrap_or(before);
                            shard.expect(CheckedAdd { delta: a }, sum);
                        }
                    }
                    shard.expect(Get {}, model);
                }
            }
        }
    };
}

/// Integers near the ends of several widths, or any.
fn interesting() -> impl Strategy<Value = i64> {
    let ends = [0, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN];
    prop_oneof![
        (prop::sample::select(ends.to_vec()), -2..3_i64).prop_map(|(a, b)| a.wrapping_add(b)),
        any::<i64>()
    ]
}

integer_model!(atomic_ints_do_what_an_i32_does, atomic_int, i32);
integer_model!(atomic_longs_do_what_an_i64_does, atomic_long, i64);

proptest! {
    #[test]
    fn counters_do_what_an_i64_does(
        initial: i64,
        calls in prop::collection::vec((0..4_u8, interesting()), 1..50),
    ) {
        use counter::*;
        let mut shard = TestShard::new::<Type>(Creation { initial });
        let mut model = initial;
        for (method, n) in calls {
            match method {
                0 => { model = model.wrapping_add(n); shard.expect(Increment { n }, ()) }
                1 => { model = model.wrapping_sub(n); shard.expect(Decrement { n }, ()) }
                2 => shard.expect(Tally {}, model),
                _ => shard.expect(Reset {}, std::mem::take(&mut model)),
            }
            shard.expect(Tally {}, model);
        }
    }

    #[test]
    fn atomic_bools_do_what_a_bool_does(
        initial: bool,
        calls in prop::collection::vec(any::<(u8, bool, bool)>(), 1..50),
    ) {
        use atomic_bool::*;
        let mut shard = TestShard::new::<Type>(Creation { initial });
        let mut model = initial;
        for (method, a, b) in calls {
            let before = model;
            match method % 7 {
                0 => shard.expect(Get {}, before),
                1 => { model = a; shard.expect(Set { value: a }, ()) }
                2 => { model = a; shard.expect(Swap { value: a }, before) }
                3 => {
                    let result = if a == before { model = b; Ok(before) } else { Err(before) };
                    shard.expect(CompareExchange { expected: a, value: b }, result);
                }
                4 => { model &= a; shard.expect(FetchAnd { value: a }, before) }
                5 => { model |= a; shard.expect(FetchOr { value: a }, before) }
                _ => { model ^= a; shard.expect(FetchXor { value: a }, before) }
            }
            shard.expect(Get {}, model);
        }
    }

    #[test]
    fn atomic_doubles_do_what_an_f64_does(
        initial in double(),
        calls in prop::collection::vec((0..8_u8, double(), double()), 1..50),
    ) {
        use atomic_double::*;
        let mut shard = TestShard::new::<Type>(Creation { initial });
        let mut model = initial;
        for (method, a, b) in calls {
            let before = model;
            // Compared by bits: NaN is not equal to itself, and 0.0 is to -0.0.
            let (result, expected) = match method {
                0 => (shard.get(Get {}), before),
                1 => { model = a; shard.get(Set { value: a }); (a, a) }
                2 => { model = a; (shard.get(Swap { value: a }), before) }
                3 => {
                    let guess = if a.is_sign_negative() { before } else { a };
                    let result = shard.get(CompareExchange { expected: guess, value: b });
                    let equal = guess.to_bits() == before.to_bits();
                    assert_eq!(result.is_ok(), equal);
                    model = if equal { b } else { before };
                    (result.unwrap_or_else(|there| there), before)
                }
                4 => { model = one_nan(before + a); (shard.get(AddAndGet { delta: a }), model) }
                5 => { model = one_nan(before * a); (shard.get(MulAndGet { factor: a }), model) }
                6 => {
                    model = slow_extreme(before, a, |a, b| a < b);
                    (shard.get(FetchMin { value: a }), before)
                }
                _ => {
                    model = slow_extreme(before, a, |a, b| a > b);
                    (shard.get(FetchMax { value: a }), before)
                }
            };
            assert_eq!(result.to_bits(), expected.to_bits(), "method {method} of {before} with {a}, {b}");
            assert_eq!(shard.get(Get {}).to_bits(), model.to_bits());
        }
    }
}

fn double() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
    ];
    prop_oneof![prop::sample::select(special.to_vec()), any::<f64>()]
}

fn one_nan(result: f64) -> f64 {
    if result.is_nan() { f64::NAN } else { result }
}

fn slow_extreme(there: f64, new: f64, wins: fn(f64, f64) -> bool) -> f64 {
    match (there.is_nan(), new.is_nan()) {
        (_, true) => there,
        (true, false) => new,
        // Of zeros, by their signs, which their reciprocals show.
        _ if there == 0.0 && new == 0.0 => {
            if wins(1.0 / new, 1.0 / there) {
                new
            } else {
                there
            }
        }
        _ => {
            if wins(new, there) {
                new
            } else {
                there
            }
        }
    }
}

#[test]
fn nan_equals_itself_and_zeros_have_signs() {
    use atomic_double::*;
    let mut shard = TestShard::new::<Type>(Creation { initial: f64::NAN });
    let swapped = shard.get(CompareExchange { expected: f64::NAN, value: 0.0 });
    assert!(swapped.is_ok_and(f64::is_nan));
    shard.expect(CompareExchange { expected: -0.0, value: 1.0 }, Err(0.0));
    shard.expect(FetchMin { value: -0.0 }, 0.0);
    assert!(shard.get(Get {}).is_sign_negative());
    shard.expect(FetchMax { value: f64::NAN }, -0.0);
    assert!(shard.get(Get {}).is_sign_negative());
}
