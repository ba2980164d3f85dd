//! Cloud threads that fail in the middle, and are run again: each call on shared objects is made once. A program with a
//! `main` of its own, for its cloud threads are processes too.

use abide::{
    Backend, CallError, CloudThread, JoinError, Store,
    lambda::Builder,
    node::{Node, NodeConfig, StartError},
};
use std::time::{Duration, Instant};

const CALLS: u64 = 20;

/// Counts to 20 under a lock. Its first attempt vanishes in the middle, the second panics, the third returns an error.
#[abide::cloud_function]
fn counts(vanishes: bool) -> Result<Vec<i64>, CallError> {
    let store = Store::current()?;
    let guard = store.mutex("lock").lock()?;
    let mut numbers = Vec::new();
    for n in 0..CALLS {
        match (CloudThread::attempt(), n) {
            (1, 5) if vanishes => std::process::abort(),
            (1 | 2, 11) => panic!("in the middle, with the lock"),
            (3, 17) => {
                // Before anything else is called: the lock stays the session's.
                std::mem::forget(guard);
                return Err(CallError::Unavailable { reason: "so it says".to_owned() });
            }
            _ => numbers.push(store.atomic_long("count").increment_and_get()?),
        }
    }
    guard.unlock()?;
    Ok(numbers)
}

#[abide::cloud_function]
fn takes_and_fails() -> Result<(), String> {
    let store = Store::current().map_err(|error| error.to_string())?;
    std::mem::forget(store.semaphore("permits", 1).permit(1).map_err(|error| error.to_string())?);
    Err("after it has taken the permit".to_owned())
}

fn retried(backend: Backend, store: &Store) -> Builder {
    CloudThread::builder().backend(backend).store(store).retries(4).retry_delay(Duration::ZERO)
}

fn each_call_is_made_once(backend: Backend, store: &Store) {
    let vanishes = backend == Backend::Processes;
    let numbers = retried(backend.clone(), store).spawn(counts, (vanishes,)).join().unwrap();
    assert_eq!(numbers, (1..=CALLS as i64).collect::<Vec<_>>(), "{backend}");
    assert_eq!(store.atomic_long("count").get(), Ok(CALLS as i64), "{backend}: nothing was counted twice");
    assert_eq!(store.mutex("lock").is_locked(), Ok(false), "{backend}");

    // As before: attempts of their own count again, and the lock of one that panics is free.
    let repeated = retried(backend.clone(), store).retries(1).without_seed().spawn(counts, (false,)).join();
    assert!(matches!(repeated, Err(JoinError::Panicked { .. })), "{repeated:?}");
    assert_eq!(store.atomic_long("count").get(), Ok(CALLS as i64 + 22), "{backend}");
}

fn what_is_held_when_the_last_attempt_has_failed_is_given_back(backend: Backend, store: &Store) {
    retried(backend.clone(), store).retries(1).spawn(takes_and_fails, ()).join().unwrap_err();
    let permits = store.semaphore("permits", 1);
    let until = Instant::now() + Duration::from_secs(5); // the lease is 10 s
    while permits.available() != Ok(1) {
        assert!(Instant::now() < until, "{backend}: the permit is not given back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn main() {
    abide::init();
    let embedded = Store::in_memory();
    each_call_is_made_once(Backend::Threads, &embedded);
    what_is_held_when_the_last_attempt_has_failed_is_given_back(Backend::Threads, &embedded);
    println!("cloud threads in an embedded store ... ok");

    let config =
        NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), cores: Some(1), ..NodeConfig::default() };
    let node = match Node::start(&config) {
        Err(StartError::Forbidden(error)) => {
            return println!("skipped: io_uring is forbidden here ({error})");
        }
        node => node.unwrap(),
    };
    let remote = Store::connect(&node.address().to_string()).unwrap();
    each_call_is_made_once(Backend::Processes, &remote);
    what_is_held_when_the_last_attempt_has_failed_is_given_back(Backend::Processes, &remote);
    println!("processes and a node ... ok");
}
