//! Keys whose bytes have the order of what they stand for.
//!
//! ```text
//! first byte  then
//! 0           nothing                  null
//! 1           0 or 1                   bool
//! 2           8 bytes, BE, sign turned integer that fits i64
//! 3           8 bytes, BE              integer above i64::MAX
//! 4           8 bytes, BE, see below   float, in the total order of IEEE 754
//! 5 to 8      as it is                 text, bytes, and what only its users can open
//! ```
//! The first byte is the value's own tag: only what has eight bytes is turned around. So a key and its value are of one length, and
//! each comes back from the other bit by bit, NaNs and the sign of zero included.
//!
//! A float's bits are those of an integer that grows with its size; turning the sign of a positive one, and all bits of a negative
//! one, puts them in the order of [`f64::total_cmp`].

use crate::state::damaged;
use abide_net::{
    CallError, Value,
    value::{Opened, Tag},
};

const SIGN: u64 = 1 << 63;

/// The key of a value.
pub(super) fn key_of(value: &Value) -> Vec<u8> {
    let word = match value.open() {
        Opened::Int(integer) => integer_to_word(integer),
        Opened::Uint(integer) => integer,
        Opened::Float(float) => float_to_word(float),
        _ => return value.as_bytes().to_vec(),
    };
    let mut key = vec![value.tag() as u8];
    key.extend_from_slice(&word.to_be_bytes());
    key
}

/// The value of a key.
pub(super) fn value_of(key: &[u8]) -> Result<Value, CallError> {
    const INT: u8 = Tag::Int as u8;
    const UINT: u8 = Tag::Uint as u8;
    const FLOAT: u8 = Tag::Float as u8;
    let broken = || damaged("a key");
    let word = || key[1..].try_into().map(u64::from_be_bytes).map_err(|_| broken());
    match key.first() {
        Some(&INT) => Ok(Value::integer(word_to_integer(word()?).into()).expect("it fits")),
        Some(&UINT) => {
            let integer = word()?;
            if integer < SIGN {
                return Err(broken());
            }
            Ok(Value::integer(integer.into()).expect("it fits"))
        }
        Some(&FLOAT) => Ok(Value::float(word_to_float(word()?))),
        _ => Value::from_bytes(key).map_err(|_| broken()),
    }
}

/// A word whose order is that of the integer.
pub(super) fn integer_to_word(integer: i64) -> u64 {
    integer as u64 ^ SIGN
}

/// The integer of a word.
pub(super) fn word_to_integer(word: u64) -> i64 {
    (word ^ SIGN) as i64
}

fn float_to_word(float: f64) -> u64 {
    let bits = float.to_bits();
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

fn word_to_float(word: u64) -> f64 {
    f64::from_bits(if word & SIGN == 0 { !word } else { word ^ SIGN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            1 => Just(Value::null()),
            1 => any::<bool>().prop_map(Value::bool),
            3 => any::<i64>().prop_map(|n| Value::integer(n.into()).unwrap()),
            3 => any::<u64>().prop_map(|n| Value::integer(n.into()).unwrap()),
            2 => (-3..3_i64).prop_map(|n| Value::integer(n.into()).unwrap()),
            // Any bits at all, NaNs of all kinds among them, and the small and the odd ones.
            3 => any::<u64>().prop_map(|bits| Value::float(f64::from_bits(bits))),
            2 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN])
                .prop_map(Value::float),
            2 => "[a-c]{0,3}".prop_map(|text| Value::text(&text)),
            2 => prop::collection::vec(any::<u8>(), 0..3).prop_map(|bytes| Value::bytes(&bytes)),
            1 => prop::collection::vec(any::<u8>(), 0..3).prop_map(|list| Value::encode(&list).unwrap()),
        ]
    }

    /// The order that the declaration promises, said without bytes.
    fn compare(left: &Value, right: &Value) -> std::cmp::Ordering {
        let integer = |value: &Value| match value.open() {
            Opened::Int(n) => Some(i128::from(n)),
            Opened::Uint(n) => Some(i128::from(n)),
            _ => None,
        };
        let class = |value: &Value| match value.tag() {
            Tag::Uint => Tag::Int as u8,
            tag => tag as u8,
        };
        match (left.open(), right.open()) {
            (Opened::Float(left), Opened::Float(right)) => left.total_cmp(&right),
            (Opened::Text(left), Opened::Text(right)) => left.cmp(right),
            (Opened::Bytes(left), Opened::Bytes(right)) => left.cmp(right),
            _ => match (integer(left), integer(right)) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => class(left).cmp(&class(right)).then_with(|| left.as_bytes().cmp(right.as_bytes())),
            },
        }
    }

    proptest! {
        #[test]
        fn keys_have_the_order_of_their_values(left in any_value(), right in any_value()) {
            prop_assert_eq!(key_of(&left).cmp(&key_of(&right)), compare(&left, &right), "{:?} and {:?}", left, right);
        }

        #[test]
        fn values_come_back_bit_by_bit(value in any_value()) {
            let key = key_of(&value);
            prop_assert_eq!(key.len(), value.as_bytes().len());
            prop_assert_eq!(value_of(&key), Ok(value));
        }

        #[test]
        fn keys_that_no_value_has_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..12), tag in 0..10_u8) {
            for bytes in [&[][..], &[tag], &bytes, &[&[tag], &bytes[..]].concat()] {
                if let Ok(value) = value_of(bytes) {
                    prop_assert_eq!(key_of(&value), bytes);
                }
            }
        }
    }
}
