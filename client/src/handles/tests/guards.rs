//! Guards give back what they hold, exactly once.

use super::{AsyncFake, Brought, Fake, block_on, encoded};
use crate::{AsyncStore, Store};
use abide_net::CallError;
use abide_schema::types::{mutex, semaphore};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Context, Waker},
};

/// Mutexes that are free, and semaphores that have permits.
fn granting() -> Arc<Fake> {
    Fake::new(|call| {
        if call.as_call::<mutex::Lock>().is_some() {
            encoded(&11_u64)
        } else if call.as_call::<mutex::TryLock>().is_some() {
            encoded(&Some(12_u64))
        } else if call.as_call::<semaphore::TryAcquire>().is_some() {
            encoded(&true)
        } else {
            encoded(&())
        }
    })
}

#[test]
fn a_lock_is_given_back_when_its_guard_goes() {
    let fake = granting();
    let mutex = Store::of(fake.clone()).mutex("m");
    let guard = mutex.lock().unwrap();
    assert_eq!(guard.token(), 11);
    let mutex::Lock { owner, timeout_ms: None } = fake.call::<mutex::Lock>() else { panic!("a time limit") };
    drop(guard);
    fake.expect(mutex::Unlock { owner, token: Some(11) });
    assert_eq!(mutex.try_lock().unwrap().unwrap().unlock(), Ok(()));
    let calls = fake.calls();
    assert_eq!(calls[0].as_call(), Some(mutex::TryLock { owner }), "the thread is the owner");
    assert_eq!((calls[1].as_call(), calls.len()), (Some(mutex::Unlock { owner, token: Some(12) }), 2));
}

#[test]
fn each_thread_is_an_owner_of_its_own() {
    let fake = granting();
    let owners = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mutex = Store::of(granting()).mutex("m");
                let _guards = (mutex.lock().unwrap(), mutex.lock().unwrap());
                let fake = granting();
                Store::of(fake.clone()).mutex("m").lock().unwrap().unlock().unwrap();
                owners.lock().unwrap().push(fake.calls()[0].as_call::<mutex::Lock>().unwrap().owner);
            });
        }
    });
    let mutex = AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone()))).mutex("m");
    for _ in 0..2 {
        block_on(async { mutex.lock().await.unwrap().unlock().await.unwrap() });
        owners.lock().unwrap().push(fake.calls()[0].as_call::<mutex::Lock>().unwrap().owner);
    }
    let mut owners = owners.into_inner().unwrap();
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), 10, "eight threads and two asynchronous locks");
}

#[test]
fn a_panic_gives_back_what_its_thread_held() {
    let fake = granting();
    let store = Store::of(fake.clone());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = store.mutex("m").lock().unwrap();
        let _permit = store.semaphore("s", 5).permit(2).unwrap();
        panic!("while holding");
    }));
    assert!(panicked.is_err());
    let calls = fake.calls();
    assert_eq!((calls[2].as_call(), calls.len()), (Some(semaphore::Release { n: 2 }), 4));
    assert!(calls[3].as_call::<mutex::Unlock>().is_some());
}

#[test]
fn permits_are_given_back_once_or_kept_on_purpose() {
    let fake = granting();
    let semaphore = Store::of(fake.clone()).semaphore("s", 5);
    let releases = || {
        let calls = fake.calls();
        calls
            .iter()
            .filter_map(|call| call.as_call::<semaphore::Release>())
            .map(|call| call.n)
            .collect::<Vec<_>>()
    };
    drop(semaphore.permit(3).unwrap());
    assert_eq!(releases(), [3]);
    semaphore.permit(3).unwrap().release().unwrap();
    assert_eq!(releases(), [3]);
    semaphore.try_permit(1).unwrap().unwrap().forget();
    assert!(releases().is_empty());
    let permit = semaphore.permit(2).unwrap();
    std::thread::spawn(move || drop(permit)).join().unwrap(); // permits belong to the session, not to a thread
    assert_eq!(releases(), [2]);
}

