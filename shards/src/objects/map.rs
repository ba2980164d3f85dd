//! Maps from values to values.

use super::{
    merge::Joining,
    sizes::{self, AnswerScale, check_map_key, check_value, encoded_bytes, memory_of},
};
use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::map};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

/// A map from values to values, in the order of the keys' bytes: see [`map`].
///
/// Invariant: `content_bytes` is the sum of what the keys and values take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct Map {
    entries: BTreeMap<Value, Value>,
    #[serde(skip)]
    content_bytes: usize,
}

/// A map at rest.
#[derive(Deserialize)]
struct Saved {
    entries: BTreeMap<Value, Value>,
}

impl From<Saved> for Map {
    fn from(Saved { entries }: Saved) -> Map {
        let content_bytes = entries.iter().map(|(key, value)| memory_of(key) + memory_of(value)).sum();
        Map { entries, content_bytes }
    }
}

impl SharedObject for Map {
    type Type = map::Type;

    fn create(map::Creation {}: map::Creation) -> Result<Self, CallError> {
        Ok(Saved { entries: BTreeMap::new() }.into())
    }
}

impl Object for Map {
    calls_and_state!(abide_schema::types::map);

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.content_bytes
    }
}

fn check_entry((key, value): (&Value, &Value)) -> Result<(), CallError> {
    check_map_key(key)?;
    check_value(value)
}

impl Map {
    /// Sets a key's value, both of which have been checked.
    fn put(&mut self, key: Value, value: Value) -> Option<Value> {
        self.content_bytes += memory_of(&value);
        match self.entries.entry(key) {
            btree_map::Entry::Vacant(vacant) => {
                self.content_bytes += memory_of(vacant.key());
                vacant.insert(value);
                None
            }
            btree_map::Entry::Occupied(mut occupied) => {
                let before = occupied.insert(value);
                self.content_bytes -= memory_of(&before);
                Some(before)
            }
        }
    }

    fn take(&mut self, key: &Value) -> Option<Value> {
        let value = self.entries.remove(key)?;
        self.content_bytes -= memory_of(key) + memory_of(&value);
        Some(value)
    }

    /// The entries behind a key, which need not be there itself; all without one.
    fn behind(&self, after: Option<&Value>) -> btree_map::Range<'_, Value, Value> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<Value, _>((start, Bound::Unbounded))
    }

    /// A page of the entries behind a key, made by `part` of each.
    fn page<T: Clone>(
        &self,
        after: Option<&Value>,
        limit: u32,
        part: impl Fn(&Value, &Value) -> T,
        bytes_of: impl Fn(&T) -> usize,
    ) -> Page<T, Value> {
        let entries = self.behind(after).map(|(key, value)| (key, part(key, value)));
        let page = sizes::page(
            entries,
            limit,
            |(_, part)| bytes_of(part),
            |taken| taken.last().map(|(key, _)| (*key).clone()),
        );
        Page { entries: page.entries.into_iter().map(|(_, part)| part).collect(), next: page.next }
    }
}

