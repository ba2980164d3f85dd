//! Values as models see them.

use abide_net::{Value, value::Opened};
use std::cmp::Ordering;

/// The order of a sorted map's keys: null, bools, integers, floats, texts, bytes, and then all others by their bytes.
pub(crate) fn by_order(left: &Value, right: &Value) -> Ordering {
    let class = |value: &Value| match value.open() {
        Opened::Null => 0,
        Opened::Bool(_) => 1,
        Opened::Int(_) | Opened::Uint(_) => 2,
        Opened::Float(_) => 3,
        Opened::Text(_) => 4,
        Opened::Bytes(_) => 5,
        _ => 6,
    };
    class(left).cmp(&class(right)).then_with(|| match (left.open(), right.open()) {
        (Opened::Bool(left), Opened::Bool(right)) => left.cmp(&right),
        (Opened::Float(left), Opened::Float(right)) => left.total_cmp(&right),
        (Opened::Text(left), Opened::Text(right)) => left.cmp(right),
        _ => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_bytes().cmp(right.as_bytes()),
        },
    })
}

/// An integer of any width.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value.open() {
        Opened::Int(value) => Some(value.into()),
        Opened::Uint(value) => Some(value.into()),
        _ => None,
    }
}

/// A value that is sorted by [`by_order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted(pub(crate) Value);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        by_order(&self.0, &other.0)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
