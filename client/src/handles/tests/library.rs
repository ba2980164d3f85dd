//! Each method of the newer handles: what it sends, and how it reads the answer.

use super::{AsyncFake, Brought, Fake, block_on, encoded};
use crate::{
    AsyncStore, MergeOp, Store,
    handles::{TopicPage, Versions},
};
use abide_net::{Bytes, CallError, Value, codec};
use abide_schema::{
    Leader, Method, Number, NumberKind, Numbers, Page, WaitInfo,
    types::{
        blob, election, event, exchanger, id_generator, matrix, object, phaser, priority_queue, queue,
        rate_limiter, reducer, rendezvous, set, shard, sorted_map, topic, vector,
    },
};
use serde::Serialize;
use std::{fmt, sync::Arc, time::Duration};

fn value<T: Serialize + ?Sized>(value: &T) -> Value {
    Value::encode(value).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

/// Makes a call that the node answers like this, and asserts what was sent. Returns what the handle made of the answer.
#[track_caller]
fn sends<C: Method + PartialEq + fmt::Debug, T>(
    expected: C,
    answer: C::Output,
    call: impl FnOnce(&Store) -> Result<T, CallError>,
) -> T {
    let fake = Fake::answering(&answer);
    let made = call(&Store::of(fake.clone())).unwrap();
    fake.expect(expected);
    made
}

#[test]
fn sorted_maps_are_maps_with_an_order() {
    let entry = || (value(&7_u64), value("seven"));
    let read = Some((7, "seven".to_owned()));
    let map = |store: &Store| store.sorted_map::<u64, String>("m");
    let key = || value(&7_u64);
    let sent = sorted_map::Insert { key: key(), value: value("seven") };
    assert_eq!(sends(sent, Some(value("old")), |s| map(s).insert(&7, "seven")), Some("old".to_owned()));
    assert_eq!(sends(sorted_map::First {}, Some(entry()), |s| map(s).first()), read);
    assert_eq!(sends(sorted_map::Last {}, Some(entry()), |s| map(s).last()), read);
    assert_eq!(sends(sorted_map::Floor { key: key() }, Some(entry()), |s| map(s).floor(&7)), read);
    assert_eq!(sends(sorted_map::Ceiling { key: key() }, None, |s| map(s).ceiling(&7)), None);
    assert_eq!(sends(sorted_map::Lower { key: key() }, Some(entry()), |s| map(s).lower(&7)), read);
    assert_eq!(sends(sorted_map::Higher { key: key() }, Some(entry()), |s| map(s).higher(&7)), read);
    assert_eq!(sends(sorted_map::PopFirst {}, Some(entry()), |s| map(s).pop_first()), read);
    assert_eq!(sends(sorted_map::PopLast {}, None, |s| map(s).pop_last()), None);
    assert_eq!(sends(sorted_map::Rank { key: key() }, 3, |s| map(s).rank(&7)), 3);
    assert_eq!(sends(sorted_map::Top { k: 2 }, vec![entry()], |s| map(s).top(2)), [(7, "seven".to_owned())]);
    let page = || Page { entries: vec![entry()], next: Some(value(&8_u64)) };
    let read = Page { entries: vec![(7, "seven".to_owned())], next: Some(8) };
    let sent = sorted_map::Range { from: Some(key()), to: None, limit: 5 };
    assert_eq!(sends(sent, page(), |s| map(s).range_page(Some(&7), None::<&u64>, 5)), read);
    let sent = sorted_map::Head { to: key(), limit: 5 };
    assert_eq!(sends(sent, page(), |s| map(s).head(&7, 5)), read);
    let sent = sorted_map::Tail { from: key(), limit: 5 };
    assert_eq!(sends(sent, page(), |s| map(s).tail(&7, 5)), read);
    let sent = sorted_map::Compute { key: key(), op: MergeOp::Concat, operand: value("!") };
    let computed = sends(sent, Some(value("seven!")), |s| map(s).compute(&7, MergeOp::Concat, "!"));
    assert_eq!(computed, Some("seven!".to_owned()));
}

#[test]
fn a_range_is_fetched_page_by_page_from_where_the_page_before_ended() {
    // 0 to 9, three to a page.
    let fake = Fake::new(|call| {
        let Some(sorted_map::Range { from, to, limit }) = call.as_call() else { panic!("{call:?}") };
        let number = |value: Option<Value>| value.map(|value| value.decode::<u64>().unwrap());
        let (from, to) = (number(from).unwrap_or(0), number(to).unwrap_or(10));
        let end = to.min(from + u64::from(limit.min(3)));
        let entries: Vec<_> = (from..end).map(|n| (value(&n), value(&(n * n)))).collect();
        encoded(&Page { entries, next: (end < to).then(|| value(&end)) })
    });
    let map = Store::of(fake.clone()).sorted_map::<u64, u64>("m");
    let keys =
        |range: crate::handles::Paged<(u64, u64)>| range.map(|entry| entry.unwrap().0).collect::<Vec<_>>();
    assert_eq!(keys(map.range(Some(&2), Some(&9))), (2..9).collect::<Vec<_>>());
    assert_eq!(fake.calls().len(), 3);
    assert_eq!(keys(map.range(None::<&u64>, None::<&u64>)), (0..10).collect::<Vec<_>>());
}

#[test]
fn sets_hold_values_of_the_users_type() {
    let set = |store: &Store| store.set::<String>("s");
    assert!(sends(set::Insert { value: value("a") }, true, |s| set(s).insert("a")));
    assert!(sends(set::Remove { value: value("a") }, true, |s| set(s).remove("a")));
    assert!(sends(set::Contains { value: value("a") }, true, |s| set(s).contains("a")));
    let values = || vec![value("a"), value("b")];
    assert!(sends(set::ContainsAll { values: values() }, true, |s| set(s).contains_all(["a", "b"])));
    assert_eq!(sends(set::Extend { values: values() }, 2, |s| set(s).extend(["a", "b"])), 2);
    assert_eq!(sends(set::RemoveAll { values: values() }, 1, |s| set(s).remove_all(["a", "b"])), 1);
    assert_eq!(sends(set::RetainAll { values: values() }, 0, |s| set(s).retain_all(["a", "b"])), 0);
    assert_eq!(sends(set::Len {}, 9, |s| set(s).len()), 9);
    assert!(!sends(set::IsEmpty {}, false, |s| set(s).is_empty()));
    sends(set::Clear {}, (), |s| set(s).clear());
    let fake = Fake::new(|call| match call.as_call() {
        Some(set::GetPage { after: None, .. }) => {
            encoded(&Page { entries: vec![value("a"), value("b")], next: Some(value("b")) })
        }
        Some(set::GetPage { after: Some(after), .. }) if after == value("b") => {
            encoded(&Page { entries: vec![value("c")], next: None::<Value> })
        }
        _ => panic!("{call:?}"),
    });
    let all: Result<Vec<String>, _> = Store::of(fake).set::<String>("s").iter().collect();
    assert_eq!(all.unwrap(), ["a", "b", "c"]);
}

#[test]
fn vectors_and_matrices_are_of_one_kind_of_numbers() {
    let floats = |store: &Store| store.vector::<f64>("v", 3);
    let numbers = |numbers: &[f64]| Numbers::F64(numbers.to_vec());
    assert_eq!(sends(vector::Get { index: 1 }, Number::F64(1.5), |s| floats(s).get(1)), 1.5);
    let sent = vector::Set { index: 1, value: Number::F64(2.0) };
    assert_eq!(sends(sent, Number::I64(1), |s| floats(s).set(1, 2.0)), 1.0, "an integer that is a float");
    let sent = vector::AddAssign { values: numbers(&[1.0, 2.0]) };
    sends(sent, (), |s| floats(s).add_assign([1.0, 2.0]));
    sends(vector::Scale { factor: Number::F64(0.5) }, (), |s| floats(s).scale(0.5));
    let sent = vector::Dot { values: numbers(&[1.0]) };
    assert_eq!(sends(sent, Number::F64(3.0), |s| floats(s).dot(vec![1.0])), 3.0);
    let sent = vector::Combine { values: numbers(&[1.0]), op: MergeOp::Max };
    sends(sent, (), |s| floats(s).combine([1.0], MergeOp::Max));
    sends(vector::Fill { value: Number::F64(7.0) }, (), |s| floats(s).fill(7.0));
    assert_eq!(sends(vector::ToVec {}, numbers(&[1.0, 2.0]), |s| floats(s).to_vec()), [1.0, 2.0]);
    assert_eq!(sends(vector::Len {}, 3, |s| floats(s).len()), 3);
    let integers = |store: &Store| store.vector_with::<i64>("v", 3, 9);
    let sent = vector::GetRange { start: 1, end: 2 };
    assert_eq!(sends(sent, Numbers::I64(vec![5]), |s| integers(s).get_range(1, 2)), [5]);
    let sent = vector::SetRange { start: 1, values: Numbers::I64(vec![5, 6]) };
    sends(sent, (), |s| integers(s).set_range(1, [5, 6]));
    let other = Store::of(Fake::answering(&Number::F64(1.5))).vector::<i64>("v", 3).get(0);
    assert!(matches!(other, Err(CallError::WrongType { .. })), "{other:?}");

    let matrix = |store: &Store| store.matrix::<i64>("m", 2, 3);
    assert_eq!(sends(matrix::Get { i: 1, j: 2 }, Number::I64(4), |s| matrix(s).get(1, 2)), 4);
    let sent = matrix::Compute { i: 0, j: 1, op: MergeOp::Sum, x: Number::I64(2) };
    assert_eq!(sends(sent, Number::I64(6), |s| matrix(s).compute(0, 1, MergeOp::Sum, 2)), 6);
    let sent = matrix::SetRow { i: 1, values: Numbers::I64(vec![1, 2, 3]) };
    sends(sent, (), |s| matrix(s).set_row(1, [1, 2, 3]));
    assert_eq!(sends(matrix::Row { i: 1 }, Numbers::I64(vec![1]), |s| matrix(s).row(1)), [1]);
    assert_eq!(sends(matrix::Col { j: 1 }, Numbers::I64(vec![1]), |s| matrix(s).col(1)), [1]);
    let sent = matrix::Combine { values: Numbers::I64(vec![1; 6]), op: MergeOp::Min };
    sends(sent, (), |s| matrix(s).combine([1; 6], MergeOp::Min));
    assert_eq!(sends(matrix::Rows {}, 2, |s| matrix(s).rows()), 2);
    assert_eq!(sends(matrix::Cols {}, 3, |s| matrix(s).cols()), 3);
    assert_eq!(sends(matrix::ToVec {}, Numbers::I64(vec![1; 6]), |s| matrix(s).to_vec()), [1; 6]);
}

#[test]
fn what_is_created_is_what_was_asked_for() {
    let fake = Fake::answering(&0_u32);
    let store = Store::of(fake.clone());
    let created = || fake.calls().pop().unwrap().creation;
    let exactly = |arguments: Vec<u8>| Brought::Exactly(arguments);
    store.vector::<f64>("v", 3).len().unwrap();
    let zero = vector::Creation { len: 3, kind: NumberKind::F64, fill: Number::I64(0) };
    assert_eq!(created(), exactly(codec::encode(&zero).unwrap()), "as `--create [3]` makes it");
    store.vector_with("v", 3, 9_i64).len().unwrap();
    let nines = vector::Creation { len: 3, kind: NumberKind::I64, fill: Number::I64(9) };
    assert_eq!(created(), exactly(codec::encode(&nines).unwrap()));
    store.open_vector::<f64>("v").len().unwrap();
    assert_eq!(created(), Brought::Nothing);
    store.matrix_with("m", 1, 2, 0.5).rows().unwrap();
    let halves = matrix::Creation { rows: 1, cols: 2, kind: NumberKind::F64, fill: Number::F64(0.5) };
    assert_eq!(created(), exactly(codec::encode(&halves).unwrap()));
    store.reducer_with::<i64>("r", 4, 2, MergeOp::Max).waiting().unwrap();
    let maxima = reducer::Creation { parties: 4, len: 2, kind: NumberKind::I64, op: MergeOp::Max };
    assert_eq!(created(), exactly(codec::encode(&maxima).unwrap()));
    store.phaser_with("p", 4).registered().unwrap();
    assert_eq!(created(), exactly(codec::encode(&phaser::Creation { parties: 4 }).unwrap()));

    let fake = Fake::answering(&0_u64);
    let store = Store::of(fake.clone());
    let created = || fake.calls().pop().unwrap().creation;
    store.bounded_queue::<u8>("q", 5).len().unwrap();
    assert_eq!(created(), exactly(codec::encode(&queue::Creation { capacity: Some(5) }).unwrap()));
    store.queue::<u8>("q").len().unwrap();
    assert_eq!(created(), Brought::IfAbsent(codec::encode(&queue::Creation { capacity: None }).unwrap()));
    store.topic_with::<u8>("t", 5).len().unwrap();
    assert_eq!(created(), exactly(codec::encode(&topic::Creation { retain: 5 }).unwrap()));
    store.id_generator_with("i", 5).next().unwrap();
    assert_eq!(created(), exactly(codec::encode(&id_generator::Creation { start: 5 }).unwrap()));
    store.rate_limiter("r", 5, SECOND, 9).available().unwrap();
    let rate = rate_limiter::Creation { permits: 5, period_ms: 1_000, burst: 9 };
    assert_eq!(created(), exactly(codec::encode(&rate).unwrap()));
}

#[test]
fn blobs_are_bytes() {
    let blob = |store: &Store| store.blob("b");
    let bytes = || Bytes(vec![1, 2]);
    sends(blob::Write { bytes: bytes() }, (), |s| blob(s).write([1, 2]));
    assert_eq!(sends(blob::Read {}, bytes(), |s| blob(s).read()), [1, 2]);
    let sent = blob::GetRange { offset: 3, len: 4 };
    assert_eq!(sends(sent, bytes(), |s| blob(s).get_range(3, 4)), [1, 2]);
    let sent = blob::SetRange { offset: 3, bytes: bytes() };
    assert_eq!(sends(sent, 5, |s| blob(s).set_range(3, [1, 2])), 5);
    assert_eq!(sends(blob::Append { bytes: bytes() }, 5, |s| blob(s).append([1, 2])), 5);
    sends(blob::Truncate { len: 2 }, (), |s| blob(s).truncate(2));
    assert_eq!(sends(blob::Len {}, 5, |s| blob(s).len()), 5);
    assert!(sends(blob::Len {}, 0, |s| blob(s).is_empty()));
    assert_eq!(sends(blob::Digest {}, "00ff".to_owned(), |s| blob(s).digest()), "00ff");
}

#[test]
fn queues_give_what_they_got() {
    let queue = |store: &Store| store.queue::<String>("q");
    let job = || value("job");
    assert!(sends(queue::Offer { value: job() }, true, |s| queue(s).offer("job")));
    sends(queue::Put { value: job(), timeout_ms: None }, (), |s| queue(s).put("job"));
    let sent = queue::Put { value: job(), timeout_ms: Some(1_000) };
    sends(sent, (), |s| queue(s).put_timeout("job", SECOND));
    assert_eq!(sends(queue::Poll {}, Some(job()), |s| queue(s).poll()), Some("job".to_owned()));
    assert_eq!(sends(queue::Take { timeout_ms: None }, job(), |s| queue(s).take()), "job");
    let sent = queue::Take { timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, job(), |s| queue(s).take_timeout(SECOND)), "job");
    assert_eq!(sends(queue::Peek {}, None, |s| queue(s).peek()), None);
    assert_eq!(sends(queue::Drain { n: 5 }, vec![job()], |s| queue(s).drain(5)), ["job"]);
    assert_eq!(sends(queue::Capacity {}, Some(5), |s| queue(s).capacity()), Some(5));

    let queue = |store: &Store| store.priority_queue::<String>("q");
    let sent = priority_queue::Push { priority: -1, value: job() };
    sends(sent, (), |s| queue(s).push(-1, "job"));
    let first = || Some((-1, job()));
    let read = Some((-1, "job".to_owned()));
    assert_eq!(sends(priority_queue::Pop {}, first(), |s| queue(s).pop()), read);
    assert_eq!(sends(priority_queue::Peek {}, first(), |s| queue(s).peek()), read);
    let sent = priority_queue::Take { timeout_ms: None };
    assert_eq!(sends(sent, (-1, job()), |s| queue(s).take()), (-1, "job".to_owned()));
    let sent = priority_queue::Take { timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, (-1, job()), |s| queue(s).take_timeout(SECOND)).0, -1);
}

