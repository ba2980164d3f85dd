//! Users' values on their way in and out, and iterations over many.

use super::{Fake, Recorded, encoded};
use crate::{MergeOp, Store};
use abide_net::{CallError, Value};
use abide_schema::{
    Page,
    types::{atomic_byte_array, atomic_ref, counter, list, map},
};
use serde::{Deserialize, Serialize, Serializer};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

fn store(fake: &Arc<Fake>) -> Store {
    Store::of(fake.clone())
}

fn value<T: Serialize + ?Sized>(value: &T) -> Value {
    Value::encode(value).unwrap()
}

#[test]
fn keys_and_values_are_taken_in_any_form_of_their_type() {
    let fake = Fake::answering(&Some(value(&1_u64)));
    let words = store(&fake).map::<String, u64>("words");
    let insert = map::Insert { key: value("sea"), value: value(&5_u64) };
    assert_eq!(words.insert("sea", &5), Ok(Some(1)));
    fake.expect(insert.clone());
    words.insert(&"sea".to_owned(), &5).unwrap();
    fake.expect(insert);
    words.get("sea").unwrap();
    fake.expect(map::Get { key: value("sea") });

    let fake = Fake::answering(&3_u64);
    let names = store(&fake).list::<String>("names");
    names.extend(["Ada", "Grace"]).unwrap();
    names.extend(&["Ada".to_owned(), "Grace".to_owned()]).unwrap();
    names.extend(&vec!["Ada".to_owned(), "Grace".to_owned()]).unwrap();
    for call in fake.calls() {
        assert_eq!(call.as_call(), Some(list::Extend { values: vec![value("Ada"), value("Grace")] }));
    }

    let fake = Fake::answering(&2_u64);
    let words = store(&fake).map::<String, u64>("words");
    let entries = vec![(value("sea"), value(&1_u64)), (value("the"), value(&2_u64))];
    words.merge_many([("sea", &1), ("the", &2)], MergeOp::Sum).unwrap();
    words.merge_many(&BTreeMap::from([("sea".to_owned(), 1), ("the".to_owned(), 2)]), MergeOp::Sum).unwrap();
    for call in fake.calls() {
        assert_eq!(call.as_call(), Some(map::MergeMany { entries: entries.clone(), op: MergeOp::Sum }));
    }
    words.insert_many(&HashMap::from([("sea".to_owned(), 1)])).unwrap();
    fake.expect(map::InsertMany { entries: entries[..1].to_vec() });
}

#[test]
fn values_of_users_types_come_back_as_they_went() {
    let point = Point { x: 1.0, y: -2.5 };
    let fake = Fake::answering(&(9_u64, Some(value(&point))));
    let best = store(&fake).atomic_ref::<Point>("best");
    assert_eq!(best.get_versioned(), Ok((9, Some(point.clone()))));
    let fake = Fake::answering(&Err::<Option<Value>, _>(Some(value(&point))));
    let best = store(&fake).atomic_ref::<Point>("best");
    assert_eq!(best.compare_exchange(None, Some(&point)), Ok(Err(Some(point.clone()))));
    let sent = atomic_ref::CompareExchange { expected: None, value: Some(value(&point)) };
    fake.expect(sent);
    let fake = Fake::answering(&vec![Some(value(&point)), None]);
    let points = store(&fake).map::<(u32, u32), Point>("points");
    assert_eq!(points.get_many(&[(1, 2), (3, 4)]), Ok(vec![Some(point), None]));
    fake.expect(map::GetMany { keys: vec![value(&(1_u32, 2_u32)), value(&(3_u32, 4_u32))] });
}

#[test]
fn bytes_are_taken_in_any_form_too() {
    let fake = Fake::answering(&abide_net::Bytes(vec![1, 2]));
    let bytes = store(&fake).atomic_byte_array_with("b", b"ab");
    assert_eq!(bytes.swap([3, 4]), Ok(vec![1, 2]));
    assert_eq!(bytes.swap(vec![3, 4]), Ok(vec![1, 2]));
    for call in fake.calls() {
        assert_eq!(call.as_call(), Some(atomic_byte_array::Swap { bytes: abide_net::Bytes(vec![3, 4]) }));
    }
}

