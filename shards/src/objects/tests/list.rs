//! Lists, against a vector.

use super::driver::TestShard;
use crate::objects::sizes::{ANSWER_BYTES_MAX, PAGE_BYTES_MAX};
use abide_net::{
    CallError, Value,
    limits::{PAGE_ENTRIES_MAX, VALUE_BYTES_MAX},
};
use abide_schema::types::list::*;
use proptest::prelude::*;

fn value(n: u64) -> Value {
    Value::encode(&n).unwrap()
}

fn new() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

/// All pages, one after the other, with something done in between.
fn iterate(shard: &mut TestShard, limit: u32, mut between: impl FnMut(&mut TestShard)) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        let page = shard.get(GetPage { cursor, limit });
        assert!(page.entries.len() <= limit.max(1) as usize);
        seen.extend(page.entries);
        let Some(next) = page.next else { return seen };
        cursor = next;
        between(shard);
    }
}

proptest! {
    #[test]
    fn lists_do_what_a_vec_does(calls in prop::collection::vec((0..21_u8, 0..8_u64, 0..8_u64), 1..60)) {
        let mut shard = new();
        let mut model: Vec<Value> = Vec::new();
        for (method, a, b) in calls {
            let (index, len) = (a as usize, model.len() as u64);
            let out_of_bounds = CallError::OutOfBounds { len };
            let several = vec![value(a), value(b), value(a)];
            match method {
                0 => shard.expect(Len {}, len),
                1 => shard.expect(IsEmpty {}, model.is_empty()),
                2 => shard.expect(Get { index: a }, model.get(index).cloned()),
                3 => {
                    let expected = match model.get_mut(index) {
                        Some(there) => Ok(std::mem::replace(there, value(b))),
                        None => Err(out_of_bounds),
                    };
                    prop_assert_eq!(shard.call(1, Set { index: a, value: value(b) }), expected);
                }
                4 => {
                    model.push(value(a));
                    shard.expect(Push { value: value(a) }, len + 1);
                }
                5 => {
                    let fits = index <= model.len();
                    if fits {
                        model.insert(index, value(b));
                    }
                    let expected = if fits { Ok(()) } else { Err(out_of_bounds) };
                    prop_assert_eq!(shard.call(1, Insert { index: a, value: value(b) }), expected);
                }
                6 => {
                    let expected = if a < len { Ok(model.remove(index)) } else { Err(out_of_bounds) };
                    prop_assert_eq!(shard.call(1, RemoveAt { index: a }), expected);
                }
                7 => {
                    let found = model.iter().position(|there| *there == value(a));
                    found.map(|index| model.remove(index));
                    shard.expect(Remove { value: value(a) }, found.is_some());
                }
                8 => {
                    let first = if len > 0 { Some(model.remove(0)) } else { None };
                    shard.expect(PopFront {}, first);
                }
                9 => shard.expect(PopBack {}, model.pop()),
                10 => {
                    model.insert(0, value(a));
                    shard.expect(PushFront { value: value(a) }, len + 1);
                }
                11 => shard.expect(Contains { value: value(a) }, model.contains(&value(a))),
                12 => {
                    let all = several.iter().all(|value| model.contains(value));
                    shard.expect(ContainsAll { values: several }, all);
                }
                13 => {
                    model.extend(several.clone());
                    shard.expect(Extend { values: several }, len + 3);
                }
                14 => {
                    model.retain(|value| !several.contains(value));
                    shard.expect(RemoveAll { values: several }, len - model.len() as u64);
                }
                15 => {
                    model.retain(|value| several.contains(value));
                    shard.expect(RetainAll { values: several }, len - model.len() as u64);
                }
                16 => {
                    model.clear();
                    shard.expect(Clear {}, ());
                }
                17 => {
                    let index = model.iter().position(|there| *there == value(a));
                    shard.expect(IndexOf { value: value(a) }, index.map(|index| index as u64));
                }
                18 => {
                    let index = model.iter().rposition(|there| *there == value(a));
                    shard.expect(LastIndexOf { value: value(a) }, index.map(|index| index as u64));
                }
                19 => {
                    let part = model.iter().skip(index).take((b as usize).saturating_sub(index));
                    shard.expect(Slice { start: a, end: b }, part.cloned().collect());
                }
                _ => prop_assert_eq!(&iterate(&mut shard, a as u32, |_| ()), &model),
            }
            shard.expect(Slice { start: 0, end: u64::MAX }, model.clone());
        }
    }

    #[test]
    fn values_that_stay_come_once_in_an_iteration_whatever_happens_at_the_ends(
        limit in 1..4_u32,
        changes in prop::collection::vec((0..4_u8, 1..4_u64), 1..40),
    ) {
        let mut shard = new();
        let mut there: Vec<u64> = (0..20).collect();
        shard.get(Extend { values: there.iter().copied().map(value).collect() });
        let mut stayed = there.clone();
        let (mut changes, mut fresh) = (changes.into_iter(), 1_000);
        let seen = iterate(&mut shard, limit, |shard| {
            let Some((change, times)) = changes.next() else { return };
            for _ in 0..times {
                fresh += 1;
                match change {
                    0 if !there.is_empty() => { shard.get(PopFront {}); there.remove(0); }
                    0 => {}
                    1 => { shard.get(PopBack {}); there.pop(); }
                    2 => { shard.get(PushFront { value: value(fresh) }); there.insert(0, fresh); }
                    _ => { shard.get(Push { value: value(fresh) }); there.push(fresh); }
                }
                stayed.retain(|value| there.contains(value));
            }
        });
        for value in stayed.into_iter().map(value) {
            let times = seen.iter().filter(|seen| **seen == value).count();
            prop_assert_eq!(times, 1, "{:?} in {:?}", value, seen);
        }
    }
}

