use super::*;
use abide_net::{Creation, MethodKind, codec};
use abide_schema::{
    Method, ObjectType,
    types::{atomic_long, count_down_latch, cyclic_barrier, mutex},
};
use std::{
    sync::atomic::{AtomicBool, AtomicU32},
    task::{Context, Waker},
    time::{Duration, Instant},
};

fn request<'a, M: Method>(key: &'a str, creation: Creation<'a>, arguments: &'a [u8]) -> Request<'a> {
    Request {
        type_id: M::Object::ID,
        key,
        shard: None,
        method: M::ID,
        kind: M::KIND,
        creation,
        epoch: 0,
        replicas: None,
        arguments,
    }
}

fn call<M: Method>(
    store: &EmbeddedStore,
    key: &str,
    method: &M,
    creation: &<M::Object as ObjectType>::Creation,
) -> Result<M::Output, CallError> {
    let (arguments, creation) = (codec::encode(method).unwrap(), codec::encode(creation).unwrap());
    let mut output = None;
    let request = request::<M>(key, Creation::IfAbsent(&creation), &arguments);
    Caller::call(store, &request, &mut |bytes| output = Some(codec::decode(bytes).unwrap()))?;
    Ok(output.expect("a call that succeeds has a result"))
}

fn add(store: &EmbeddedStore, key: &str, delta: i64) -> i64 {
    let zero = atomic_long::Creation { initial: 0 };
    call(store, key, &atomic_long::AddAndGet { delta }, &zero).unwrap()
}

fn in_memory(shards: u32) -> EmbeddedStore {
    EmbeddedStore::in_memory(&EmbeddedOptions { shards: Some(shards), ..EmbeddedOptions::default() })
}

#[test]
fn threads_that_meet_in_one_shard_lose_no_call() {
    let (store, threads, calls) = (in_memory(1), 8, 20_000);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..calls).for_each(|_| _ = add(&store, "total", 1)));
        }
    });
    assert_eq!(add(&store, "total", 0), threads * calls);
}

#[test]
fn each_caller_gets_its_own_answer() {
    let store = in_memory(2);
    let mut seen: Vec<i64> = std::thread::scope(|scope| {
        let add_many = || (0..5_000).map(|_| add(&store, "ticket", 1)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(add_many)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..=30_000), "a ticket was given twice, or never");
}

#[test]
fn a_barrier_releases_its_threads_generation_after_generation() {
    let (store, parties, generations) = (in_memory(2), 6_u32, 300);
    let creation = cyclic_barrier::Creation { parties };
    let arrivals = std::thread::scope(|scope| {
        let wait = cyclic_barrier::Await { timeout_ms: None };
        let (store, creation) = (&store, &creation);
        let arrive = move |_| call(store, "b", &wait.clone(), creation).unwrap();
        let party = move || (0..generations).map(arrive).collect::<Vec<u32>>();
        let threads: Vec<_> = (0..parties).map(|_| scope.spawn(party.clone())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for generation in 0..generations {
        let mut indexes: Vec<u32> = arrivals.iter().map(|party| party[generation]).collect();
        indexes.sort_unstable();
        assert!(indexes.into_iter().eq(0..parties), "generation {generation}");
    }
}

#[test]
fn a_wait_ends_by_its_time_out_though_nobody_else_calls() {
    let store = in_memory(1);
    let wait = count_down_latch::Await { timeout_ms: Some(20) };
    let outcome = call(&store, "never", &wait, &count_down_latch::Creation { count: 1 });
    assert_eq!(outcome, Err(CallError::TimedOut));
}

/// How long a thread lingers at the points where another can slip between.
pub(super) static LINGER_SPINS: AtomicU32 = AtomicU32::new(0);

/// Runs both at about the same moment, on two threads, again and again: now one is a little earlier, now the other.
fn together(rounds: u32, linger_spins: u32, first: impl Fn() + Sync, second: impl Fn() + Sync) {
    struct Failed<'a>(&'a AtomicBool);
    impl Drop for Failed<'_> {
        fn drop(&mut self) {
            self.0.store(std::thread::panicking(), Ordering::SeqCst);
        }
    }
    let (arrived, failed) = (AtomicU32::new(0), AtomicBool::new(false));
    LINGER_SPINS.store(linger_spins, Ordering::Relaxed);
    let repeat = |work: &(dyn Fn() + Sync), delay: &dyn Fn(u32) -> u32| {
        let _failed = Failed(&failed);
        for round in 0..rounds {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                assert!(!failed.load(Ordering::SeqCst), "the other thread failed");
                std::thread::yield_now();
            }
            (0..delay(round)).for_each(|_| std::hint::spin_loop());
            work();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| repeat(&first, &|round| round * 37 % (3 * linger_spins)));
        scope.spawn(|| repeat(&second, &|round| round * 101 % (3 * linger_spins)));
    });
    LINGER_SPINS.store(0, Ordering::Relaxed);
}

