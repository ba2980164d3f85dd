//! Maps, against a map.

use super::driver::TestShard;
use crate::objects::sizes::{ANSWER_BYTES_MAX, MAP_KEY_BYTES_MAX, PAGE_BYTES_MAX};
use abide_net::{
    CallError, Value,
    limits::{PAGE_ENTRIES_MAX, VALUE_BYTES_MAX},
    value::Opened,
};
use abide_schema::{MergeOp, types::map::*};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn value(n: i64) -> Value {
    Value::encode(&n).unwrap()
}

fn integer(value: &Value) -> i128 {
    match value.open() {
        Opened::Int(value) => value.into(),
        Opened::Uint(value) => value.into(),
        other => panic!("{other:?}"),
    }
}

fn new() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

/// All pages of entries, one after the other, with something done in between.
fn iterate(
    shard: &mut TestShard,
    limit: u32,
    mut between: impl FnMut(&mut TestShard),
) -> Vec<(Value, Value)> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = shard.get(Entries { after: after.clone(), limit });
        let keys = shard.get(Keys { after: after.clone(), limit });
        let values = shard.get(Values { after, limit });
        // Small entries: all three are bounded by their number.
        assert_eq!(keys.entries, page.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        assert_eq!(values.entries, page.entries.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
        assert_eq!((&keys.next, &values.next), (&page.next, &page.next));
        seen.extend(page.entries);
        if page.next.is_none() {
            return seen;
        }
        after = page.next;
        between(shard);
    }
}

/// What summing does to a map, one entry after the other; nothing if one of the sums overflows.
fn summed(model: &BTreeMap<Value, Value>, entries: &[(Value, Value)]) -> Option<BTreeMap<Value, Value>> {
    let mut model = model.clone();
    for (key, new) in entries {
        let sum = model.get(key).map_or(0, integer) + integer(new);
        model.insert(key.clone(), Value::integer(sum)?);
    }
    Some(model)
}

/// Entries in the order of their keys: a map has none of its own.
fn sorted(entries: impl IntoIterator<Item = (Value, Value)>) -> Vec<(Value, Value)> {
    let sorted: BTreeMap<_, _> = entries.into_iter().collect();
    sorted.into_iter().collect()
}

