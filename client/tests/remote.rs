//! The blocking client against a node that fails on purpose: exactly once, and what is known when it is not.

mod support;

use abide_client::{CallError, RemoteOptions, Store, transport::TransportKind};
use abide_net::frame::RejectReason;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use support::{Act, Moment, NodeOptions, TestNode, eventually, options, seed};

fn connect(node: &TestNode) -> Store {
    Store::connect_with(&node.address(), &options()).unwrap()
}

fn impatient() -> RemoteOptions {
    RemoteOptions { retry_for: Duration::from_millis(300), ..options() }
}

/// So long that connections are looked at before their next use.
fn idle_for_a_while() {
    thread::sleep(Duration::from_millis(30));
}

#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(result: Result<T, CallError>) {
    assert!(matches!(result, Err(CallError::Unknown { .. })), "{result:?}");
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    match result {
        Err(CallError::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_whose_answer_is_lost_is_applied_once() {
    for act in [Act::Cut, Act::CutMidReply, Act::Garbage, Act::Reject(RejectReason::Busy, "later")] {
        let node = TestNode::small();
        let counter = connect(&node).atomic_long("n");
        node.once(act.clone(), |moment| matches!(moment, Moment::AfterCall { .. }));
        assert_eq!(counter.increment_and_get(), Ok(1), "{act:?}");
        assert_eq!(counter.increment_and_get(), Ok(2), "{act:?}");
        let calls = node.seen().calls;
        assert_eq!(calls.len(), 3, "{act:?}");
        assert_eq!((calls[0].slot, calls[0].sequence), (calls[1].slot, calls[1].sequence));
        assert_eq!(calls.iter().map(|call| call.retry).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(calls.iter().map(|call| call.first).collect::<Vec<_>>(), [true, true, false]);
    }
}

#[test]
fn a_call_that_was_lost_on_the_way_is_made() {
    let node = TestNode::small();
    let counter = connect(&node).atomic_long("n");
    node.once(Act::Cut, |moment| matches!(moment, Moment::BeforeCall { .. }));
    assert_eq!(counter.increment_and_get(), Ok(1));
}

#[test]
fn each_of_a_thousand_increments_is_applied_once_whatever_is_cut() {
    // Where io_uring is forbidden, both are the same.
    for transport in [TransportKind::Socket, TransportKind::Auto] {
        increments_are_applied_once(RemoteOptions { transport, ..options() });
    }
}

fn increments_are_applied_once(options: RemoteOptions) {
    const INCREMENTS: usize = 1_000;
    const THREADS: usize = 4;
    let seed = seed();
    let node = TestNode::start(NodeOptions { cores: 2, ..NodeOptions::default() });
    let store = Store::connect_with(&node.address(), &options).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = cuts.clone();
    node.on(move |_| {
        let act = match random.u32(..100) {
            0..6 => Act::Cut,
            6..9 => Act::CutMidReply,
            9 => Act::Garbage,
            10 => Act::Reject(RejectReason::Busy, "too much to do"),
            11..14 => Act::Noise,
            14 => Act::Delay(Duration::from_millis(random.u64(..5))),
            _ => return Act::Go,
        };
        counted.fetch_add(1, SeqCst);
        act
    });
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..INCREMENTS / THREADS {
                    // Different keys, so that both cores have their share.
                    let counter = store.atomic_long(&format!("n{}", n % 3));
                    counter
                        .increment_and_get()
                        .unwrap_or_else(|error| panic!("thread {thread}, {n}: {error}"));
                }
            });
        }
    });
    node.heal();
    let total: i64 = (0..3).map(|n| store.atomic_long(&format!("n{n}")).get().unwrap()).sum();
    assert_eq!(total, INCREMENTS as i64);
    assert!(cuts.load(SeqCst) > 100, "only {} faults", cuts.load(SeqCst));
}

#[test]
fn a_read_whose_answer_is_lost_is_made_again() {
    let node = TestNode::small();
    let number = connect(&node).atomic_long("n");
    number.set(5).unwrap();
    node.once(Act::Cut, |moment| matches!(moment, Moment::AfterCall { .. }));
    assert_eq!(number.get(), Ok(5));
    // Nothing can be unknown about a read, so no answer at all is `Unavailable`.
    let impatient = Store::connect_with(&node.address(), &impatient()).unwrap();
    node.on(|moment| if matches!(moment, Moment::AfterCall { .. }) { Act::Cut } else { Act::Go });
    unavailable(impatient.atomic_long("n").get());
    assert_unknown(impatient.atomic_long("n").increment_and_get());
}

