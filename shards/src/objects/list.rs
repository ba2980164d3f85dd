//! Sequences of values.

use super::sizes::{self, AnswerScale, check_value, encoded_bytes, memory_of};
use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::{CallError, Value};
use abide_schema::{Page, types::list};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// The position of the first value of a new list. From here there is room for more values in front, and
/// behind, than any memory holds; and no list ever has position 0, the cursor that means "from the front".
const FIRST_POSITION: u64 = 1 << 62;

/// A sequence of values: see [`list`].
///
/// Each value has a position, which cursors name: the front's, plus its index. Adding and removing at the
/// front changes the front's position and nobody else's.
///
/// Invariant: `content_bytes` is the sum of what the values take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct List {
    /// The position of the first value, or of the first that will be pushed.
    front: u64,
    values: VecDeque<Value>,
    #[serde(skip)]
    content_bytes: usize,
}

/// A list at rest.
#[derive(Deserialize)]
struct Saved {
    front: u64,
    values: VecDeque<Value>,
}

impl From<Saved> for List {
    fn from(Saved { front, values }: Saved) -> List {
        let content_bytes = values.iter().map(memory_of).sum();
        List { front, values, content_bytes }
    }
}

impl SharedObject for List {
    type Type = list::Type;

    fn create(list::Creation {}: list::Creation) -> Result<Self, CallError> {
        Ok(Saved { front: FIRST_POSITION, values: VecDeque::new() }.into())
    }
}

impl Object for List {
    calls_and_state!(abide_schema::types::list);

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.content_bytes
    }
}

impl List {
    fn out_of_bounds(&self) -> CallError {
        CallError::OutOfBounds { len: self.values.len() as u64 }
    }

    /// An index that is below `end`.
    fn index(&self, index: u64, end: usize) -> Result<usize, CallError> {
        usize::try_from(index).ok().filter(|index| *index < end).ok_or_else(|| self.out_of_bounds())
    }

    fn took(&mut self, value: Value) -> Value {
        self.content_bytes -= memory_of(&value);
        value
    }

    fn pop_first(&mut self) -> Option<Value> {
        let value = self.values.pop_front()?;
        self.front = self.front.saturating_add(1);
        Some(self.took(value))
    }

    fn push_first(&mut self, value: Value) {
        self.content_bytes += memory_of(&value);
        self.front = self.front.saturating_sub(1);
        self.values.push_front(value);
    }

    fn push_last(&mut self, value: Value) {
        self.content_bytes += memory_of(&value);
        self.values.push_back(value);
    }

    fn take_at(&mut self, index: usize) -> Option<Value> {
        if index == 0 {
            return self.pop_first();
        }
        self.values.remove(index).map(|value| self.took(value))
    }

    /// Removes what `keep` refuses, and returns how many that was.
    fn retain(&mut self, keep: impl Fn(&Value) -> bool) -> u64 {
        let before = self.values.len();
        let mut removed_bytes = 0;
        self.values.retain(|value| {
            let keeps = keep(value);
            removed_bytes += if keeps { 0 } else { memory_of(value) };
            keeps
        });
        self.content_bytes -= removed_bytes;
        (before - self.values.len()) as u64
    }
}