/// A topic of 0 to 6 whose first two values are forgotten, three to a page, and at most `most`; then it is deleted.
fn a_topic(most: u32) -> Arc<Fake> {
    Fake::new(move |call| {
        let Some(topic::Subscribe { cursor, limit, timeout_ms: None }) = call.as_call() else {
            panic!("{call:?}")
        };
        if limit > most {
            return Err(CallError::TooLarge { max: 1 });
        }
        let from = cursor.max(2);
        let entries: Vec<_> = (from..7).take(limit.min(3) as usize).map(|n| (n, value(&(n * 10)))).collect();
        if entries.is_empty() {
            return Err(CallError::Broken);
        }
        let next = entries.last().unwrap().0 + 1;
        encoded(&abide_schema::TopicPage { entries, next, missed: from - cursor })
    })
}

#[test]
fn topics_are_followed_from_a_cursor() {
    let topic = |store: &Store| store.topic::<String>("t");
    assert_eq!(sends(topic::Publish { value: value("news") }, 4, |s| topic(s).publish("news")), 4);
    let page = || abide_schema::TopicPage { entries: vec![(4, value("news"))], next: 5, missed: 1 };
    let read = TopicPage { entries: vec![(4, "news".to_owned())], next: 5, missed: 1 };
    let sent = topic::Subscribe { cursor: 3, limit: 9, timeout_ms: None };
    assert_eq!(sends(sent, page(), |s| topic(s).subscribe(3, 9)), read);
    let sent = topic::Subscribe { cursor: 3, limit: 9, timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, page(), |s| topic(s).subscribe_timeout(3, 9, SECOND)), read);
    assert_eq!(sends(topic::Last { n: 1 }, page().entries, |s| topic(s).last(1)), read.entries);
    assert_eq!(sends(topic::NextPosition {}, 5, |s| topic(s).next_position()), 5);

    let all = vec![Ok((2, 20)), Ok((3, 30)), Ok((4, 40)), Ok((5, 50)), Ok((6, 60)), Err(CallError::Broken)];
    for most in [1_000, 1] {
        let fake = a_topic(most);
        let mut follow = Store::of(fake.clone()).topic::<u64>("t").follow(0);
        assert_eq!(fake.calls(), [], "nothing is asked before it is needed");
        assert_eq!(follow.by_ref().collect::<Vec<_>>(), all);
        assert_eq!((follow.missed(), follow.next()), (2, None));
    }
    let store = AsyncStore::from_caller(Arc::new(AsyncFake(a_topic(1_000))));
    let followed = block_on(async {
        let (mut follow, mut followed) = (store.topic::<u64>("t").follow(0), Vec::new());
        while let Some(value) = follow.next().await {
            followed.push(value);
        }
        followed
    });
    assert_eq!(followed, all);
}

