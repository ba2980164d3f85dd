//! Sets, against a set.

use super::driver::TestShard;
use crate::objects::sizes::MAP_KEY_BYTES_MAX;
use abide_net::{CallError, Value};
use abide_schema::types::set::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn value(n: i64) -> Value {
    Value::encode(&n).unwrap()
}

fn values(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().copied().map(value).collect()
}

fn new() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

/// All pages, one after the other, with something done in between. Their order is the set's own.
fn iterate(shard: &mut TestShard, limit: u32, mut between: impl FnMut(&mut TestShard)) -> Vec<Value> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = shard.get(GetPage { after, limit });
        assert!(page.entries.len() <= limit.max(1) as usize);
        seen.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return seen;
        }
        between(shard);
    }
}

proptest! {
    #[test]
    fn sets_do_what_a_btree_set_does(
        calls in prop::collection::vec((0..12_u8, prop::collection::vec(0..12_i64, 0..9), 0..12_i64), 1..60),
    ) {
        let mut shard = new();
        let mut model = BTreeSet::new();
        for (method, several, one) in calls {
            match method {
                0 => shard.expect(Len {}, model.len() as u64),
                1 => shard.expect(IsEmpty {}, model.is_empty()),
                2 => shard.expect(Contains { value: value(one) }, model.contains(&one)),
                3 => {
                    let are_there = several.iter().all(|n| model.contains(n));
                    shard.expect(ContainsAll { values: values(&several) }, are_there);
                }
                4 => shard.expect(Insert { value: value(one) }, model.insert(one)),
                5 => shard.expect(Remove { value: value(one) }, model.remove(&one)),
                6 | 7 => {
                    let new = several.iter().filter(|n| model.insert(**n)).count();
                    shard.expect(Extend { values: values(&several) }, new as u64);
                }
                8 => {
                    let removed = several.iter().filter(|n| model.remove(n)).count();
                    shard.expect(RemoveAll { values: values(&several) }, removed as u64);
                }
                9 => {
                    let before = model.len();
                    model.retain(|n| several.contains(n));
                    shard.expect(RetainAll { values: values(&several) }, (before - model.len()) as u64);
                }
                10 if several.is_empty() => {
                    model.clear();
                    shard.expect(Clear {}, ());
                }
                _ => {
                    let mut seen = iterate(&mut shard, one as u32, |_| ());
                    seen.sort();
                    prop_assert_eq!(seen, model.iter().copied().map(value).collect::<Vec<_>>());
                }
            }
            let mut all = shard.get(GetPage { after: None, limit: 100 }).entries;
            all.sort();
            prop_assert_eq!(all, model.iter().copied().map(value).collect::<Vec<_>>());
        }
    }

    #[test]
    fn values_that_stay_come_exactly_once_whatever_else_changes(
        limit in 1..4_u32,
        changes in prop::collection::vec((any::<bool>(), 0..40_i64), 1..40),
    ) {
        let mut shard = new();
        let mut stayed: BTreeSet<i64> = (0..20).map(|n| 2 * n).collect();
        shard.get(Extend { values: stayed.iter().copied().map(value).collect() });
        let mut changes = changes.into_iter();
        let seen = iterate(&mut shard, limit, |shard| {
            let Some((removes, n)) = changes.next() else { return };
            if removes {
                shard.get(Remove { value: value(n) });
                stayed.remove(&n);
            } else {
                shard.get(Insert { value: value(n) });
            }
        });
        for n in stayed {
            prop_assert_eq!(seen.iter().filter(|seen| **seen == value(n)).count(), 1);
        }
    }
}

#[test]
fn keeping_few_of_many_and_many_of_many_both_work_in_one_call() {
    let mut shard = new();
    let numbers: Vec<i64> = (0..3_000).collect();
    for part in numbers.chunks(500) {
        shard.expect(Extend { values: values(part) }, 500);
    }
    shard.expect(RetainAll { values: values(&numbers[5..]) }, 5);
    shard.expect(Len {}, 2_995);
    shard.expect(RetainAll { values: values(&[7, 7, 2_999, 1, 3_333]) }, 2_993);
    let mut left = shard.get(GetPage { after: None, limit: 9 }).entries;
    left.sort();
    assert_eq!(left, values(&[7, 2_999]));
}

#[test]
fn too_long_a_value_is_refused_with_all_that_come_with_it() {
    let mut shard = new();
    let [longest, longer] =
        [MAP_KEY_BYTES_MAX, MAP_KEY_BYTES_MAX + 1].map(|bytes| Value::bytes(&vec![1; bytes]));
    let too_large = CallError::TooLarge { max: MAP_KEY_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Insert { value: longer.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Extend { values: vec![value(1), longer.clone()] }), Err(too_large));
    shard.expect(Len {}, 0);
    shard.expect(Insert { value: longest.clone() }, true);
    shard.expect(ContainsAll { values: vec![longest.clone(), longer.clone()] }, false);
    shard.expect(RemoveAll { values: vec![longer, longest] }, 1);
}
