//! A ring against clients with plain sockets, over loopback.

mod bounds;
mod flow;

use super::*;
use glommio::{LocalExecutorBuilder, timer::Timer};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    pin::pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Poll, Waker},
    thread,
};

/// A test that takes longer has hung.
const HANG: Duration = Duration::from_secs(60);

/// How often a server in a test looks whether its clients are done. The wait for the ring is dropped each
/// time, which is part of what is tested.
const LOOK: Duration = Duration::from_millis(2);

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports")
}

/// Whether this machine lets us use io_uring at all. Says so if not.
fn io_uring_is_allowed() -> bool {
    match Ring::new(listener(), RingConfig::default()) {
        Ok(_) => true,
        Err(error @ (RingError::Forbidden(_) | RingError::LockedMemory(_) | RingError::KernelTooOld(_))) => {
            eprintln!("SKIPPED: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens a ring in an executor on this thread and passes all of its events to `on_event`, while `clients`
/// run on a thread of their own. Ends when they have ended and all connections are gone.
fn serve<C>(config: RingConfig, clients: C, mut on_event: impl FnMut(&mut Ring, RingEvent))
where
    C: FnOnce(SocketAddr) + Send + 'static,
{
    if !io_uring_is_allowed() {
        return;
    }
    run(async move {
        let mut ring = Ring::new(listener(), config).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let clients = thread::spawn(move || clients(address));
        let start = Instant::now();
        while !(clients.is_finished() && ring.connections() == 0) {
            assert!(start.elapsed() < HANG, "hangs with {:?}", ring.stats());
            while let Some(event) = ring.next_event() {
                on_event(&mut ring, event);
            }
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        clients.join().expect("no client failed");
    });
}

fn run<T>(future: impl Future<Output = T>) -> T {
    LocalExecutorBuilder::default().preempt_timer(PREEMPT_TIMER).make().expect("glommio starts").run(future)
}

/// Waits for the ring or for `other`, and drops the other wait.
async fn ready_or(ring: &mut Ring, other: impl Future) {
    let mut ready = pin!(ring.ready());
    let mut other = pin!(other);
    poll_fn(|context| {
        if let Poll::Ready(result) = ready.as_mut().poll(context) {
            result.expect("the ring works");
            return Poll::Ready(());
        }
        other.as_mut().poll(context).map(drop)
    })
    .await;
}

/// Sends everything back, and closes when the peer has finished.
fn echo(ring: &mut Ring, event: RingEvent) {
    match event {
        RingEvent::Received { connection, bytes } => assert!(ring.send(connection, &bytes)),
        RingEvent::PeerFinished { connection } => ring.close_after_flush(connection),
        _ => {}
    }
}

/// Like `echo`, with back-pressure: a connection is not read from while it has a backlog.
fn patient_echo(ring: &mut Ring, event: RingEvent) {
    if let RingEvent::SendDrained { connection } = event {
        ring.resume_receive(connection);
    } else if let RingEvent::Received { connection, .. } = event {
        echo(ring, event);
        if ring.queued_bytes(connection) > ring.config.backlog_bytes {
            ring.pause_receive(connection);
        }
    } else {
        echo(ring, event);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("has a timeout");
    stream.set_write_timeout(Some(HANG)).expect("has a timeout");
    stream.set_nodelay(true).expect("has an option");
    stream
}

/// A client with a small window: what it does not read stays with the server.
fn connect_lazily(address: SocketAddr) -> TcpStream {
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    stream.set_recv_buffer_size(8 << 10).expect("has an option");
    stream.connect(&address.into()).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("has a timeout");
    stream.into()
}

/// `length` bytes that differ by position and by `seed`.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|position| (position * 31 + position / 251 + seed * 7) as u8).collect()
}

/// Sends `bytes` from one thread while this one reads them back.
fn round_trip(stream: &TcpStream, bytes: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| (&*stream).write_all(bytes).expect("is taken"));
        let mut back = vec![0; bytes.len()];
        (&*stream).read_exact(&mut back).expect("comes back");
        assert!(back == bytes, "{} bytes came back changed", bytes.len());
    });
}

/// Waits for the end of the stream.
fn expect_end(mut stream: &TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("ends cleanly"), 0, "more came than expected");
}

#[test]
fn many_clients_get_back_what_they_send() {
    let clients = |address| {
        thread::scope(|scope| {
            for client in 0..16 {
                scope.spawn(move || {
                    let stream = connect(address);
                    for size in [1, 2, 100, 1_000, 16_384, 16_385, 100_000] {
                        round_trip(&stream, &pattern(client, size));
                    }
                    for message in 0..200 {
                        round_trip(&stream, &pattern(client, 1 + message));
                    }
                    stream.shutdown(Shutdown::Write).expect("shuts");
                    expect_end(&stream);
                });
            }
        });
    };
    serve(RingConfig::default(), clients, patient_echo);
}

#[test]
fn large_messages_come_back_whole() {
    let clients = |address| {
        thread::scope(|scope| {
            for client in 0..3 {
                scope.spawn(move || round_trip(&connect(address), &pattern(client, 10 << 20)));
            }
        });
    };
    serve(RingConfig::default(), clients, patient_echo);
}

/// No time limit wakes this server: one wake-up that gets lost hangs it.
#[test]
fn no_wake_up_is_lost() {
    if !io_uring_is_allowed() {
        return;
    }
    run(async {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let client = thread::spawn(move || {
            let stream = connect(address);
            for turn in 0..20_000usize {
                // Sometimes the server is asleep, sometimes just about to be.
                for _ in 0..turn % 400 {
                    std::hint::spin_loop();
                }
                round_trip_here(&stream, &[turn as u8]);
            }
        });
        let mut open = true;
        while open {
            while let Some(event) = ring.next_event() {
                open &= !matches!(event, RingEvent::Closed { .. });
                echo(&mut ring, event);
            }
            if open {
                ring.ready().await.expect("the ring works");
            }
        }
        assert!(ring.stats().sleeps > 100, "it slept: {:?}", ring.stats());
        client.join().expect("the client did not fail");
    });
}

fn round_trip_here(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("is taken");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("comes back");
    assert_eq!(back, bytes);
}

/// What came before the sleeper asked to be woken is not signalled: it has to look.
#[test]
fn sleeping_finds_what_came_just_before() {
    if !io_uring_is_allowed() {
        return;
    }
    run(async {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        ring.submit().expect("accepts");
        let _client = connect(ring.local_addr().expect("has an address"));
        let start = Instant::now();
        ring.sleep().await.expect("the ring works");
        assert!(matches!(ring.next_event(), Some(RingEvent::Accepted { .. })));
        ring.submit().expect("receives");
        assert!(ring.next_event().is_none());
        ring.yield_if_due(start + HANG).await.expect("the ring works"); // what rang too late rings here
        ring.waker().wake();
        ring.sleep().await.expect("the ring works");
        assert!(start.elapsed() < HANG / 2);
    });
}

#[test]
fn polling_answers_as_well() {
    let clients = |address| {
        let stream = connect(address);
        for turn in 0..5_000usize {
            round_trip_here(&stream, &turn.to_le_bytes());
        }
    };
    serve(RingConfig { busy_poll: Duration::from_micros(200), ..RingConfig::default() }, clients, echo);
}

/// The wait for the ring can lose a race against another task's wake-up at any moment, and nothing piles up.
#[test]
fn a_dropped_wait_leaves_nothing_behind() {
    if !io_uring_is_allowed() {
        return;
    }
    run(async {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let other = Rc::new(RefCell::new(None::<Waker>));
        // Another task of the same executor ends the wait.
        let end_wait = |turn: usize| {
            let other = Rc::clone(&other);
            let task = glommio::spawn_local(async move {
                for _ in 0..=turn % 4 {
                    glommio::executor().yield_task_queue_now().await;
                }
                let waker = other.borrow_mut().take();
                waker.expect("somebody waits").wake();
            });
            task.detach();
        };
        ready_or(&mut ring, Timer::new(LOOK)).await;
        let descriptors = open_descriptors();
        for turn in 0..2_000 {
            end_wait(turn);
            let mut waited = false;
            let woken = poll_fn(|context| {
                if other.borrow().is_none() && std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                *other.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            });
            ready_or(&mut ring, woken).await;
        }
        assert!(open_descriptors() <= descriptors, "descriptors pile up");

        let client = thread::spawn(move || round_trip(&connect(address), b"still there"));
        while !client.is_finished() {
            while let Some(event) = ring.next_event() {
                echo(&mut ring, event);
            }
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        client.join().expect("the client did not fail");
    });
}

/// Messages to a ring's owner, announced through its waker: each arrives, also when the ring falls asleep at
/// the same moment.
#[test]
fn a_waker_ends_the_wait_from_another_thread() {
    const MESSAGES: u64 = 20_000;
    if !io_uring_is_allowed() {
        return;
    }
    run(async {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let (waker, news) = (ring.waker(), Arc::new(AtomicU64::new(0)));
        let (heard, told) = (Arc::new(AtomicU64::new(0)), Arc::clone(&news));
        let seen = Arc::clone(&heard);
        let teller = thread::spawn(move || {
            for message in 1..=MESSAGES {
                told.store(message, Ordering::SeqCst);
                waker.wake();
                let start = Instant::now();
                while seen.load(Ordering::SeqCst) < message {
                    assert!(start.elapsed() < HANG, "message {message} was not heard");
                    thread::yield_now();
                }
            }
        });
        while heard.load(Ordering::SeqCst) < MESSAGES {
            ring.ready().await.expect("the ring works");
            heard.store(news.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        teller.join().expect("the teller did not fail");
        assert!(ring.stats().sleeps > 100, "it slept: {:?}", ring.stats());
    });
}

/// A ring that always has something leaves the executor's other tasks and timers their turn.
#[test]
fn a_busy_ring_does_not_starve_its_executor() {
    let clients = |address| {
        let stream = connect(address);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            round_trip(&stream, &[1; 200_000]);
        }
    };
    if !io_uring_is_allowed() {
        return;
    }
    run(async move {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let client = thread::spawn(move || clients(address));
        let ticks = Rc::new(Cell::new(0u32));
        let ticking = Rc::clone(&ticks);
        let ticker = glommio::spawn_local(async move {
            loop {
                Timer::new(Duration::from_millis(5)).await;
                ticking.set(ticking.get() + 1);
            }
        });
        let waker = ring.waker();
        while !client.is_finished() {
            while let Some(event) = ring.next_event() {
                echo(&mut ring, event);
            }
            waker.wake(); // never asleep
            ring.ready().await.expect("the ring works");
        }
        client.join().expect("the client did not fail");
        drop(ticker);
        assert_eq!(ring.stats().sleeps, 0);
        assert!(ticks.get() > 20, "only {} ticks of 5 ms in 500 ms", ticks.get());
    });
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}

/// Everything at once: clients that reset, stop reading, half-close or behave, and a server that pauses,
/// resumes, and closes at random. Each connection has one beginning and one end.
#[test]
fn each_connection_is_accepted_once_and_closed_once_whatever_happens() {
    let clients = |address| {
        thread::scope(|scope| {
            for client in 0..8usize {
                scope.spawn(move || {
                    for turn in 0..60usize {
                        misbehave(address, client * 1_000 + turn);
                    }
                });
            }
        });
    };
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut open: HashMap<ConnectionId, bool> = HashMap::new();
    let (mut accepted, mut closed) = (0, 0);
    let config = RingConfig {
        receive_buffer_count: 8,
        receive_buffer_bytes: 1000,
        submission_entries: 8,
        completion_entries: 16,
        backlog_bytes: 10_000,
        ..RingConfig::default()
    };
    serve(config, clients, |ring, event| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let dice = random >> 60;
        let connection = match &event {
            RingEvent::Accepted { connection, .. } => {
                accepted += 1;
                assert!(open.insert(*connection, true).is_none());
                *connection
            }
            RingEvent::Closed { connection, .. } => {
                closed += 1;
                open.remove(connection).expect("was open until now");
                assert!(ring.output(*connection).is_none());
                return;
            }
            RingEvent::Received { connection, .. }
            | RingEvent::PeerFinished { connection }
            | RingEvent::SendDrained { connection } => *connection,
        };
        assert!(open[&connection], "an event of a connection that was closed: {event:?}");
        match event {
            RingEvent::PeerFinished { .. } => {
                ring.close_after_flush(connection);
                open.insert(connection, false);
                return;
            }
            RingEvent::SendDrained { .. } => ring.resume_receive(connection),
            event => patient_echo(ring, event),
        }
        match dice {
            0 => {
                ring.pause_receive(connection);
                ring.resume_receive(connection);
            }
            1 => {
                ring.close(connection);
                open.insert(connection, false);
            }
            2 => {
                ring.close_after_flush(connection);
                open.insert(connection, false);
            }
            _ => {}
        }
    });
    assert!(open.is_empty());
    assert_eq!(accepted, closed);
}

/// One short life of a client. Whatever it tries may fail: the server closes at random.
fn misbehave(address: SocketAddr, turn: usize) {
    let mut stream = connect(address);
    let _ = stream.write_all(&pattern(turn, turn * 37 % 40_000));
    match turn % 5 {
        0 => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
        1 => drop(stream.shutdown(Shutdown::Write)),
        2 => thread::sleep(Duration::from_micros(200)),
        3 => drop(stream.read(&mut [0; 5_000])),
        _ => {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
