//! Where CRUCIAL went wrong (the end of `objects.md`), so that it does not happen here. Defects 4, 5 and 8
//! are not the objects' but the shard's, the replication's and the encoding's.

use super::driver::{LEASE_MS, TestShard};
use abide_net::{CallError, Value};
use abide_schema::types::{
    atomic_long, count_down_latch as latch, cyclic_barrier as barrier, list, mutex, semaphore,
};

/// Its latch counted down inside of `await`, and could pass below zero.
#[test]
fn defect_1_waiting_never_counts_a_latch_down_and_a_count_never_passes_zero() {
    let mut shard = TestShard::new::<latch::Type>(latch::Creation { count: 2 });
    let waiting: Vec<_> =
        (2..12).map(|session| shard.begin(session, latch::Await { timeout_ms: Some(10) })).collect();
    shard.expect(latch::Count {}, 2);
    shard.pass_ms(10);
    assert!(waiting.iter().all(|call| shard.take_answer(call) == Some(Err(CallError::TimedOut))));
    shard.expect(latch::Count {}, 2);
    shard.expect(latch::CountDown { n: 5 }, 0);
    shard.expect(latch::CountDown { n: u64::MAX }, 0);
    shard.expect(latch::Await { timeout_ms: None }, ());
    shard.expect(latch::Count {}, 0);
}

/// Its scalable barrier failed unless the number of parties was a power of two.
#[test]
fn defect_2_a_barrier_works_for_any_number_of_parties() {
    for parties in (1..=66).chain([100, 127, 128, 129, 1_000]) {
        let mut shard = TestShard::new::<barrier::Type>(barrier::Creation { parties });
        for _ in 0..3 {
            let calls: Vec<_> = (0..parties)
                .map(|party| shard.begin(party.into(), barrier::Await { timeout_ms: None }))
                .collect();
            for (call, index) in calls.iter().zip((0..parties).rev()) {
                assert_eq!(shard.take_answer(call), Some(Ok(index)), "of {parties}");
            }
        }
    }
}

/// A blocked call held a server thread, so that 100 waiters stalled a node.
#[test]
fn defect_3_calls_that_wait_stall_nobody() {
    let mut shard = TestShard::new::<barrier::Type>(barrier::Creation { parties: 1_001 });
    let calls: Vec<_> =
        (0..1_000).map(|party| shard.begin(party + 2, barrier::Await { timeout_ms: None })).collect();
    // The thread of the test is the only one that there is.
    shard.expect(barrier::Waiting {}, 1_000);
    assert_eq!(shard.info().waiters, 1_000);
    shard.expect(barrier::Await { timeout_ms: None }, 0);
    assert!(calls.iter().all(|call| shard.take_answer(call).is_some()));
}

/// A client whose patience ended sent a blocked call again, and arrived twice.
#[test]
fn defect_3_a_call_that_waits_and_is_sent_again_arrives_once() {
    let mut shard = TestShard::new::<barrier::Type>(barrier::Creation { parties: 3 });
    let first = shard.begin(2, barrier::Await { timeout_ms: None });
    let again = shard.retry(&first);
    let once_more = shard.retry(&again);
    shard.expect(barrier::Waiting {}, 1);
    let other = shard.begin(3, barrier::Await { timeout_ms: None });
    shard.expect(barrier::Await { timeout_ms: None }, 0);
    assert!(shard.waits(&first) && shard.waits(&again), "the answer goes to where it was asked for last");
    assert_eq!(shard.take_answer(&once_more), Some(Ok(2)));
    assert_eq!(shard.take_answer(&other), Some(Ok(1)));
    // Asked for after it was given, it is given again.
    let late = shard.retry(&first);
    assert_eq!(shard.take_answer(&late), Some(Ok(2)));
    shard.expect(barrier::Waiting {}, 0);
}

