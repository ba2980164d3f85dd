//! What goes over the seam: which object, which method, which arguments, which epoch.

use super::{Brought, Fake, encoded};
use crate::Store;
use abide_net::{CallError, codec};
use abide_schema::types::{
    atomic_long, atomic_ref, count_down_latch, counter, cyclic_barrier, future, object, semaphore,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

fn store(fake: &Arc<Fake>) -> Store {
    Store::of(fake.clone())
}

#[test]
fn a_call_names_its_object_its_method_and_its_arguments() {
    let fake = Fake::answering(&42_i64);
    assert_eq!(store(&fake).atomic_long("visits").add_and_get(2), Ok(42));
    let calls = fake.calls();
    assert_eq!((calls[0].key.as_str(), calls[0].shard, calls.len()), ("visits", None, 1));
    assert_eq!(calls[0].as_call(), Some(atomic_long::AddAndGet { delta: 2 }));
}

#[test]
fn opening_a_handle_calls_nobody() {
    let fake = Fake::answering(&());
    let store = store(&fake);
    drop((
        store.atomic_bool("a"),
        store.semaphore("b", 3).unowned(),
        store.mutex("c"),
        store.list::<u8>("d").iter(),
    ));
    assert_eq!(fake.calls(), []);
}

#[test]
fn defaults_take_the_object_as_it_is_and_given_arguments_insist() {
    let fake = Fake::answering(&0_i64);
    let store = store(&fake);
    let initial = |initial| codec::encode(&atomic_long::Creation { initial }).unwrap();
    for (handle, brought) in [
        (store.atomic_long("x"), Brought::IfAbsent(initial(0))),
        (store.atomic_long_with("x", 5), Brought::Exactly(initial(5))),
        (store.atomic_long_with("x", 5).or_open(), Brought::IfAbsent(initial(5))),
        (store.atomic_long("x").or_open(), Brought::IfAbsent(initial(0))),
    ] {
        handle.get().unwrap();
        assert_eq!(fake.calls()[0].creation, brought);
    }
}

#[test]
fn barriers_latches_and_semaphores_have_no_defaults() {
    let fake = Fake::answering(&0_u64);
    let store = store(&fake);
    store.open_count_down_latch("l").count().unwrap();
    assert_eq!(fake.calls()[0].creation, Brought::Nothing);
    store.count_down_latch("l", 3).count().unwrap();
    let count = codec::encode(&count_down_latch::Creation { count: 3 }).unwrap();
    assert_eq!(fake.calls()[0].creation, Brought::Exactly(count));
    let created = |unowned| codec::encode(&semaphore::Creation { permits: 3, unowned }).unwrap();
    for (handle, brought) in [
        (store.semaphore("s", 3), Brought::Exactly(created(false))),
        (store.semaphore("s", 3).unowned(), Brought::Exactly(created(true))),
        (store.semaphore("s", 3).or_open().unowned(), Brought::IfAbsent(created(true))),
        (store.open_semaphore("s").unowned(), Brought::Nothing),
    ] {
        handle.available().unwrap();
        assert_eq!(fake.calls()[0].creation, brought);
    }
    let fake = Fake::answering(&0_u32);
    Store::of(fake.clone()).cyclic_barrier("b", 4).or_open().wait().unwrap();
    let parties = codec::encode(&cyclic_barrier::Creation { parties: 4 }).unwrap();
    assert_eq!(fake.calls()[0].creation, Brought::IfAbsent(parties));
}

#[test]
fn of_the_calls_on_every_object_only_create_brings_arguments() {
    let fake = Fake::answering(&true);
    let handle = store(&fake).atomic_ref_with::<String>("r", "first").unwrap();
    for call in [handle.exists(), handle.delete(), handle.create()] {
        assert_eq!(call, Ok(true));
    }
    let calls = fake.calls();
    assert!(calls.iter().all(|call| call.type_id == 7), "the calls are for the object's own type: {calls:?}");
    assert_eq!(calls[0].as_call(), Some(object::Exists {}));
    assert_eq!(calls[1].as_call(), Some(object::Delete {}));
    assert_eq!(calls[2].as_call(), Some(object::Create {}));
    assert_eq!((&calls[0].creation, &calls[1].creation), (&Brought::Nothing, &Brought::Nothing));
    let initial = Some(abide_net::Value::text("first"));
    assert_eq!(
        calls[2].creation,
        Brought::Exactly(codec::encode(&atomic_ref::Creation { initial }).unwrap())
    );
}

#[test]
fn time_limits_travel_in_milliseconds_rounded_up() {
    let fake = Fake::answering(&());
    let store = store(&fake);
    let latch = store.count_down_latch("l", 1);
    latch.wait().unwrap();
    assert_eq!(fake.call::<count_down_latch::Await>().timeout_ms, None);
    for (timeout, ms) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(1_500), 1_500),
        (Duration::from_micros(1_500_001), 1_501),
        (Duration::MAX, u64::MAX),
    ] {
        latch.wait_timeout(timeout).unwrap();
        assert_eq!(fake.call::<count_down_latch::Await>().timeout_ms, Some(ms), "{timeout:?}");
    }
    store.semaphore("s", 9).acquire_timeout(2, Duration::from_secs(1)).unwrap();
    fake.expect(semaphore::Acquire { n: 2, timeout_ms: Some(1_000) });
}

