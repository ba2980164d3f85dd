//! The operations that join two values.

use crate::objects::merge::Joining;
use MergeOp::*;
use abide_net::{CallError, Value, value::Tag};
use abide_schema::MergeOp;
use proptest::prelude::*;

const ALL: [MergeOp; 10] = [Sum, Product, Min, Max, And, Or, Xor, Concat, First, Last];

fn join(op: MergeOp, there: &Value, new: &Value) -> Result<Value, CallError> {
    Joining::begin(op, there.clone()).join(new)?.finish()
}

fn int(value: impl Into<i128>) -> Value {
    Value::integer(value.into()).expect("64 bits")
}

fn json(text: &str) -> Value {
    Value::from_bytes(&[&[Tag::Json as u8], text.as_bytes()].concat()).expect("a document")
}

/// Any sound value, with kinds that have operations more often.
fn any_value() -> impl Strategy<Value = Value> {
    let numbers = prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN, 6]);
    let jsons =
        prop::sample::select(vec!["[]", "[1]", "{}", "[ ]\n", "[[],\"]\"]", "[1e999]", "[\"\\ud800\"]"]);
    prop_oneof![
        numbers.prop_map(int),
        any::<u64>().prop_map(int),
        any::<f64>().prop_map(Value::float),
        any::<bool>().prop_map(Value::bool),
        "[a-c]{0,3}".prop_map(|text| Value::text(&text)),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| Value::bytes(&bytes)),
        Just(Value::null()),
        Just(Value::encode(&[1, 2]).unwrap()),
        jsons.prop_filter_map("not every text is taken", |text| {
            Value::from_bytes(&[&[Tag::Json as u8], text.as_bytes()].concat()).ok()
        }),
    ]
}

proptest! {
    #[test]
    fn integers_join_as_integers_of_any_size_do(left: u64, right: i64, both_signed: bool) {
        let a = if both_signed { i128::from(left as i64) } else { i128::from(left) };
        let b = i128::from(right);
        for (op, result) in [
            (Sum, a + b),
            (Product, a * b),
            (Min, a.min(b)),
            (Max, a.max(b)),
            (And, a & b),
            (Or, a | b),
            (Xor, a ^ b),
            (First, a),
            (Last, b),
        ] {
            let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&result);
            match join(op, &int(a), &int(b)) {
                Ok(value) => prop_assert_eq!(value, int(result)),
                Err(error) => {
                    let overflow = matches!(error, CallError::BadArgument { .. });
                    prop_assert!(!fits && overflow, "{:?} {}", op, error);
                }
            }
        }
    }

    #[test]
    fn whatever_is_joined_gives_a_sound_value_or_an_error_and_never_panics(
        there in any_value(),
        new in any_value(),
    ) {
        for op in ALL {
            match join(op, &there, &new) {
                Ok(value) => prop_assert_eq!(&Value::from_bytes(value.as_bytes()).unwrap(), &value),
                Err(error) => prop_assert!(
                    matches!(error, CallError::WrongType { .. } | CallError::BadArgument { .. }),
                    "{}", error
                ),
            }
        }
        prop_assert_eq!(join(First, &there, &new), Ok(there.clone()));
        prop_assert_eq!(join(Last, &there, &new), Ok(new));
    }
}

#[test]
fn the_product_of_two_greatest_integers_is_an_error_not_a_panic() {
    let greatest = int(u64::MAX);
    assert!(matches!(join(Product, &greatest, &greatest), Err(CallError::BadArgument { .. })));
}

#[test]
fn floats_join_with_one_nan_for_all() {
    let float = Value::float;
    assert_eq!(join(Sum, &float(1.5), &float(2.0)), Ok(float(3.5)));
    assert_eq!(join(Product, &float(1.5), &float(2.0)), Ok(float(3.0)));
    assert_eq!(join(Sum, &float(f64::INFINITY), &float(f64::NEG_INFINITY)), Ok(float(f64::NAN)));
    assert_eq!(join(Sum, &float(-f64::NAN), &float(1.0)), Ok(float(f64::NAN)));
    assert_eq!(join(Min, &float(f64::NAN), &float(1.0)), Ok(float(1.0)));
    assert_eq!(join(Max, &float(1.0), &float(f64::NAN)), Ok(float(1.0)));
    assert_eq!(join(Min, &float(0.0), &float(-0.0)), Ok(float(-0.0)));
}

#[test]
fn bools_texts_and_bytes_join() {
    let (yes, no) = (Value::bool(true), Value::bool(false));
    assert_eq!(join(And, &yes, &no), Ok(no.clone()));
    assert_eq!(join(Or, &yes, &no), Ok(yes.clone()));
    assert_eq!(join(Xor, &yes, &yes), Ok(no));
    let text = Value::text;
    assert_eq!(join(Min, &text("b"), &text("aa")), Ok(text("aa")));
    assert_eq!(join(Max, &text("b"), &text("aa")), Ok(text("b")));
    assert_eq!(join(Concat, &text("ä"), &text("b")), Ok(text("äb")));
    assert_eq!(join(Concat, &Value::bytes(&[1]), &Value::bytes(&[2])), Ok(Value::bytes(&[1, 2])));
}

#[test]
fn json_arrays_join_element_by_element() {
    for (left, right, both) in [
        ("[]", "[]", "[]"),
        ("[1]", "[]", "[1]"),
        ("[]", "[1]", "[1]"),
        ("[1,[2]]", "[{\"a\":[]}]", "[1,[2],{\"a\":[]}]"),
        ("[ 1 ] ", "[\n2\t]\n", "[ 1,2]"),
        ("[ ]", "[\"]\"]", "[\"]\"]"),
    ] {
        assert_eq!(join(Concat, &json(left), &json(right)), Ok(json(both)), "{left} {right}");
    }
}

#[test]
fn what_does_not_fit_together_is_a_wrong_type() {
    let (number, float, text) = (int(1), Value::float(1.0), Value::text("1"));
    let wrong = |op, there: &Value, new: &Value| {
        let result = join(op, there, new);
        assert!(
            matches!(result, Err(CallError::WrongType { .. })),
            "{op:?} of {there:?} and {new:?}: {result:?}"
        );
    };
    for op in [Sum, Product, Min, Max, And, Or, Xor, Concat] {
        wrong(op, &number, &float);
        wrong(op, &float, &text);
        wrong(op, &Value::null(), &Value::null());
        wrong(op, &json("{}"), &json("[]"));
        wrong(op, &json("[]"), &json("{}"));
    }
    wrong(Sum, &text, &text);
    wrong(And, &float, &float);
    wrong(Concat, &number, &number);
    wrong(Sum, &Value::bool(true), &Value::bool(true));
}
