//! Sorted maps, against a map whose keys are places in a written order.

use super::driver::TestShard;
use crate::objects::sizes::{ANSWER_BYTES_MAX, SORTED_KEY_BYTES_MAX};
use abide_net::{
    CallError, Value,
    limits::{PAGE_ENTRIES_MAX, VALUE_BYTES_MAX},
    value::Opened,
};
use abide_schema::{MergeOp, Page, types::sorted_map::*};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn integer(n: i128) -> Value {
    Value::integer(n).unwrap()
}

/// Keys in the order that the declaration promises.
fn ordered() -> Vec<Value> {
    vec![
        Value::null(),
        Value::bool(false),
        Value::bool(true),
        integer(i64::MIN.into()),
        integer(-256),
        integer(-1),
        integer(0),
        integer(1),
        integer(256),
        integer(i64::MAX.into()),
        integer(1 << 63),
        integer(u64::MAX.into()),
        Value::float(-f64::NAN),
        Value::float(f64::NEG_INFINITY),
        Value::float(-2.5),
        Value::float(-0.0),
        Value::float(0.0),
        Value::float(1e-300),
        Value::float(3.0),
        Value::float(f64::NAN),
        Value::text(""),
        Value::text("a"),
        Value::text("ab"),
        Value::text("b"),
        Value::bytes(b""),
        Value::bytes(b"\0"),
        Value::bytes(b"a"),
        Value::encode(&(1_u8, 2_u8)).unwrap(),
        Value::from_bytes(b"\x08[1]").unwrap(),
    ]
}

fn new() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

type Model = BTreeMap<usize, i128>;

/// Twice that is more than 64 bits.
const HALF: i128 = 1 << 63;

fn value(n: i64) -> Value {
    integer(n.into())
}

fn entry((place, n): (&usize, &i128)) -> (Value, Value) {
    (ordered()[*place].clone(), integer(*n))
}

/// The first `limit` of some entries, and the key of the one behind them.
fn page<'m>(entries: impl Iterator<Item = (&'m usize, &'m i128)>, limit: u32) -> Page<(Value, Value), Value> {
    let mut all: Vec<_> = entries.map(entry).collect();
    let next = all.get(limit.max(1) as usize).map(|(key, _)| key.clone());
    all.truncate(limit.max(1) as usize);
    Page { entries: all, next }
}

/// All pages of entries, keys and values, compared with each other.
fn iterate(shard: &mut TestShard, limit: u32) -> Vec<(Value, Value)> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = shard.get(Entries { after: after.clone(), limit });
        let keys = shard.get(Keys { after: after.clone(), limit });
        let values = shard.get(Values { after, limit });
        assert_eq!(keys.entries, page.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        assert_eq!(values.entries, page.entries.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
        assert_eq!((&keys.next, &values.next), (&page.next, &page.next));
        seen.extend(page.entries);
        if page.next.is_none() {
            return seen;
        }
        after = page.next;
    }
}

/// What summing does to a map, one entry after the other; nothing if one of the sums overflows.
fn summed(model: &Model, entries: &[(usize, i128)]) -> Option<Model> {
    let mut model = model.clone();
    for (key, new) in entries {
        let sum = model.get(key).copied().unwrap_or(0) + *new;
        Value::integer(sum)?;
        model.insert(*key, sum);
    }
    Some(model)
}

