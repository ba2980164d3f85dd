//! The blocking client's sessions and connections: who holds what, for how long, and over how many sockets.

mod support;

use abide_client::{CallError, RemoteOptions, Store};
use abide_net::route::shard_of;
use std::{
    collections::BTreeSet,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use support::{Act, Moment, NodeOptions, TestNode, eventually, options};

/// Short, for tests that see several.
const LEASE: Duration = Duration::from_millis(300);

fn connect(node: &TestNode) -> Store {
    Store::connect_with(&node.address(), &options()).unwrap()
}

fn leased() -> RemoteOptions {
    RemoteOptions { lease: Some(LEASE), ..options() }
}

/// On whose clock time passes only when heartbeats come.
fn patient_node() -> TestNode {
    TestNode::start(NodeOptions { manual_clock: true, ..NodeOptions::default() })
}

fn without_heartbeats() -> RemoteOptions {
    RemoteOptions { lease: Some(LEASE), heartbeats: false, ..options() }
}

/// Sessions that the node's shards know, each counted by each shard.
fn sessions(observer: &Store) -> u64 {
    observer.info().unwrap().iter().map(|shard| shard.sessions).sum()
}

#[test]
fn locks_are_given_back_at_once_when_the_store_is_dropped() {
    for cores in [1, 3] {
        let node = TestNode::start(NodeOptions { cores, shards: 6, ..NodeOptions::default() });
        let (holder, other) = (connect(&node), connect(&node));
        let keys: Vec<String> = (0..12).map(|n| format!("lock-{n}")).collect();
        for key in &keys {
            std::mem::forget(holder.mutex(key).lock().unwrap()); // its drop would unlock
            assert!(other.mutex(key).try_lock().unwrap().is_none());
        }
        // The forgotten guards still have handles, so the store is not dropped; a session of its own is.
        let own = holder.new_session().unwrap();
        let taken: Vec<String> = (0..12).map(|n| format!("own-{n}")).collect();
        for key in &taken {
            own.semaphore(key, 1).acquire(1).unwrap();
        }
        drop(own);
        for key in &taken {
            assert_eq!(other.semaphore(key, 1).try_acquire(1), Ok(true), "{key}, {cores} cores");
        }
        assert!(node.seen().goodbyes >= 1);
    }
}

#[test]
fn a_goodbye_finds_its_way_when_all_connections_are_cut() {
    let node = TestNode::small();
    let (holder, other) = (connect(&node), connect(&node));
    holder.semaphore("s", 1).acquire(1).unwrap();
    node.cut_all();
    drop(holder);
    assert_eq!(other.semaphore("s", 1).try_acquire(1), Ok(true));
}

#[test]
fn a_goodbye_to_nobody_takes_no_time() {
    let node = TestNode::small();
    let (idle, used) = (connect(&node), connect(&node));
    used.atomic_long("n").set(1).unwrap();
    drop(idle);
    assert_eq!(node.seen().goodbyes, 0, "a session without calls is unknown to the node");
    node.on(|moment| if matches!(moment, Moment::Goodbye) { Act::FallSilent } else { Act::Go });
    drop(used); // returns, after a second at most
}

#[test]
fn heartbeats_keep_an_idle_session_alive() {
    let node = patient_node();
    let holder = Store::connect_with(&node.address(), &leased()).unwrap();
    let other = connect(&node);
    holder.semaphore("s", 1).acquire(1).unwrap();
    node.let_leases_pass(LEASE, || assert_eq!(other.semaphore("s", 1).try_acquire(1), Ok(false)));
    assert_eq!(holder.semaphore("s", 1).release(1), Ok(()));
}

#[test]
fn heartbeats_find_their_way_when_connections_are_cut() {
    let node = patient_node();
    let holder = Store::connect_with(&node.address(), &leased()).unwrap();
    holder.semaphore("s", 1).acquire(1).unwrap();
    node.let_leases_pass(LEASE, || node.cut_all());
    assert_eq!(holder.semaphore("s", 1).release(1), Ok(()));
}

#[test]
fn a_waiting_call_does_not_end_with_the_lease() {
    let node = patient_node();
    let waiter = Store::connect_with(&node.address(), &leased()).unwrap();
    let latch = connect(&node).count_down_latch("latch", 1);
    thread::scope(|scope| {
        let waits = scope.spawn(|| waiter.count_down_latch("latch", 1).wait());
        node.let_leases_pass(LEASE, || ());
        latch.count_down(1).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(()));
    });
}