proptest! {
    #[test]
    fn maps_do_what_a_btree_map_does(
        calls in prop::collection::vec((0..21_u8, 0..5_i64, 0..5_i64, 0..5_i64), 1..60),
    ) {
        let mut shard = new();
        let mut model: BTreeMap<Value, Value> = BTreeMap::new();
        for (method, a, b, c) in calls {
            let (key, new) = (value(a), value(b));
            let there = model.get(&key).cloned();
            let is_expected = there == Some(value(c));
            let several = vec![(value(a), value(b)), (value(b), value(c)), (value(a), value(i64::MAX - c))];
            let several_keys = vec![value(a), value(b), value(a)];
            match method {
                0 => shard.expect(Len {}, model.len() as u64),
                1 => shard.expect(IsEmpty {}, model.is_empty()),
                2 => shard.expect(Get { key }, there),
                3 => shard.expect(ContainsKey { key }, there.is_some()),
                4 => {
                    let is_there = model.values().any(|value| *value == key);
                    shard.expect(ContainsValue { value: key }, is_there);
                }
                5 => shard.expect(Insert { key: key.clone(), value: new.clone() }, model.insert(key, new)),
                6 => {
                    model.entry(key.clone()).or_insert(new.clone());
                    shard.expect(InsertIfAbsent { key, value: new }, there);
                }
                7 => {
                    model.entry(key.clone()).and_modify(|value| *value = new.clone());
                    shard.expect(Replace { key, value: new }, there);
                }
                8 => {
                    if is_expected {
                        model.insert(key.clone(), new.clone());
                    }
                    shard.expect(ReplaceIf { key, expected: value(c), value: new }, is_expected);
                }
                9 => shard.expect(Remove { key: key.clone() }, model.remove(&key)),
                10 => {
                    if is_expected {
                        model.remove(&key);
                    }
                    shard.expect(RemoveIf { key, expected: value(c) }, is_expected);
                }
                11 => {
                    let expected = several_keys.iter().map(|key| model.get(key).cloned()).collect();
                    shard.expect(GetMany { keys: several_keys }, expected);
                }
                12 => {
                    let before = model.len();
                    model.extend(several.clone());
                    shard.expect(InsertMany { entries: several }, (model.len() - before) as u64);
                }
                13 => {
                    let removed = several_keys.iter().filter(|key| model.remove(key).is_some()).count();
                    shard.expect(RemoveMany { keys: several_keys }, removed as u64);
                }
                14 => {
                    model.clear();
                    shard.expect(Clear {}, ());
                }
                15..=17 => {
                    prop_assert_eq!(sorted(iterate(&mut shard, a as u32, |_| ())), sorted(model.clone()));
                }
                18 => {
                    let entries = [(key.clone(), new.clone())];
                    let after = summed(&model, &entries);
                    let result = shard.call(1, Merge { key: key.clone(), value: new, op: MergeOp::Sum });
                    prop_assert_eq!(result.ok(), after.as_ref().map(|after| after[&key].clone()));
                    model = after.unwrap_or(model);
                }
                19 => {
                    let after = summed(&model, &several);
                    let result = shard.call(1, MergeMany { entries: several, op: MergeOp::Sum });
                    let fresh = after.as_ref().map(|after| (after.len() - model.len()) as u64);
                    prop_assert_eq!(result.ok(), fresh);
                    model = after.unwrap_or(model);
                }
                _ => {
                    let entries = [(key.clone(), new.clone())];
                    let after = there.as_ref().and_then(|_| summed(&model, &entries));
                    let result = shard.call(1, Compute { key: key.clone(), op: MergeOp::Sum, operand: new });
                    let expected = match (&there, &after) {
                        (None, _) => Some(None),
                        (Some(_), after) => after.as_ref().map(|after| Some(after[&key].clone())),
                    };
                    prop_assert_eq!(result.ok(), expected);
                    model = after.unwrap_or(model);
                }
            }
            let all = shard.get(Entries { after: None, limit: 100 });
            prop_assert_eq!(sorted(all.entries), sorted(model.clone()));
        }
    }

    #[test]
    fn entries_that_stay_come_exactly_once_in_an_iteration_whatever_else_changes(
        limit in 1..4_u32,
        changes in prop::collection::vec((any::<bool>(), 0..40_i64), 1..40),
    ) {
        let mut shard = new();
        let mut stayed: BTreeMap<i64, i64> = (0..20).map(|n| (2 * n, n)).collect();
        shard.get(InsertMany { entries: stayed.iter().map(|(key, n)| (value(*key), value(*n))).collect() });
        let mut changes = changes.into_iter();
        let seen = iterate(&mut shard, limit, |shard| {
            let Some((removes, key)) = changes.next() else { return };
            if removes {
                shard.get(Remove { key: value(key) });
                stayed.remove(&key);
            } else {
                shard.get(InsertIfAbsent { key: value(key), value: value(-1) });
            }
        });
        for (key, n) in stayed {
            prop_assert_eq!(seen.iter().filter(|seen| **seen == (value(key), value(n))).count(), 1);
        }
    }
}

#[test]
fn merging_many_is_all_or_nothing() {
    let mut shard = new();
    let before = vec![(value(1), value(1)), (value(2), Value::text("no number"))];
    shard.get(InsertMany { entries: before.clone() });
    let entries = vec![(value(0), value(5)), (value(1), value(5)), (value(2), value(5))];
    let result = shard.call(1, MergeMany { entries, op: MergeOp::Sum });
    assert!(matches!(result, Err(CallError::WrongType { .. })), "{result:?}");
    assert_eq!(sorted(shard.get(Entries { after: None, limit: 9 }).entries), sorted(before.clone()));

    let larger = Value::bytes(&vec![1; VALUE_BYTES_MAX + 1]);
    let entries = vec![(value(0), value(5)), (value(9), larger)];
    assert!(shard.call(1, MergeMany { entries: entries.clone(), op: MergeOp::Last }).is_err());
    assert!(shard.call(1, InsertMany { entries }).is_err());
    assert_eq!(sorted(shard.get(Entries { after: None, limit: 9 }).entries), sorted(before.clone()));
}