proptest! {
    #[test]
    fn sorted_maps_do_what_a_btree_map_does(
        calls in prop::collection::vec((0..34_u8, 0..29_usize, 0..29_usize, 0..4_i128), 1..60),
    ) {
        let keys = ordered();
        let mut shard = new();
        let mut model = Model::new();
        for (method, a, b, n) in calls {
            let key = keys[a].clone();
            let there = model.get(&a).copied();
            let is_expected = there == Some(1);
            let several = [(a, n), (b, HALF), (a, HALF)];
            let several_values: Vec<_> = several.iter().map(|(key, n)| (keys[*key].clone(), integer(*n))).collect();
            let several_keys = vec![keys[a].clone(), keys[b].clone(), keys[a].clone()];
            let limit = n as u32;
            match method {
                0 => shard.expect(Len {}, model.len() as u64),
                1 => shard.expect(IsEmpty {}, model.is_empty()),
                2 => shard.expect(Get { key }, there.map(integer)),
                3 => shard.expect(ContainsKey { key }, there.is_some()),
                4 => shard.expect(ContainsValue { value: integer(n) }, model.values().any(|there| *there == n)),
                5 => shard.expect(Insert { key, value: integer(n) }, model.insert(a, n).map(integer)),
                6 => {
                    model.entry(a).or_insert(n);
                    shard.expect(InsertIfAbsent { key, value: integer(n) }, there.map(integer));
                }
                7 => {
                    model.entry(a).and_modify(|there| *there = n);
                    shard.expect(Replace { key, value: integer(n) }, there.map(integer));
                }
                8 => {
                    if is_expected {
                        model.insert(a, n);
                    }
                    shard.expect(ReplaceIf { key, expected: value(1), value: integer(n) }, is_expected);
                }
                9 => shard.expect(Remove { key }, model.remove(&a).map(integer)),
                10 => {
                    if is_expected {
                        model.remove(&a);
                    }
                    shard.expect(RemoveIf { key, expected: value(1) }, is_expected);
                }
                11 => {
                    let expected = [a, b, a].map(|key| model.get(&key).copied().map(integer)).to_vec();
                    shard.expect(GetMany { keys: several_keys }, expected);
                }
                12 => {
                    let before = model.len();
                    model.extend(several);
                    shard.expect(InsertMany { entries: several_values }, (model.len() - before) as u64);
                }
                13 => {
                    let removed = [a, b, a].iter().filter(|key| model.remove(key).is_some()).count();
                    shard.expect(RemoveMany { keys: several_keys }, removed as u64);
                }
                14 if n == 0 => {
                    model.clear();
                    shard.expect(Clear {}, ());
                }
                14..=17 => prop_assert_eq!(iterate(&mut shard, limit), model.iter().map(entry).collect::<Vec<_>>()),
                18 => {
                    let after = summed(&model, &several[1..2]);
                    let merge = Merge { key: keys[b].clone(), value: integer(HALF), op: MergeOp::Sum };
                    let expected = after.as_ref().map(|after| integer(after[&b]));
                    prop_assert_eq!(shard.call(1, merge).ok(), expected);
                    model = after.unwrap_or(model);
                }
                19 => {
                    let after = summed(&model, &several);
                    let result = shard.call(1, MergeMany { entries: several_values, op: MergeOp::Sum });
                    let fresh = after.as_ref().map(|after| (after.len() - model.len()) as u64);
                    prop_assert_eq!(result.ok(), fresh);
                    model = after.unwrap_or(model);
                }
                20 => {
                    let after = if there.is_some() { summed(&model, &several[..1]) } else { Some(model.clone()) };
                    let result = shard.call(1, Compute { key, op: MergeOp::Sum, operand: integer(n) });
                    let expected = after.as_ref().map(|after| after.get(&a).copied().map(integer));
                    prop_assert_eq!(result.ok(), expected);
                    model = after.unwrap_or(model);
                }
                21 => {
                    // Without a bound in half of all cases.
                    let from = (n & 1 == 0).then_some(a);
                    let to = (n & 2 == 0).then_some(b);
                    let within = model.iter().filter(|(key, _)| {
                        from.is_none_or(|from| **key >= from) && to.is_none_or(|to| **key < to)
                    });
                    let expected = page(within, limit);
                    let [from, to] = [from, to].map(|key| key.map(|key| keys[key].clone()));
                    shard.expect(Range { from, to, limit }, expected);
                }
                22 => shard.expect(Head { to: key, limit }, page(model.range(..a), limit)),
                23 => shard.expect(Tail { from: key, limit }, page(model.range(a..), limit)),
                24 => shard.expect(First {}, model.first_key_value().map(entry)),
                25 => shard.expect(Last {}, model.last_key_value().map(entry)),
                26 => shard.expect(Floor { key }, model.range(..=a).next_back().map(entry)),
                27 => shard.expect(Ceiling { key }, model.range(a..).next().map(entry)),
                28 => shard.expect(Lower { key }, model.range(..a).next_back().map(entry)),
                29 => shard.expect(Higher { key }, model.range(a + 1..).next().map(entry)),
                30 => shard.expect(Top { k: limit }, model.iter().rev().take(n as usize).map(entry).collect()),
                31 => shard.expect(PopFirst {}, model.pop_first().map(|(key, n)| entry((&key, &n)))),
                32 => shard.expect(PopLast {}, model.pop_last().map(|(key, n)| entry((&key, &n)))),
                _ => shard.expect(Rank { key }, model.range(..a).count() as u64),
            }
            let all = shard.get(Entries { after: None, limit: 100 });
            prop_assert_eq!(all.entries, model.iter().map(entry).collect::<Vec<_>>());
        }
    }
}