#[test]
fn without_heartbeats_what_is_held_is_given_back_after_the_lease() {
    let node = TestNode::small();
    let holder = Store::connect_with(&node.address(), &without_heartbeats()).unwrap();
    let other = connect(&node);
    holder.semaphore("s", 1).acquire(1).unwrap();
    let began = Instant::now();
    eventually("the permit is given back", || other.semaphore("s", 1).try_acquire(1).unwrap());
    assert!(began.elapsed() > LEASE / 2, "given back after {:?}", began.elapsed());
    assert_eq!(node.seen().heartbeats, 0);
}

#[test]
fn an_expired_session_is_told_once_and_the_next_call_works() {
    let node = TestNode::small();
    let store = Store::connect_with(&node.address(), &without_heartbeats()).unwrap();
    let observer = connect(&node);
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get(), Ok(1));
    eventually("the session expires", || sessions(&observer) == 4); // the observer's own
    assert_eq!(counter.increment_and_get(), Err(CallError::SessionExpired));
    assert_eq!(counter.increment_and_get(), Ok(2));
    assert_eq!(store.atomic_long("m").increment_and_get(), Ok(1));
}

#[test]
fn an_expiry_that_a_retry_finds_is_unknown() {
    let node = TestNode::small();
    let store = Store::connect_with(&node.address(), &without_heartbeats()).unwrap();
    let counter = store.atomic_long("n");
    counter.increment_and_get().unwrap();
    // The call is made, its answer lost, and the node out of reach until the lease is over.
    let mut lost = None;
    node.on(move |moment| match moment {
        Moment::AfterCall { .. } if lost.is_none() => {
            lost = Some(Instant::now());
            Act::Cut
        }
        Moment::Accepted { .. } if lost.is_some_and(|at| at.elapsed() < 3 * LEASE) => Act::Cut,
        _ => Act::Go,
    });
    let result = counter.increment_and_get();
    assert!(matches!(result, Err(CallError::Unknown { .. })), "{result:?}");
    assert_eq!(counter.get(), Ok(2));
}

#[test]
fn an_expiry_that_a_heartbeat_finds_is_told_by_the_next_call() {
    let node = TestNode::small();
    let store = Store::connect_with(&node.address(), &leased()).unwrap();
    store.semaphore("s", 1).acquire(1).unwrap();
    // No heartbeat arrives in time.
    node.on(|moment| if matches!(moment, Moment::Heartbeat) { Act::Cut } else { Act::Go });
    let observer = connect(&node).semaphore("s", 1);
    eventually("the permit is given back", || observer.available() == Ok(1));
    node.heal();
    eventually("a heartbeat says so", || format!("{store:?}").contains("Ended"));
    // An object of any other shard, which would have let the session begin there.
    let elsewhere =
        (0..).map(|n| format!("n{n}")).find(|key| shard_of(3, key, 4) != shard_of(12, "s", 4)).unwrap();
    let counter = store.atomic_long(&elsewhere);
    assert_eq!(counter.increment_and_get(), Err(CallError::SessionExpired));
    assert_eq!(counter.increment_and_get(), Ok(1));
    assert!(matches!(store.semaphore("s", 1).release(1), Err(CallError::Denied { .. })));
}