#[test]
fn giving_back_does_not_create_what_was_deleted() {
    let fake = granting();
    let store = Store::of(fake.clone());
    drop((store.mutex("m").lock().unwrap(), store.semaphore("s", 5).permit(2).unwrap()));
    let calls = fake.calls();
    let brought: Vec<_> = calls.iter().map(|call| call.creation != Brought::Nothing).collect();
    assert_eq!(brought, [true, true, false, false], "{calls:?}");
}

#[test]
fn what_is_not_granted_is_not_given_back() {
    let fake = Fake::new(|call| match call.as_call::<semaphore::TryAcquire>() {
        Some(_) => encoded(&false),
        None => Err(CallError::TimedOut),
    });
    let store = Store::of(fake.clone());
    assert!(store.semaphore("s", 5).try_permit(9).unwrap().is_none());
    assert!(store.semaphore("s", 5).permit(9).is_err());
    assert!(store.mutex("m").lock().is_err());
    assert_eq!(fake.calls().len(), 3);
}

#[test]
fn an_error_of_giving_back_ends_no_program() {
    let fake = Fake::new(|call| match call.as_call::<mutex::Lock>() {
        Some(_) => encoded(&1_u64),
        None => Err(CallError::SessionExpired),
    });
    drop(Store::of(fake.clone()).mutex("m").lock().unwrap());
    assert_eq!(fake.calls().len(), 2);
    let guard = Store::of(fake.clone()).mutex("m").lock().unwrap();
    assert_eq!(guard.unlock(), Err(CallError::SessionExpired));
    assert_eq!(fake.calls().len(), 2, "unlocking is not tried again when the guard goes");
}

#[test]
fn asynchronous_guards_give_back_in_the_background() {
    let fake = granting();
    let store = AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone())));
    let guard = block_on(store.mutex("m").lock()).unwrap();
    let owner = fake.call::<mutex::Lock>().owner;
    drop(guard);
    fake.wait_for(1);
    fake.expect(mutex::Unlock { owner, token: Some(11) });
    drop(block_on(store.semaphore("s", 5).permit(2)).unwrap());
    fake.wait_for(2);
    assert_eq!(fake.calls()[1].as_call(), Some(semaphore::Release { n: 2 }));
    fn goes_anywhere<T: Send + Sync>(_: &T) {}
    goes_anywhere(&block_on(store.mutex("m").lock()).unwrap());
}

#[test]
fn an_asynchronous_lock_that_is_given_up_is_cancelled_and_then_unlocked() {
    let fake = granting();
    let mutex = AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone()))).mutex("m");
    fake.stuck.store(true, SeqCst);
    let mut lock = mutex.lock();
    assert!(lock.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(fake.cancelled.load(SeqCst), 0);
    drop(lock);
    assert_eq!(fake.cancelled.load(SeqCst), 1);
    fake.wait_for(1);
    let given_up = fake.call::<mutex::Unlock>().owner;
    fake.stuck.store(false, SeqCst);
    block_on(async { mutex.lock().await.unwrap().unlock().await.unwrap() });
    let calls = fake.calls();
    let owner = calls[0].as_call::<mutex::Lock>().unwrap().owner;
    assert_eq!(
        (calls[1].as_call(), calls.len()),
        (Some(mutex::Unlock { owner, token: Some(11) }), 2),
        "each unlocks once"
    );
    assert_ne!(owner, given_up);
}

#[cfg(feature = "tokio")]
#[test]
fn in_a_tokio_runtime_the_background_is_a_task() {
    let fake = granting();
    let store = AsyncStore::from_caller(Arc::new(AsyncFake(fake.clone())));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        drop(store.mutex("m").lock().await.unwrap());
        assert_eq!(fake.calls().len(), 1, "nobody else runs before this task waits");
        while fake.calls().is_empty() {
            tokio::task::yield_now().await;
        }
    });
}
