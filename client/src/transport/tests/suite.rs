//! What both ways of moving bytes promise.

use super::{super::*, *};
use socket2::{Domain, SockRef, Socket, Type};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc,
};

/// Makes a test for each way out of each function below.
macro_rules! for_both_ways {
    ($($promise:ident)*) => {
        mod uring {
            $(#[test] fn $promise() {
                match super::TransportKind::Uring.resolve() {
                    Ok(transport) => super::$promise(transport),
                    Err(error) => eprintln!("SKIPPED: {error} ({})", error.cause()),
                }
            })*
        }
        mod socket {
            $(#[test] fn $promise() {
                super::$promise(super::Transport::SOCKET)
            })*
        }
    };
}

for_both_ways! {
    frames_of_any_size_come_back
    an_answer_may_come_byte_by_byte
    two_answers_in_one_segment_are_two_frames
    sending_and_receiving_can_be_apart
    a_large_request_and_a_large_answer_pass
    a_peer_that_closes_within_a_frame_is_reported
    a_peer_that_resets_is_reported
    a_request_that_met_a_closed_stream_was_not_delivered
    an_announcement_of_4_gib_takes_no_memory
    an_announcement_within_the_limit_takes_no_memory_either
    the_limit_on_frames_can_change
    a_deadline_ends_a_wait_and_poisons
    a_deadline_ends_an_answer_that_trickles
    a_deadline_ends_a_request_that_nobody_reads
    a_deadline_that_passed_sends_nothing
    a_deadline_may_lie_centuries_ahead
    a_deadline_ends_connecting
    a_refused_connection_is_reported
    late_bytes_do_not_reach_later_connections
    signals_do_not_disturb
    a_connection_moves_between_threads
    a_hundred_threads_exchange_at_once
    a_thread_that_unwinds_leaves_its_connection_closed
    a_vanished_peer_will_be_noticed
}

fn frames_of_any_size_come_back(transport: Transport) {
    let mut connection = connect(peer(echo), transport);
    let around = |bytes: usize| [bytes - 5, bytes - 4, bytes - 3, bytes - 1, bytes, bytes + 1];
    let sizes = [0, 1, 2, 3, 4, 5, 100]
        .into_iter()
        .chain([16 << 10, 64 << 10, 1 << 20].into_iter().flat_map(around))
        .chain([10 << 20, 0, 7]);
    for bytes in sizes {
        let body = pattern(bytes);
        let answer = connection.exchange(&encode(&body), soon(20_000)).unwrap();
        assert!(answer == body, "{bytes} bytes came back differently");
    }
    let answer = connection.exchange(&encode(b"no deadline"), None).unwrap();
    assert_eq!(answer, b"no deadline");
}

fn an_answer_may_come_byte_by_byte(transport: Transport) {
    let address = peer(|mut stream| {
        while let Some(body) = read_frame(&stream) {
            for byte in encode(&body) {
                stream.write_all(&[byte]).unwrap();
                thread::sleep(Duration::from_micros(300));
            }
        }
    });
    let mut connection = connect(address, transport);
    for body in [&pattern(100)[..], b"", &pattern(30)] {
        assert_eq!(connection.exchange(&encode(body), soon(20_000)).unwrap(), body);
    }
}

fn two_answers_in_one_segment_are_two_frames(transport: Transport) {
    let address = peer(|mut stream| {
        while let Some(body) = read_frame(&stream) {
            let twice = [encode(&body), encode(b"second")].concat();
            stream.write_all(&twice).unwrap();
        }
    });
    let mut connection = connect(address, transport);
    for body in [&b"first"[..], b"", &pattern(20_000)] {
        assert_eq!(connection.exchange(&encode(body), soon(5_000)).unwrap(), body);
        assert_eq!(connection.receive(soon(5_000)).unwrap(), b"second");
    }
    // What an earlier call left comes first, and the request goes out regardless.
    connection.exchange(&encode(b"third"), soon(5_000)).unwrap();
    assert_eq!(connection.exchange(&encode(b"fourth"), soon(5_000)).unwrap(), b"second");
    assert_eq!(connection.receive(soon(5_000)).unwrap(), b"fourth");
    assert_eq!(connection.receive(soon(5_000)).unwrap(), b"second");
}