#[test]
fn one_thread_uses_one_connection_however_much_it_calls() {
    let node = TestNode::small();
    let store = connect(&node);
    for n in 1..=200 {
        assert_eq!(store.atomic_long("n").increment_and_get(), Ok(n));
    }
    assert_eq!(node.connections_opened(), 1, "also the one that found the node is used");
}

#[test]
fn each_call_goes_straight_to_the_core_that_owns_the_object() {
    let node = TestNode::start(NodeOptions { cores: 3, shards: 8, ..NodeOptions::default() });
    let store = connect(&node);
    for n in 0..60 {
        store.atomic_long(&format!("key-{n}")).increment_and_get().unwrap();
    }
    let seen = node.seen();
    assert_eq!(seen.calls.len(), 60);
    assert!(seen.calls.iter().all(|call| call.core == call.shard as usize % 3), "{:?}", seen.calls);
    assert_eq!(seen.connections, [1, 1, 1]);
    let first: BTreeSet<u32> = seen.calls.iter().filter(|call| call.first).map(|call| call.shard).collect();
    let shards: BTreeSet<u32> = seen.calls.iter().map(|call| call.shard).collect();
    assert_eq!(first, shards, "a session begins at each shard");
    assert_eq!(seen.calls.iter().filter(|call| call.first).count(), shards.len(), "and at each once");
}

#[test]
fn sixty_four_threads_share_a_session() {
    const THREADS: usize = 64;
    let node = TestNode::start(NodeOptions { cores: 2, ..NodeOptions::default() });
    let store = connect(&node);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..25 {
                    store.atomic_long("all").increment_and_get().unwrap();
                    let own = store.atomic_long(&format!("own-{thread}"));
                    assert_eq!(own.increment_and_get(), Ok(n + 1));
                }
            });
        }
    });
    assert_eq!(store.atomic_long("all").get(), Ok(25 * THREADS as i64));
    let seen = node.seen();
    assert!(seen.connections.iter().all(|count| *count <= THREADS), "{:?}", seen.connections);
    let names: BTreeSet<_> = seen.calls.iter().map(|call| (call.session, call.slot, call.sequence)).collect();
    assert_eq!(names.len(), seen.calls.len(), "each call has a name of its own");
    assert!(seen.calls.iter().all(|call| (call.slot as usize) < THREADS), "slots are reused");
}

#[test]
fn more_threads_than_connections_take_turns() {
    let node = TestNode::small();
    let few = RemoteOptions { connections_max: 3, ..options() };
    let store = Store::connect_with(&node.address(), &few).unwrap();
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store.atomic_long("n").increment_and_get().unwrap();
                }
            });
        }
    });
    assert_eq!(store.atomic_long("n").get(), Ok(480));
    assert!(node.connections_opened() <= 3, "{} connections", node.connections_opened());
}

#[test]
fn calls_that_wait_leave_a_connection_to_those_that_release_them() {
    let node = TestNode::small();
    let few = RemoteOptions { connections_max: 4, retry_for: Duration::from_millis(500), ..options() };
    let store = Store::connect_with(&node.address(), &few).unwrap();
    let latch = store.count_down_latch("latch", 1);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| latch.wait())).collect();
        eventually("three wait", || node.seen().calls.len() == 3);
        // A fourth finds all connections taken that calls may wait on, and says so.
        let Err(CallError::Unavailable { reason }) = latch.wait() else { panic!("it waited") };
        assert!(reason.contains("at most 4"), "{reason}");
        assert_eq!(latch.count_down(1), Ok(0));
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Ok(())));
    });
}

