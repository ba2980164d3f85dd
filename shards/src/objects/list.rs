//! Sequences of values.

use super::sizes::{self, AnswerScale, check_value, encoded_bytes};
use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number, Sequence},
};
use abide_net::{CallError, Value};
use abide_schema::{Page, types::list};
use std::collections::BTreeSet;

/// The position of the first value of a new list. From here there is room for more values in front, and
/// behind, than any memory holds; and no list ever has position 0, the cursor that means "from the front".
const FIRST_POSITION: u64 = 1 << 62;

/// A sequence of values: see [`list`].
///
/// Each value has a position, which cursors name: the front's, plus its index. Adding and removing at the
/// front changes the front's position and nobody else's.
#[derive(Debug)]
pub struct List {
    /// The position of the first value, or of the first that will be pushed.
    front: Number<u64>,
    values: Sequence,
}

impl SharedObject for List {
    type Type = list::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        List { front: Number::at(fields, 0), values: Sequence::at(fields, 1) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        list::Creation {}: list::Creation,
    ) -> Result<(), CallError> {
        self.front.set(context, FIRST_POSITION)
    }

    calls!(abide_schema::types::list);
}

fn value_of(bytes: Option<Vec<u8>>) -> Result<Option<Value>, CallError> {
    bytes.map(|bytes| Value::from_bytes(&bytes)).transpose()
}

impl List {
    fn out_of_bounds(&self, context: &Context<'_, '_>) -> Result<CallError, CallError> {
        Ok(CallError::OutOfBounds { len: self.values.len(context)? })
    }

    fn pop_first(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        let value = self.values.pop_front(context)?;
        if value.is_some() {
            self.front.update(context, |front| front.saturating_add(1))?;
        }
        value_of(value)
    }

    fn push_first(&mut self, context: &mut Context<'_, '_>, value: &Value) -> Result<(), CallError> {
        self.front.update(context, |front| front.saturating_sub(1))?;
        self.values.push_front(context, value.as_bytes())
    }

    fn take_at(&mut self, context: &mut Context<'_, '_>, index: u64) -> Result<Option<Value>, CallError> {
        if index == 0 {
            return self.pop_first(context);
        }
        self.values.remove(context, index).and_then(|value| Value::from_bytes(&value)).map(Some)
    }