impl map::Methods<Context<'_>> for Map {
    fn len(&mut self, _: &mut Context<'_>) -> Result<u64, CallError> {
        Ok(self.entries.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.entries.is_empty())
    }

    fn get(&mut self, _: &mut Context<'_>, key: Value) -> Result<Option<Value>, CallError> {
        Ok(self.entries.get(&key).cloned())
    }

    fn contains_key(&mut self, _: &mut Context<'_>, key: Value) -> Result<bool, CallError> {
        Ok(self.entries.contains_key(&key))
    }

    fn contains_value(&mut self, _: &mut Context<'_>, value: Value) -> Result<bool, CallError> {
        Ok(self.entries.values().any(|there| *there == value))
    }

    fn insert(&mut self, _: &mut Context<'_>, key: Value, value: Value) -> Result<Option<Value>, CallError> {
        check_entry((&key, &value))?;
        Ok(self.put(key, value))
    }

    fn insert_if_absent(
        &mut self,
        _: &mut Context<'_>,
        key: Value,
        value: Value,
    ) -> Result<Option<Value>, CallError> {
        check_entry((&key, &value))?;
        if let Some(there) = self.entries.get(&key) {
            return Ok(Some(there.clone()));
        }
        Ok(self.put(key, value))
    }

    fn replace(&mut self, _: &mut Context<'_>, key: Value, value: Value) -> Result<Option<Value>, CallError> {
        check_entry((&key, &value))?;
        Ok(if self.entries.contains_key(&key) { self.put(key, value) } else { None })
    }

    fn replace_if(
        &mut self,
        _: &mut Context<'_>,
        key: Value,
        expected: Value,
        value: Value,
    ) -> Result<bool, CallError> {
        check_entry((&key, &value))?;
        let is_expected = self.entries.get(&key) == Some(&expected);
        if is_expected {
            self.put(key, value);
        }
        Ok(is_expected)
    }

    fn remove(&mut self, _: &mut Context<'_>, key: Value) -> Result<Option<Value>, CallError> {
        Ok(self.take(&key))
    }

    fn remove_if(&mut self, _: &mut Context<'_>, key: Value, expected: Value) -> Result<bool, CallError> {
        let is_expected = self.entries.get(&key) == Some(&expected);
        if is_expected {
            self.take(&key);
        }
        Ok(is_expected)
    }

    fn get_many(&mut self, _: &mut Context<'_>, keys: Vec<Value>) -> Result<Vec<Option<Value>>, CallError> {
        let mut scale = AnswerScale::new(keys.len());
        let values = keys.iter().map(|key| {
            let value = self.entries.get(key);
            scale.add(value.map_or(1, encoded_bytes))?;
            Ok(value.cloned())
        });
        values.collect()
    }

    fn insert_many(&mut self, _: &mut Context<'_>, entries: Vec<(Value, Value)>) -> Result<u64, CallError> {
        entries.iter().try_for_each(|(key, value)| check_entry((key, value)))?;
        let before = self.entries.len();
        for (key, value) in entries {
            self.put(key, value);
        }
        Ok((self.entries.len() - before) as u64)
    }

    fn remove_many(&mut self, _: &mut Context<'_>, keys: Vec<Value>) -> Result<u64, CallError> {
        Ok(keys.iter().filter(|key| self.take(key).is_some()).count() as u64)
    }

    fn clear(&mut self, _: &mut Context<'_>) -> Result<(), CallError> {
        self.entries.clear();
        self.content_bytes = 0;
        Ok(())
    }

    fn keys(
        &mut self,
        _: &mut Context<'_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<Value, Value>, CallError> {
        Ok(self.page(after.as_ref(), limit, |key, _| key.clone(), encoded_bytes))
    }

    fn values(
        &mut self,
        _: &mut Context<'_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<Value, Value>, CallError> {
        Ok(self.page(after.as_ref(), limit, |_, value| value.clone(), encoded_bytes))
    }

    fn entries(
        &mut self,
        _: &mut Context<'_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<(Value, Value), Value>, CallError> {
        let part = |key: &Value, value: &Value| (key.clone(), value.clone());
        Ok(self.page(after.as_ref(), limit, part, |(key, value)| encoded_bytes(key) + encoded_bytes(value)))
    }

    fn merge(
        &mut self,
        _: &mut Context<'_>,
        key: Value,
        value: Value,
        op: MergeOp,
    ) -> Result<Value, CallError> {
        check_entry((&key, &value))?;
        let after = match self.entries.get(&key) {
            Some(there) => Joining::begin(op, there.clone()).join(&value)?.finish()?,
            None => value,
        };
        self.put(key, after.clone());
        Ok(after)
    }

    fn merge_many(
        &mut self,
        _: &mut Context<'_>,
        entries: Vec<(Value, Value)>,
        op: MergeOp,
    ) -> Result<u64, CallError> {
        // Beside the map until all of them are joined: an error must leave the map as it was.
        let mut joined: BTreeMap<Value, Joining> = BTreeMap::new();
        for (key, value) in entries {
            check_entry((&key, &value))?;
            let after = match (joined.remove(&key), self.entries.get(&key)) {
                (Some(joining), _) => joining.join(&value)?,
                (None, Some(there)) => Joining::begin(op, there.clone()).join(&value)?,
                (None, None) => Joining::begin(op, value),
            };
            joined.insert(key, after);
        }
        let joined = joined.into_iter().map(|(key, joining)| Ok((key, joining.finish()?)));
        let joined: Vec<_> = joined.collect::<Result<_, CallError>>()?;
        let before = self.entries.len();
        for (key, value) in joined {
            self.put(key, value);
        }
        Ok((self.entries.len() - before) as u64)
    }

    fn compute(
        &mut self,
        _: &mut Context<'_>,
        key: Value,
        op: MergeOp,
        operand: Value,
    ) -> Result<Option<Value>, CallError> {
        check_value(&operand)?;
        let Some(there) = self.entries.get(&key) else { return Ok(None) };
        let after = Joining::begin(op, there.clone()).join(&operand)?.finish()?;
        self.put(key, after.clone());
        Ok(Some(after))
    }
}