#[test]
fn an_iteration_goes_on_after_a_clear_with_what_is_new() {
    let mut shard = new();
    shard.get(Extend { values: (0..4).map(value).collect() });
    let page = shard.get(GetPage { cursor: 0, limit: 4 });
    assert_eq!((page.entries.len(), page.next), (4, None));
    let page = shard.get(GetPage { cursor: 0, limit: 2 });
    shard.get(Clear {});
    shard.get(Extend { values: (4..6).map(value).collect() });
    let rest = shard.get(GetPage { cursor: page.next.unwrap(), limit: 9 });
    assert_eq!(rest.entries, [value(4), value(5)]);
}

#[test]
fn any_cursor_and_any_index_get_an_answer() {
    let mut shard = new();
    shard.get(Push { value: value(1) });
    for n in [0, 1, 1 << 62, (1 << 62) + 1, u64::MAX] {
        shard.get(GetPage { cursor: n, limit: u32::MAX });
        shard.get(Slice { start: n, end: u64::MAX - n });
        shard.get(Get { index: n });
        let _ = shard.call(1, Insert { index: n, value: value(2) });
        let _ = shard.call(1, Set { index: n, value: value(2) });
        let _ = shard.call(1, RemoveAt { index: n });
    }
}

#[test]
fn pages_are_bounded_in_entries_and_in_bytes_and_never_empty_before_the_end() {
    let mut shard = new();
    let many = PAGE_ENTRIES_MAX as usize + 1;
    shard.get(Extend { values: vec![Value::null(); many] });
    assert_eq!(shard.get(GetPage { cursor: 0, limit: u32::MAX }).entries.len(), PAGE_ENTRIES_MAX as usize);
    assert_eq!(iterate(&mut shard, u32::MAX, |_| ()).len(), many);
    assert_eq!(shard.get(GetPage { cursor: 0, limit: 0 }).entries.len(), 1);

    shard.get(Clear {});
    let half = Value::bytes(&vec![1; PAGE_BYTES_MAX / 2 + 1]);
    let largest = Value::bytes(&vec![2; VALUE_BYTES_MAX]);
    for value in [&half, &half, &largest, &half] {
        shard.get(Push { value: value.clone() });
    }
    let page = shard.get(GetPage { cursor: 0, limit: 10 });
    assert_eq!(page.entries.len(), 1, "two halves and a little are too much");
    assert_eq!(iterate(&mut shard, 10, |_| ()), [half.clone(), half.clone(), largest, half]);
}

#[test]
fn a_slice_that_no_frame_can_carry_is_too_large_and_the_longest_that_one_can_carry_is_not() {
    let mut shard = new();
    // Two values, of which each takes a length of five bytes, and the length of the slice.
    let each = (ANSWER_BYTES_MAX - 1) / 2 - 5;
    let longest = Value::bytes(&vec![1; each - 1]);
    shard.get(Push { value: longest.clone() });
    shard.get(Push { value: longest });
    assert_eq!(shard.get(Slice { start: 0, end: 2 }).len(), 2);
    let longer = Value::bytes(&vec![1; each + 1]);
    shard.get(Set { index: 1, value: longer });
    let too_large = CallError::TooLarge { max: ANSWER_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Slice { start: 0, end: 2 }), Err(too_large));
    assert_eq!(shard.get(Slice { start: 1, end: 2 }).len(), 1);
}

#[test]
fn a_value_above_the_limit_is_refused_and_nothing_of_its_company_stays() {
    let mut shard = new();
    let larger = Value::bytes(&vec![1; VALUE_BYTES_MAX + 1]);
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Push { value: larger.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, PushFront { value: larger.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Insert { index: 0, value: larger.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Extend { values: vec![value(1), larger] }), Err(too_large));
    shard.expect(Len {}, 0);
}
