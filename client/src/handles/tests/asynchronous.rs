//! The same handles, returning futures.

use super::{AsyncFake, Fake, block_on, encoded};
use crate::{AsyncStore, ListFilter, MergeOp};
use abide_net::{CallError, Value};
use abide_schema::{
    Page,
    types::{atomic_long, map, shard},
};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Waker},
};

fn store(fake: &Arc<Fake>) -> AsyncStore {
    AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone())))
}

#[test]
fn a_call_is_made_and_its_answer_read_without_blocking() {
    let fake = Fake::answering(&42_i64);
    let handle = store(&fake).atomic_long_with("x", 5);
    let mut call = handle.add_and_get(2);
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(block_on(call), Ok(42));
    assert_eq!(fake.calls()[0].as_call(), Some(atomic_long::AddAndGet { delta: 2 }));
    assert_eq!(block_on(handle.get()), Ok(42));
    assert_eq!(fake.calls()[0].epoch, 7, "the epoch of the first answer goes along with the second call");
}

#[test]
fn futures_take_no_part_of_their_arguments_along() {
    let fake = Fake::answering(&Some(Value::text("before")));
    let map = store(&fake).map::<String, String>("m");
    let call = {
        let (key, value) = ("key".to_owned(), "value".to_owned());
        map.insert(&key, &value)
    };
    drop(map);
    let before = std::thread::spawn(move || block_on(call)).join().unwrap();
    assert_eq!(before, Ok(Some("before".to_owned())));
    fake.expect(map::Insert { key: Value::text("key"), value: Value::text("value") });
}

#[test]
fn errors_come_out_of_the_future() {
    let fake = Fake::new(|_| Err(CallError::WrongType { is: "text".to_owned() }));
    let map = store(&fake).map::<String, u64>("m");
    let merged = block_on(map.merge("key", &1, MergeOp::Sum));
    assert_eq!(merged, Err(CallError::WrongType { is: "text".to_owned() }));
    assert!(matches!(block_on(store(&fake).mutex("").lock()), Err(CallError::BadArgument { .. })));
    assert!(matches!(block_on(store(&fake).delete("Nothing", "x")), Err(CallError::NoSuchMethod { .. })));
    assert_eq!(fake.calls().len(), 1);
}

#[test]
fn a_future_that_is_dropped_cancels_its_call() {
    let fake = Fake::answering(&());
    fake.stuck.store(true, SeqCst);
    let latch = store(&fake).count_down_latch("l", 1);
    let mut wait = latch.wait();
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(wait);
    drop(latch.wait());
    assert_eq!((fake.cancelled.load(SeqCst), fake.calls().len()), (2, 0));
}

#[test]
fn a_store_is_listed_by_pages_and_describes_its_shards() {
    let fake = Fake::new(|call| match call.as_call::<shard::ListObjects>() {
        Some(_) => {
            let key = format!("on {}", call.shard.unwrap());
            encoded(&Page { entries: vec![abide_schema::ObjectName { type_id: 3, key }], next: None::<u64> })
        }
        None => Err(CallError::Denied { reason: "not today".to_owned() }),
    });
    fake.shards.store(2, SeqCst);
    let store = store(&fake);
    let filter = ListFilter::default();
    let first = block_on(store.list_objects_page(&filter, Default::default(), 10)).unwrap();
    let second = block_on(store.list_objects_page(&filter, first.next.unwrap(), 10)).unwrap();
    assert_eq!((first.entries[0].key.as_str(), second.entries[0].key.as_str()), ("on 0", "on 1"));
    assert_eq!((second.entries[0].type_name.as_str(), second.next), ("AtomicLong", None));
    assert!(block_on(store.info()).is_err());
}
