//! Maps and sets, iterated in no particular order.

use super::{Hints, Model, Moment, calls, merge::join};
use abide_net::{CallError, Value, codec};
use abide_schema::{
    MergeOp, Method, Page,
    types::{map, set},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

type Made<T> = Result<T, CallError>;

/// An iteration under way.
#[derive(Debug, Clone)]
struct Iteration {
    /// The keys that were there all the time.
    constant: BTreeSet<Value>,
    seen: BTreeSet<Value>,
}

/// Iterations in no particular order: what is left to check when nobody knows what comes next.
#[derive(Debug, Clone, Default)]
struct Iterations {
    /// By the cursor that they go on from.
    under_way: BTreeMap<Value, Iteration>,
}

impl Iterations {
    fn removed(&mut self, is_there: impl Fn(&Value) -> bool) {
        for iteration in self.under_way.values_mut() {
            iteration.constant.retain(&is_there);
        }
    }

    /// Whether a page may come out of these keys.
    fn page(
        &mut self,
        keys: &BTreeSet<Value>,
        after: Option<&Value>,
        limit: usize,
        told: &[Value],
        next: Option<&Value>,
    ) -> Result<(), String> {
        let distinct: BTreeSet<Value> = told.iter().cloned().collect();
        if distinct.len() != told.len() {
            return Err("a key comes twice in one page".into());
        }
        if let Some(foreign) = distinct.iter().find(|key| !keys.contains(key)) {
            return Err(format!("{foreign:?} is not there"));
        }
        if told.len() > limit {
            return Err(format!("more than {limit} entries"));
        }
        if next.is_some() && told.is_empty() {
            return Err("more is to come after nothing".into());
        }
        let mut iteration = match after {
            None => Iteration { constant: keys.clone(), seen: BTreeSet::new() },
            Some(after) => match self.under_way.remove(after) {
                Some(iteration) => iteration,
                // A cursor that is no cursor of ours.
                None => return Ok(()),
            },
        };
        for key in told {
            let again = !iteration.seen.insert(key.clone());
            if again && iteration.constant.contains(key) {
                return Err(format!("{key:?} comes twice in one iteration"));
            }
        }
        match next {
            Some(next) => drop(self.under_way.insert(next.clone(), iteration)),
            None => {
                if let Some(missed) = iteration.constant.difference(&iteration.seen).next() {
                    return Err(format!("{missed:?} was there all the time and did not come"));
                }
            }
        }
        Ok(())
    }

    fn hints(&self) -> Hints {
        Hints { after: self.under_way.keys().cloned().collect(), ..Hints::default() }
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    codec::decode(bytes).map_err(|error| error.to_string())
}

fn equal(expected: &[u8], told: &[u8]) -> Result<(), String> {
    if expected == told { Ok(()) } else { Err(String::new()) }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    entries: BTreeMap<Value, Value>,
    iterations: Iterations,
}

impl Model for Map {
    calls!(map);

    fn create(map::Creation {}: map::Creation, _: u64) -> Made<Self> {
        Ok(Map::default())
    }

    fn hints(&self) -> Hints {
        self.iterations.hints()
    }

    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String> {
        let keys: BTreeSet<Value> = self.entries.keys().cloned().collect();
        match method {
            map::Keys::ID => {
                let (asked, told): (map::Keys, Page<Value, Value>) = (decode(arguments)?, decode(told)?);
                let (after, limit) = (asked.after.as_ref(), asked.limit as usize);
                self.iterations.page(&keys, after, limit, &told.entries, told.next.as_ref())
            }
            map::Entries::ID => {
                let (asked, told): (map::Entries, Page<(Value, Value), Value>) =
                    (decode(arguments)?, decode(told)?);
                if let Some((key, value)) =
                    told.entries.iter().find(|(key, value)| self.entries.get(key) != Some(value))
                {
                    return Err(format!("{key:?} is not {value:?}"));
                }
                let told_keys: Vec<Value> = told.entries.into_iter().map(|(key, _)| key).collect();
                let (after, limit) = (asked.after.as_ref(), asked.limit as usize);
                self.iterations.page(&keys, after, limit, &told_keys, told.next.as_ref())
            }
            map::Values::ID => {
                let (asked, told): (map::Values, Page<Value, Value>) = (decode(arguments)?, decode(told)?);
                let mut there: Vec<&Value> = self.entries.values().collect();
                let is_all = asked.after.is_none() && told.next.is_none();
                for value in &told.entries {
                    let Some(at) = there.iter().position(|there| *there == value) else {
                        return Err(format!("{value:?} is not there, or not so often"));
                    };
                    there.swap_remove(at);
                }
                if told.entries.len() > asked.limit as usize || is_all && !there.is_empty() {
                    return Err(format!("too many or too few values: {} more are there", there.len()));
                }
                Ok(())
            }
            _ => equal(expected, told),
        }
    }
}

impl Map {
    fn took(&mut self) {
        let entries = &self.entries;
        self.iterations.removed(|key| entries.contains_key(key));
    }
}

/// Methods that maps have in common, sorted or not.
macro_rules! map_methods {
    ($key:expr) => {
        fn len(&mut self, _: &mut Moment) -> Made<u64> {
            Ok(self.entries.len() as u64)
        }

        fn is_empty(&mut self, _: &mut Moment) -> Made<bool> {
            Ok(self.entries.is_empty())
        }

        fn get(&mut self, _: &mut Moment, key: Value) -> Made<Option<Value>> {
            Ok(self.entries.get(&$key(key)).cloned())
        }

        fn contains_key(&mut self, _: &mut Moment, key: Value) -> Made<bool> {
            Ok(self.entries.contains_key(&$key(key)))
        }

        fn contains_value(&mut self, _: &mut Moment, value: Value) -> Made<bool> {
            Ok(self.entries.values().any(|there| *there == value))
        }

        fn insert(&mut self, _: &mut Moment, key: Value, value: Value) -> Made<Option<Value>> {
            Ok(self.entries.insert($key(key), value))
        }

        fn insert_if_absent(&mut self, _: &mut Moment, key: Value, value: Value) -> Made<Option<Value>> {
            let there = self.entries.get(&$key(key.clone())).cloned();
            if there.is_none() {
                self.entries.insert($key(key), value);
            }
            Ok(there)
        }

        fn replace(&mut self, _: &mut Moment, key: Value, value: Value) -> Made<Option<Value>> {
            Ok(self.entries.get_mut(&$key(key)).map(|there| std::mem::replace(there, value)))
        }

        fn replace_if(&mut self, _: &mut Moment, key: Value, expected: Value, value: Value) -> Made<bool> {
            match self.entries.get_mut(&$key(key)) {
                Some(there) if *there == expected => {
                    *there = value;
                    Ok(true)
                }
                _ => Ok(false),
            }
        }

        fn remove(&mut self, _: &mut Moment, key: Value) -> Made<Option<Value>> {
            let removed = self.entries.remove(&$key(key));
            self.took();
            Ok(removed)
        }

        fn remove_if(&mut self, moment: &mut Moment, key: Value, expected: Value) -> Made<bool> {
            let is_expected = self.entries.get(&$key(key.clone())) == Some(&expected);
            if is_expected {
                self.remove(moment, key)?;
            }
            Ok(is_expected)
        }

        fn get_many(&mut self, _: &mut Moment, keys: Vec<Value>) -> Made<Vec<Option<Value>>> {
            Ok(keys.into_iter().map(|key| self.entries.get(&$key(key)).cloned()).collect())
        }

        fn insert_many(&mut self, moment: &mut Moment, entries: Vec<(Value, Value)>) -> Made<u64> {
            let before = self.entries.len();
            for (key, value) in entries {
                self.insert(moment, key, value)?;
            }
            Ok((self.entries.len() - before) as u64)
        }

        fn remove_many(&mut self, moment: &mut Moment, keys: Vec<Value>) -> Made<u64> {
            let before = self.entries.len();
            for key in keys {
                self.remove(moment, key)?;
            }
            Ok((before - self.entries.len()) as u64)
        }

        fn clear(&mut self, _: &mut Moment) -> Made<()> {
            self.entries.clear();
            self.took();
            Ok(())
        }

        fn merge(&mut self, _: &mut Moment, key: Value, value: Value, op: MergeOp) -> Made<Value> {
            let after = match self.entries.get(&$key(key.clone())) {
                Some(there) => join(op, there, &value)?,
                None => value,
            };
            self.entries.insert($key(key), after.clone());
            Ok(after)
        }

        fn merge_many(
            &mut self,
            moment: &mut Moment,
            entries: Vec<(Value, Value)>,
            op: MergeOp,
        ) -> Made<u64> {
            let before = self.entries.clone();
            for (key, value) in entries {
                if let Err(error) = self.merge(moment, key, value, op) {
                    self.entries = before;
                    return Err(error);
                }
            }
            Ok((self.entries.len() - before.len()) as u64)
        }

        fn compute(
            &mut self,
            _: &mut Moment,
            key: Value,
            op: MergeOp,
            operand: Value,
        ) -> Made<Option<Value>> {
            let Some(there) = self.entries.get_mut(&$key(key)) else { return Ok(None) };
            *there = join(op, there, &operand)?;
            Ok(Some(there.clone()))
        }
    };
}
pub(super) use map_methods;

fn key(value: Value) -> Value {
    value
}

/// A page of unknown content: `accept` looks at what a caller was told.
fn unknown<T, C>() -> Made<Page<T, C>> {
    Ok(Page { entries: Vec::new(), next: None })
}

impl map::Methods<Moment> for Map {
    map_methods!(key);

    fn keys(&mut self, _: &mut Moment, _: Option<Value>, _: u32) -> Made<Page<Value, Value>> {
        unknown()
    }

    fn values(&mut self, _: &mut Moment, _: Option<Value>, _: u32) -> Made<Page<Value, Value>> {
        unknown()
    }

    fn entries(&mut self, _: &mut Moment, _: Option<Value>, _: u32) -> Made<Page<(Value, Value), Value>> {
        unknown()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    values: BTreeSet<Value>,
    iterations: Iterations,
}

impl Model for Set {
    calls!(set);

    fn create(set::Creation {}: set::Creation, _: u64) -> Made<Self> {
        Ok(Set::default())
    }

    fn hints(&self) -> Hints {
        self.iterations.hints()
    }

    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String> {
        if method != set::GetPage::ID {
            return equal(expected, told);
        }
        let (asked, told): (set::GetPage, Page<Value, Value>) = (decode(arguments)?, decode(told)?);
        let (after, limit) = (asked.after.as_ref(), asked.limit as usize);
        self.iterations.page(&self.values, after, limit, &told.entries, told.next.as_ref())
    }
}

impl Set {
    fn retain(&mut self, keep: impl Fn(&Value) -> bool) -> u64 {
        let before = self.values.len();
        self.values.retain(keep);
        let values = &self.values;
        self.iterations.removed(|value| values.contains(value));
        (before - self.values.len()) as u64
    }
}

impl set::Methods<Moment> for Set {
    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.values.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.values.is_empty())
    }

    fn contains(&mut self, _: &mut Moment, value: Value) -> Made<bool> {
        Ok(self.values.contains(&value))
    }

    fn contains_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<bool> {
        Ok(values.iter().all(|value| self.values.contains(value)))
    }

    fn insert(&mut self, _: &mut Moment, value: Value) -> Made<bool> {
        Ok(self.values.insert(value))
    }

    fn remove(&mut self, _: &mut Moment, value: Value) -> Made<bool> {
        Ok(self.retain(|there| *there != value) == 1)
    }

    fn extend(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        Ok(values.into_iter().map(|value| u64::from(self.values.insert(value))).sum())
    }

    fn remove_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        Ok(self.retain(|there| !values.contains(there)))
    }

    fn retain_all(&mut self, _: &mut Moment, values: Vec<Value>) -> Made<u64> {
        Ok(self.retain(|there| values.contains(there)))
    }

    fn clear(&mut self, _: &mut Moment) -> Made<()> {
        self.retain(|_| false);
        Ok(())
    }

    fn page(&mut self, _: &mut Moment, _: Option<Value>, _: u32) -> Made<Page<Value, Value>> {
        unknown()
    }
}
