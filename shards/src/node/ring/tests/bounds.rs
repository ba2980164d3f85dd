//! What happens when something runs out.

use super::*;
use std::process::Command;

/// Runs one test of this file again in a process of its own, in which it may change process-wide limits.
fn in_own_process(test: &str) -> bool {
    const MARK: &str = "ABIDE_RING_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let name = format!("{}::{test}", module_path!().split_once("::").expect("is in a crate").1);
    let output = Command::new(std::env::current_exe().expect("is running"))
        .args(["--exact", &name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn two_thousand_idle_connections_do_not_matter() {
    const IDLE: usize = 2_000;
    let clients = |address| {
        let idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(address)).collect();
        let busy = connect(address);
        for turn in 0..1_000 {
            round_trip_here(&busy, &pattern(turn, 100));
        }
        for stream in idle.iter().step_by(100) {
            round_trip(stream, b"awake");
        }
    };
    let (mut most, mut closed) = (0, 0);
    serve(RingConfig::default(), clients, |ring, event| {
        most = ring.connections().max(most);
        closed += usize::from(matches!(event, RingEvent::Closed { .. }));
        echo(ring, event);
    });
    if io_uring_is_allowed() {
        assert_eq!((most, closed), (IDLE + 1, IDLE + 1));
    }
}

#[test]
fn a_few_buffers_are_enough_for_many_clients() {
    let clients = |address| {
        thread::scope(|scope| {
            for client in 0..20 {
                scope.spawn(move || {
                    let stream = connect(address);
                    round_trip(&stream, &pattern(client, 200_000));
                    round_trip(&stream, &pattern(client, 10));
                });
            }
        });
    };
    let config = RingConfig { receive_buffer_count: 2, receive_buffer_bytes: 512, ..RingConfig::default() };
    let mut starved = 0;
    serve(config, clients, |ring, event| {
        starved = ring.stats().starved;
        patient_echo(ring, event);
    });
    assert!(starved > 0 || !io_uring_is_allowed(), "the test did not test anything");
}

#[test]
fn small_queues_only_cost_system_calls() {
    let clients = |address| {
        let streams: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
        for turn in 0..10 {
            for mut stream in &streams {
                stream.write_all(&pattern(turn, 50)).expect("is taken");
            }
            for mut stream in &streams {
                let mut back = [0; 50];
                stream.read_exact(&mut back).expect("comes back");
                assert_eq!(back[..], pattern(turn, 50));
            }
        }
    };
    let config = RingConfig { submission_entries: 2, completion_entries: 4, ..RingConfig::default() };
    serve(config, clients, echo);
}

#[test]
fn a_connection_too_many_is_closed_at_once() {
    let clients = |address| {
        let first = connect(address);
        round_trip(&first, b"first");
        let second = connect(address);
        round_trip(&second, b"second");
        let mut third = connect(address);
        assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)), "the third must not be served");
        drop(first);
        // Its place is free once the server has seen that it is gone.
        loop {
            let mut fourth = connect(address);
            let sent = fourth.write_all(b"4");
            if sent.and_then(|()| fourth.read_exact(&mut [0])).is_ok() {
                break;
            }
        }
    };
    let mut refused = 0;
    serve(RingConfig { connections_max: 2, ..RingConfig::default() }, clients, |ring, event| {
        refused = ring.stats().refused;
        assert!(ring.connections() <= 2);
        echo(ring, event);
    });
    assert!(refused >= 1 || !io_uring_is_allowed());
}

