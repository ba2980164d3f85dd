//! Sequences of values.

use super::{Hints, Model, Moment, calls};
use abide_net::{CallError, Value, codec};
use abide_schema::{Method, Page, types::list};
use std::collections::{BTreeMap, VecDeque};

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone, Default)]
pub(super) struct List {
    values: VecDeque<Value>,
    /// How many values were taken away at the front, less those that were added there.
    front: i64,
    /// Cursors that were given out, and the value (counted as `front` does) that each stands before. Forgotten when something
    /// happens of which the declaration says that it moves them.
    cursors: BTreeMap<u64, i64>,
}

impl Model for List {
    calls!(list);

    fn create(list::Creation {}: list::Creation, _: u64) -> Made<Self> {
        Ok(List::default())
    }

    fn hints(&self) -> Hints {
        Hints { numbers: self.cursors.keys().copied().collect(), ..Hints::default() }
    }

    /// A cursor may be any number.
    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String> {
        if method != list::GetPage::ID {
            return if expected == told { Ok(()) } else { Err(String::new()) };
        }
        let list::GetPage { cursor, .. } = codec::decode(arguments).map_err(|error| error.to_string())?;
        let expected: Page<Value, u64> = codec::decode(expected).map_err(|error| error.to_string())?;
        let told: Page<Value, u64> = codec::decode(told).map_err(|error| error.to_string())?;
        if (&expected.entries, expected.next.is_some()) != (&told.entries, told.next.is_some()) {
            return Err(format!(
                "the page should be {:?}, with more to come: {}",
                expected.entries,
                expected.next.is_some()
            ));
        }
        if let Some(next) = told.next {
            let at = self.front + (self.start(cursor) + told.entries.len()) as i64;
            self.cursors.insert(next, at);
        }
        Ok(())
    }
}

fn out_of_bounds(len: usize) -> CallError {
    CallError::OutOfBounds { len: len as u64 }
}

impl List {
    fn start(&self, cursor: u64) -> usize {
        let at = self.cursors.get(&cursor).copied().unwrap_or(self.front);
        ((at - self.front).max(0) as usize).min(self.values.len())
    }

    fn place(&self, wanted: impl Fn(&Value) -> bool) -> Option<usize> {
        (0..self.values.len()).find(|&at| wanted(&self.values[at]))
    }

    fn retain(&mut self, keep: impl Fn(&Value) -> bool) -> u64 {
        let before = self.values.len();
        self.cursors.clear();
        self.values.retain(keep);
        (before - self.values.len()) as u64
    }

    /// Values behind the end are not those that a cursor stood before.
    fn forget_cursors_behind_the_end(&mut self) {
        let end = self.front + self.values.len() as i64;
        self.cursors.retain(|_, at| *at <= end);
    }
}

impl list::Methods<Moment> for List {
    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.values.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.values.is_empty())
    }

    fn get(&mut self, _: &mut Moment, index: u64) -> Made<Option<Value>> {
        Ok(self.values.get(index as usize).cloned())
    }

    fn set(&mut self, _: &mut Moment, index: u64, value: Value) -> Made<Value> {
        let len = self.values.len();
        let there = self.values.get_mut(index as usize).ok_or(out_of_bounds(len))?;
        Ok(std::mem::replace(there, value))
    }

    fn push(&mut self, _: &mut Moment, value: Value) -> Made<u64> {
        self.values.push_back(value);
        Ok(self.values.len() as u64)
    }

    fn insert(&mut self, moment: &mut Moment, index: u64, value: Value) -> Made<()> {
        if index > self.values.len() as u64 {
            return Err(out_of_bounds(self.values.len()));
        }
        if index == 0 && !self.values.is_empty() {
            return self.push_front(moment, value).map(drop);
        }
        if index < self.values.len() as u64 {
            self.cursors.clear();
        }
        self.values.insert(index as usize, value);
        Ok(())
    }

    fn remove_at(&mut self, moment: &mut Moment, index: u64) -> Made<Value> {
        let len = self.values.len();
        if index == 0 {
            return self.pop_front(moment)?.ok_or(out_of_bounds(len));
        }
        self.cursors.clear();
        self.values.remove(index as usize).ok_or(out_of_bounds(len))
    }

    fn remove(&mut self, moment: &mut Moment, value: Value) -> Made<bool> {
        match self.place(|there| *there == value) {
            Some(at) => self.remove_at(moment, at as u64).map(|_| true),
            None => Ok(false),
        }
    }

    fn pop_front(&mut self, _: &mut Moment) -> Made<Option<Value>> {
        let value = self.values.pop_front();
        self.front += i64::from(value.is_some());
        Ok(value)
    }

    fn pop_back(&mut self, _: &mut Moment) -> Made<Option<Value>> {
        let value = self.values.pop_back();
        self.forget_cursors_behind_the_end();
        Ok(value)
    }

    fn push_front(&mut self, _: &mut Moment, value: Value) -> Made<u64> {
        self.values.push_front(value);
        self.front -= 1;
        Ok(self.values.len() as u64)
    }

    fn contains(&mut self, _: &mut Moment, value: Value) -> Made<bool> {
        Ok(self.values.contains(&value))
    }

    fn contains_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<bool> {
        Ok(values.iter().all(|value| self.values.contains(value)))
    }

    fn extend(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        self.values.extend(values);
        Ok(self.values.len() as u64)
    }

    fn remove_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        Ok(self.retain(|value| !values.contains(value)))
    }

    fn retain_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        Ok(self.retain(|value| values.contains(value)))
    }

    fn clear(&mut self, _: &mut Moment) -> Made<()> {
        self.cursors.clear();
        self.values.clear();
        Ok(())
    }

    fn index_of(&mut self, _: &mut Moment, value: Value) -> Made<Option<u64>> {
        Ok(self.place(|there| *there == value).map(|at| at as u64))
    }

    fn last_index_of(&mut self, _: &mut Moment, value: Value) -> Made<Option<u64>> {
        Ok((0..self.values.len()).rfind(|&at| self.values[at] == value).map(|at| at as u64))
    }

    fn slice(&mut self, _: &mut Moment, start: u64, end: u64) -> Made<Vec<Value>> {
        let part = self.values.iter().enumerate().filter(|(at, _)| (start..end).contains(&(*at as u64)));
        Ok(part.map(|(_, value)| value.clone()).collect())
    }

    fn page(&mut self, _: &mut Moment, cursor: u64, limit: u32) -> Made<Page<Value, u64>> {
        let rest = || self.values.iter().skip(self.start(cursor));
        let entries: Vec<Value> = rest().take(limit as usize).cloned().collect();
        let next = (rest().count() > entries.len()).then_some(0);
        Ok(Page { entries, next })
    }
}
