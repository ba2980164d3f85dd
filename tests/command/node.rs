//! How a node starts and stops.

use crate::support::{Server, abide, prints, text};
use std::os::unix::process::CommandExt;

#[test]
fn a_node_stops_cleanly_on_sigterm_and_sigint() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let Some(server) = Server::start() else { return };
        assert_eq!(prints(&["--server", &server.address, "call", "Counter", "c", "tally"]), "0");
        server.end_with(signal);
    }
}

#[test]
fn a_node_without_lockable_memory_says_what_to_set() {
    let mut command = abide(&["serve", "--listen", "127.0.0.1:0"]);
    // SAFETY: between fork and exec only this system call is made, which reads a local struct.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
            match libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("64 KiB") && said.contains("ulimit -l 512"), "{said}");
}

#[test]
fn a_node_without_io_uring_says_what_to_set() {
    let mut command = abide(&["serve", "--listen", "127.0.0.1:0"]);
    let filter = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    // Loads the number of the system call; io_uring_setup fails with EPERM, all else is allowed. This is what
    // the default profile of a container does.
    let program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32, 0, 1),
        filter(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        filter(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    // SAFETY: between fork and exec only these two system calls are made; the program outlives them.
    unsafe {
        command.pre_exec(move || {
            let filters = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
            let forbidden = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filters) == 0;
            if forbidden { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("io_uring is forbidden") && said.contains("kernel.io_uring_disabled"), "{said}");
}