#[test]
fn numbers_and_permits_are_given_out() {
    assert_eq!(sends(id_generator::Next {}, 7, |s| s.id_generator("i").next()), 7);
    assert_eq!(sends(id_generator::NextRange { n: 5 }, 7, |s| s.id_generator("i").next_range(5)), 7);
    let rate = |store: &Store| store.rate_limiter("r", 10, SECOND, 5);
    assert!(sends(rate_limiter::TryAcquire { n: 2 }, true, |s| rate(s).try_acquire(2)));
    sends(rate_limiter::Acquire { n: 2, timeout_ms: None }, (), |s| rate(s).acquire(2));
    let sent = rate_limiter::Acquire { n: 2, timeout_ms: Some(1_000) };
    sends(sent, (), |s| rate(s).acquire_timeout(2, SECOND));
    let sent = rate_limiter::SetRate { permits: 1, period_ms: 1_000, burst: 2 };
    sends(sent, (), |s| rate(s).set_rate(1, SECOND, 2));
    assert_eq!(sends(rate_limiter::Available {}, 3, |s| s.open_rate_limiter("r").available()), 3);
}

#[test]
fn parties_meet() {
    let phaser = |store: &Store| store.phaser("p");
    assert_eq!(sends(phaser::Register {}, 1, |s| phaser(s).register()), 1);
    assert_eq!(sends(phaser::BulkRegister { n: 3 }, 1, |s| phaser(s).bulk_register(3)), 1);
    assert_eq!(sends(phaser::Arrive {}, 1, |s| phaser(s).arrive()), 1);
    let sent = phaser::ArriveAndWait { timeout_ms: None };
    assert_eq!(sends(sent, 2, |s| phaser(s).arrive_and_wait()), 2);
    let sent = phaser::ArriveAndWait { timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, 2, |s| phaser(s).arrive_and_wait_timeout(SECOND)), 2);
    assert_eq!(sends(phaser::ArriveAndDeregister {}, 1, |s| phaser(s).arrive_and_deregister()), 1);
    let sent = phaser::AwaitPhase { phase: 1, timeout_ms: None };
    assert_eq!(sends(sent, 2, |s| phaser(s).await_phase(1)), 2);
    let sent = phaser::AwaitPhase { phase: 1, timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, 2, |s| phaser(s).await_phase_timeout(1, SECOND)), 2);
    assert_eq!(sends(phaser::GetPhase {}, 2, |s| phaser(s).phase()), 2);
    assert!(sends(phaser::IsTerminated {}, true, |s| phaser(s).is_terminated()));

    let sent = exchanger::Exchange { value: value("mine"), timeout_ms: None };
    assert_eq!(sends(sent, value("yours"), |s| s.exchanger::<String>("x").exchange("mine")), "yours");
    let sent = exchanger::Exchange { value: value("mine"), timeout_ms: Some(1_000) };
    let exchange = |s: &Store| s.exchanger::<String>("x").exchange_timeout("mine", SECOND);
    assert_eq!(sends(sent, value("yours"), exchange), "yours");

    assert!(sends(event::Set {}, true, |s| s.event("e").set()));
    assert!(sends(event::Clear {}, true, |s| s.event("e").clear()));
    sends(event::Await { timeout_ms: None }, (), |s| s.event("e").wait());
    sends(event::Await { timeout_ms: Some(1_000) }, (), |s| s.event("e").wait_timeout(SECOND));
    assert!(sends(event::IsSet {}, true, |s| s.event_with("e", true).is_set()));

    let peers = |store: &Store| store.rendezvous("r");
    let sent = rendezvous::Publish { name: "a".to_owned(), address: "b".to_owned() };
    sends(sent, (), |s| peers(s).publish("a", "b"));
    assert!(sends(rendezvous::Withdraw { name: "a".to_owned() }, true, |s| peers(s).withdraw("a")));
    let sent = rendezvous::Lookup { name: "a".to_owned(), timeout_ms: None };
    assert_eq!(sends(sent, "b".to_owned(), |s| peers(s).lookup("a")), "b");
    let sent = rendezvous::Lookup { name: "a".to_owned(), timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, "b".to_owned(), |s| peers(s).lookup_timeout("a", SECOND)), "b");
    let fake = Fake::new(|call| match call.as_call() {
        Some(rendezvous::Names { after: None, .. }) => {
            encoded(&Page { entries: vec![("a", "1")], next: Some("a") })
        }
        Some(rendezvous::Names { after: Some(after), .. }) if after == "a" => {
            encoded(&Page { entries: vec![("b", "2")], next: None::<String> })
        }
        _ => panic!("{call:?}"),
    });
    let names: Result<Vec<_>, _> = Store::of(fake).rendezvous("r").names().collect();
    assert_eq!(names.unwrap().len(), 2);

    let sums = |store: &Store| store.reducer::<f64>("r", 2, 2);
    let sent = reducer::Contribute { values: Numbers::F64(vec![1.0, 2.0]), timeout_ms: None };
    let sum = Numbers::F64(vec![3.0, 4.0]);
    assert_eq!(sends(sent, sum.clone(), |s| sums(s).contribute([1.0, 2.0])), [3.0, 4.0]);
    let sent = reducer::Contribute { values: Numbers::F64(vec![1.0, 2.0]), timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, sum, |s| sums(s).contribute_timeout([1.0, 2.0], SECOND)), [3.0, 4.0]);
    assert_eq!(sends(reducer::Generation {}, 5, |s| sums(s).generation()), 5);
    sends(reducer::Reset {}, (), |s| sums(s).reset());
}