    /// The first index at which `is_wanted`.
    fn position(
        &self,
        context: &Context<'_, '_>,
        mut is_wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<u64>, CallError> {
        let mut found = None;
        self.values.for_each(context, 0, |index, there| {
            if is_wanted(there) {
                found = Some(index);
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Removes what `keep` refuses, and returns how many that was.
    fn retain(
        &mut self,
        context: &mut Context<'_, '_>,
        keep: impl Fn(&[u8]) -> bool,
    ) -> Result<u64, CallError> {
        let mut unwanted = Vec::new();
        let mut kept = Vec::new();
        self.values.for_each(context, 0, |index, there| {
            if keep(there) {
                kept.push(there.to_vec())
            } else {
                unwanted.push(index)
            }
            Ok(true)
        })?;
        // Few are taken out one by one; if most go, what stays is written anew.
        if unwanted.len() <= kept.len() {
            for index in unwanted.iter().rev() {
                self.values.remove(context, *index)?;
            }
        } else {
            self.values.clear(context)?;
            for value in &kept {
                self.values.push_back(context, value)?;
            }
        }
        Ok(unwanted.len() as u64)
    }
}

impl list::Methods<Context<'_, '_>> for List {
    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.values.len(context)
    }

    fn is_empty(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.values.is_empty(context)
    }

    fn get(&mut self, context: &mut Context<'_, '_>, index: u64) -> Result<Option<Value>, CallError> {
        value_of(self.values.get(context, index)?)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, index: u64, value: Value) -> Result<Value, CallError> {
        check_value(&value)?;
        let Some(before) = value_of(self.values.get(context, index)?)? else {
            return Err(self.out_of_bounds(context)?);
        };
        self.values.set(context, index, value.as_bytes())?;
        Ok(before)
    }

    fn push(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<u64, CallError> {
        check_value(&value)?;
        self.values.push_back(context, value.as_bytes())?;
        self.values.len(context)
    }

    fn insert(&mut self, context: &mut Context<'_, '_>, index: u64, value: Value) -> Result<(), CallError> {
        check_value(&value)?;
        if index > self.values.len(context)? {
            return Err(self.out_of_bounds(context)?);
        }
        // In front of the first value of several: the others keep their positions.
        if index == 0 && !self.values.is_empty(context)? {
            self.push_first(context, &value)
        } else {
            self.values.insert(context, index, value.as_bytes())
        }
    }

    fn remove_at(&mut self, context: &mut Context<'_, '_>, index: u64) -> Result<Value, CallError> {
        if index >= self.values.len(context)? {
            return Err(self.out_of_bounds(context)?);
        }
        match self.take_at(context, index)? {
            Some(value) => Ok(value),
            None => Err(self.out_of_bounds(context)?),
        }
    }

    fn remove(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        match self.position(context, |there| there == value.as_bytes())? {
            Some(index) => Ok(self.take_at(context, index)?.is_some()),
            None => Ok(false),
        }
    }

    fn pop_front(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        self.pop_first(context)
    }

    fn pop_back(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        value_of(self.values.pop_back(context)?)
    }

    fn push_front(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<u64, CallError> {
        check_value(&value)?;
        self.push_first(context, &value)?;
        self.values.len(context)
    }

    fn contains(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        Ok(self.position(context, |there| there == value.as_bytes())?.is_some())
    }

    fn contains_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<bool, CallError> {
        let mut missing: BTreeSet<&[u8]> = values.iter().map(Value::as_bytes).collect();
        if missing.is_empty() {
            return Ok(true);
        }
        self.values.for_each(context, 0, |_, there| {
            missing.remove(there);
            Ok(!missing.is_empty())
        })?;
        Ok(missing.is_empty())
    }

    fn extend(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        values.iter().try_for_each(check_value)?;
        for value in &values {
            self.values.push_back(context, value.as_bytes())?;
        }
        self.values.len(context)
    }

    fn remove_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        let values: BTreeSet<&[u8]> = values.iter().map(Value::as_bytes).collect();
        self.retain(context, |value| !values.contains(value))
    }

    fn retain_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        let values: BTreeSet<&[u8]> = values.iter().map(Value::as_bytes).collect();
        self.retain(context, |value| values.contains(value))
    }

    fn clear(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        // As if each were popped: what is pushed next comes after every cursor that was given out.
        let len = self.values.len(context)?;
        self.front.update(context, |front| front.saturating_add(len))?;
        self.values.clear(context)
    }

    fn index_of(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<Option<u64>, CallError> {
        self.position(context, |there| there == value.as_bytes())
    }

    fn last_index_of(
        &mut self,
        context: &mut Context<'_, '_>,
        value: Value,
    ) -> Result<Option<u64>, CallError> {
        let mut last = None;
        self.values.for_each(context, 0, |index, there| {
            if there == value.as_bytes() {
                last = Some(index);
            }
            Ok(true)
        })?;
        Ok(last)
    }

    fn slice(
        &mut self,
        context: &mut Context<'_, '_>,
        start: u64,
        end: u64,
    ) -> Result<Vec<Value>, CallError> {
        let end = end.min(self.values.len(context)?);
        let start = start.min(end);
        let mut scale = AnswerScale::new((end - start) as usize);
        let mut values = Vec::new();
        if start < end {
            self.values.for_each(context, start, |index, there| {
                let value = Value::from_bytes(there)?;
                scale.add(encoded_bytes(&value) - 1)?;
                values.push(value);
                Ok(index + 1 < end)
            })?;
        }
        Ok(values)
    }

    fn page(
        &mut self,
        context: &mut Context<'_, '_>,
        cursor: u64,
        limit: u32,
    ) -> Result<Page<Value, u64>, CallError> {
        let front = self.front.get(context)?;
        let start = cursor.saturating_sub(front).min(self.values.len(context)?);
        let mut page = sizes::Gathering::new(limit);
        self.values.for_each(context, start, |_, there| {
            let value = Value::from_bytes(there)?;
            let bytes = encoded_bytes(&value);
            Ok(page.take(value, bytes))
        })?;
        Ok(page.finish(|taken| front.saturating_add(start).saturating_add(taken.len() as u64)))
    }
}