#[test]
fn a_handle_and_its_clones_remember_the_epoch_in_which_they_saw_the_object() {
    let fake = Fake::answering(&0_i64);
    let handle = store(&fake).counter("c");
    let epochs = || fake.calls().iter().map(|call| call.epoch).collect::<Vec<_>>();
    handle.tally().unwrap();
    handle.clone().tally().unwrap();
    fake.epoch.store(8, SeqCst);
    handle.tally().unwrap();
    handle.clone().tally().unwrap();
    assert_eq!(epochs(), [0, 7, 7, 8]);
    store(&fake).counter("c").tally().unwrap();
    assert_eq!(epochs(), [0], "another handle has seen nothing");
}

#[test]
fn a_lost_object_stays_lost_to_its_handle_until_it_is_created_again() {
    let is_lost = Arc::new(AtomicBool::new(false));
    let lost = is_lost.clone();
    let fake = Fake::new(move |call| {
        if call.as_call::<object::Create>().is_some() {
            return encoded(&lost.swap(false, SeqCst));
        }
        if lost.load(SeqCst) { Err(CallError::Lost { epoch: call.epoch }) } else { encoded(&5_i64) }
    });
    let handle = store(&fake).counter("c");
    assert_eq!(handle.tally(), Ok(5));
    is_lost.store(true, SeqCst);
    fake.epoch.store(8, SeqCst);
    assert_eq!(handle.tally(), Err(CallError::Lost { epoch: 7 }));
    assert_eq!(handle.clone().increment(1), Err(CallError::Lost { epoch: 7 }));
    assert_eq!(handle.create(), Ok(true));
    assert_eq!(handle.tally(), Ok(5));
    assert_eq!(fake.calls().iter().map(|call| call.epoch).collect::<Vec<_>>(), [0, 7, 7, 7, 8]);
}

#[test]
fn an_object_that_is_known_to_be_absent_was_not_lost() {
    let fake = Fake::new(|call| {
        if call.as_call::<counter::Tally>().is_some() {
            encoded(&5_i64)
        } else if call.as_call::<object::Info>().is_some() {
            Err(CallError::NotFound)
        } else {
            encoded(&false)
        }
    });
    let handle = store(&fake).counter("c");
    let seen = || {
        handle.tally().unwrap();
        fake.calls().last().unwrap().epoch
    };
    assert_eq!((seen(), seen()), (0, 7));
    assert_eq!(handle.delete(), Ok(false));
    assert_eq!((seen(), seen()), (0, 7));
    assert_eq!(handle.exists(), Ok(false));
    assert_eq!((seen(), seen()), (0, 7));
    assert_eq!(handle.info(), Err(CallError::NotFound));
    assert_eq!((seen(), seen()), (0, 7));
}

#[test]
fn a_key_that_no_node_takes_is_refused_before_it_is_sent() {
    let fake = Fake::answering(&0_i64);
    assert!(matches!(store(&fake).counter("").tally(), Err(CallError::BadArgument { .. })));
    assert_eq!(store(&fake).counter(&"k".repeat(513)).tally(), Err(CallError::TooLarge { max: 512 }));
    assert_eq!(fake.calls(), []);
    assert_eq!(store(&fake).counter(&"k".repeat(512)).tally(), Ok(0));
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error() {
    let unreadable = store(&Fake::answering("text")).counter("c").tally();
    assert!(matches!(unreadable, Err(CallError::Unknown { .. })), "{unreadable:?}");
}

#[test]
fn a_future_that_failed_or_was_cancelled_is_an_error_of_get() {
    use abide_schema::FutureState::*;
    let get = |state| store(&Fake::answering(&state)).future::<u64>("f").get();
    assert_eq!(get(Value(abide_net::Value::encode(&5_u64).unwrap())), Ok(5));
    assert_eq!(get(Error("no luck".to_owned())), Err(CallError::Failed { message: "no luck".to_owned() }));
    assert_eq!(get(Cancelled), Err(CallError::Cancelled));
    assert!(matches!(get(Value(abide_net::Value::text("5"))), Err(CallError::WrongType { .. })));
    let fake = Fake::answering(&Cancelled);
    let _ = store(&fake).future::<u64>("f").get_timeout(Duration::from_secs(2));
    fake.expect(future::Get { timeout_ms: Some(2_000) });
}
