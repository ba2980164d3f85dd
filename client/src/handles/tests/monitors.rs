//! Guards of reader-writer locks and conditions give back what they hold, exactly once.

use super::{AsyncFake, Fake, block_on, encoded};
use crate::{AsyncStore, Store};
use abide_net::CallError;
use abide_schema::{
    ConditionWait,
    types::{condition, rw_lock},
};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Waker},
    time::Duration,
};

/// Grants everything; a downgrade and a wait fail if they are to.
fn granting(fail: Option<CallError>) -> Arc<Fake> {
    Fake::new(move |call| {
        let error = || fail.clone().map_or(Ok(()), Err);
        if call.as_call::<rw_lock::Read>().is_some() || call.as_call::<condition::Lock>().is_some() {
            encoded(&11_u64)
        } else if call.as_call::<rw_lock::Write>().is_some() {
            encoded(&12_u64)
        } else if call.as_call::<rw_lock::TryWrite>().is_some()
            || call.as_call::<rw_lock::TryRead>().is_some()
        {
            encoded(&Some(13_u64))
        } else if call.as_call::<rw_lock::Downgrade>().is_some() {
            error().and_then(|()| encoded(&14_u64))
        } else if call.as_call::<condition::Await>().is_some() {
            error().and_then(|()| encoded(&ConditionWait { token: 15, notified: true }))
        } else if call.as_call::<condition::NotifyOne>().is_some() {
            encoded(&true)
        } else if call.as_call::<condition::NotifyAll>().is_some() {
            encoded(&3_u64)
        } else {
            encoded(&())
        }
    })
}

fn asynchronous(fake: &Arc<Fake>) -> AsyncStore {
    AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone())))
}

#[test]
fn a_reading_and_a_writing_are_given_back_when_their_guards_go() {
    let fake = granting(None);
    let lock = Store::of(fake.clone()).rw_lock("l");
    let guard = lock.read().unwrap();
    let owner = fake.call::<rw_lock::Read>().owner;
    assert_eq!(guard.token(), 11);
    drop(guard);
    fake.expect(rw_lock::UnlockRead { owner });
    let guard = lock.write_timeout(Duration::from_secs(1)).unwrap();
    fake.expect(rw_lock::Write { owner, timeout_ms: Some(1_000) });
    assert_eq!(guard.token(), 12);
    drop(guard);
    fake.expect(rw_lock::UnlockWrite { owner, token: Some(12) });
    assert_eq!(lock.try_write().unwrap().unwrap().unlock(), Ok(()));
    let calls = fake.calls();
    assert_eq!((calls[1].as_call(), calls.len()), (Some(rw_lock::UnlockWrite { owner, token: Some(13) }), 2));
    assert_eq!(lock.try_read().unwrap().unwrap().unlock(), Ok(()));
    assert_eq!(fake.calls().len(), 2);
}

#[test]
fn a_writing_becomes_a_reading_and_is_given_back_once() {
    let fake = granting(None);
    let lock = Store::of(fake.clone()).rw_lock("l");
    let guard = lock.write().unwrap();
    let owner = fake.call::<rw_lock::Write>().owner;
    let guard = guard.downgrade().unwrap();
    fake.expect(rw_lock::Downgrade { owner });
    assert_eq!(guard.token(), 14);
    drop(guard);
    fake.expect(rw_lock::UnlockRead { owner });
}

#[test]
fn a_downgrade_that_fails_or_is_dropped_leaves_nothing_locked() {
    let fake = granting(Some(CallError::Denied { reason: "nested".to_owned() }));
    let lock = Store::of(fake.clone()).rw_lock("l");
    let guard = lock.write().unwrap();
    let owner = fake.call::<rw_lock::Write>().owner;
    assert!(guard.downgrade().is_err());
    let calls = fake.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].as_call(), Some(rw_lock::UnlockWrite { owner, token: Some(12) }));

    let fake = granting(None);
    let guard = block_on(asynchronous(&fake).rw_lock("l").write()).unwrap();
    let owner = fake.call::<rw_lock::Write>().owner;
    drop(guard.downgrade());
    fake.wait_for(2);
    let calls = fake.calls();
    assert!(calls.iter().any(|call| call.as_call() == Some(rw_lock::UnlockWrite { owner, token: Some(12) })));
    assert!(calls.iter().any(|call| call.as_call() == Some(rw_lock::UnlockRead { owner })));
}

#[test]
fn an_asynchronous_lock_that_is_dropped_while_it_waits_is_given_back() {
    let fake = granting(None);
    fake.stuck.store(true, SeqCst);
    let lock = asynchronous(&fake).rw_lock("l");
    let mut reading = lock.read();
    assert!(reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(reading);
    fake.wait_for(1);
    assert!(fake.calls()[0].as_call::<rw_lock::UnlockRead>().is_some());
    assert_eq!(fake.cancelled.load(SeqCst), 1);
}

#[test]
fn a_condition_is_let_go_while_its_owner_waits_and_held_after() {
    let fake = granting(None);
    let condition = Store::of(fake.clone()).condition("c");
    let guard = condition.lock().unwrap();
    let owner = fake.call::<condition::Lock>().owner;
    assert_eq!((guard.notify_one(), guard.notify_all()), (Ok(true), Ok(3)));
    assert_eq!(fake.calls().len(), 2);
    let guard = guard.wait().unwrap();
    fake.expect(condition::Await { owner, timeout_ms: None });
    assert_eq!(guard.token(), 15, "it was locked again since");
    let (guard, notified) = guard.wait_timeout(Duration::from_secs(1)).unwrap();
    fake.expect(condition::Await { owner, timeout_ms: Some(1_000) });
    assert!(notified);
    drop(guard);
    fake.expect(condition::Unlock { owner, token: None });
}

#[test]
fn a_wait_that_fails_or_is_dropped_gives_the_lock_back() {
    let fake = granting(Some(CallError::Broken));
    let guard = Store::of(fake.clone()).condition("c").lock().unwrap();
    let owner = fake.call::<condition::Lock>().owner;
    assert_eq!(guard.wait().map(drop), Err(CallError::Broken));
    let calls = fake.calls();
    assert_eq!((calls.len(), calls[1].as_call()), (2, Some(condition::Unlock { owner, token: None })));

    let fake = granting(None);
    let guard = block_on(asynchronous(&fake).condition("c").lock()).unwrap();
    fake.calls();
    fake.stuck.store(true, SeqCst);
    let mut wait = guard.wait();
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(wait);
    fake.wait_for(1);
    assert!(fake.calls()[0].as_call::<condition::Unlock>().is_some());
    assert_eq!(fake.cancelled.load(SeqCst), 1, "and the call is cancelled");
}