#[test]
fn sessions_of_one_store_hold_apart() {
    let node = TestNode::small();
    let store = connect(&node);
    let session = store.new_session().unwrap();
    assert_eq!(session.address(), Some(node.address()));
    let guard = store.mutex("m").lock().unwrap();
    assert!(session.mutex("m").try_lock().unwrap().is_none());
    drop(guard);
    let guard = session.mutex("m").lock().unwrap();
    assert!(store.mutex("m").try_lock().unwrap().is_none());
    drop(guard);
    let seen = node.seen();
    assert_eq!(seen.calls.iter().map(|call| call.session).collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn threads_of_a_session_that_ends_do_not_mix_it_with_the_next() {
    const THREADS: usize = 8;
    let node = TestNode::small();
    let (store, observer) = (connect(&node), connect(&node));
    let (done, counts) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (store, done) = (store.clone(), done.clone());
            scope.spawn(move || {
                let (mut made, mut unknown) = (0_i64, 0_i64);
                let until = Instant::now() + Duration::from_millis(600);
                while Instant::now() < until {
                    match store.atomic_long("n").increment_and_get() {
                        Ok(_) => made += 1,
                        Err(CallError::Unknown { .. }) => unknown += 1,
                        Err(CallError::SessionExpired) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                done.send((made, unknown)).unwrap();
            });
        }
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(100));
            node.end_session(node.seen().calls.last().unwrap().session);
        }
    });
    let (made, unknown) = counts.iter().take(THREADS).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let number = observer.atomic_long("n").get().unwrap();
    assert!((made..=made + unknown).contains(&number), "{number} after {made} made and {unknown} unknown");
    assert!(made > 0);
    let calls = node.seen().calls;
    let sessions: BTreeSet<_> = calls.iter().map(|call| call.session).collect();
    assert!(sessions.len() > 2, "sessions ended");
    // Within a session a name belongs to one call: when it comes again it says so.
    let mut names = BTreeSet::new();
    for call in calls {
        let is_new = names.insert((call.session, call.slot, call.sequence));
        assert!(is_new || call.retry, "{call:?} came twice");
    }
}

#[test]
fn an_idle_session_lives_on_when_its_node_is_restarted() {
    let node =
        TestNode::start(NodeOptions { manual_clock: true, persistent: true, ..NodeOptions::default() });
    let holder = Store::connect_with(&node.address(), &leased()).unwrap();
    holder.semaphore("s", 1).acquire(1).unwrap();
    node.restart();
    // No call: heartbeats alone find the new incarnation.
    node.let_leases_pass(LEASE, || ());
    assert_eq!(connect(&node).semaphore("s", 1).try_acquire(1), Ok(false));
    assert_eq!(holder.semaphore("s", 1).release(1), Ok(()));
}

#[test]
fn a_goodbye_finds_its_way_after_a_restart() {
    let node = TestNode::start(NodeOptions { cores: 3, persistent: true, ..NodeOptions::default() });
    let (holder, other) = (connect(&node), connect(&node));
    let keys: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    keys.iter().for_each(|key| holder.semaphore(key, 1).acquire(1).unwrap());
    node.restart();
    drop(holder);
    for key in keys {
        assert_eq!(other.semaphore(&key, 1).try_acquire(1), Ok(true), "{key}");
    }
}

#[test]
fn a_session_that_expired_is_remembered_across_a_restart() {
    let node =
        TestNode::start(NodeOptions { manual_clock: true, persistent: true, ..NodeOptions::default() });
    let store = Store::connect_with(&node.address(), &without_heartbeats()).unwrap();
    let observer = connect(&node);
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get(), Ok(1));
    // The call is made, its answer lost, and the node out of reach until the lease is over.
    let (made, was_made) = mpsc::channel();
    let mut is_lost = false;
    node.on(move |moment| match moment {
        Moment::AfterCall { call, .. } if !is_lost && call.method != 0 => {
            is_lost = true;
            made.send(()).unwrap();
            Act::Cut
        }
        Moment::Accepted { .. } if is_lost => Act::Cut,
        _ => Act::Go,
    });
    thread::scope(|scope| {
        let call = scope.spawn(|| counter.increment_and_get());
        was_made.recv().unwrap();
        node.advance(2 * LEASE);
        let session = node.seen().calls[0].session;
        eventually("the session expires", || !node.knows(session));
        node.restart();
        node.heal();
        let result = call.join().unwrap();
        assert!(matches!(result, Err(CallError::Unknown { .. })), "{result:?}");
    });
    assert_eq!(observer.atomic_long("n").get(), Ok(2));
    assert_eq!(counter.increment_and_get(), Ok(3));
}