/// A call is made and its answer lost, in the node's last moment.
fn increment_over_a_restart(node: &TestNode) -> Result<i64, CallError> {
    let (executed, restarts) = mpsc::channel();
    // The session's very first call, which would begin a session also in the new incarnation.
    node.once(Act::FallSilent, move |moment| {
        let executed = matches!(moment, Moment::AfterCall { .. }).then(|| executed.send(()));
        executed.is_some()
    });
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let quick = RemoteOptions { request_timeout: Duration::from_millis(200), ..options() };
            let store = Store::connect_with(&node.address(), &quick).unwrap();
            store.atomic_long("n").increment_and_get()
        });
        restarts.recv().unwrap();
        node.restart();
        call.join().unwrap()
    })
}

#[test]
fn an_answer_that_is_lost_in_a_restart_is_found_again_and_the_call_made_once() {
    let node = TestNode::persistent();
    let store = connect(&node);
    store.atomic_long("n").set(5).unwrap();
    assert_eq!(increment_over_a_restart(&node), Ok(6));
    assert_eq!(store.atomic_long("n").get(), Ok(6));
    let calls = node.seen().calls;
    let again = calls.iter().filter(|call| (call.slot, call.sequence) == (0, 1) && call.retry);
    assert!(again.clone().count() > 0 && again.clone().all(|call| call.first), "{calls:?}");
}

#[test]
fn a_change_whose_object_is_lost_in_a_restart_is_not_made_a_second_time() {
    let node = TestNode::small();
    let lost = increment_over_a_restart(&node);
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{lost:?}");
    let fresh = connect(&node).atomic_long("n");
    assert_eq!(fresh.exists(), Ok(false));
    assert_eq!(fresh.increment_and_get(), Ok(1));
}

#[test]
fn a_session_goes_on_when_its_node_is_restarted() {
    let node = TestNode::persistent();
    let store = connect(&node);
    let number = store.atomic_long("n");
    number.set(5).unwrap();
    store.semaphore("s", 2).acquire(1).unwrap();
    for n in 6..9 {
        node.restart();
        idle_for_a_while();
        assert_eq!(number.increment_and_get(), Ok(n));
    }
    assert_eq!(connect(&node).semaphore("s", 2).available(), Ok(1), "it holds what it held");
    assert_eq!(store.semaphore("s", 2).release(1), Ok(()));
    let calls = node.seen().calls;
    assert!(calls.iter().all(|call| call.session == calls[0].session || call.slot == 0), "{calls:?}");
    assert_eq!(calls.last().unwrap().session, calls[0].session);
}

#[test]
fn a_restart_before_the_first_call_is_not_noticed() {
    let node = TestNode::small();
    let store = connect(&node);
    node.restart();
    idle_for_a_while();
    assert_eq!(store.atomic_long("n").increment_and_get(), Ok(1));
}

#[test]
fn objects_that_were_lost_with_their_node_are_not_silently_new() {
    let node = TestNode::small();
    let number = connect(&node).atomic_long("n");
    number.set(5).unwrap();
    node.restart();
    idle_for_a_while();
    assert!(matches!(number.get(), Err(CallError::Lost { .. })));
    assert!(matches!(number.increment_and_get(), Err(CallError::Lost { .. })));
    assert_eq!(number.create(), Ok(true));
    assert_eq!(number.increment_and_get(), Ok(1));
}

#[test]
fn a_node_that_comes_back_with_other_ports_and_cores_is_found() {
    let before = NodeOptions { cores: 2, persistent: true, ..NodeOptions::default() };
    let node = TestNode::start(before.clone());
    let store = connect(&node);
    for n in 0..8 {
        store.atomic_long(&format!("n{n}")).set(n).unwrap();
    }
    node.move_ports();
    node.restart_as(NodeOptions { cores: 3, ..before });
    idle_for_a_while();
    let before = node.seen().calls.len();
    for n in 0..8 {
        assert_eq!(store.atomic_long(&format!("n{n}")).get(), Ok(n));
    }
    assert!(node.seen().calls[before..].iter().all(|call| call.core == call.shard as usize % 3));
}

#[test]
fn a_node_without_data_that_comes_back_with_other_shards_is_found() {
    let node = TestNode::small();
    let store = connect(&node);
    let latch = store.count_down_latch("latch", 1);
    thread::scope(|scope| {
        let wait = scope.spawn(|| latch.wait());
        eventually("it waits", || node.seen().calls.len() == 1);
        node.restart_as(NodeOptions { cores: 3, shards: 7, ..NodeOptions::default() });
        let lost = wait.join().unwrap();
        assert!(matches!(lost, Err(CallError::Lost { .. })), "it waited in an object that is gone: {lost:?}");
    });
    let before = node.seen().calls.len();
    for n in 0..8 {
        assert_eq!(store.atomic_long(&format!("n{n}")).increment_and_get(), Ok(1));
    }
    assert!(node.seen().calls[before..].iter().all(|call| call.core == call.shard as usize % 3));
    assert_eq!(store.info().unwrap().len(), 7);
}