fn sending_and_receiving_can_be_apart(transport: Transport) {
    let mut connection = connect(peer(echo), transport);
    let bodies: Vec<Vec<u8>> = (0..100).map(|n| pattern(n * 13)).collect();
    let requests: Vec<u8> = bodies.iter().flat_map(|body| encode(body)).collect();
    connection.send(&requests, soon(5_000)).unwrap();
    connection.send(&[], soon(5_000)).unwrap();
    for body in &bodies {
        assert_eq!(connection.receive(soon(5_000)).unwrap(), body);
    }
}

/// More than the socket buffers hold, to a slow reader: sends are short.
fn a_large_request_and_a_large_answer_pass(transport: Transport) {
    let address = peer(|stream| {
        let mut reader = &stream;
        let mut received = Vec::new();
        let mut piece = vec![0; 1 << 20];
        while received.len() < 4 + (31 << 20) {
            thread::sleep(Duration::from_millis(2));
            let count = reader.read(&mut piece).unwrap();
            received.extend_from_slice(&piece[..count]);
        }
        (&stream).write_all(&received).unwrap();
    });
    let body = pattern(31 << 20);
    let mut connection = connect(address, transport);
    let answer = connection.exchange(&encode(&body), soon(60_000)).unwrap();
    assert!(answer == body);
}

fn a_peer_that_closes_within_a_frame_is_reported(transport: Transport) {
    for part in [0, 1, 3, 4, 5, 50] {
        let address = peer(move |mut stream| {
            read_frame(&stream);
            stream.write_all(&encode(&pattern(100))[..part]).unwrap();
        });
        let mut connection = connect(address, transport);
        let error = connection.exchange(&encode(b"?"), soon(5_000)).unwrap_err();
        assert!(matches!(error, TransportError::PeerClosed { source: None, .. }), "{part} bytes: {error:?}");
        assert_eq!(error.request(), RequestFate::Unknown);
        assert_poisoned(&mut connection);
    }
}