/// The same with a lock: the second arrival of one call waited for its own first one for ever.
#[test]
fn defect_3_a_lock_that_is_asked_for_again_is_given_once() {
    let mut shard = TestShard::new::<mutex::Type>(mutex::Creation {});
    shard.get(mutex::Lock { owner: 0, timeout_ms: None });
    let first = shard.begin(2, mutex::Lock { owner: 0, timeout_ms: None });
    let again = shard.retry(&first);
    shard.get(mutex::Unlock { owner: 0, token: None });
    assert_eq!(shard.take_answer(&again), Some(Ok(2)));
    let late = shard.retry(&first);
    assert_eq!(shard.take_answer(&late), Some(Ok(2)));
    assert_eq!(shard.call(2, mutex::GetHolder {}).unwrap().unwrap().holds, 1);
}

/// A retried increment counted twice.
#[test]
fn defect_6_a_retried_call_gets_the_first_result_and_is_applied_once() {
    let mut shard = TestShard::new::<atomic_long::Type>(atomic_long::Creation { initial: 0 });
    let first = shard.begin(1, atomic_long::IncrementAndGet {});
    assert_eq!(shard.take_answer(&first), Some(Ok(1)));
    shard.expect(atomic_long::AddAndGet { delta: 10 }, 11);
    for _ in 0..3 {
        let again = shard.retry(&first);
        assert_eq!(shard.take_answer(&again), Some(Ok(1)));
    }
    shard.expect(atomic_long::Get {}, 11);

    let mut shard = TestShard::new::<list::Type>(list::Creation {});
    shard.get(list::Push { value: Value::null() });
    let first = shard.begin(1, list::RemoveAt { index: 0 });
    assert_eq!(shard.take_answer(&first), Some(Ok(Value::null())));
    let failed = shard.begin(1, list::RemoveAt { index: 0 });
    let out_of_bounds = Some(Err(CallError::OutOfBounds { len: 0 }));
    assert_eq!(shard.take_answer(&failed), out_of_bounds);
    shard.get(list::Push { value: Value::bool(true) });
    let (again, failed_again) = (shard.retry(&first), shard.retry(&failed));
    assert_eq!(shard.take_answer(&again), Some(Ok(Value::null())));
    assert_eq!(shard.take_answer(&failed_again), out_of_bounds, "an error is a result, too");
    shard.expect(list::Len {}, 1);
}

/// A retried acquisition is one acquisition, also when the first attempt was answered and the answer lost.
#[test]
fn defect_6_a_retried_acquisition_takes_its_permits_once() {
    let mut shard = TestShard::new::<semaphore::Type>(semaphore::Creation { permits: 5, unowned: false });
    let first = shard.begin(2, semaphore::Acquire { n: 2, timeout_ms: None });
    assert_eq!(shard.take_answer(&first), Some(Ok(())));
    let again = shard.retry(&first);
    assert_eq!(shard.take_answer(&again), Some(Ok(())));
    shard.expect(semaphore::Available {}, 3);
}

/// A crashed holder kept its permit for ever.
#[test]
fn defect_7_what_a_crashed_holder_held_is_given_back() {
    let mut shard = TestShard::new::<semaphore::Type>(semaphore::Creation { permits: 1, unowned: false });
    shard.expect(semaphore::Acquire { n: 1, timeout_ms: None }, ());
    shard.pass_ms(LEASE_MS - 1);
    assert_eq!(shard.call(2, semaphore::TryAcquire { n: 1 }), Ok(false));
    shard.pass_ms(1);
    assert_eq!(shard.call(2, semaphore::TryAcquire { n: 1 }), Ok(true));

    let mut shard = TestShard::new::<mutex::Type>(mutex::Creation {});
    shard.get(mutex::Lock { owner: 0, timeout_ms: None });
    shard.pass_ms(LEASE_MS);
    assert_eq!(shard.call(2, mutex::TryLock { owner: 0 }), Ok(Some(2)));
}