fn start_add(store: &EmbeddedStore) -> CallFuture<'static> {
    let (arguments, creation) = (codec::encode(&atomic_long::AddAndGet { delta: 1 }), codec::encode(&0_i64));
    let (arguments, creation) = (arguments.unwrap(), creation.unwrap());
    AsyncCaller::call(
        store,
        &request::<atomic_long::AddAndGet>("x", Creation::IfAbsent(&creation), &arguments),
    )
}

/// A call that is published just before a busy thread lets the shard go is that thread's to make.
#[test]
fn no_published_call_is_left_behind() {
    let store = in_memory(1);
    let start = || _ = block_on(start_add(&store)).unwrap();
    together(2_000, 300, start, start);
    assert_eq!(add(&store, "x", 0), 4_000);
}

/// A call that another thread makes adds a deadline that its own thread may have looked for too early.
#[test]
fn published_waits_end_by_their_time_outs_too() {
    let store = in_memory(1);
    let wait = || {
        let wait = count_down_latch::Await { timeout_ms: Some(1) };
        let outcome = call(&store, "never", &wait, &count_down_latch::Creation { count: 1 });
        assert_eq!(outcome, Err(CallError::TimedOut));
    };
    together(1_000, 3_000, wait, || _ = add(&store, "x", 1));
}

#[test]
fn a_session_gives_its_locks_back_when_it_ends() {
    let store = in_memory(1);
    let (first, second) = (store.session(), store.session());
    let lock = mutex::TryLock { owner: 1 };
    assert!(call(&first, "m", &lock, &mutex::Creation {}).unwrap().is_some());
    assert_eq!(call(&second, "m", &lock, &mutex::Creation {}).unwrap(), None);
    drop(first);
    assert!(call(&second, "m", &lock, &mutex::Creation {}).unwrap().is_some());
}

fn start<M: Method>(
    store: &EmbeddedStore,
    key: &str,
    method: &M,
    creation: &<M::Object as ObjectType>::Creation,
) -> CallFuture<'static> {
    let (arguments, creation) = (codec::encode(method).unwrap(), codec::encode(creation).unwrap());
    assert_eq!(M::KIND, MethodKind::Wait);
    AsyncCaller::call(store, &request::<M>(key, Creation::IfAbsent(&creation), &arguments))
}

/// Nothing here takes nearly so long.
const HANGS: Duration = Duration::from_secs(30);

/// Polls until the future is ready, as an executor would that has nothing else to do.
fn block_on(mut future: CallFuture<'static>) -> Result<(u64, Vec<u8>), CallError> {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(outcome) => return outcome,
            std::task::Poll::Pending => {
                let parked = Instant::now();
                std::thread::park_timeout(HANGS);
                assert!(parked.elapsed() < HANGS, "nobody wakes this task");
            }
        }
    }
}

#[test]
fn asynchronous_calls_wait_without_threads_and_time_out() {
    let store = in_memory(1);
    let creation = count_down_latch::Creation { count: 1 };
    let forever = count_down_latch::Await { timeout_ms: None };
    let waits: Vec<_> = (0..1_000).map(|_| start(&store, "latch", &forever, &creation)).collect();
    let brief = start(&store, "latch", &count_down_latch::Await { timeout_ms: Some(10) }, &creation);
    assert_eq!(block_on(brief), Err(CallError::TimedOut));
    assert_eq!(call(&store, "latch", &count_down_latch::CountDown { n: 1 }, &creation), Ok(0));
    assert!(waits.into_iter().all(|wait| block_on(wait).is_ok()));
}