#[test]
fn a_leader_resigns_when_its_leadership_goes() {
    let leader = Leader { session: "1".to_owned(), candidate: "me".to_owned(), token: 9 };
    let known = leader.clone();
    let fake = Fake::new(move |call| {
        if call.as_call::<election::Campaign>().is_some() {
            encoded(&9_u64)
        } else if call.as_call::<election::Resign>().is_some() {
            encoded(&true)
        } else {
            encoded(&Some(&known))
        }
    });
    let election = Store::of(fake.clone()).election("e");
    let leadership = election.campaign("me").unwrap();
    fake.expect(election::Campaign { candidate: "me".to_owned(), timeout_ms: None });
    assert_eq!(leadership.token(), 9);
    drop(leadership);
    fake.expect(election::Resign { token: Some(9) });
    assert_eq!(election.campaign_timeout("me", SECOND).unwrap().resign(), Ok(true));
    assert_eq!(fake.calls().len(), 2, "it resigns once");
    election.campaign("me").unwrap().forget();
    assert_eq!(fake.calls().len(), 1);
    assert_eq!(election.leader(), Ok(Some(leader.clone())));
    fake.calls();
    assert_eq!(election.observe(9), Ok(Some(leader)));
    fake.expect(election::Observe { token: 9, timeout_ms: None });
    assert_eq!(election.resign(), Ok(true));
    fake.expect(election::Resign { token: None });
}