#[test]
fn a_value_of_another_type_is_an_error() {
    let texts = Fake::answering(&Some(value("text")));
    assert!(matches!(store(&texts).list::<u64>("l").get(0), Err(CallError::WrongType { .. })));
    assert_eq!(store(&texts).list::<String>("l").get(0), Ok(Some("text".to_owned())));
}

/// Serialises as a call's result: what a handle inside of a value does.
struct Asks(Store);

impl Serialize for Asks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tally = self.0.counter("nested").tally().map_err(serde::ser::Error::custom)?;
        serializer.serialize_i64(tally)
    }
}

impl<'de> Deserialize<'de> for Asks {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never read"))
    }
}

#[test]
fn a_call_can_be_made_while_another_one_encodes_its_arguments() {
    let fake = Fake::new(|call| match call.as_call::<counter::Tally>() {
        Some(_) => encoded(&5_i64),
        None => encoded(&1_u64),
    });
    let asks = Asks(store(&fake));
    assert_eq!(store(&fake).list::<Asks>("l").extend([&asks, &asks]), Ok(1));
    let calls = fake.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[2].as_call(), Some(list::Extend { values: vec![value(&5), value(&5)] }));
}

#[test]
fn a_call_can_be_made_while_another_one_is_under_way() {
    let inner = Fake::answering(&5_i64);
    let asked = inner.clone();
    // What carries the outer call (objects of users in this process) makes the inner one; `Fake` checks that
    // the outer arguments are still there afterwards.
    let outer = Fake::new(move |call| {
        let delta = Store::of(asked.clone()).atomic_long("inner").add_and_get(1_000_000)?;
        assert!(call.as_call::<list::Push>().is_some());
        encoded(&u64::try_from(delta).unwrap())
    });
    assert_eq!(store(&outer).list::<String>("outer").push("a long text, longer than a number"), Ok(5));
    assert_eq!((inner.calls().len(), outer.calls().len()), (1, 1));
}

#[test]
fn a_thread_that_is_ending_can_still_call() {
    struct AtExit(Arc<Fake>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            store(&self.0).counter("goodbyes").increment(1).unwrap();
            let _ = Store::current();
        }
    }
    thread_local!(static FIRST: RefCell<Option<AtExit>> = const { RefCell::new(None) });
    let fake = Fake::answering(&());
    let at_exit = AtExit(fake.clone());
    // Values of a thread are dropped in the order in which they were made, or the reverse: one at each end.
    thread_local!(static LAST: RefCell<Option<AtExit>> = const { RefCell::new(None) });
    std::thread::spawn(move || {
        let other = AtExit(at_exit.0.clone());
        FIRST.set(Some(at_exit));
        store(&other.0).counter("visits").increment(1).unwrap();
        let _scope = store(&other.0).enter();
        LAST.set(Some(other));
    })
    .join()
    .unwrap();
    assert_eq!(fake.calls().len(), 3);
}

#[test]
fn a_value_that_cannot_be_serialised_is_an_error_and_is_not_sent() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    impl<'de> Deserialize<'de> for Refuses {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Refuses)
        }
    }
    let fake = Fake::answering(&1_u64);
    assert!(matches!(
        store(&fake).list::<Refuses>("l").push(&Refuses).map(drop),
        Err(CallError::BadArgument { .. })
    ));
    assert!(matches!(
        store(&fake).atomic_ref_with::<Refuses>("r", &Refuses).map(|_| ()),
        Err(CallError::BadArgument { .. })
    ));
    assert_eq!(fake.calls(), []);
}