fn a_peer_that_resets_is_reported(transport: Transport) {
    let address = peer(|stream| {
        read_frame(&stream);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut connection = connect(address, transport);
    let error = connection.exchange(&encode(b"?"), soon(5_000)).unwrap_err();
    assert!(matches!(error, TransportError::PeerClosed { source: Some(_), .. }), "{error:?}");
    assert_eq!(error.request(), RequestFate::Unknown);
    assert_poisoned(&mut connection);
}

fn a_request_that_met_a_closed_stream_was_not_delivered(transport: Transport) {
    let (listener, address) = narrow_listener(8);
    let mut connection = connect(address, transport);
    let (accepted, _) = listener.accept().unwrap();
    SockRef::from(&accepted).set_linger(Some(Duration::ZERO)).unwrap();
    drop(accepted);
    thread::sleep(Duration::from_millis(50));
    let error = connection.exchange(&encode(b"?"), soon(5_000)).unwrap_err();
    assert!(matches!(error, TransportError::PeerClosed { .. }), "{error:?}");
    assert_eq!(error.request(), RequestFate::NotDelivered);
    assert_poisoned(&mut connection);
}

fn an_announcement_of_4_gib_takes_no_memory(transport: Transport) {
    let address = peer(|mut stream| {
        read_frame(&stream);
        stream.write_all(&[0xFF; 1000]).unwrap();
        hold_until_closed(&stream);
    });
    let mut connection = connect(address, transport);
    let error = connection.exchange(&encode(b"?"), soon(5_000)).unwrap_err();
    let TransportError::FrameTooLong { announced_bytes, frame_bytes_max, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((announced_bytes, frame_bytes_max), (u32::MAX, FRAME_BYTES_MAX));
    assert_eq!(error.request(), RequestFate::Unknown);
    assert!(connection.buffer_bytes() <= 64 << 10, "{} bytes", connection.buffer_bytes());
    assert_poisoned(&mut connection);
}

fn an_announcement_within_the_limit_takes_no_memory_either(transport: Transport) {
    const SENT_BYTES: usize = 100_000;
    let address = peer(|mut stream| {
        read_frame(&stream);
        stream.write_all(&encode(&vec![0; FRAME_BYTES_MAX])[..SENT_BYTES]).unwrap();
    });
    let mut connection = connect(address, transport);
    let error = connection.exchange(&encode(b"?"), soon(5_000)).unwrap_err();
    assert!(matches!(error, TransportError::PeerClosed { .. }), "{error:?}");
    assert!(connection.buffer_bytes() <= 2 * SENT_BYTES, "{} bytes", connection.buffer_bytes());
}

fn the_limit_on_frames_can_change(transport: Transport) {
    let mut connection = connect(peer(echo), transport);
    connection.set_frame_bytes_max(64);
    assert_eq!(connection.exchange(&encode(&[1; 64]), soon(5_000)).unwrap(), [1; 64]);
    connection.set_frame_bytes_max(65);
    assert_eq!(connection.exchange(&encode(&[1; 65]), soon(5_000)).unwrap(), [1; 65]);
    let error = connection.exchange(&encode(&[1; 66]), soon(5_000)).unwrap_err();
    assert!(matches!(error, TransportError::FrameTooLong { announced_bytes: 66, .. }), "{error:?}");
    assert_poisoned(&mut connection);
}

fn a_deadline_ends_a_wait_and_poisons(transport: Transport) {
    let mut connection = connect(peer(|stream| hold_until_closed(&stream)), transport);
    let begin = Instant::now();
    let error = connection.exchange(&encode(b"?"), soon(150)).unwrap_err();
    assert_late_by_little(begin, 150);
    assert!(matches!(error, TransportError::DeadlinePassed { request: RequestFate::Unknown }), "{error:?}");
    assert_poisoned(&mut connection);
    assert!(connection.is_poisoned());

    // The same between a request and a wait of its own.
    let mut connection = connect(peer(|stream| hold_until_closed(&stream)), transport);
    connection.send(&encode(b"?"), None).unwrap();
    let error = connection.receive(soon(20)).unwrap_err();
    assert!(matches!(error, TransportError::DeadlinePassed { request: RequestFate::Unknown }), "{error:?}");
    assert_poisoned(&mut connection);
}

fn a_deadline_ends_an_answer_that_trickles(transport: Transport) {
    let address = peer(|mut stream| {
        read_frame(&stream);
        for byte in encode(&pattern(1000)) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    let mut connection = connect(address, transport);
    let begin = Instant::now();
    let error = connection.exchange(&encode(b"?"), soon(200)).unwrap_err();
    assert_late_by_little(begin, 200);
    assert!(matches!(error, TransportError::DeadlinePassed { request: RequestFate::Unknown }), "{error:?}");
    assert_poisoned(&mut connection);
}

fn a_deadline_ends_a_request_that_nobody_reads(transport: Transport) {
    let (listener, address) = narrow_listener(8);
    let mut connection = connect(address, transport);
    let (accepted, _) = listener.accept().unwrap();
    let request = encode(&pattern(8 << 20));
    let begin = Instant::now();
    let error = connection.exchange(&request, soon(200)).unwrap_err();
    assert_late_by_little(begin, 200);
    // A part of it left, but nobody can act on a part.
    assert!(
        matches!(error, TransportError::DeadlinePassed { request: RequestFate::NotDelivered }),
        "{error:?}"
    );
    assert_poisoned(&mut connection);

    // The same when a small frame went out whole ahead of it.
    drop(accepted);
    let mut connection = connect(address, transport);
    let _accepted = listener.accept().unwrap();
    let error = connection.send(&[encode(b"small"), request].concat(), soon(200)).unwrap_err();
    assert!(matches!(error, TransportError::DeadlinePassed { request: RequestFate::Unknown }), "{error:?}");
    assert_poisoned(&mut connection);
}

fn a_deadline_that_passed_sends_nothing(transport: Transport) {
    let (report, seen) = mpsc::channel();
    let address = peer(move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        report.send(bytes).unwrap();
    });
    let mut connection = connect(address, transport);
    let error = connection.exchange(&encode(b"?"), Some(Instant::now())).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlinePassed { request: RequestFate::NotDelivered }),
        "{error:?}"
    );
    // The peer sees the end although the connection was not dropped yet.
    assert_eq!(seen.recv_timeout(Duration::from_secs(5)).unwrap(), b"");
    assert_poisoned(&mut connection);
}

fn a_deadline_may_lie_centuries_ahead(transport: Transport) {
    let address = peer(|mut stream| {
        while let Some(body) = read_frame(&stream) {
            thread::sleep(Duration::from_millis(20));
            stream.write_all(&encode(&body)).unwrap();
        }
    });
    let mut connection = connect(address, transport);
    for years in [1, 100, 300, 10_000, 1_000_000] {
        let deadline = Instant::now() + years * Duration::from_secs(365 * 24 * 60 * 60);
        assert_eq!(connection.exchange(&encode(b"patience"), Some(deadline)).unwrap(), b"patience");
    }
}

/// A listener whose queue is full does not answer.
fn a_deadline_ends_connecting(transport: Transport) {
    let (_listener, address) = narrow_listener(0);
    let _fill: Vec<_> =
        (0..2).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50))).collect();
    for wait_ms in [100, 0] {
        let begin = Instant::now();
        let deadline = begin + Duration::from_millis(wait_ms);
        let error = Connection::connect(address, transport, FRAME_BYTES_MAX, deadline).unwrap_err();
        assert_late_by_little(begin, wait_ms);
        assert!(
            matches!(error, TransportError::DeadlinePassed { request: RequestFate::NotDelivered }),
            "{error:?}"
        );
    }
}