#[test]
fn a_handle_says_where_its_object_lives() {
    let fake = Fake::answering(&0_i64);
    let store = Store::of(fake.clone());
    let counter = || store.counter_with("c", 5);
    for (handle, replicas) in [
        (counter(), None),
        (counter().persistent(), Some(1)),
        (counter().replicas(3), Some(3)),
        (counter().persistent().ephemeral(), Some(0)),
        (counter().persistent().or_open(), Some(1)),
        (counter().or_open().persistent().clone(), Some(1)),
    ] {
        handle.tally().unwrap();
        assert_eq!(fake.calls()[0].replicas, replicas);
    }
    let semaphore = store.semaphore("s", 3).persistent().unowned();
    let _ = semaphore.available();
    assert_eq!(fake.calls()[0].replicas, Some(1), "also what is given back, is where it was taken");
}

#[test]
fn objects_expire_and_are_watched() {
    let handle = |store: &Store| store.set::<u8>("s");
    assert!(sends(object::ExpireIn { ms: 1_000 }, true, |s| handle(s).expire_in(SECOND)));
    assert!(sends(object::Persist {}, true, |s| handle(s).persist()));
    let sent = object::Watch { version: 4, timeout_ms: None };
    assert_eq!(sends(sent, 5, |s| handle(s).watch(4)), 5);
    let sent = object::Watch { version: 4, timeout_ms: Some(1_000) };
    assert_eq!(sends(sent, 5, |s| handle(s).watch_timeout(4, SECOND)), 5);

    // Versions 3, 5 and 8; then the object is deleted.
    let changing = || {
        Fake::new(|call| match call.as_call() {
            Some(object::Watch { version: 3, .. }) => encoded(&5_u64),
            Some(object::Watch { version: 5, .. }) => encoded(&8_u64),
            Some(object::Watch { version: 8, .. }) => Err(CallError::Broken),
            _ => {
                assert!(call.as_call::<object::Info>().is_some(), "{call:?}");
                encoded(&super::info(3))
            }
        })
    };
    let all = [Ok(3), Ok(5), Ok(8), Err(CallError::Broken)];
    let versions: Versions = Store::of(changing()).set::<u8>("s").versions();
    assert_eq!(versions.collect::<Vec<_>>(), all);
    let store = AsyncStore::from_caller(Arc::new(AsyncFake(changing())));
    let versions = block_on(async {
        let (mut versions, mut all) = (store.set::<u8>("s").versions(), Vec::new());
        while let Some(version) = versions.next().await {
            all.push(version);
        }
        all
    });
    assert_eq!(versions, all);
}

