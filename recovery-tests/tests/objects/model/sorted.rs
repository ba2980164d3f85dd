//! Maps with an order.

use super::{Model, Moment, calls, maps::map_methods, merge::join, values::Sorted};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::sorted_map};
use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

type Made<T> = Result<T, CallError>;
type Entry = (Value, Value);

#[derive(Debug, Clone, Default)]
pub(super) struct SortedMap {
    entries: BTreeMap<Sorted, Value>,
}

impl Model for SortedMap {
    calls!(sorted_map);

    fn create(sorted_map::Creation {}: sorted_map::Creation, _: u64) -> Made<Self> {
        Ok(SortedMap::default())
    }
}

impl SortedMap {
    fn took(&mut self) {}

    /// All entries between two keys. (`BTreeMap::range` does not take bounds the wrong way round.)
    fn between(&self, from: Bound<Value>, to: Bound<Value>) -> impl DoubleEndedIterator<Item = Entry> {
        let bounds = (from.map(Sorted), to.map(Sorted));
        let inside = self.entries.iter().filter(|(key, _)| std::ops::RangeBounds::contains(&bounds, *key));
        inside.map(|(key, value)| (key.0.clone(), value.clone())).collect::<Vec<_>>().into_iter()
    }

    /// At most `limit` entries after a key, with the last one's key to go on after.
    fn after<T>(&self, after: Option<Value>, limit: u32, part: impl Fn(Entry) -> T) -> Page<T, Value> {
        let rest: Vec<Entry> = self.between(after.map_or(Unbounded, Excluded), Unbounded).collect();
        let limit = limit as usize;
        let next = (rest.len() > limit).then(|| rest[limit - 1].0.clone());
        Page { entries: rest.into_iter().take(limit).map(part).collect(), next }
    }

    /// At most `limit` entries, with the key of the first of those that are left.
    fn part(&self, from: Bound<Value>, to: Bound<Value>, limit: u32) -> Page<Entry, Value> {
        let mut all = self.between(from, to);
        let entries = all.by_ref().take(limit as usize).collect();
        Page { entries, next: all.next().map(|(key, _)| key) }
    }
}

impl sorted_map::Methods<Moment> for SortedMap {
    map_methods!(Sorted);

    fn keys(&mut self, _: &mut Moment, after: Option<Value>, limit: u32) -> Made<Page<Value, Value>> {
        Ok(self.after(after, limit, |(key, _)| key))
    }

    fn values(&mut self, _: &mut Moment, after: Option<Value>, limit: u32) -> Made<Page<Value, Value>> {
        Ok(self.after(after, limit, |(_, value)| value))
    }

    fn entries(&mut self, _: &mut Moment, after: Option<Value>, limit: u32) -> Made<Page<Entry, Value>> {
        Ok(self.after(after, limit, |entry| entry))
    }

    fn range(
        &mut self,
        _: &mut Moment,
        from: Option<Value>,
        to: Option<Value>,
        limit: u32,
    ) -> Made<Page<Entry, Value>> {
        Ok(self.part(from.map_or(Unbounded, Included), to.map_or(Unbounded, Excluded), limit))
    }

    fn head(&mut self, _: &mut Moment, to: Value, limit: u32) -> Made<Page<Entry, Value>> {
        Ok(self.part(Unbounded, Excluded(to), limit))
    }

    fn tail(&mut self, _: &mut Moment, from: Value, limit: u32) -> Made<Page<Entry, Value>> {
        Ok(self.part(Included(from), Unbounded, limit))
    }

    fn first(&mut self, _: &mut Moment) -> Made<Option<Entry>> {
        Ok(self.between(Unbounded, Unbounded).next())
    }

    fn last(&mut self, _: &mut Moment) -> Made<Option<Entry>> {
        Ok(self.between(Unbounded, Unbounded).next_back())
    }

    fn floor(&mut self, _: &mut Moment, key: Value) -> Made<Option<Entry>> {
        Ok(self.between(Unbounded, Included(key)).next_back())
    }

    fn ceiling(&mut self, _: &mut Moment, key: Value) -> Made<Option<Entry>> {
        Ok(self.between(Included(key), Unbounded).next())
    }

    fn lower(&mut self, _: &mut Moment, key: Value) -> Made<Option<Entry>> {
        Ok(self.between(Unbounded, Excluded(key)).next_back())
    }

    fn higher(&mut self, _: &mut Moment, key: Value) -> Made<Option<Entry>> {
        Ok(self.between(Excluded(key), Unbounded).next())
    }

    fn top(&mut self, _: &mut Moment, k: u32) -> Made<Vec<Entry>> {
        Ok(self.between(Unbounded, Unbounded).rev().take(k as usize).collect())
    }

    fn pop_first(&mut self, moment: &mut Moment) -> Made<Option<Entry>> {
        let entry = self.first(moment)?;
        if let Some((key, _)) = &entry {
            self.remove(moment, key.clone())?;
        }
        Ok(entry)
    }

    fn pop_last(&mut self, moment: &mut Moment) -> Made<Option<Entry>> {
        let entry = self.last(moment)?;
        if let Some((key, _)) = &entry {
            self.remove(moment, key.clone())?;
        }
        Ok(entry)
    }

    fn rank(&mut self, _: &mut Moment, key: Value) -> Made<u64> {
        Ok(self.between(Unbounded, Excluded(key)).count() as u64)
    }
}