#[test]
fn a_waiting_call_survives_restarts_and_keeps_its_place() {
    let node = TestNode::persistent();
    let (holder, first, second) = (connect(&node), connect(&node), connect(&node));
    holder.semaphore("s", 1).acquire(1).unwrap();
    let waiters = || connect(&node).info().unwrap().iter().map(|shard| shard.waiters).sum::<u64>();
    let (order, arrived) = mpsc::channel();
    thread::scope(|scope| {
        for (n, store) in [&first, &second].into_iter().enumerate() {
            let order = order.clone();
            scope.spawn(move || {
                store.semaphore("s", 1).acquire(1).unwrap();
                order.send(n).unwrap();
                store.semaphore("s", 1).release(1).unwrap();
            });
            eventually("the caller waits", || waiters() == n as u64 + 1);
        }
        for _ in 0..3 {
            let calls = node.seen().calls.len();
            node.restart();
            let retries = || node.seen().calls[calls..].iter().filter(|call| call.retry).count();
            eventually("both ask again", || retries() == 2);
            assert_eq!(waiters(), 2, "a retry is no second waiter");
        }
        holder.semaphore("s", 1).release(1).unwrap();
    });
    assert_eq!(arrived.try_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn each_increment_is_applied_once_whatever_is_cut_and_however_often_the_node_is_killed() {
    const THREADS: usize = 4;
    const EACH: usize = 150;
    let seed = seed();
    let node = TestNode::start(NodeOptions { cores: 2, persistent: true, ..NodeOptions::default() });
    let store = connect(&node);
    let mut random = fastrand::Rng::with_seed(seed);
    node.on(move |_| match random.u32(..100) {
        0..4 => Act::Cut,
        4..6 => Act::CutMidReply,
        _ => Act::Go,
    });
    let left = AtomicUsize::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut before = 0;
                for n in 0..EACH {
                    let answer = store.atomic_long(&format!("n{}", n % 2)).increment_and_get();
                    let number = answer.unwrap_or_else(|error| panic!("{n}: {error}"));
                    assert!(number > before || n % 2 == 1, "{number} after {before}");
                    before = if n % 2 == 0 { number } else { before };
                }
                left.fetch_sub(1, SeqCst);
            });
        }
        while left.load(SeqCst) > 0 {
            let calls = node.seen().calls.len();
            eventually("there are more calls", || {
                node.seen().calls.len() > calls + 60 || left.load(SeqCst) == 0
            });
            node.restart();
        }
    });
    node.heal();
    let total: i64 = (0..2).map(|n| store.atomic_long(&format!("n{n}")).get().unwrap()).sum();
    assert_eq!(total, (THREADS * EACH) as i64);
}