#[test]
fn a_program_that_runs_again_with_its_seed_gets_the_answers_that_it_got() {
    let node = TestNode::start(NodeOptions { cores: 2, persistent: true, ..NodeOptions::default() });
    let store = connect(&node);
    let run = |calls: usize| -> Vec<i64> {
        let session = store.with_seed(4711).unwrap();
        (0..calls).map(|n| session.atomic_long(&format!("n{}", n % 3)).increment_and_get().unwrap()).collect()
    };
    let first = run(5);
    assert_eq!(first, [1, 1, 1, 2, 2]);
    store.atomic_long("n0").set(100).unwrap();
    // Whoever runs again makes the calls that are new, and no others; also on a node that was restarted.
    assert_eq!(run(5), first);
    node.restart();
    assert_eq!(run(7), [1, 1, 1, 2, 2, 2, 101]);
    let seeded: Vec<_> = node.seen().calls.into_iter().filter(|call| call.sequence > 1).collect();
    assert!(seeded.iter().all(|call| call.slot == 0));
    assert_eq!(node.seen().goodbyes, 0, "nothing but `finish` forgets what was answered");

    let session = store.with_seed(4711).unwrap();
    session.finish().unwrap();
    assert_eq!(session.atomic_long("n0").get(), Err(CallError::SessionExpired), "it makes no more calls");
    assert_eq!(run(1), [102], "the answers are forgotten");
}

#[test]
fn a_run_that_makes_another_call_than_the_one_before_is_told() {
    let node = TestNode::small();
    let store = connect(&node);
    store.with_seed_of("job 7").unwrap().atomic_long("n").increment_and_get().unwrap();
    let again = store.with_seed_of(b"job 7").unwrap();
    assert!(matches!(again.atomic_long("other").increment_and_get(), Err(CallError::BadArgument { .. })));
    let other = store.with_seed_of("job 8").unwrap();
    assert_eq!(other.atomic_long("other").increment_and_get(), Ok(1));
}

#[test]
fn threads_that_share_a_seeded_session_take_turns() {
    let node = TestNode::small();
    let session = connect(&node).with_seed(1).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    session.atomic_long("n").increment_and_get().unwrap();
                }
            });
        }
    });
    assert_eq!(session.atomic_long("n").get(), Ok(200));
    let sequences: Vec<_> = node.seen().calls.iter().map(|call| (call.slot, call.sequence)).collect();
    assert_eq!(sequences, (1..=201).map(|sequence| (0, sequence)).collect::<Vec<_>>());
}

#[test]
fn a_call_that_was_never_sent_leaves_no_gap_in_a_seeded_session() {
    let node = TestNode::small();
    let impatient = RemoteOptions { retry_for: Duration::from_millis(200), ..options() };
    let store = Store::connect_with(&node.address(), &impatient).unwrap();
    let session = store.with_seed(2).unwrap();
    let counter = session.atomic_long("n");
    assert_eq!(counter.increment_and_get(), Ok(1));
    node.on(|moment| if matches!(moment, Moment::Accepted { .. }) { Act::Cut } else { Act::Go });
    node.cut_all();
    thread::sleep(Duration::from_millis(30));
    let failed = counter.increment_and_get();
    assert!(matches!(failed, Err(CallError::Unavailable { .. })), "{failed:?}");
    node.heal();
    assert_eq!(counter.increment_and_get(), Ok(2));
    assert_eq!(node.seen().calls.last().unwrap().sequence, 2, "as another run would number it");
}
