//! How connections begin and end, and how their bytes are held back.

use super::*;
use std::sync::mpsc;

#[test]
fn a_client_that_shuts_its_side_still_gets_all_replies() {
    let clients = |address| {
        let mut stream = connect(address);
        let bytes = pattern(1, 3 << 20);
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&bytes).expect("is taken");
                stream.shutdown(Shutdown::Write).expect("shuts");
            });
            let mut back = Vec::new();
            (&stream).read_to_end(&mut back).expect("ends cleanly");
            assert!(back == bytes);
        });
        stream.read_to_end(&mut Vec::new()).expect("stays ended");
    };
    let mut reasons = Vec::new();
    serve(RingConfig::default(), clients, |ring, event| {
        if let RingEvent::Closed { reason, .. } = &event {
            reasons.push(format!("{reason:?}"));
        }
        echo(ring, event);
    });
    assert!(reasons.iter().all(|reason| reason == "Requested"), "{reasons:?}");
}

#[test]
fn a_reset_is_told_and_hurts_nobody_else() {
    let clients = |address| {
        let bystander = connect(address);
        round_trip(&bystander, b"before");
        for _ in 0..20 {
            let stream = connect(address);
            round_trip(&stream, b"hello");
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("has an option");
            drop(stream);
        }
        round_trip(&bystander, b"after");
    };
    let mut resets = 0;
    serve(RingConfig::default(), clients, |ring, event| {
        if matches!(event, RingEvent::Closed { reason: CloseReason::Reset, .. }) {
            resets += 1;
        }
        echo(ring, event);
    });
    assert_eq!(resets, if io_uring_is_allowed() { 20 } else { 0 });
}

/// 8 MiB to a client that does not read: they stay queued, other clients notice nothing, and when the client
/// reads at last it gets them all.
#[test]
fn a_client_that_does_not_read_stalls_nobody_else() {
    const REPLY: usize = 8 << 20;
    let (tell, told) = mpsc::channel();
    let clients = move |address: SocketAddr| {
        let mut lazy = connect_lazily(address);
        lazy.write_all(b"much").expect("is taken");
        told.recv().expect("the reply is queued");
        let other = connect(address);
        for turn in 0..1_000 {
            round_trip_here(&other, &pattern(turn, 64));
        }
        round_trip(&other, &pattern(0, 1 << 20));
        let mut back = vec![0; REPLY];
        lazy.read_exact(&mut back).expect("comes at last");
        assert!(back == pattern(0, REPLY));
        lazy.write_all(b"done").expect("is taken");
        expect_end(&lazy);
    };
    let lazy = Cell::new(None);
    let most = Cell::new(0);
    let drained = Cell::new(0);
    serve(RingConfig::default(), clients, |ring, event| {
        if let Some(lazy) = lazy.get() {
            most.set(ring.queued_bytes(lazy).max(most.get()));
        }
        match event {
            RingEvent::Received { connection, bytes } if &*bytes == b"much" => {
                ring.output(connection).expect("is there").extend_from_slice(&pattern(0, REPLY));
                lazy.set(Some(connection));
                tell.send(()).expect("the client waits");
            }
            RingEvent::Received { connection, bytes } if &*bytes == b"done" => {
                assert_eq!(ring.queued_bytes(connection), 0);
                ring.close_after_flush(connection);
            }
            RingEvent::SendDrained { connection } if lazy.get() == Some(connection) => {
                drained.set(drained.get() + 1);
            }
            event => echo(ring, event),
        }
    });
    if io_uring_is_allowed() {
        assert!(most.get() > REPLY / 4, "only {} bytes were ever queued", most.get());
        assert_eq!(drained.get(), 1);
    }
}

