//! The asynchronous client against a node that fails on purpose: what the blocking one promises, with many calls
//! on one connection.
#![cfg(feature = "tokio")]

mod support;

use abide_client::{AsyncStore, CallError, RemoteOptions, Store};
use abide_net::frame::RejectReason;
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use support::{Act, Moment, NodeOptions, TestNode, options, seed};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_millis(300);

async fn connect(node: &TestNode) -> AsyncStore {
    connect_with(node, options()).await
}

async fn connect_with(node: &TestNode, options: RemoteOptions) -> AsyncStore {
    AsyncStore::connect_with(&node.address(), &options).await.unwrap()
}

fn impatient() -> RemoteOptions {
    RemoteOptions { retry_for: Duration::from_millis(300), ..options() }
}

fn leased(heartbeats: bool) -> RemoteOptions {
    RemoteOptions { lease: Some(LEASE), heartbeats, ..options() }
}

/// Waits until `condition` holds. The time is only there for a test that fails.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < until, "it never happened that {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A blocking observer of the node: sessions and waiters, each counted by each shard.
fn count(observer: &Store) -> (u64, u64) {
    let info = tokio::task::block_in_place(|| observer.info().unwrap());
    (info.iter().map(|shard| shard.sessions).sum(), info.iter().map(|shard| shard.waiters).sum())
}

