//! The operations that join two values.

use super::{
    floats::{extreme, settled},
    sizes::check_len,
};
use abide_net::{
    CallError, Value,
    value::{Opened, Tag},
};
use abide_schema::MergeOp;
use std::{cmp::Ordering, collections::BTreeMap};

/// A value that is being joined with others, one after the other, by one operation.
///
/// Concatenation appends to one buffer, so that joining many parts costs their sum and not its square.
#[derive(Debug)]
pub(super) struct Joining {
    op: MergeOp,
    state: State,
}

#[derive(Debug)]
enum State {
    Whole(Value),
    /// The canonical bytes of a concatenation that goes on.
    Growing(Vec<u8>),
}

impl Joining {
    /// Begins with the value that is there.
    pub(super) fn begin(op: MergeOp, there: Value) -> Joining {
        Joining { op, state: State::Whole(there) }
    }

    /// Joins a new value.
    pub(super) fn join(self, new: &Value) -> Result<Joining, CallError> {
        let op = self.op;
        let state = match (self.state, op) {
            (State::Growing(bytes), _) => State::Growing(concat(bytes, new)?),
            (State::Whole(there), MergeOp::Concat) => State::Growing(concat(there.as_bytes().to_vec(), new)?),
            (State::Whole(there), _) => State::Whole(single(op, &there, new)?),
        };
        Ok(Joining { op, state })
    }

    /// The value after all.
    pub(super) fn finish(self) -> Result<Value, CallError> {
        match self.state {
            State::Whole(value) => Ok(value),
            State::Growing(bytes) => Value::from_bytes(&bytes),
        }
    }
}

/// Joins values with those that are `there` under the same keys, in order; several of one key one after the other.
pub(super) fn join_all(
    op: MergeOp,
    entries: &[(Value, Value)],
    there: impl Fn(&Value) -> Result<Option<Value>, CallError>,
) -> Result<BTreeMap<&Value, Joining>, CallError> {
    let mut joined: BTreeMap<&Value, Joining> = BTreeMap::new();
    for (key, value) in entries {
        let after = match joined.remove(key) {
            Some(joining) => joining.join(value)?,
            None => match there(key)? {
                Some(there) => Joining::begin(op, there).join(value)?,
                None => Joining::begin(op, value.clone()),
            },
        };
        joined.insert(key, after);
    }
    Ok(joined)
}

fn cannot(op: MergeOp, there: &Value, new: &Value) -> CallError {
    let (there, new) = (there.tag().name(), new.tag().name());
    CallError::WrongType { is: format!("{there}, which {op:?} does not join with {new}") }
}

fn single(op: MergeOp, there: &Value, new: &Value) -> Result<Value, CallError> {
    match op {
        MergeOp::First => return Ok(there.clone()),
        MergeOp::Last => return Ok(new.clone()),
        _ => {}
    }
    let joined = match (there.open(), new.open()) {
        (Opened::Int(left), Opened::Int(right)) => integers(op, left.into(), right.into())?,
        (Opened::Int(left), Opened::Uint(right)) => integers(op, left.into(), right.into())?,
        (Opened::Uint(left), Opened::Int(right)) => integers(op, left.into(), right.into())?,
        (Opened::Uint(left), Opened::Uint(right)) => integers(op, left.into(), right.into())?,
        (Opened::Float(left), Opened::Float(right)) => floats(op, left, right),
        (Opened::Bool(left), Opened::Bool(right)) => bools(op, left, right),
        (Opened::Text(left), Opened::Text(right)) => match op {
            MergeOp::Min => Some(if right < left { new } else { there }.clone()),
            MergeOp::Max => Some(if right > left { new } else { there }.clone()),
            _ => None,
        },
        _ => None,
    };
    joined.ok_or_else(|| cannot(op, there, new))
}

/// Nothing if integers have no such operation; an error if its result needs more than 64 bits.
fn integers(op: MergeOp, left: i128, right: i128) -> Result<Option<Value>, CallError> {
    let result = match op {
        MergeOp::Sum => left.checked_add(right),
        MergeOp::Product => left.checked_mul(right),
        MergeOp::Min => Some(left.min(right)),
        MergeOp::Max => Some(left.max(right)),
        MergeOp::And => Some(left & right),
        MergeOp::Or => Some(left | right),
        MergeOp::Xor => Some(left ^ right),
        MergeOp::Concat | MergeOp::First | MergeOp::Last => return Ok(None),
    };
    let value = result.and_then(Value::integer);
    value
        .map(Some)
        .ok_or_else(|| CallError::bad_argument(format!("{op:?} of {left} and {right} overflows 64 bits")))
}

fn floats(op: MergeOp, left: f64, right: f64) -> Option<Value> {
    Some(Value::float(match op {
        MergeOp::Sum => settled(left + right),
        MergeOp::Product => settled(left * right),
        MergeOp::Min => extreme(left, right, Ordering::Less),
        MergeOp::Max => extreme(left, right, Ordering::Greater),
        _ => return None,
    }))
}

fn bools(op: MergeOp, left: bool, right: bool) -> Option<Value> {
    Some(Value::bool(match op {
        MergeOp::And => left & right,
        MergeOp::Or => left | right,
        MergeOp::Xor => left ^ right,
        _ => return None,
    }))
}

/// Appends a text to a text, bytes to bytes, or the elements of a JSON array to a JSON array. `there` is
/// the canonical bytes of a value.
fn concat(mut there: Vec<u8>, new: &Value) -> Result<Vec<u8>, CallError> {
    let (tag, right) = (new.tag(), &new.as_bytes()[1..]);
    let joined = match tag {
        _ if there[0] != tag as u8 => None,
        Tag::Text | Tag::Bytes => {
            there.extend_from_slice(right);
            Some(())
        }
        Tag::Json => concat_arrays(&mut there, right),
        _ => None,
    };
    joined.ok_or_else(|| CallError::WrongType {
        is: format!("one that Concat does not join with {}", tag.name()),
    })?;
    check_len(there.len() - 1)?;
    Ok(there)
}

/// Appends the elements of one JSON array to another, as text: both are sound documents, and taking them
/// apart would only make the same text again. Nothing if one is an object. `left` has its tag in front.
fn concat_arrays(left: &mut Vec<u8>, right: &[u8]) -> Option<()> {
    let elements = right.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
    let end = left.trim_ascii_end().strip_suffix(b"]")?.trim_ascii_end().len();
    left.truncate(end);
    if left[1..].trim_ascii() != b"[" && !elements.is_empty() {
        left.push(b',');
    }
    left.extend_from_slice(elements);
    left.push(b']');
    Some(())
}