#[test]
fn too_much_queued_output_closes_the_connection() {
    let clients = |address| {
        let mut stream = connect(address);
        stream.write_all(b"x").expect("is taken");
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let mut full = 0;
    serve(RingConfig { output_bytes_max: 1 << 20, ..RingConfig::default() }, clients, |ring, event| {
        match event {
            RingEvent::Received { connection, .. } => {
                ring.send(connection, &[0; 2 << 20]);
            }
            RingEvent::Closed { reason, .. } => {
                assert!(matches!(reason, CloseReason::OutputFull), "{reason:?}");
                full += 1;
            }
            _ => {}
        }
    });
    assert!(full == 1 || !io_uring_is_allowed());
}

/// Without descriptors left the ring neither spins nor forgets to accept: clients wait in the backlog and are
/// served when others have left.
#[test]
fn running_out_of_descriptors_only_delays_clients() {
    if !in_own_process("running_out_of_descriptors_only_delays_clients") || !io_uring_is_allowed() {
        return;
    }
    limit_descriptors(200);
    run(async {
        let config = RingConfig { accept_retry: Duration::from_millis(20), ..RingConfig::default() };
        let mut ring = Ring::new(listener(), config).expect("opens");
        let address = ring.local_addr().expect("has an address");
        ready_or(&mut ring, Timer::new(LOOK)).await; // opens what it needs to sleep
        // The clients' ends exist before descriptors run out; the ring's ends find room for three only.
        let clients: Vec<TcpStream> = (0..6).map(|_| connect(address)).collect();
        for mut client in &clients {
            client.write_all(b"hello").expect("is taken");
        }
        let _hoard = leave_descriptors(3);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            while let Some(event) = ring.next_event() {
                echo(&mut ring, event);
            }
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        let stats = ring.stats();
        assert_eq!(stats.accepted, 3, "{stats:?}");
        assert!((2..40).contains(&stats.accept_failures), "{stats:?}");

        // Three leave, the other three are served.
        let mut clients = clients.into_iter();
        clients.by_ref().take(3).for_each(|client| expect_echo_and_leave(&client));
        let rest = thread::spawn(move || clients.for_each(|client| expect_echo_and_leave(&client)));
        while !(rest.is_finished() && ring.connections() == 0) {
            assert!(start.elapsed() < HANG, "hangs with {:?}", ring.stats());
            while let Some(event) = ring.next_event() {
                echo(&mut ring, event);
            }
            ready_or(&mut ring, Timer::new(LOOK)).await;
        }
        rest.join().expect("no client failed");
        assert_eq!(ring.stats().accepted, 6);
    });
}

fn expect_echo_and_leave(mut client: &TcpStream) {
    let mut back = [0; 5];
    client.read_exact(&mut back).expect("comes back");
    assert_eq!(&back, b"hello");
    client.shutdown(Shutdown::Write).expect("shuts");
}

/// An accept uses the limit that held when it was started, so this comes first.
fn limit_descriptors(descriptors: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct that they are given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = descriptors;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// Opens descriptors until only `left` more can be opened.
fn leave_descriptors(left: usize) -> Vec<std::fs::File> {
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.truncate(hoard.len() - left);
    hoard
}

#[test]
fn an_impossible_configuration_is_refused() {
    let refused = |config| assert!(matches!(Ring::new(listener(), config), Err(RingError::Config { .. })));
    refused(RingConfig { receive_buffer_count: 1000, ..RingConfig::default() });
    refused(RingConfig { receive_buffer_bytes: 0, ..RingConfig::default() });
    refused(RingConfig { completion_entries: 1, ..RingConfig::default() });
    refused(RingConfig { connections_max: 0, ..RingConfig::default() });
}

#[test]
fn what_io_uring_refuses_has_a_name() {
    let error = |number| RingError::from_setup("opening", io::Error::from_raw_os_error(number));
    assert!(matches!(error(libc::EPERM), RingError::Forbidden(_)));
    assert!(matches!(error(libc::ENOSYS), RingError::Forbidden(_)));
    assert!(matches!(error(libc::ENOMEM), RingError::LockedMemory(_)));
    assert!(matches!(error(libc::EINVAL), RingError::KernelTooOld(_)));
    assert!(matches!(error(libc::EMFILE), RingError::System { action: "opening", .. }));
}
