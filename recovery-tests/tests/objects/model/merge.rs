//! Operations that join two values.

use super::values::integer;
use abide_net::{
    CallError, Value,
    value::{Opened, Tag},
};
use abide_schema::MergeOp;
use std::cmp::Ordering;

fn wrong_type() -> CallError {
    CallError::WrongType { is: String::new() }
}

fn overflow() -> CallError {
    CallError::bad_argument("")
}

/// Joins the value that is there with a new one.
pub(super) fn join(op: MergeOp, there: &Value, new: &Value) -> Result<Value, CallError> {
    match op {
        MergeOp::First => return Ok(there.clone()),
        MergeOp::Last => return Ok(new.clone()),
        MergeOp::Concat => return concat(there, new),
        _ => {}
    }
    if let (Some(left), Some(right)) = (integer(there), integer(new)) {
        let joined = match op {
            MergeOp::Sum => left.checked_add(right),
            MergeOp::Product => left.checked_mul(right),
            MergeOp::Min => Some(left.min(right)),
            MergeOp::Max => Some(left.max(right)),
            MergeOp::And => Some(left & right),
            MergeOp::Or => Some(left | right),
            _ => Some(left ^ right),
        };
        return joined.and_then(Value::integer).ok_or_else(overflow);
    }
    match (there.open(), new.open()) {
        (Opened::Float(left), Opened::Float(right)) => match float(op, left, right) {
            Some(joined) => Ok(Value::float(joined)),
            None => Err(wrong_type()),
        },
        (Opened::Bool(left), Opened::Bool(right)) => match op {
            MergeOp::And => Ok(Value::bool(left && right)),
            MergeOp::Or => Ok(Value::bool(left || right)),
            MergeOp::Xor => Ok(Value::bool(left != right)),
            _ => Err(wrong_type()),
        },
        (Opened::Text(left), Opened::Text(right)) => match op {
            MergeOp::Min => Ok(Value::text(left.min(right))),
            MergeOp::Max => Ok(Value::text(left.max(right))),
            _ => Err(wrong_type()),
        },
        _ => Err(wrong_type()),
    }
}

/// One NaN for all, so that equal results have equal bits.
pub(super) fn settled(result: f64) -> f64 {
    if result.is_nan() { f64::NAN } else { result }
}

/// The smaller or greater of two floats: NaN loses, and -0.0 is less than 0.0.
pub(super) fn extreme(there: f64, new: f64, wanted: Ordering) -> f64 {
    match (there.is_nan(), new.is_nan()) {
        (_, true) => there,
        (true, false) => new,
        _ if new.total_cmp(&there) == wanted => new,
        _ => there,
    }
}

fn float(op: MergeOp, left: f64, right: f64) -> Option<f64> {
    match op {
        MergeOp::Sum => Some(settled(left + right)),
        MergeOp::Product => Some(settled(left * right)),
        MergeOp::Min => Some(extreme(left, right, Ordering::Less)),
        MergeOp::Max => Some(extreme(left, right, Ordering::Greater)),
        _ => None,
    }
}

/// The same for floats of a vector or matrix.
pub(super) fn floats(op: MergeOp, left: f64, right: f64) -> Result<f64, CallError> {
    match op {
        MergeOp::First => Ok(left),
        MergeOp::Last => Ok(right),
        op => float(op, left, right).ok_or_else(wrong_type),
    }
}

/// The same for integers of a vector or matrix, which have 64 bits.
pub(super) fn integers(op: MergeOp, left: i64, right: i64) -> Result<i64, CallError> {
    match op {
        MergeOp::Sum => left.checked_add(right).ok_or_else(overflow),
        MergeOp::Product => left.checked_mul(right).ok_or_else(overflow),
        MergeOp::Min => Ok(left.min(right)),
        MergeOp::Max => Ok(left.max(right)),
        MergeOp::And => Ok(left & right),
        MergeOp::Or => Ok(left | right),
        MergeOp::Xor => Ok(left ^ right),
        MergeOp::First => Ok(left),
        MergeOp::Last => Ok(right),
        MergeOp::Concat => Err(wrong_type()),
    }
}

fn concat(there: &Value, new: &Value) -> Result<Value, CallError> {
    match (there.open(), new.open()) {
        (Opened::Text(left), Opened::Text(right)) => Ok(Value::text(&format!("{left}{right}"))),
        (Opened::Bytes(left), Opened::Bytes(right)) => Ok(Value::bytes(&[left, right].concat())),
        (Opened::Json(_), Opened::Json(_)) => match (there.to_json(), new.to_json()) {
            (serde_json::Value::Array(mut left), serde_json::Value::Array(right)) => {
                left.extend(right);
                let joined = Value::from_json(&serde_json::Value::Array(left))?;
                assert_eq!(joined.tag(), Tag::Json);
                Ok(joined)
            }
            _ => Err(wrong_type()),
        },
        _ => Err(wrong_type()),
    }
}