#[test]
fn merging_one_key_many_times_joins_all_in_order() {
    let mut shard = new();
    let text = |text: &str| Value::text(text);
    let entries: Vec<_> = "abcdef".split("").map(|letter| (text("k"), text(letter))).collect();
    shard.expect(MergeMany { entries: entries.clone(), op: MergeOp::Concat }, 1);
    shard.expect(MergeMany { entries, op: MergeOp::Concat }, 0);
    shard.expect(Get { key: text("k") }, Some(text("abcdefabcdef")));
}

#[test]
fn concatenating_a_hundred_thousand_parts_under_one_key_costs_their_sum_not_its_square() {
    // Copying what is there for each part would move 100,000 times half of 10 MB.
    let mut shard = new();
    let part = Value::text(&"x".repeat(100));
    let entries = vec![(Value::null(), part); 100_000];
    shard.expect(MergeMany { entries, op: MergeOp::Concat }, 1);
    let whole: String = shard.get(Get { key: Value::null() }).unwrap().decode().unwrap();
    assert_eq!(whole.len(), 10_000_000);
}

#[test]
fn a_merge_may_not_make_a_value_above_the_limit() {
    let mut shard = new();
    let half = Value::bytes(&vec![1; VALUE_BYTES_MAX / 2 + 1]);
    let key = Value::null();
    let merge = Merge { key: key.clone(), value: half.clone(), op: MergeOp::Concat };
    shard.expect(merge.clone(), half.clone());
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, merge), Err(too_large.clone()));
    let compute = Compute { key: key.clone(), op: MergeOp::Concat, operand: half.clone() };
    assert_eq!(shard.call(1, compute), Err(too_large));
    shard.expect(Get { key }, Some(half));
}

#[test]
fn pages_are_bounded_in_entries_and_in_bytes_and_fit_a_frame() {
    let mut shard = new();
    let many = i64::from(PAGE_ENTRIES_MAX) + 1;
    shard.get(InsertMany { entries: (0..many).map(|n| (value(n), Value::null())).collect() });
    assert_eq!(shard.get(Keys { after: None, limit: u32::MAX }).entries.len() as i64, many - 1);
    assert_eq!(iterate(&mut shard, u32::MAX, |_| ()).len() as i64, many);
    assert_eq!(shard.get(Values { after: None, limit: 0 }).entries.len(), 1);

    // The largest entries that there can be, one to a page.
    shard.get(Clear {});
    let key = |n: u8| Value::bytes(&vec![n; MAP_KEY_BYTES_MAX]);
    let largest = Value::bytes(&vec![0; VALUE_BYTES_MAX]);
    shard.get(Insert { key: key(1), value: largest.clone() });
    shard.get(Insert { key: key(2), value: largest.clone() });
    let page = shard.get(Entries { after: None, limit: 10 });
    let (first, second) = if page.next == Some(key(1)) { (1, 2) } else { (2, 1) };
    assert_eq!((page.entries, page.next), (vec![(key(first), largest.clone())], Some(key(first))));
    let page = shard.get(Entries { after: Some(key(first)), limit: 10 });
    assert_eq!((page.entries, page.next), (vec![(key(second), largest)], None));
    assert_eq!(
        shard.get(Keys { after: None, limit: 10 }).entries.len(),
        2,
        "keys are not weighed with values"
    );
    const { assert!(2 * MAP_KEY_BYTES_MAX <= PAGE_BYTES_MAX) }
}

#[test]
fn a_key_longer_than_a_page_can_carry_is_refused() {
    let mut shard = new();
    let key = Value::bytes(&vec![1; MAP_KEY_BYTES_MAX + 1]);
    let too_large = CallError::TooLarge { max: MAP_KEY_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Insert { key: key.clone(), value: value(1) }), Err(too_large.clone()));
    let merge = Merge { key: key.clone(), value: value(1), op: MergeOp::Sum };
    assert_eq!(shard.call(1, merge), Err(too_large.clone()));
    assert_eq!(shard.call(1, InsertMany { entries: vec![(key.clone(), value(1))] }), Err(too_large));
    shard.expect(Get { key }, None);
}

#[test]
fn getting_one_large_value_under_many_names_is_too_large() {
    let mut shard = new();
    shard.get(Insert { key: value(1), value: Value::bytes(&vec![1; VALUE_BYTES_MAX]) });
    assert_eq!(shard.get(GetMany { keys: vec![value(1)] }).len(), 1);
    let too_large = CallError::TooLarge { max: ANSWER_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, GetMany { keys: vec![value(1); 100_000] }), Err(too_large));
}