#[test]
fn a_seeded_session_numbers_its_owners_as_another_run_would() {
    let owner = |store: &Store, fake: &Fake| {
        let _ = store.mutex("m").try_lock();
        fake.calls()[0].as_call::<abide_schema::types::mutex::TryLock>().unwrap().owner
    };
    for _ in 0..2 {
        let fake = Fake::answering(&None::<u64>);
        let store = Store::of(fake.clone()).with_owners();
        let first = std::thread::scope(|scope| scope.spawn(|| owner(&store, &fake)).join().unwrap());
        assert_eq!((first, owner(&store, &fake), owner(&store.clone(), &fake)), (1, 2, 2));
    }
}

#[test]
fn a_seeded_session_makes_no_calls_while_its_thread_panics() {
    let fake = Fake::answering(&1_u64);
    let seeded = Store::of(fake.clone()).with_owners();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = seeded.mutex("m").lock().unwrap();
        panic!("with a lock");
    }));
    assert!(panicked.is_err());
    assert_eq!(fake.calls().len(), 1, "it is not unlocked: the run that goes on has it");
    assert_eq!(seeded.counter("c").increment(1).map(drop).map_err(drop), Err(()), "the answer is a number");
    assert_eq!(fake.calls().len(), 1, "other calls go on");
}

