//! Maps from values to values.

use super::{
    merge::{Joining, join_all},
    sizes::{self, AnswerScale, check_map_key, check_value, encoded_bytes},
};
use crate::{
    Context, SharedObject, calls,
    state::{Dictionary, Fields},
};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::map};

/// A map from values to values: see [`map`].
#[derive(Debug)]
pub struct Map {
    entries: Dictionary,
}

impl SharedObject for Map {
    type Type = map::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Map { entries: Dictionary::at(fields, 0) }
    }

    fn create(&mut self, _: &mut Context<'_, '_>, map::Creation {}: map::Creation) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::map);
}

fn check_entry(key: &Value, value: &Value) -> Result<(), CallError> {
    check_map_key(key)?;
    check_value(value)
}

pub(super) fn value_of(bytes: Option<Vec<u8>>) -> Result<Option<Value>, CallError> {
    bytes.map(|bytes| Value::from_bytes(&bytes)).transpose()
}

impl Map {
    fn there(&self, context: &Context<'_, '_>, key: &Value) -> Result<Option<Value>, CallError> {
        value_of(self.entries.get(context, key.as_bytes())?)
    }

    fn put(
        &self,
        context: &mut Context<'_, '_>,
        key: &Value,
        value: &Value,
    ) -> Result<Option<Value>, CallError> {
        value_of(self.entries.swap(context, key.as_bytes(), value.as_bytes())?)
    }

    /// A page of what `part` makes of the entries behind a key.
    fn page<T>(
        &self,
        context: &Context<'_, '_>,
        after: Option<&Value>,
        limit: u32,
        part: impl Fn(Value, Value) -> (T, usize),
    ) -> Result<Page<T, Value>, CallError> {
        let mut page = sizes::Gathering::new(limit);
        self.entries.for_each(context, after.map(Value::as_bytes), |key, value| {
            let key = Value::from_bytes(key)?;
            let (entry, bytes) = part(key.clone(), Value::from_bytes(value)?);
            Ok(page.take((key, entry), bytes))
        })?;
        Ok(sizes::without_keys(page))
    }
}

impl map::Methods<Context<'_, '_>> for Map {
    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.entries.len(context)
    }

    fn is_empty(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.entries.is_empty(context)
    }

    fn get(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Value>, CallError> {
        self.there(context, &key)
    }

    fn contains_key(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<bool, CallError> {
        self.entries.contains_key(context, key.as_bytes())
    }

    fn contains_value(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        let mut found = false;
        self.entries.for_each(context, None, |_, there| {
            found = there == value.as_bytes();
            Ok(!found)
        })?;
        Ok(found)
    }

    fn insert(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        value: Value,
    ) -> Result<Option<Value>, CallError> {
        check_entry(&key, &value)?;
        self.put(context, &key, &value)
    }

    fn insert_if_absent(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        value: Value,
    ) -> Result<Option<Value>, CallError> {
        check_entry(&key, &value)?;
        let there = self.there(context, &key)?;
        if there.is_none() {
            self.put(context, &key, &value)?;
        }
        Ok(there)
    }

    fn replace(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        value: Value,
    ) -> Result<Option<Value>, CallError> {
        check_entry(&key, &value)?;
        if !self.entries.contains_key(context, key.as_bytes())? {
            return Ok(None);
        }
        self.put(context, &key, &value)
    }

    fn replace_if(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        expected: Value,
        value: Value,
    ) -> Result<bool, CallError> {
        check_entry(&key, &value)?;
        let is_expected = self.there(context, &key)? == Some(expected);
        if is_expected {
            self.put(context, &key, &value)?;
        }
        Ok(is_expected)
    }

    fn remove(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Value>, CallError> {
        value_of(self.entries.take(context, key.as_bytes())?)
    }

    fn remove_if(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        expected: Value,
    ) -> Result<bool, CallError> {
        let is_expected = self.there(context, &key)? == Some(expected);
        if is_expected {
            self.entries.remove(context, key.as_bytes())?;
        }
        Ok(is_expected)
    }

    fn get_many(
        &mut self,
        context: &mut Context<'_, '_>,
        keys: Vec<Value>,
    ) -> Result<Vec<Option<Value>>, CallError> {
        let mut scale = AnswerScale::new(keys.len());
        let values = keys.iter().map(|key| {
            let value = self.there(context, key)?;
            scale.add(value.as_ref().map_or(1, encoded_bytes))?;
            Ok(value)
        });
        values.collect()
    }

    fn insert_many(
        &mut self,
        context: &mut Context<'_, '_>,
        entries: Vec<(Value, Value)>,
    ) -> Result<u64, CallError> {
        entries.iter().try_for_each(|(key, value)| check_entry(key, value))?;
        let mut new = 0;
        for (key, value) in &entries {
            new += u64::from(self.entries.insert(context, key.as_bytes(), value.as_bytes())?);
        }
        Ok(new)
    }

    fn remove_many(&mut self, context: &mut Context<'_, '_>, keys: Vec<Value>) -> Result<u64, CallError> {
        let mut removed = 0;
        for key in &keys {
            removed += u64::from(self.entries.remove(context, key.as_bytes())?);
        }
        Ok(removed)
    }

    fn clear(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.entries.clear(context)
    }

    fn keys(
        &mut self,
        context: &mut Context<'_, '_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<Value, Value>, CallError> {
        let mut page = sizes::Gathering::new(limit);
        self.entries.for_each_key(context, after.as_ref().map(Value::as_bytes), |key| {
            let key = Value::from_bytes(key)?;
            let bytes = encoded_bytes(&key);
            Ok(page.take((key.clone(), key), bytes))
        })?;
        Ok(sizes::without_keys(page))
    }

    fn values(
        &mut self,
        context: &mut Context<'_, '_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<Value, Value>, CallError> {
        self.page(context, after.as_ref(), limit, |_, value| {
            let bytes = encoded_bytes(&value);
            (value, bytes)
        })
    }

    fn entries(
        &mut self,
        context: &mut Context<'_, '_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<(Value, Value), Value>, CallError> {
        self.page(context, after.as_ref(), limit, |key, value| {
            let bytes = encoded_bytes(&key) + encoded_bytes(&value);
            ((key, value), bytes)
        })
    }

    fn merge(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        value: Value,
        op: MergeOp,
    ) -> Result<Value, CallError> {
        check_entry(&key, &value)?;
        let after = match self.there(context, &key)? {
            Some(there) => Joining::begin(op, there).join(&value)?.finish()?,
            None => value,
        };
        self.entries.insert(context, key.as_bytes(), after.as_bytes())?;
        Ok(after)
    }

    fn merge_many(
        &mut self,
        context: &mut Context<'_, '_>,
        entries: Vec<(Value, Value)>,
        op: MergeOp,
    ) -> Result<u64, CallError> {
        entries.iter().try_for_each(|(key, value)| check_entry(key, value))?;
        let mut new = 0;
        for (key, joining) in join_all(op, &entries, |key| self.there(context, key))? {
            let after = joining.finish()?;
            new += u64::from(self.entries.insert(context, key.as_bytes(), after.as_bytes())?);
        }
        Ok(new)
    }

    fn compute(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        op: MergeOp,
        operand: Value,
    ) -> Result<Option<Value>, CallError> {
        check_value(&operand)?;
        let Some(there) = self.there(context, &key)? else { return Ok(None) };
        let after = Joining::begin(op, there).join(&operand)?.finish()?;
        self.entries.insert(context, key.as_bytes(), after.as_bytes())?;
        Ok(Some(after))
    }
}