#[test]
fn a_paused_connection_receives_nothing_until_it_is_resumed() {
    let (tell, told) = mpsc::channel();
    let clients = move |address| {
        let mut stream = connect(address);
        stream.write_all(b"pause").expect("is taken");
        told.recv().expect("is paused");
        // More than the sockets hold: the writer is held back until the server resumes.
        round_trip(&stream, &pattern(3, 20 << 20));
        stream.shutdown(Shutdown::Write).expect("shuts");
        expect_end(&stream);
    };
    let paused_at = Cell::new(None::<Instant>);
    let pause = Duration::from_millis(100);
    let held_back = Cell::new(false);
    let resumed = Cell::new(false);
    if !io_uring_is_allowed() {
        return;
    }
    run(async move {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let client = thread::spawn(move || clients(address));
        let mut connection = None;
        while !(client.is_finished() && ring.connections() == 0) {
            while let Some(event) = ring.next_event() {
                match event {
                    RingEvent::Accepted { connection: id, .. } => connection = Some(id),
                    RingEvent::Received { connection, bytes } if &*bytes == b"pause" => {
                        ring.pause_receive(connection);
                        paused_at.set(Some(Instant::now()));
                    }
                    RingEvent::Received { .. } => {
                        assert!(resumed.get(), "received while paused");
                        patient_echo(&mut ring, event);
                    }
                    event => patient_echo(&mut ring, event),
                }
            }
            if let Some(at) = paused_at.get() {
                if at.elapsed() > pause / 2 && !held_back.replace(true) {
                    tell.send(()).expect("the client waits");
                }
                if at.elapsed() > pause && !resumed.replace(true) {
                    ring.resume_receive(connection.expect("was accepted"));
                }
            }
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        client.join().expect("the client did not fail");
        assert!(resumed.get());
    });
}

#[test]
fn a_stale_id_does_nothing_to_the_next_connection_at_its_place() {
    let clients = |address| {
        let first = connect(address);
        round_trip(&first, b"first");
        first.shutdown(Shutdown::Write).expect("shuts");
        expect_end(&first);
        drop(first);
        let second = connect(address);
        round_trip(&second, b"second");
        second.shutdown(Shutdown::Write).expect("shuts");
        expect_end(&second);
    };
    let mut ids = Vec::new();
    serve(RingConfig::default(), clients, |ring, event| {
        if let RingEvent::Accepted { connection, .. } = &event {
            ids.push(*connection);
        }
        if let (RingEvent::Received { bytes, .. }, [stale, fresh]) = (&event, &ids[..])
            && &**bytes == b"second"
        {
            assert_eq!(stale.index, fresh.index, "the place was given away again");
            assert_eq!(ConnectionId::from(u64::from(*stale)), *stale);
            assert!(!ring.send(*stale, b"wrong"));
            assert!(ring.output(*stale).is_none());
            assert_eq!(ring.queued_bytes(*stale), 0);
            ring.pause_receive(*stale);
            ring.close_after_flush(*stale);
            ring.close(*stale);
        }
        echo(ring, event);
    });
}

/// The last reply reaches a client that is still sending: without the wait for its end, its late bytes would
/// make the kernel reset the connection and throw the rest of the reply away.
#[test]
fn close_after_flush_loses_no_reply() {
    const REPLY: usize = 500_000;
    let clients = |address| {
        let mut stream = connect_lazily(address);
        stream.write_all(b"question").expect("is taken");
        thread::sleep(Duration::from_millis(30)); // the reply waits in the server's kernel
        stream.write_all(b"something late").expect("is taken");
        thread::sleep(Duration::from_millis(30)); // and a reset would be there
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("no reset");
        assert!(reply == pattern(9, REPLY));
    };
    serve(RingConfig::default(), clients, |ring, event| {
        if let RingEvent::Received { connection, .. } = event {
            assert!(ring.send(connection, &pattern(9, REPLY)));
            ring.close_after_flush(connection);
            assert!(!ring.send(connection, b"too late"));
        }
    });
}

#[test]
fn closing_does_not_wait_for_a_client_that_does_not_read() {
    let (tell, told) = mpsc::channel();
    let clients = move |address| {
        let mut stream = connect_lazily(address);
        stream.write_all(b"much").expect("is taken");
        thread::sleep(Duration::from_millis(50)); // a send is stuck
        stream.write_all(b"enough").expect("is taken");
        told.recv_timeout(HANG / 6).expect("was closed");
    };
    serve(RingConfig::default(), clients, |ring, event| match event {
        RingEvent::Received { connection, bytes } if &*bytes == b"much" => {
            assert!(ring.send(connection, &vec![0; 20 << 20]));
        }
        RingEvent::Received { connection, .. } => ring.close(connection),
        RingEvent::Closed { reason, .. } => {
            assert!(matches!(reason, CloseReason::Requested), "{reason:?}");
            tell.send(()).expect("the client waits");
        }
        _ => {}
    });
}

#[test]
fn accepted_sockets_send_without_delay() {
    let clients = |address| drop(connect(address));
    serve(RingConfig::default(), clients, |ring, event| {
        if let RingEvent::Accepted { connection, .. } = event {
            let socket = &ring.connections.get(connection).expect("is there").socket;
            let socket = SockRef::from(socket);
            assert!(socket.tcp_nodelay().expect("has an option"));
            assert!(socket.keepalive().expect("has an option"));
            assert_eq!(socket.tcp_keepalive_time().expect("has an option"), ring.config.keepalive_idle);
            let unacknowledged_max = socket.tcp_user_timeout().expect("has an option");
            assert_eq!(unacknowledged_max, Some(ring.config.unacknowledged_max));
        }
        echo(ring, event);
    });
}

#[test]
fn a_ring_that_stops_accepting_keeps_the_clients_it_has() {
    let clients = |address| {
        let known = connect(address);
        round_trip(&known, b"stop");
        let mut late = connect(address); // the kernel's backlog takes it
        late.write_all(b"hello?").expect("is taken");
        late.set_read_timeout(Some(Duration::from_millis(50))).expect("has a timeout");
        assert!(late.read(&mut [0]).is_err(), "nobody should answer");
        round_trip(&known, b"still there");
    };
    let mut accepted = 0;
    serve(RingConfig::default(), clients, |ring, event| {
        accepted = ring.stats().accepted;
        if matches!(&event, RingEvent::Received { bytes, .. } if &**bytes == b"stop") {
            ring.stop_accepting();
        }
        echo(ring, event);
    });
    assert!(accepted == 1 || !io_uring_is_allowed());
}

/// The kernel still reads from a buffer when the ring is dropped: dropping waits for it.
#[test]
fn dropping_a_ring_with_sends_in_flight_ends_them_at_once() {
    if !io_uring_is_allowed() {
        return;
    }
    run(async {
        let mut ring = Ring::new(listener(), RingConfig::default()).expect("opens");
        let address = ring.local_addr().expect("has an address");
        let streams: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
        let mut accepted = Vec::new();
        while accepted.len() < streams.len() {
            while let Some(event) = ring.next_event() {
                let RingEvent::Accepted { connection, .. } = event else { continue };
                assert!(ring.send(connection, &pattern(0, 20 << 20)));
                accepted.push(connection);
            }
            ring.ready().await.expect("the ring works");
        }
        for _ in 0..200 {
            while ring.next_event().is_some() {}
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        assert!(accepted.iter().all(|connection| ring.queued_bytes(*connection) > 0));
        let start = Instant::now();
        drop(ring);
        assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
        let mut stream = &streams[0];
        let got = stream.read_to_end(&mut Vec::new());
        assert!(got.is_err() || got.is_ok_and(|length| length < 20 << 20));
    });
}
