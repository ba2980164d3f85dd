//! The state at rest: what a store that closes keeps, and what it does not.

use super::driver::TestShard;
use crate::objects::sizes::PAGE_BYTES_MAX;
use abide_net::{Bytes, CallError, Value, limits::VALUE_BYTES_MAX};
use abide_schema::{BUILT_IN, FutureState, MergeOp, types::*};

#[test]
fn every_built_in_type_is_there() {
    let registry = crate::Registry::built_in();
    for info in BUILT_IN {
        assert!(registry.get(info.id).is_some(), "{}", info.name);
    }
}

#[test]
fn registers_come_back_as_they_were() {
    let mut shard = TestShard::new::<atomic_bool::Type>(atomic_bool::Creation { initial: false });
    shard.get(atomic_bool::Set { value: true });
    shard.reopen().expect(atomic_bool::Get {}, true);
    let mut shard = TestShard::new::<atomic_int::Type>(atomic_int::Creation { initial: 1 });
    shard.get(atomic_int::IncrementAndGet {});
    shard.reopen().expect(atomic_int::Get {}, 2);
    let mut shard = TestShard::new::<atomic_long::Type>(atomic_long::Creation { initial: 1 });
    shard.get(atomic_long::IncrementAndGet {});
    shard.reopen().expect(atomic_long::Get {}, 2);
    let mut shard = TestShard::new::<atomic_double::Type>(atomic_double::Creation { initial: -0.0 });
    shard.get(atomic_double::Get {});
    assert_eq!(shard.reopen().get(atomic_double::Get {}).to_bits(), (-0.0_f64).to_bits());
    let mut shard = TestShard::new::<counter::Type>(counter::Creation { initial: 1 });
    shard.get(counter::Increment { n: 4 });
    shard.reopen().expect(counter::Tally {}, 5);
    let initial = Bytes(vec![1, 2]);
    let mut shard =
        TestShard::new::<atomic_byte_array::Type>(atomic_byte_array::Creation { initial: initial.clone() });
    shard.get(atomic_byte_array::Append { bytes: Bytes(vec![3]) });
    shard.reopen().expect(atomic_byte_array::Get {}, Bytes(vec![1, 2, 3]));
    let mut shard = TestShard::new::<atomic_ref::Type>(atomic_ref::Creation { initial: None });
    shard.get(atomic_ref::Set { value: Some(Value::null()) });
    shard.reopen().expect(atomic_ref::GetVersioned {}, (1, Some(Value::null())));
}

#[test]
fn collections_come_back_as_they_were_with_cursors_that_are_still_good() {
    let mut shard = TestShard::new::<list::Type>(list::Creation {});
    shard.get(list::Extend { values: (0..5).map(|n| Value::encode(&n).unwrap()).collect() });
    shard.get(list::PopFront {});
    let page = shard.get(list::GetPage { cursor: 0, limit: 2 });
    let (cursor, bytes) = (page.next.unwrap(), shard.info().bytes);
    let mut shard = shard.reopen();
    let rest = shard.get(list::GetPage { cursor, limit: 9 });
    assert_eq!(rest.entries, [3, 4].map(|n| Value::encode(&n).unwrap()));
    assert_eq!(shard.info().bytes, bytes);

    let mut shard = TestShard::new::<map::Type>(map::Creation {});
    let key = Value::text("key");
    shard.get(map::Merge { key: key.clone(), value: Value::text("v"), op: MergeOp::Concat });
    let bytes = shard.info().bytes;
    let mut shard = shard.reopen();
    assert_eq!(shard.info().bytes, bytes);
    shard.expect(map::Remove { key }, Some(Value::text("v")));
}

#[test]
fn a_collection_larger_than_a_frame_comes_back() {
    let mut shard = TestShard::new::<list::Type>(list::Creation {});
    let large = Value::bytes(&vec![1; VALUE_BYTES_MAX]);
    for _ in 0..4 {
        shard.get(list::Push { value: large.clone() });
    }
    let mut shard = shard.reopen();
    shard.expect(list::Len {}, 4);
    shard.expect(list::Get { index: 3 }, Some(large));
    const { assert!(4 * VALUE_BYTES_MAX > PAGE_BYTES_MAX) }
}

#[test]
fn permits_are_all_back_after_a_store_was_closed() {
    for (unowned, back) in [(false, 5), (true, 3)] {
        let mut shard = TestShard::new::<semaphore::Type>(semaphore::Creation { permits: 5, unowned });
        shard.get(semaphore::Acquire { n: 2, timeout_ms: None });
        shard.begin(2, semaphore::Acquire { n: 9, timeout_ms: None });
        let mut shard = shard.reopen();
        shard.expect(semaphore::Available {}, back);
        shard.expect(semaphore::TryAcquire { n: back }, true);
    }
}

#[test]
fn a_mutex_is_free_after_a_store_was_closed_and_its_tokens_still_grow() {
    let mut shard = TestShard::new::<mutex::Type>(mutex::Creation {});
    let token = shard.get(mutex::Lock { owner: 0, timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(mutex::GetHolder {}, None);
    assert!(shard.get(mutex::Lock { owner: 0, timeout_ms: None }) > token);
}

#[test]
fn latches_futures_and_barriers_come_back_without_those_who_waited() {
    let mut shard = TestShard::new::<count_down_latch::Type>(count_down_latch::Creation { count: 3 });
    shard.begin(2, count_down_latch::Await { timeout_ms: None });
    shard.get(count_down_latch::CountDown { n: 1 });
    let mut shard = shard.reopen();
    shard.expect(count_down_latch::Count {}, 2);
    assert_eq!(shard.info().waiters, 0);

    let mut shard = TestShard::new::<future::Type>(future::Creation {});
    shard.begin(2, future::Get { timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(future::SetError { message: "late".to_owned() }, true);
    let error = FutureState::Error("late".to_owned());
    shard.reopen().expect(future::Get { timeout_ms: None }, error);

    let mut shard = TestShard::new::<cyclic_barrier::Type>(cyclic_barrier::Creation { parties: 2 });
    shard.expect(cyclic_barrier::IsBroken {}, false);
    let mut shard = shard.reopen();
    shard.expect(cyclic_barrier::Parties {}, 2);
    shard.expect(cyclic_barrier::IsBroken {}, false);
    // Who waits while the store closes does not come back: the generation is broken, as if it had died.
    shard.begin(2, cyclic_barrier::Await { timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(cyclic_barrier::IsBroken {}, true);
    assert_eq!(shard.call(1, cyclic_barrier::Await { timeout_ms: None }), Err(CallError::Broken));
}