#[test]
fn an_asynchronous_call_that_is_dropped_waits_no_more() {
    let store = in_memory(1);
    let owner = |owner| mutex::Lock { owner, timeout_ms: None };
    block_on(start(&store, "m", &owner(1), &mutex::Creation {})).unwrap();
    drop(start(&store, "m", &owner(2), &mutex::Creation {}));
    let third = start(&store, "m", &owner(3), &mutex::Creation {});
    call(&store, "m", &mutex::Unlock { owner: 1, token: None }, &mutex::Creation {}).unwrap();
    block_on(third).unwrap();
    let holder = call(&store, "m", &mutex::GetHolder {}, &mutex::Creation {}).unwrap().unwrap();
    assert_eq!(holder.owner, 3, "the dropped call got the lock");
}

#[test]
fn calls_after_the_close_are_refused_and_waits_end() {
    let store = in_memory(1);
    let creation = count_down_latch::Creation { count: 1 };
    std::thread::scope(|scope| {
        let wait = || call(&store, "never", &count_down_latch::Await { timeout_ms: None }, &creation);
        let waiting = scope.spawn(wait);
        while add(&store, "other", 0) == 0 && !waiting.is_finished() {
            let waiters = store.shards.combiners[0].waiters();
            if waiters == 1 {
                break;
            }
            std::thread::yield_now();
        }
        store.close().unwrap();
        assert_eq!(waiting.join().unwrap(), Err(CallError::SessionExpired));
    });
    let refused = call(&store, "x", &atomic_long::Get {}, &atomic_long::Creation { initial: 0 });
    assert!(matches!(refused, Err(CallError::Unavailable { .. })));
}

mod in_a_file {
    use super::*;

    fn open(path: &Path) -> Result<EmbeddedStore, OpenError> {
        EmbeddedStore::open(path, &EmbeddedOptions::default())
    }

    fn path_in(folder: &tempfile::TempDir) -> std::path::PathBuf {
        folder.path().join("store")
    }

