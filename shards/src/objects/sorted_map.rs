//! Maps in the order of their keys.

use super::{
    merge::{Joining, join_all},
    order::{key_of, value_of as key_value},
    sizes::{self, AnswerScale, check_sorted_key, check_value, encoded_bytes},
};
use crate::{
    Context, SharedObject, calls,
    state::{Fields, Pair, Tree},
};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::sorted_map};
use std::ops::Bound;

/// A map in the order of its keys: see [`sorted_map`].
#[derive(Debug)]
pub struct SortedMap {
    /// By the keys that [`key_of`] makes.
    entries: Tree,
}

type Entry = (Value, Value);

impl SharedObject for SortedMap {
    type Type = sorted_map::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        SortedMap { entries: Tree::at(fields, 0) }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        sorted_map::Creation {}: sorted_map::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::sorted_map);
}

fn check_entry(key: &Value, value: &Value) -> Result<(), CallError> {
    check_sorted_key(key)?;
    check_value(value)
}

fn value_of(bytes: Option<Vec<u8>>) -> Result<Option<Value>, CallError> {
    bytes.map(|bytes| Value::from_bytes(&bytes)).transpose()
}

fn entry_of(pair: Option<Pair>) -> Result<Option<Entry>, CallError> {
    pair.map(|(key, value)| Ok((key_value(&key)?, Value::from_bytes(&value)?))).transpose()
}

fn behind(key: Option<&Vec<u8>>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, |key| Bound::Excluded(key))
}

impl SortedMap {
    fn there(&self, context: &Context<'_, '_>, key: &Value) -> Result<Option<Value>, CallError> {
        value_of(self.entries.get(context, &key_of(key))?)
    }

    fn put(&self, context: &mut Context<'_, '_>, key: &Value, value: &Value) -> Result<bool, CallError> {
        self.entries.insert(context, &key_of(key), value.as_bytes())
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
        let after = after.map(key_of);
        self.entries.for_each(context, (behind(after.as_ref()), Bound::Unbounded), |key, value| {
            let key = key_value(key)?;
            let (entry, bytes) = part(key.clone(), Value::from_bytes(value)?);
            Ok(page.take((key, entry), bytes))
        })?;
        Ok(sizes::without_keys(page))
    }

    /// A page of the entries between two keys, the first included. The next one begins at the first that this one has no room for.
    fn between(
        &self,
        context: &Context<'_, '_>,
        from: Option<&Value>,
        to: Option<&Value>,
        limit: u32,
    ) -> Result<Page<Entry, Value>, CallError> {
        let (from, to) = (from.map(key_of), to.map(key_of));
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = sizes::Gathering::new(limit);
        let mut next = Value::null();
        self.entries.for_each(context, (from, to), |key, value| {
            next = key_value(key)?;
            let entry = (next.clone(), Value::from_bytes(value)?);
            let bytes = encoded_bytes(&entry.0) + encoded_bytes(&entry.1);
            Ok(page.take(entry, bytes))
        })?;
        Ok(page.finish(|_| next))
    }
}

impl sorted_map::Methods<Context<'_, '_>> for SortedMap {
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
        self.entries.contains_key(context, &key_of(&key))
    }

    fn contains_value(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        let mut found = false;
        self.entries.for_each(context, .., |_, there| {
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
        let before = self.there(context, &key)?;
        self.put(context, &key, &value)?;
        Ok(before)
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
        let there = self.there(context, &key)?;
        if there.is_some() {
            self.put(context, &key, &value)?;
        }
        Ok(there)
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
        value_of(self.entries.remove(context, &key_of(&key))?)
    }

    fn remove_if(
        &mut self,
        context: &mut Context<'_, '_>,
        key: Value,
        expected: Value,
    ) -> Result<bool, CallError> {
        let is_expected = self.there(context, &key)? == Some(expected);
        if is_expected {
            self.entries.remove(context, &key_of(&key))?;
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

    fn insert_many(&mut self, context: &mut Context<'_, '_>, entries: Vec<Entry>) -> Result<u64, CallError> {
        entries.iter().try_for_each(|(key, value)| check_entry(key, value))?;
        let mut new = 0;
        for (key, value) in &entries {
            new += u64::from(self.put(context, key, value)?);
        }
        Ok(new)
    }

    fn remove_many(&mut self, context: &mut Context<'_, '_>, keys: Vec<Value>) -> Result<u64, CallError> {
        let mut removed = 0;
        for key in &keys {
            removed += u64::from(self.entries.remove(context, &key_of(key))?.is_some());
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
        let after = after.as_ref().map(key_of);
        self.entries.for_each_key(context, (behind(after.as_ref()), Bound::Unbounded), |key| {
            let key = key_value(key)?;
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
    ) -> Result<Page<Entry, Value>, CallError> {
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
        self.put(context, &key, &after)?;
        Ok(after)
    }

    fn merge_many(
        &mut self,
        context: &mut Context<'_, '_>,
        entries: Vec<Entry>,
        op: MergeOp,
    ) -> Result<u64, CallError> {
        entries.iter().try_for_each(|(key, value)| check_entry(key, value))?;
        let mut new = 0;
        for (key, joining) in join_all(op, &entries, |key| self.there(context, key))? {
            new += u64::from(self.put(context, key, &joining.finish()?)?);
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
        self.put(context, &key, &after)?;
        Ok(Some(after))
    }

    fn range(
        &mut self,
        context: &mut Context<'_, '_>,
        from: Option<Value>,
        to: Option<Value>,
        limit: u32,
    ) -> Result<Page<Entry, Value>, CallError> {
        self.between(context, from.as_ref(), to.as_ref(), limit)
    }

    fn head(
        &mut self,
        context: &mut Context<'_, '_>,
        to: Value,
        limit: u32,
    ) -> Result<Page<Entry, Value>, CallError> {
        self.between(context, None, Some(&to), limit)
    }

    fn tail(
        &mut self,
        context: &mut Context<'_, '_>,
        from: Value,
        limit: u32,
    ) -> Result<Page<Entry, Value>, CallError> {
        self.between(context, Some(&from), None, limit)
    }

    fn first(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.first(context)?)
    }

    fn last(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.last(context)?)
    }

    fn floor(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.floor(context, &key_of(&key))?)
    }

    fn ceiling(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.ceiling(context, &key_of(&key))?)
    }

    fn lower(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.lower(context, &key_of(&key))?)
    }

    fn higher(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.higher(context, &key_of(&key))?)
    }

    fn top(&mut self, context: &mut Context<'_, '_>, k: u32) -> Result<Vec<Entry>, CallError> {
        let count = u64::from(k).min(self.entries.len(context)?) as usize;
        let mut scale = AnswerScale::new(count);
        let mut entries = Vec::new();
        if count > 0 {
            self.entries.for_each_back(context, .., |key, value| {
                let (key, value) = (key_value(key)?, Value::from_bytes(value)?);
                scale.add(encoded_bytes(&key) + encoded_bytes(&value) - 2)?;
                entries.push((key, value));
                Ok(entries.len() < count)
            })?;
        }
        Ok(entries)
    }

    fn pop_first(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.pop_first(context)?)
    }

    fn pop_last(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Entry>, CallError> {
        entry_of(self.entries.pop_last(context)?)
    }

    fn rank(&mut self, context: &mut Context<'_, '_>, key: Value) -> Result<u64, CallError> {
        self.entries.rank(context, &key_of(&key))
    }
}