impl list::Methods<Context<'_>> for List {
    fn len(&mut self, _: &mut Context<'_>) -> Result<u64, CallError> {
        Ok(self.values.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.values.is_empty())
    }

    fn get(&mut self, _: &mut Context<'_>, index: u64) -> Result<Option<Value>, CallError> {
        Ok(usize::try_from(index).ok().and_then(|index| self.values.get(index)).cloned())
    }

    fn set(&mut self, _: &mut Context<'_>, index: u64, value: Value) -> Result<Value, CallError> {
        check_value(&value)?;
        let index = self.index(index, self.values.len())?;
        self.content_bytes += memory_of(&value);
        let before = std::mem::replace(&mut self.values[index], value);
        Ok(self.took(before))
    }

    fn push(&mut self, _: &mut Context<'_>, value: Value) -> Result<u64, CallError> {
        check_value(&value)?;
        self.push_last(value);
        Ok(self.values.len() as u64)
    }

    fn insert(&mut self, _: &mut Context<'_>, index: u64, value: Value) -> Result<(), CallError> {
        check_value(&value)?;
        let index = self.index(index, self.values.len() + 1)?;
        // In front of the first value of several: the others keep their positions.
        if index == 0 && !self.values.is_empty() {
            self.push_first(value);
        } else {
            self.content_bytes += memory_of(&value);
            self.values.insert(index, value);
        }
        Ok(())
    }

    fn remove_at(&mut self, _: &mut Context<'_>, index: u64) -> Result<Value, CallError> {
        let index = self.index(index, self.values.len())?;
        self.take_at(index).ok_or_else(|| self.out_of_bounds())
    }

    fn remove(&mut self, _: &mut Context<'_>, value: Value) -> Result<bool, CallError> {
        let index = self.values.iter().position(|there| *there == value);
        Ok(index.and_then(|index| self.take_at(index)).is_some())
    }

    fn pop_front(&mut self, _: &mut Context<'_>) -> Result<Option<Value>, CallError> {
        Ok(self.pop_first())
    }

    fn pop_back(&mut self, _: &mut Context<'_>) -> Result<Option<Value>, CallError> {
        let value = self.values.pop_back();
        Ok(value.map(|value| self.took(value)))
    }

    fn push_front(&mut self, _: &mut Context<'_>, value: Value) -> Result<u64, CallError> {
        check_value(&value)?;
        self.push_first(value);
        Ok(self.values.len() as u64)
    }

    fn contains(&mut self, _: &mut Context<'_>, value: Value) -> Result<bool, CallError> {
        Ok(self.values.contains(&value))
    }

    fn contains_all(&mut self, _: &mut Context<'_>, values: Vec<Value>) -> Result<bool, CallError> {
        let mut missing = BTreeSet::from_iter(values);
        for value in &self.values {
            if missing.is_empty() {
                break;
            }
            missing.remove(value);
        }
        Ok(missing.is_empty())
    }

    fn extend(&mut self, _: &mut Context<'_>, values: Vec<Value>) -> Result<u64, CallError> {
        values.iter().try_for_each(check_value)?;
        values.into_iter().for_each(|value| self.push_last(value));
        Ok(self.values.len() as u64)
    }

    fn remove_all(&mut self, _: &mut Context<'_>, values: Vec<Value>) -> Result<u64, CallError> {
        let values = BTreeSet::from_iter(values);
        Ok(self.retain(|value| !values.contains(value)))
    }

    fn retain_all(&mut self, _: &mut Context<'_>, values: Vec<Value>) -> Result<u64, CallError> {
        let values = BTreeSet::from_iter(values);
        Ok(self.retain(|value| values.contains(value)))
    }

    fn clear(&mut self, _: &mut Context<'_>) -> Result<(), CallError> {
        // As if each were popped: what is pushed next comes after every cursor that was given out.
        self.front = self.front.saturating_add(self.values.len() as u64);
        self.values = VecDeque::new();
        self.content_bytes = 0;
        Ok(())
    }

    fn index_of(&mut self, _: &mut Context<'_>, value: Value) -> Result<Option<u64>, CallError> {
        Ok(self.values.iter().position(|there| *there == value).map(|index| index as u64))
    }

    fn last_index_of(&mut self, _: &mut Context<'_>, value: Value) -> Result<Option<u64>, CallError> {
        Ok(self.values.iter().rposition(|there| *there == value).map(|index| index as u64))
    }

    fn slice(&mut self, _: &mut Context<'_>, start: u64, end: u64) -> Result<Vec<Value>, CallError> {
        let len = self.values.len() as u64;
        let end = end.min(len);
        let range = start.min(end) as usize..end as usize;
        let mut scale = AnswerScale::new(range.len());
        self.values.range(range.clone()).try_for_each(|value| scale.add(encoded_bytes(value) - 1))?;
        Ok(self.values.range(range).cloned().collect())
    }

    fn page(&mut self, _: &mut Context<'_>, cursor: u64, limit: u32) -> Result<Page<Value, u64>, CallError> {
        let start = cursor.saturating_sub(self.front).min(self.values.len() as u64);
        let values = self.values.range(start as usize..).cloned();
        Ok(sizes::page(values, limit, encoded_bytes, |taken| {
            Some(self.front.saturating_add(start).saturating_add(taken.len() as u64))
        }))
    }
}