#[test]
fn a_waiting_call_survives_cut_connections_and_keeps_its_place() {
    let node = TestNode::small();
    let (holder, first, second) = (connect(&node), connect(&node), connect(&node));
    holder.semaphore("s", 1).acquire(1).unwrap();
    let waiters = |node: &TestNode| {
        let info = Store::connect_with(&node.address(), &options()).unwrap().info().unwrap();
        info.iter().map(|shard| shard.waiters).sum::<u64>()
    };
    let (order, arrived) = mpsc::channel();
    thread::scope(|scope| {
        for (n, store) in [&first, &second].into_iter().enumerate() {
            let order = order.clone();
            scope.spawn(move || {
                store.semaphore("s", 1).acquire(1).unwrap();
                order.send(n).unwrap();
                store.semaphore("s", 1).release(1).unwrap();
            });
            eventually("the caller waits", || waiters(&node) == n as u64 + 1);
        }
        for _ in 0..3 {
            let calls = node.seen().calls.len();
            node.cut_all();
            let retries =
                |node: &TestNode| node.seen().calls[calls..].iter().filter(|call| call.retry).count();
            eventually("both ask again", || retries(&node) == 2);
            assert_eq!(waiters(&node), 2, "a retry is no second waiter");
        }
        holder.semaphore("s", 1).release(1).unwrap();
    });
    assert_eq!(arrived.try_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_call_that_waits_has_no_time_limit_and_others_have() {
    let node = TestNode::small();
    let quick = RemoteOptions { request_timeout: Duration::from_millis(100), ..options() };
    let store = Store::connect_with(&node.address(), &quick).unwrap();
    let latch = store.count_down_latch("latch", 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| latch.wait());
        thread::sleep(Duration::from_millis(400));
        assert_eq!(latch.count_down(1), Ok(0));
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    let waits: Vec<_> = node.seen().calls.into_iter().filter(|call| call.method == 1).collect();
    assert_eq!(waits.len(), 1, "the call that waits was sent once: {waits:?}");

    // A node that neither answers nor closes.
    let counter = store.atomic_long("n");
    node.once(Act::FallSilent, |moment| matches!(moment, Moment::AfterCall { .. }));
    assert_eq!(counter.increment_and_get(), Ok(1));
    node.once(Act::FallSilent, |moment| matches!(moment, Moment::BeforeCall { .. }));
    assert_eq!(counter.increment_and_get(), Ok(2));
}

#[test]
fn answers_to_nobody_are_ignored() {
    let node = TestNode::small();
    let counter = connect(&node).atomic_long("n");
    node.on(|moment| if matches!(moment, Moment::BeforeCall { .. }) { Act::Noise } else { Act::Go });
    for n in 1..10 {
        assert_eq!(counter.increment_and_get(), Ok(n));
    }
    assert_eq!(node.connections_opened(), 1);
}

#[test]
fn nothing_listens_and_the_call_is_unavailable() {
    let node = TestNode::small();
    let store = Store::connect_with(&node.address(), &impatient()).unwrap();
    let counter = store.atomic_long("n");
    assert_eq!(counter.increment_and_get(), Ok(1));
    node.stop();
    idle_for_a_while();
    let began = Instant::now();
    let reason = unavailable(counter.increment_and_get());
    assert!(began.elapsed() >= Duration::from_millis(100), "it gave up after {:?}", began.elapsed());
    assert!(reason.contains("refused"), "{reason}");
    let reason = unavailable(Store::connect_with(&node.address(), &impatient()));
    assert!(reason.contains("refused"), "{reason}");
    for address in ["node", "node:", ":7400", "node:70000", ""] {
        let refused = Store::connect_with(address, &impatient());
        assert!(matches!(refused, Err(CallError::BadArgument { .. })), "{address:?}: {refused:?}");
    }
}

#[test]
fn a_node_that_is_about_to_start_is_waited_for() {
    let node = TestNode::small();
    let address = node.address();
    node.stop();
    thread::scope(|scope| {
        let store = scope.spawn(|| Store::connect_with(&address, &options()).unwrap());
        thread::sleep(Duration::from_millis(100));
        node.start_again();
        assert_eq!(store.join().unwrap().atomic_long("n").increment_and_get(), Ok(1));
    });
}

#[test]
fn another_version_is_unavailable_at_once() {
    let node = TestNode::small();
    let store = connect(&node);
    let reject = || Act::Reject(RejectReason::Version, "the peer speaks version 1, this is version 9");
    node.on(move |moment| if matches!(moment, Moment::Hello { .. }) { reject() } else { Act::Go });
    let before = node.connections_opened();
    let reason = unavailable(Store::connect_with(&node.address(), &options()));
    assert!(reason.contains("this is version 9"), "{reason}");
    assert_eq!(node.connections_opened(), before + 1, "it was not tried again");
    node.cut_all();
    idle_for_a_while();
    assert!(unavailable(store.atomic_long("n").get()).contains("version 9"));
}

#[test]
fn a_busy_or_stopping_node_is_asked_again() {
    for reason in [RejectReason::Busy, RejectReason::Stopping] {
        let node = TestNode::small();
        let store = connect(&node);
        node.cut_all();
        idle_for_a_while();
        let mut left = 3;
        node.on(move |moment| match moment {
            Moment::Hello { .. } if left > 0 => {
                left -= 1;
                Act::Reject(reason, "not now")
            }
            _ => Act::Go,
        });
        assert_eq!(store.atomic_long("n").increment_and_get(), Ok(1));
        let calls = node.seen().calls;
        assert_eq!((calls.len(), calls[0].retry), (1, false), "nothing was delivered before: {calls:?}");
    }
}

#[test]
fn who_does_not_speak_abide_is_unavailable() {
    let node = TestNode::small();
    node.on(|_| Act::Garbage);
    unavailable(Store::connect_with(&node.address(), &impatient()));
    node.on(|_| Act::FallSilent);
    let deaf = RemoteOptions { connect_timeout: Duration::from_millis(50), ..impatient() };
    unavailable(Store::connect_with(&node.address(), &deaf));
}

#[test]
fn what_the_node_does_not_take_is_too_large_and_not_sent() {
    let node = TestNode::start(NodeOptions { frame_bytes_max: 1000, ..NodeOptions::default() });
    let bytes = connect(&node).atomic_byte_array("b");
    assert_eq!(bytes.set([1; 2000]), Err(CallError::TooLarge { max: 1000 }));
    assert_eq!(bytes.set([1; 500]), Ok(()));
    assert_eq!(node.seen().calls.len(), 1);
    let node = TestNode::small();
    let bytes = connect(&node).atomic_byte_array("b");
    let largest = vec![7; 16 << 20];
    bytes.set(&largest).unwrap();
    assert_eq!(bytes.get().unwrap().as_ref(), largest);
}