fn a_refused_connection_is_reported(transport: Transport) {
    let (listener, address) = narrow_listener(8);
    drop(listener);
    let deadline = Instant::now() + Duration::from_secs(5);
    let error = Connection::connect(address, transport, FRAME_BYTES_MAX, deadline).unwrap_err();
    assert_eq!(error.request(), RequestFate::NotDelivered);
    match error {
        TransportError::Connect { address: named, source } => {
            assert_eq!(named, address);
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
}

/// A receive that was given up must not write into memory that something else uses by now, nor end a later
/// wait.
fn late_bytes_do_not_reach_later_connections(transport: Transport) {
    let (listener, address) = narrow_listener(8);
    let prompt = peer(echo);
    for _ in 0..50 {
        let mut given_up = connect(address, transport);
        let (mut late, _) = listener.accept().unwrap();
        given_up.exchange(&encode(b"?"), soon(5)).unwrap_err();
        drop(given_up);
        // Takes the memory that the connection gave back.
        let witness = vec![0xAA_u8; 16 << 10];
        // The connection may be reset by now.
        let _ = late.write_all(&encode(&[0xEE; 10_000]));
        let mut connection = connect(prompt, transport);
        let body = pattern(3000);
        let end = Instant::now() + Duration::from_millis(10);
        while Instant::now() < end {
            assert_eq!(connection.exchange(&encode(&body), soon(10_000)).unwrap(), body);
        }
        assert!(witness.iter().all(|byte| *byte == 0xAA));
    }
}

fn signals_do_not_disturb(transport: Transport) {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: a zeroed `sigaction` is valid: no flags (so that waits are interrupted, not restarted), an
    // empty mask. The handler does nothing, which is always allowed in one. No other test uses SIGUSR2.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
    }
    let address = peer(|mut stream| {
        while let Some(body) = read_frame(&stream) {
            thread::sleep(Duration::from_millis(50));
            if body != b"no answer" {
                stream.write_all(&encode(&body)).unwrap();
            }
        }
    });
    let (tell, told) = mpsc::channel();
    let finished = Arc::new(AtomicBool::new(false));
    let worker = thread::spawn({
        let finished = finished.clone();
        move || {
            // SAFETY: has no preconditions.
            tell.send(unsafe { libc::pthread_self() }).unwrap();
            let mut connection = connect(address, transport);
            for bytes in [10, 4 << 20, 0] {
                let body = pattern(bytes);
                assert!(connection.exchange(&encode(&body), soon(10_000)).unwrap() == body);
            }
            let begin = Instant::now();
            let error = connection.exchange(&encode(b"no answer"), soon(20)).unwrap_err();
            assert_late_by_little(begin, 20);
            assert!(matches!(error, TransportError::DeadlinePassed { .. }), "{error:?}");
            finished.store(true, Ordering::Release);
        }
    });
    let thread = told.recv().unwrap();
    while !finished.load(Ordering::Acquire) && !worker.is_finished() {
        // SAFETY: the thread was not joined yet, so its id is still valid.
        unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
        thread::sleep(Duration::from_micros(500));
    }
    worker.join().unwrap();
}

fn a_connection_moves_between_threads(transport: Transport) {
    let mut connection = connect(peer(echo), transport);
    for round in 0..20 {
        let body = pattern(round * 1000);
        assert_eq!(connection.exchange(&encode(&body), soon(5_000)).unwrap(), body);
        connection = thread::spawn(move || {
            assert_eq!(connection.exchange(&encode(b"elsewhere"), soon(5_000)).unwrap(), b"elsewhere");
            connection
        })
        .join()
        .unwrap();
    }
}

fn a_hundred_threads_exchange_at_once(transport: Transport) {
    let address = peer(echo);
    let threads: Vec<_> = (0..100)
        .map(|seed| {
            thread::spawn(move || {
                let mut connections = [connect(address, transport), connect(address, transport)];
                for round in 0..50 {
                    let body = pattern(seed * 37 + round * 11);
                    let connection = &mut connections[round % 2];
                    assert_eq!(connection.exchange(&encode(&body), soon(30_000)).unwrap(), body);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn a_thread_that_unwinds_leaves_its_connection_closed(transport: Transport) {
    let (report, closed) = mpsc::channel();
    let address = peer(move |stream| {
        read_frame(&stream);
        hold_until_closed(&stream);
        report.send(()).unwrap();
    });
    let worker = thread::spawn(move || {
        let mut connection = connect(address, transport);
        connection.send(&encode(b"?"), None).unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    worker.join().unwrap_err();
    closed.recv_timeout(Duration::from_secs(5)).unwrap();
}

fn a_vanished_peer_will_be_noticed(transport: Transport) {
    let connection = connect(peer(echo), transport);
    let socket = connection.socket();
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(5));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(5));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(15)));
}

/// Whatever is tried on it, and although bytes may be there.
fn assert_poisoned(connection: &mut Connection) {
    let results = [
        connection.exchange(&encode(b"?"), None).map(|_| ()),
        connection.send(&encode(b"?"), None),
        connection.receive(None).map(|_| ()),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error, TransportError::Poisoned), "{error:?}");
        assert_eq!(error.request(), RequestFate::NotDelivered);
    }
}

/// Not before the deadline. How long after it depends on what else the machine does.
fn assert_late_by_little(begin: Instant, wait_ms: u64) {
    let waited = begin.elapsed();
    let wait = Duration::from_millis(wait_ms);
    assert!(waited >= wait && waited < wait + Duration::from_secs(2), "{waited:?} instead of {wait:?}");
}

/// A listener that takes in little: up to `backlog` connections, with small receive buffers.
fn narrow_listener(backlog: i32) -> (TcpListener, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(backlog).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    (listener, address)
}