#[test]
fn seeds_name_sessions() {
    let fake = Fake::answering(&());
    let store = Store::of(fake.clone());
    let seed = |store: Result<Store, CallError>| {
        store.unwrap();
        fake.seed.lock().unwrap().unwrap()
    };
    assert_eq!(seed(store.with_seed(7)), seed(store.with_seed(7)));
    assert_eq!(seed(store.with_seed_of("job")), seed(store.with_seed_of(b"job")));
    assert_ne!(seed(store.with_seed(7)), seed(store.with_seed(8)));
    assert_ne!(seed(store.with_seed(7)), 7, "no ordinary session has this id");
    store.finish().unwrap();
    assert!(fake.ended.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn waiting_calls_are_listed_shard_by_shard() {
    let wait = |shard: u32, n: u64| WaitInfo {
        object: abide_schema::ObjectName { type_id: 14, key: format!("{shard}/{n}") },
        type_name: "Mutex".to_owned(),
        session: "1".to_owned(),
        slot: 0,
        sequence: 1,
        method: "lock".to_owned(),
        owner: Some(1),
        since_unix_ms: 0,
        deadline_unix_ms: None,
        holders: Vec::new(),
    };
    let fake = Fake::new(move |call| {
        let Some(shard::Waits { cursor, limit }) = call.as_call() else { panic!("{call:?}") };
        let shard = call.shard.unwrap();
        let entries: Vec<_> =
            (cursor..u64::from(shard) * 2).take(limit.min(3) as usize).map(|n| wait(shard, n)).collect();
        let next = cursor + entries.len() as u64;
        encoded(&Page { entries, next: (next < u64::from(shard) * 2).then_some(next) })
    });
    fake.shards.store(3, std::sync::atomic::Ordering::SeqCst);
    let keys: Vec<String> = Store::of(fake).waits().map(|wait| wait.unwrap().object.key).collect();
    assert_eq!(keys, ["1/0", "1/1", "2/0", "2/1", "2/2", "2/3"]);
}