/// A map of 0 to 9 that cuts pages to three entries, and those with more than `most` are too large.
fn pages_of_ten(most: u32) -> impl Fn(&Recorded) -> Result<Vec<u8>, CallError> + Send + Sync {
    move |call| {
        let (after, limit) = match (call.as_call(), call.as_call(), call.as_call()) {
            (Some(map::Entries { after, limit }), ..) => (after, limit),
            (_, Some(map::Keys { after, limit }), _) => (after, limit),
            (.., Some(map::Values { after, limit })) => (after, limit),
            _ => panic!("not a page: {call:?}"),
        };
        if limit > most {
            return Err(CallError::TooLarge { max: 1 });
        }
        let begin = after.map_or(0, |key| key.decode::<u64>().unwrap() + 1);
        let keys: Vec<u64> = (begin..10).take(limit.min(3) as usize).collect();
        let next = keys.last().filter(|last| **last < 9).map(value);
        match call.as_call::<map::Entries>() {
            Some(_) => {
                let entries = keys.iter().map(|key| (value(key), value(&key.to_string()))).collect();
                encoded(&Page { entries, next })
            }
            None if call.as_call::<map::Keys>().is_some() => {
                encoded(&Page { entries: keys.iter().map(value).collect(), next })
            }
            None => {
                encoded(&Page { entries: keys.iter().map(|key| value(&key.to_string())).collect(), next })
            }
        }
    }
}

#[test]
fn a_map_is_iterated_page_by_page() {
    let fake = Fake::new(pages_of_ten(u32::MAX));
    let map = store(&fake).map::<u64, String>("m");
    let mut entries = map.entries();
    assert_eq!(fake.calls(), [], "nothing is fetched before it is asked for");
    assert_eq!(entries.next(), Some(Ok((0, "0".to_owned()))));
    assert_eq!(entries.by_ref().take(2).count(), 2);
    assert_eq!(fake.calls().len(), 1, "a page is used up before the next one is fetched");
    assert_eq!(entries.collect::<Result<Vec<_>, _>>().unwrap().len(), 7);
    assert_eq!(fake.calls().len(), 3);
    assert_eq!(map.keys().collect::<Result<Vec<_>, _>>(), Ok((0..10).collect()));
    assert_eq!(map.values().last(), Some(Ok("9".to_owned())));
    assert_eq!(
        map.entries_page(Some(&7), 1).unwrap(),
        Page { entries: vec![(8, "8".to_owned())], next: Some(8) }
    );
}

#[test]
fn pages_that_are_too_large_are_asked_for_again_with_fewer_entries() {
    let fake = Fake::new(pages_of_ten(2));
    let keys = store(&fake).map::<u64, String>("m").keys();
    assert_eq!(keys.collect::<Result<Vec<_>, _>>(), Ok((0..10).collect()));
    let fake = Fake::new(pages_of_ten(0));
    let mut keys = store(&fake).map::<u64, String>("m").keys();
    assert_eq!(keys.next(), Some(Err(CallError::TooLarge { max: 1 })), "not even one entry fits");
    assert_eq!(keys.next(), None);
}

#[test]
fn an_error_ends_an_iteration() {
    let fake = Fake::new(|call| match call.as_call() {
        Some(list::GetPage { cursor: 0, .. }) => {
            encoded(&Page { entries: vec![value(&1_u8), value(&2_u8)], next: Some(2_u64) })
        }
        _ => Err(CallError::NotFound),
    });
    let items: Vec<_> = store(&fake).list::<u8>("l").iter().collect();
    assert_eq!(items, [Ok(1), Ok(2), Err(CallError::NotFound)]);
}

#[test]
fn slices_are_ranges_of_indices() {
    let fake = Fake::answering(&vec![value(&7_u8)]);
    let list = store(&fake).list::<u8>("l");
    let sent = || {
        let list::Slice { start, end } = fake.call();
        (start, end)
    };
    assert_eq!((list.slice(2..5), sent()), (Ok(vec![7]), (2, 5)));
    assert_eq!((list.slice(..=5), sent()), (Ok(vec![7]), (0, 6)));
    assert_eq!((list.slice(3..), sent()), (Ok(vec![7]), (3, u64::MAX)));
    assert_eq!((list.to_vec(), sent()), (Ok(vec![7]), (0, u64::MAX)));
}