fn observe(node: &TestNode) -> Store {
    tokio::task::block_in_place(|| Store::connect_with(&node.address(), &options()).unwrap())
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    match result {
        Err(CallError::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_applied_once() {
    for act in [Act::Cut, Act::CutMidReply, Act::Garbage, Act::Reject(RejectReason::Busy, "later")] {
        let node = TestNode::small();
        let counter = connect(&node).await.atomic_long("n");
        node.once(act.clone(), |moment| matches!(moment, Moment::AfterCall { .. }));
        assert_eq!(counter.increment_and_get().await, Ok(1), "{act:?}");
        assert_eq!(counter.increment_and_get().await, Ok(2), "{act:?}");
        let calls = node.seen().calls;
        assert_eq!(calls.len(), 3, "{act:?}");
        assert_eq!((calls[0].slot, calls[0].sequence), (calls[1].slot, calls[1].sequence));
        assert_eq!(calls.iter().map(|call| call.retry).collect::<Vec<_>>(), [false, true, false]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_thousand_increments_is_applied_once_whatever_is_cut() {
    const TASKS: usize = 20;
    const EACH: usize = 50;
    let seed = seed();
    let node = TestNode::start(NodeOptions { cores: 2, ..NodeOptions::default() });
    let store = connect(&node).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = faults.clone();
    node.on(move |_| {
        // Rarer than for blocking calls: each cut is one for all the calls on the connection, of which each
        // is made, or asked for, again.
        let act = match random.u32(..1_000) {
            0..5 => Act::Cut,
            5..8 => Act::CutMidReply,
            8 => Act::Garbage,
            9 => Act::Reject(RejectReason::Busy, "too much to do"),
            10..25 => Act::Noise,
            25..30 => Act::Delay(Duration::from_millis(random.u64(..5))),
            _ => return Act::Go,
        };
        counted.fetch_add(1, SeqCst);
        act
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let counter = store.atomic_long(&format!("n{}", n % 3));
                    let result = counter.increment_and_get().await;
                    result.unwrap_or_else(|error| panic!("task {task}, {n}: {error}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    node.heal();
    let mut total = 0;
    for n in 0..3 {
        total += store.atomic_long(&format!("n{n}")).get().await.unwrap();
    }
    assert_eq!(total, (TASKS * EACH) as i64);
    assert!(faults.load(SeqCst) > 30, "only {} faults", faults.load(SeqCst));
    assert!(node.connections_opened() > 10, "{} connections", node.connections_opened());
}

#[tokio::test]
async fn an_answer_that_is_lost_in_a_restart_is_found_again_and_the_call_made_once() {
    for persistent in [true, false] {
        let node = TestNode::start(NodeOptions { persistent, ..NodeOptions::default() });
        let store = connect(&node).await;
        // The session's first call, which would begin a session also in the new incarnation. Nobody gets in
        // between.
        let was_executed = Arc::new(AtomicBool::new(false));
        let executed = was_executed.clone();
        node.on(move |moment| match moment {
            Moment::AfterCall { .. } => {
                executed.store(true, SeqCst);
                Act::Cut
            }
            Moment::Accepted { .. } if executed.load(SeqCst) => Act::Cut,
            _ => Act::Go,
        });
        let call = store.atomic_long("n").increment_and_get();
        eventually("the call is made", || async { was_executed.load(SeqCst) }).await;
        node.restart();
        node.heal();
        let answer = call.await;
        if persistent {
            assert_eq!(answer, Ok(1));
            assert_eq!(store.atomic_long("n").get().await, Ok(1));
        } else {
            assert!(matches!(answer, Err(CallError::Lost { .. })), "{answer:?}");
            assert_eq!(store.atomic_long("n").exists().await, Ok(false));
        }
    }
}

#[tokio::test]
async fn calls_under_way_at_a_restart_are_made_in_the_next_incarnation() {
    let node = TestNode::start(NodeOptions { cores: 2, persistent: true, ..NodeOptions::default() });
    let quick = RemoteOptions { request_timeout: Duration::from_millis(200), ..options() };
    let store = connect_with(&node, quick).await;
    let counters: Vec<_> = (0..8).map(|n| store.atomic_long(&format!("n{n}"))).collect();
    for counter in &counters {
        counter.set(1).await.unwrap();
    }
    let before = node.seen().calls.len();
    node.on(|moment| if matches!(moment, Moment::BeforeCall { .. }) { Act::FallSilent } else { Act::Go });
    let writes: Vec<_> = counters.iter().map(|counter| counter.increment_and_get()).collect();
    eventually("calls arrive at both cores", || async { node.seen().calls.len() >= before + 2 }).await;
    node.heal();
    node.restart_as(NodeOptions { cores: 3, persistent: true, ..NodeOptions::default() });
    for write in writes {
        assert_eq!(write.await, Ok(2));
    }
    let seen = node.seen();
    assert!(seen.calls[before..].iter().any(|call| call.core == call.shard as usize % 3 && call.retry));
    assert_eq!(seen.calls.iter().map(|call| call.session).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test]
async fn a_session_goes_on_when_its_node_is_restarted() {
    let node = TestNode::persistent();
    let store = connect(&node).await;
    let number = store.atomic_long("n");
    number.set(5).await.unwrap();
    store.semaphore("s", 1).acquire(1).await.unwrap();
    for n in 6..9 {
        node.restart();
        assert_eq!(number.increment_and_get().await, Ok(n));
    }
    assert_eq!(store.semaphore("s", 1).release(1).await, Ok(()));
}

#[tokio::test]
async fn objects_that_were_lost_with_their_node_are_not_silently_new() {
    let node = TestNode::small();
    let counter = connect(&node).await.atomic_long("n");
    assert_eq!(counter.increment_and_get().await, Ok(1));
    node.restart();
    assert!(matches!(counter.increment_and_get().await, Err(CallError::Lost { .. })));
}

#[tokio::test]
async fn a_restart_before_the_first_call_is_not_noticed() {
    let node = TestNode::small();
    let counter = connect(&node).await.atomic_long("n");
    node.restart();
    assert_eq!(counter.increment_and_get().await, Ok(1));
    assert_eq!(counter.increment_and_get().await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_call_survives_restarts_and_keeps_its_place() {
    let node = TestNode::persistent();
    let (holder, first, second) = (connect(&node).await, connect(&node).await, connect(&node).await);
    let observer = observe(&node);
    holder.semaphore("s", 1).acquire(1).await.unwrap();
    let mut waits = Vec::new();
    for (n, store) in [&first, &second].into_iter().enumerate() {
        waits.push(store.semaphore("s", 1).acquire(1));
        eventually("the caller waits", || async { count(&observer).1 == n as u64 + 1 }).await;
    }
    for _ in 0..3 {
        let calls = node.seen().calls.len();
        node.restart();
        let retries = || node.seen().calls[calls..].iter().filter(|call| call.retry).count();
        eventually("both ask again", || async { retries() == 2 }).await;
        assert_eq!(count(&observer).1, 2, "a retry is no second waiter");
    }
    let mut second = waits.pop().unwrap();
    holder.semaphore("s", 1).release(1).await.unwrap();
    waits.pop().unwrap().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err(),
        "the second overtook"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_that_is_dropped_after_a_restart_cancels_its_call() {
    let node = TestNode::persistent();
    let (holder, store) = (connect(&node).await, connect(&node).await);
    let observer = observe(&node);
    holder.semaphore("s", 1).acquire(1).await.unwrap();
    let wait = store.semaphore("s", 1).acquire(1);
    eventually("it waits", || async { count(&observer).1 == 1 }).await;
    let calls = node.seen().calls.len();
    node.restart();
    eventually("it asks again", || async { node.seen().calls[calls..].iter().any(|call| call.retry) }).await;
    drop(wait);
    eventually("it waits no more", || async { count(&observer).1 == 0 }).await;
    holder.semaphore("s", 1).release(1).await.unwrap();
}

#[tokio::test]
async fn locks_are_given_back_when_the_store_is_dropped_after_a_restart() {
    let node = TestNode::start(NodeOptions { cores: 2, persistent: true, ..NodeOptions::default() });
    let (holder, other) = (connect(&node).await, connect(&node).await);
    for n in 0..6 {
        holder.semaphore(&format!("s{n}"), 1).acquire(1).await.unwrap();
    }
    node.restart();
    let began = Instant::now();
    drop(holder);
    for n in 0..6 {
        other.semaphore(&format!("s{n}"), 1).acquire(1).await.unwrap();
    }
    // Not at the end of the lease, that is; which the session would have kept for 10 seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_is_told_once_and_the_next_call_works() {
    let node = TestNode::small();
    let store = connect_with(&node, leased(false)).await;
    let observer = observe(&node);
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get().await, Ok(1));
    eventually("the session expires", || async { count(&observer).0 == 4 }).await; // the observer's own
    assert_eq!(counter.increment_and_get().await, Err(CallError::SessionExpired));
    assert_eq!(counter.increment_and_get().await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_an_idle_session_alive() {
    let node = TestNode::start(NodeOptions { manual_clock: true, ..NodeOptions::default() });
    let (holder, other) = (connect_with(&node, leased(true)).await, connect(&node).await);
    holder.semaphore("s", 1).acquire(1).await.unwrap();
    let mut steps = 0;
    tokio::task::block_in_place(|| {
        node.let_leases_pass(LEASE, || {
            steps += 1;
            if steps % 3 == 0 {
                node.cut_all();
            }
        });
    });
    assert_eq!(other.semaphore("s", 1).try_acquire(1).await, Ok(false));
    assert_eq!(holder.semaphore("s", 1).release(1).await, Ok(()));
}

#[tokio::test]
async fn without_heartbeats_what_is_held_is_given_back_after_the_lease() {
    let node = TestNode::small();
    let (holder, other) = (connect_with(&node, leased(false)).await, connect(&node).await);
    holder.semaphore("s", 1).acquire(1).await.unwrap();
    let semaphore = other.semaphore("s", 1);
    eventually("the permit is given back", || async { semaphore.try_acquire(1).await.unwrap() }).await;
    assert_eq!(node.seen().heartbeats, 0);
}

#[tokio::test]
async fn locks_are_given_back_when_the_store_is_dropped() {
    let node = TestNode::start(NodeOptions { cores: 2, ..NodeOptions::default() });
    let (holder, other) = (connect(&node).await, connect(&node).await);
    for n in 0..6 {
        holder.semaphore(&format!("s{n}"), 1).acquire(1).await.unwrap();
    }
    let began = Instant::now();
    drop(holder);
    for n in 0..6 {
        other.semaphore(&format!("s{n}"), 1).acquire(1).await.unwrap();
    }
    // Not at the end of the lease, that is; which the session would have kept for 10 seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(node.seen().goodbyes, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_call_survives_cut_connections_and_keeps_its_place() {
    let node = TestNode::small();
    let (holder, first, second) = (connect(&node).await, connect(&node).await, connect(&node).await);
    let observer = observe(&node);
    holder.semaphore("s", 1).acquire(1).await.unwrap();
    let mut waits = Vec::new();
    for (n, store) in [&first, &second].into_iter().enumerate() {
        waits.push(store.semaphore("s", 1).acquire(1));
        eventually("the caller waits", || async { count(&observer).1 == n as u64 + 1 }).await;
    }
    for _ in 0..3 {
        let calls = node.seen().calls.len();
        node.cut_all();
        let retries = || node.seen().calls[calls..].iter().filter(|call| call.retry).count();
        eventually("both ask again", || async { retries() == 2 }).await;
        assert_eq!(count(&observer).1, 2, "a retry is no second waiter");
    }
    let mut second = waits.pop().unwrap();
    holder.semaphore("s", 1).release(1).await.unwrap();
    waits.pop().unwrap().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err(),
        "the second overtook"
    );
}

#[tokio::test]
async fn each_call_goes_straight_to_the_core_that_owns_the_object_on_one_connection() {
    let node = TestNode::start(NodeOptions { cores: 3, shards: 8, ..NodeOptions::default() });
    let store = connect(&node).await;
    let counters: Vec<_> = (0..60).map(|n| store.atomic_long(&format!("key-{n}"))).collect();
    let calls: Vec<_> = counters.iter().map(|counter| counter.increment_and_get()).collect();
    for call in calls {
        assert_eq!(call.await, Ok(1));
    }
    let seen = node.seen();
    assert!(seen.calls.iter().all(|call| call.core == call.shard as usize % 3), "{:?}", seen.calls);
    assert_eq!(seen.connections, [1, 1, 1]);
    assert_eq!(seen.calls.iter().map(|call| call.session).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_cancels_its_call_and_holds_nothing() {
    let node = TestNode::small();
    let (holder, store) = (connect(&node).await, connect(&node).await);
    let observer = observe(&node);
    let mutex = store.mutex("m");
    let guard = holder.mutex("m").lock().await.unwrap();
    for cut in [false, true] {
        let waits: Vec<_> = (0..50).map(|_| mutex.lock()).collect();
        eventually("they wait", || async { count(&observer).1 == 50 }).await;
        if cut {
            node.cut_all();
        }
        drop(waits);
        eventually("they wait no more", || async { count(&observer).1 == 0 }).await;
    }
    // A moment in which the lock is granted while its future is dropped.
    let dropped = mutex.lock();
    guard.unlock().await.unwrap();
    drop(dropped);
    let lock = tokio::time::timeout(Duration::from_secs(60), mutex.lock());
    lock.await.expect("the lock was not left behind").unwrap().unlock().await.unwrap();
    let calls = node.seen().calls;
    let of_store = calls.iter().filter(|call| call.session == calls.last().unwrap().session);
    assert!(of_store.map(|call| call.slot).max().unwrap() < 110, "slots are used again");
}

#[tokio::test]
async fn a_store_that_is_dropped_with_calls_that_were_never_awaited_leaves_nothing_behind() {
    let node = TestNode::small();
    let other = connect(&node).await;
    for _ in 0..20 {
        let store = connect(&node).await;
        drop(store.semaphore("s", 1).acquire(1));
        drop(store);
        let acquired = tokio::time::timeout(Duration::from_secs(8), other.semaphore("s", 1).acquire(1));
        acquired.await.expect("given back before the lease ends").unwrap();
        other.semaphore("s", 1).release(1).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_listens_and_the_call_is_unavailable() {
    let node = TestNode::small();
    let store = connect_with(&node, impatient()).await;
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get().await, Ok(1));
    node.stop();
    sleep(Duration::from_millis(30)).await;
    let began = Instant::now();
    let reason = unavailable(counter.increment_and_get().await);
    assert!(began.elapsed() >= Duration::from_millis(100), "it gave up after {:?}", began.elapsed());
    assert!(reason.contains("refused"), "{reason}");
    unavailable(AsyncStore::connect_with(&node.address(), &impatient()).await);
    node.start_again();
    assert!(matches!(counter.increment_and_get().await, Err(CallError::Lost { .. })));
}

#[tokio::test]
async fn another_version_is_unavailable_at_once_and_a_busy_node_is_asked_again() {
    let node = TestNode::small();
    let mut left = 3;
    node.on(move |moment| match moment {
        Moment::Hello { .. } if left > 0 => {
            left -= 1;
            Act::Reject(RejectReason::Busy, "not now")
        }
        _ => Act::Go,
    });
    let store = connect(&node).await;
    assert_eq!(node.connections_opened(), 4);
    let reject = || Act::Reject(RejectReason::Version, "the peer speaks version 1, this is version 9");
    node.on(move |moment| if matches!(moment, Moment::Hello { .. }) { reject() } else { Act::Go });
    let reason = unavailable(AsyncStore::connect_with(&node.address(), &options()).await);
    assert!(reason.contains("this is version 9"), "{reason}");
    assert_eq!(node.connections_opened(), 5, "it was not tried again");
    node.cut_all();
    sleep(Duration::from_millis(30)).await;
    assert!(unavailable(store.atomic_long("n").get().await).contains("version 9"));
}

#[tokio::test]
async fn a_node_that_hangs_is_left_and_its_calls_are_made_once() {
    let node = TestNode::small();
    let quick = RemoteOptions { request_timeout: Duration::from_millis(200), ..options() };
    let store = connect_with(&node, quick).await;
    let latch = store.count_down_latch("latch", 1);
    let waits = latch.wait();
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get().await, Ok(1));
    for when in 0..2 {
        node.once(Act::FallSilent, move |moment| match moment {
            Moment::AfterCall { .. } => when == 0,
            Moment::BeforeCall { .. } => when == 1,
            _ => false,
        });
        assert_eq!(counter.increment_and_get().await, Ok(2 + when));
    }
    latch.count_down(1).await.unwrap();
    assert_eq!(waits.await, Ok(()));
}

#[tokio::test]
async fn large_values_and_small_ones_share_a_connection() {
    let node = TestNode::small();
    let store = connect(&node).await;
    let largest = vec![7; 16 << 20];
    let bytes = store.atomic_byte_array("b");
    let set = bytes.set(&largest);
    let small = store.atomic_long("n").increment_and_get();
    assert_eq!((set.await, small.await), (Ok(()), Ok(1)));
    assert_eq!(bytes.get().await.unwrap().as_ref(), largest);
    let node = TestNode::start(NodeOptions { frame_bytes_max: 1000, ..NodeOptions::default() });
    let bytes = connect(&node).await.atomic_byte_array("b");
    assert_eq!(bytes.set([1; 2000]).await, Err(CallError::TooLarge { max: 1000 }));
    assert_eq!(node.seen().calls, []);
}

#[test]
fn calls_end_with_the_runtime_of_their_connection() {
    let node = TestNode::small();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (connections, caller) = (runtime(), runtime());
    let store = connections.block_on(connect(&node));
    connections.block_on(store.atomic_long("n").set(1)).unwrap();
    let wait = store.count_down_latch("latch", 1).wait();
    drop(connections);
    unavailable(caller.block_on(wait));
    unavailable(caller.block_on(store.atomic_long("n").get()));
}

async fn many_wait(count: usize) {
    let node = TestNode::small();
    // A slow machine takes longer for so many calls than the answer to one behind them usually may.
    let minutes = Duration::from_secs(600);
    let patient = RemoteOptions { lease: Some(minutes), request_timeout: minutes, ..options() };
    let store = connect_with(&node, patient).await;
    let latch = store.count_down_latch("latch", 1);
    let began = Instant::now();
    let waits: Vec<_> = (0..count).map(|_| latch.wait()).collect();
    eventually("all wait", || async { node.calls_arrived() == count }).await;
    println!("{count} wait after {:?}; {}", began.elapsed(), memory());
    node.cut_all();
    eventually("all ask again", || async { node.calls_arrived() == 2 * count }).await;
    println!("and again after {:?}; {}", began.elapsed(), memory());
    assert_eq!(latch.count_down(1).await, Ok(0));
    for wait in waits {
        assert_eq!(wait.await, Ok(()));
    }
    println!("all are answered after {:?}", began.elapsed());
    assert_eq!(node.connections_opened(), 2, "one, and one after the cut");
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned()
}

#[tokio::test]
async fn ten_thousand_calls_wait_on_one_connection() {
    many_wait(10_000).await;
}

#[tokio::test]
async fn a_hundred_thousand_calls_wait_on_one_connection() {
    many_wait(100_000).await;
}

#[tokio::test]
async fn calls_beyond_the_slots_of_a_session_are_refused() {
    let node = TestNode::small();
    node.on(|moment| {
        if matches!(moment, Moment::Hello { .. }) { Act::Delay(Duration::from_secs(1)) } else { Act::Go }
    });
    let store = connect(&node).await;
    let max = abide_net::limits::SLOTS_MAX;
    // Started in one go: on this runtime nothing is sent meanwhile.
    let latch = store.count_down_latch("latch", 1);
    let mut waits: Vec<_> = (0..=max).map(|_| latch.wait()).collect();
    assert_eq!(waits.pop().unwrap().await, Err(CallError::SessionsFull { max: max.into() }));
}
