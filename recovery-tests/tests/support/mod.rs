//! Starting and killing the processes of a test.
#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

/// A process that does not outlive its test.
pub(crate) struct Process {
    pub(crate) child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts this crate's binary.
    pub(crate) fn start(arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_abide-recovery-tests"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Process { child, output }
    }

    /// The next line that it prints, or nothing at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits until it ends well, and returns what it printed.
    pub(crate) fn finish(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
        rest
    }

    /// SIGKILL: no destructor, no goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that is not reaped yet touches no memory.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Memory that the process has in use now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has a VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// Whether io_uring is allowed here; says so if it is not.
pub(crate) fn can_run_nodes() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let allowed = disabled.map_or(true, |disabled| disabled.trim() == "0");
    if !allowed {
        eprintln!("SKIPPED: this kernel forbids io_uring, and a node needs it");
    }
    allowed
}

/// A node, or nothing where io_uring is forbidden.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(lease_ms: u64) -> Option<Server> {
        if !can_run_nodes() {
            return None;
        }
        let mut process = Process::start(&["serve", "--lease-ms", &lease_ms.to_string()]);
        let line = process.line().expect("the node ended before it was ready");
        let address = line.strip_prefix("ready ").expect("the first line says ready").to_owned();
        Some(Server { process, address })
    }

    /// A client in its role.
    pub(crate) fn client(&self, role: &[&str]) -> Process {
        Process::start(&[&["--server", &self.address], role].concat())
    }
}

/// Lets this process open as many files as it may, and says how many.
pub(crate) fn open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only use the struct that they are given.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur
}