/// Pages that go on where the one before says end, and have every entry once.
#[test]
fn ranges_go_on_from_the_key_that_they_name() {
    let mut shard = new();
    let keys = ordered();
    let all: Vec<_> = keys.iter().cloned().zip((0..).map(value)).collect();
    shard.get(InsertMany { entries: all.iter().rev().cloned().collect() });
    for limit in [1, 2, 7, 100] {
        let (mut seen, mut from) = (Vec::new(), None);
        loop {
            let page = shard.get(Range { from, to: Some(keys[20].clone()), limit });
            seen.extend(page.entries);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(seen, all[..20], "{limit}");
    }
    let crossed = shard.get(Range { from: Some(keys[9].clone()), to: Some(keys[3].clone()), limit: 9 });
    assert_eq!(crossed, Page { entries: Vec::new(), next: None });
}

/// Three levels of nodes, as ranks and bounds are found by their counts.
#[test]
fn many_keys_are_ranked_and_found_between() {
    let mut shard = new();
    let n = |n: i64| integer(n.into());
    for part in 0..4 {
        let entries = (0..1_000).map(|i| (n(2 * (part + 4 * i)), value(i)));
        shard.expect(InsertMany { entries: entries.collect() }, 1_000);
    }
    shard.expect(Len {}, 4_000);
    for key in [-1, 0, 1, 4_000, 4_001, 7_998, 7_999, 100_000] {
        shard.expect(Rank { key: n(key) }, (key + 1).clamp(0, 8_000) as u64 / 2);
        let floor = (key >= 0).then(|| key.min(7_998) & !1);
        let found = shard.get(Floor { key: n(key) });
        assert_eq!(found.map(|(key, _)| key), floor.map(n));
    }
    let top: Vec<_> = shard.get(Top { k: 3 }).into_iter().map(|(key, _)| key).collect();
    assert_eq!(top, [7_998, 7_996, 7_994].map(n));
    shard.expect(Clear {}, ());
    shard.expect(Rank { key: n(5) }, 0);
}

#[test]
fn keys_have_their_limit_and_those_beyond_it_can_still_be_asked_for() {
    let mut shard = new();
    let [longest, longer] =
        [SORTED_KEY_BYTES_MAX, SORTED_KEY_BYTES_MAX + 1].map(|bytes| Value::text(&"k".repeat(bytes)));
    let too_large = CallError::TooLarge { max: SORTED_KEY_BYTES_MAX as u64 };
    shard.expect(Insert { key: longest.clone(), value: value(1) }, None);
    shard.expect(Get { key: longest.clone() }, Some(value(1)));
    let insert = |key: &Value| Insert { key: key.clone(), value: value(1) };
    assert_eq!(shard.call(1, insert(&longer)), Err(too_large.clone()));
    let merge =
        MergeMany { entries: vec![(value(1), value(1)), (longer.clone(), value(1))], op: MergeOp::Sum };
    assert_eq!(shard.call(1, merge), Err(too_large));
    shard.expect(ContainsKey { key: longer.clone() }, false);
    shard.expect(Rank { key: longer.clone() }, 1);
    shard.expect(Floor { key: longer }, Some((longest, value(1))));
    shard.expect(Len {}, 1);
}

#[test]
fn what_no_frame_can_carry_is_too_large_and_pages_end_before_that() {
    let mut shard = new();
    let largest = Value::bytes(&vec![0; VALUE_BYTES_MAX]);
    shard.get(Insert { key: value(1), value: largest.clone() });
    shard.get(Insert { key: value(2), value: largest.clone() });
    assert_eq!(shard.get(Top { k: 1 }).len(), 1);
    assert_eq!(shard.call(1, Top { k: 2 }), Err(CallError::TooLarge { max: ANSWER_BYTES_MAX as u64 }));
    let page = shard.get(Tail { from: value(0), limit: 10 });
    assert_eq!((page.entries.len(), page.next), (1, Some(value(2))));
    assert_eq!(
        shard.get(Keys { after: None, limit: 9 }).entries.len(),
        2,
        "keys are not weighed with values"
    );
    let too_large = Value::bytes(&vec![0; VALUE_BYTES_MAX + 1]);
    let insert = Insert { key: value(1), value: too_large };
    assert_eq!(shard.call(1, insert), Err(CallError::TooLarge { max: VALUE_BYTES_MAX as u64 }));
    shard.get(Clear {});
    let many = i64::from(PAGE_ENTRIES_MAX) + 1;
    for part in 0..11 {
        let keys = (part * 1_000..many.min(part * 1_000 + 1_000)).map(|n| (value(n), Value::null()));
        shard.get(InsertMany { entries: keys.collect() });
    }
    let page = shard.get(Range { from: None, to: None, limit: u32::MAX });
    assert_eq!((page.entries.len() as i64, page.next), (many - 1, Some(value(many - 1))));
}

#[test]
fn a_merge_that_fails_on_one_key_changes_none() {
    let mut shard = new();
    shard.get(Insert { key: value(2), value: Value::text("no number") });
    let entries = vec![(value(1), value(5)), (value(2), value(5))];
    let result = shard.call(1, MergeMany { entries, op: MergeOp::Sum });
    assert!(matches!(result, Err(CallError::WrongType { .. })), "{result:?}");
    shard.expect(Len {}, 1);
    assert_eq!(shard.get(First {}).unwrap().1.open(), Opened::Text("no number"));
}