    #[test]
    fn objects_come_back_after_an_orderly_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        for round in 1..=3 {
            let store = open(&path).unwrap();
            assert_eq!(add(&store, "rounds", 1), round);
        }
    }

    /// Leaves a store as a process does that is killed: nobody closes anything.
    fn kill(store: EmbeddedStore) {
        for combiner in store.shards.combiners.iter() {
            combiner.forget();
        }
        drop(store.shards.regions.lock().unwrap().take());
    }

    #[test]
    fn objects_come_back_after_a_crash_as_they_were_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let mut last_epoch = 0;
        for round in 1..=3 {
            let store = open(&path).unwrap();
            assert!(store.shards.epoch > last_epoch);
            last_epoch = store.shards.epoch;
            assert_eq!(add(&store, "rounds", 1), round);
            kill(store);
        }
    }

    #[test]
    fn what_a_session_of_a_killed_process_held_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let store = open(&path).unwrap();
        let lock = mutex::Lock { owner: 1, timeout_ms: None };
        let token = call(&store, "m", &lock, &mutex::Creation {}).unwrap();
        kill(store);
        let store = open(&path).unwrap();
        assert!(call(&store, "m", &lock, &mutex::Creation {}).unwrap() > token);
    }

    #[test]
    fn an_ephemeral_object_is_gone_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let ephemeral = |store: &EmbeddedStore| {
            let arguments = codec::encode(&atomic_long::AddAndGet { delta: 1 }).unwrap();
            let creation = codec::encode(&atomic_long::Creation { initial: 0 }).unwrap();
            let request = Request {
                replicas: Some(0),
                ..request::<atomic_long::AddAndGet>("brief", Creation::IfAbsent(&creation), &arguments)
            };
            let mut value = 0;
            Caller::call(store, &request, &mut |bytes| value = codec::decode::<i64>(bytes).unwrap()).unwrap();
            value
        };
        let store = open(&path).unwrap();
        assert_eq!((ephemeral(&store), ephemeral(&store)), (1, 2));
        store.close().unwrap();
        assert_eq!(ephemeral(&open(&path).unwrap()), 1);
    }

    #[test]
    fn a_seeded_session_that_runs_again_gets_what_it_got() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let run = |store: &EmbeddedStore, calls: i64| {
            let seeded = store.seeded_session(77).unwrap();
            let step = |n: i64| {
                let arguments = codec::encode(&atomic_long::AddAndGet { delta: n }).unwrap();
                let creation = codec::encode(&atomic_long::Creation { initial: 0 }).unwrap();
                let request =
                    request::<atomic_long::AddAndGet>("sum", Creation::IfAbsent(&creation), &arguments);
                let mut value = 0;
                seeded.call(&request, &mut |bytes| value = codec::decode::<i64>(bytes).unwrap())?;
                Ok(value)
            };
            let sums: Result<Vec<i64>, CallError> = (1..=calls).map(step).collect();
            (sums, seeded)
        };
        let store = open(&path).unwrap();
        assert_eq!(run(&store, 3).0, Ok(vec![1, 3, 6]));
        // Another session comes between, and the process dies.
        assert_eq!(add(&store, "sum", 100), 106);
        kill(store);
        let store = open(&path).unwrap();
        let (sums, seeded) = run(&store, 4);
        assert_eq!(sums, Ok(vec![1, 3, 6, 110]));
        seeded.end_session().unwrap();
        assert_eq!(run(&store, 1).0, Ok(vec![111]), "the session has ended, and begins anew");
    }

    #[test]
    fn a_store_is_open_once_and_keeps_its_number_of_shards() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let shards = |shards| EmbeddedOptions { shards: Some(shards), ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(&path, &shards(3)).unwrap();
        assert!(matches!(open(&path), Err(OpenError::InUse { .. })));
        store.close().unwrap();
        let other = EmbeddedStore::open(&path, &shards(7)).map(drop);
        assert!(matches!(other, Err(OpenError::OtherShards { found: 3, wanted: 7, .. })));
        assert_eq!(open(&path).unwrap().shards.combiners.len(), 3);
    }

    #[test]
    fn other_files_are_refused_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        for bytes in [&b"#!/bin/sh\necho something else\n"[..], &[0; 100_000], &[7; 100_000]] {
            std::fs::write(&path, bytes).unwrap();
            let refused = open(&path).map(|_| "opened").unwrap_err();
            let typed = matches!(refused, OpenError::NotAStore { .. } | OpenError::Region { .. });
            assert!(typed, "{refused:?}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file was changed");
        }
    }

    #[test]
    fn a_full_store_says_so_and_deletes_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder);
        let options =
            EmbeddedOptions { shards: Some(1), data_bytes_max: Some(24 << 20), ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(&path, &options).unwrap();
        let bytes = abide_net::Bytes(vec![7; 1 << 20]);
        let set = |key: &str| {
            let creation = abide_schema::types::atomic_byte_array::Creation { initial: Default::default() };
            call(
                &store,
                key,
                &abide_schema::types::atomic_byte_array::Set { bytes: bytes.clone() },
                &creation,
            )
        };
        let mut stored = 0;
        let full = loop {
            match set(&stored.to_string()) {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
            assert!(stored < 100, "the bound is not kept");
        };
        assert_eq!(full, CallError::NoSpace);
        assert!(stored > 5, "only {stored} MiB fit");
        let delete = |key: &str| {
            let arguments = codec::encode(&abide_schema::types::object::Delete {}).unwrap();
            let type_id = abide_schema::types::atomic_byte_array::Type::ID;
            let request = Request {
                type_id,
                ..request::<abide_schema::types::object::Delete>(key, Creation::Never, &arguments)
            };
            let mut deleted = false;
            Caller::call(&store, &request, &mut |bytes| deleted = codec::decode(bytes).unwrap())
                .map(|_| deleted)
        };
        for number in 0..stored {
            assert_eq!(delete(&number.to_string()), Ok(true), "{number}");
        }
        (0..stored / 2).for_each(|number| set(&format!("again {number}")).unwrap());
    }
}
