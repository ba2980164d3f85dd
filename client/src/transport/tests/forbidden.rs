//! Where io_uring may not be used: sandboxes that let its system calls fail, imitated with seccomp on one
//! thread.

use super::{super::*, *};
use std::{cell::RefCell, sync::mpsc};

/// Lets `system_call` fail with `error` from now on, for the calling thread and threads that it starts.
fn forbid(system_call: libc::c_long, error: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        // The number of the system call is the first field of what the filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: system_call as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it. The filter only makes one system call of this
    // thread fail.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// Runs `work` on a thread that can be sandboxed without the others.
fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    thread::spawn(work).join().unwrap();
}

fn assert_echoes(connection: &mut Connection) {
    for bytes in [0, 10, 1 << 20] {
        let body = pattern(bytes);
        assert!(connection.exchange(&encode(&body), soon(10_000)).unwrap() == body);
    }
}

fn uring() -> Option<Transport> {
    TransportKind::Uring.resolve().inspect_err(|error| eprintln!("SKIPPED: {error} ({})", error.cause())).ok()
}

#[test]
fn auto_falls_back_to_sockets_and_uring_says_why_it_cannot() {
    let permitted_otherwise = uring().is_some();
    for system_call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter] {
        for error in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EACCES] {
            on_a_thread(move || {
                forbid(system_call, error);
                let refusal = TransportKind::Uring.resolve().unwrap_err();
                assert!(refusal.to_string().contains("io_uring"), "{refusal}");
                if permitted_otherwise {
                    assert_eq!(refusal.cause().raw_os_error(), Some(error), "{refusal}: {}", refusal.cause());
                }

                let transport = TransportKind::Auto.resolve().unwrap();
                assert_eq!(transport, Transport::SOCKET);
                assert_echoes(&mut connect(peer(echo), transport));
            });
        }
    }
}

#[test]
fn a_thread_without_a_ring_uses_sockets_or_fails_as_it_was_told() {
    let Some(strict) = uring() else { return };
    let lenient = TransportKind::Auto.resolve().unwrap();
    assert_ne!(strict, lenient);
    let address = peer(echo);
    let mut elsewhere = connect(address, strict);
    on_a_thread(move || {
        forbid(libc::SYS_io_uring_setup, libc::ENOMEM);
        assert_echoes(&mut connect(address, lenient));

        let deadline = Instant::now() + Duration::from_secs(5);
        let error = Connection::connect(address, strict, FRAME_BYTES_MAX, deadline).unwrap_err();
        assert!(matches!(error, TransportError::UringUnavailable { .. }), "{error:?}");
        assert_eq!(error.request(), RequestFate::NotDelivered);

        // A connection that was made where a ring could be had.
        let error = elsewhere.exchange(&encode(b"?"), None).unwrap_err();
        assert!(matches!(error, TransportError::UringUnavailable { .. }), "{error:?}");
        assert_eq!(error.request(), RequestFate::NotDelivered);
    });
}

#[test]
fn a_ring_that_is_forbidden_later_sends_nothing_twice() {
    let Some(strict) = uring() else { return };
    let lenient = TransportKind::Auto.resolve().unwrap();
    let address = peer(echo);
    on_a_thread(move || {
        let (mut falls_back, mut fails) = (connect(address, lenient), connect(address, strict));
        assert_echoes(&mut falls_back);
        assert_echoes(&mut fails);
        forbid(libc::SYS_io_uring_enter, libc::EPERM);
        assert_echoes(&mut falls_back);
        let error = fails.exchange(&encode(b"?"), None).unwrap_err();
        assert!(matches!(error, TransportError::UringUnavailable { .. }), "{error:?}");
        assert_eq!(error.request(), RequestFate::NotDelivered);
    });
}

#[test]
fn a_thread_past_its_thread_local_values_uses_sockets() {
    /// Says goodbye when its thread ends, before or after the thread's ring is gone.
    struct Goodbye(RefCell<Option<(Connection, mpsc::Sender<bool>)>>);
    impl Drop for Goodbye {
        fn drop(&mut self) {
            let (mut connection, report) = self.0.take().unwrap();
            let answer = connection.exchange(&encode(b"goodbye"), soon(5_000));
            report.send(answer.is_ok_and(|answer| answer == b"goodbye")).unwrap();
        }
    }
    thread_local! {
        static FIRST: Goodbye = const { Goodbye(RefCell::new(None)) };
        static LAST: Goodbye = const { Goodbye(RefCell::new(None)) };
    }
    let address = peer(echo);
    let (report, reported) = mpsc::channel();
    on_a_thread(move || {
        let transport = TransportKind::Auto.resolve().unwrap();
        let goodbye = || Some((connect(address, transport), report.clone()));
        FIRST.with(|first| first.0.replace(goodbye()));
        assert_echoes(&mut connect(address, transport));
        LAST.with(|last| last.0.replace(goodbye()));
    });
    assert_eq!(reported.iter().collect::<Vec<_>>(), [true, true]);
}
