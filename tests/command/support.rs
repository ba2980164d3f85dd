//! Running the command, and nodes of it.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) fn abide(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide"));
    command.args(arguments).env_remove("ABIDE");
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    abide(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command prints that must end well.
pub(crate) fn prints(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// What a command says that must end with this status and print nothing.
pub(crate) fn complains(status: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    text(&output.stderr)
}

/// Looks again until it is so. Nothing is said about how soon it must be.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < patience, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn path_of(folder: &Path, name: &str) -> String {
    folder.join(name).into_os_string().into_string().unwrap()
}

/// A command that is killed when its test ends.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut command = abide(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// The next line that it prints; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn ends_well(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A node that is killed when its test ends.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: String,
}

impl Server {
    /// Starts `abide serve`, or nothing where io_uring is forbidden.
    pub(crate) fn start() -> Option<Server> {
        Server::start_with(&["--listen", "127.0.0.1:0"])
    }

    /// The same with these arguments of `serve`.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Server> {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        if disabled.is_ok_and(|disabled| disabled.trim() != "0") {
            eprintln!("SKIPPED: this kernel forbids io_uring, and a node needs it");
            return None;
        }
        let mut running = Running::start(&[&["serve"], arguments].concat());
        let line = running.line();
        let Some(address) = line.strip_prefix("ready ") else {
            let mut said = String::new();
            std::io::Read::read_to_string(running.child.stderr.as_mut().unwrap(), &mut said).unwrap();
            panic!("a node does not start: {line:?}, {said}");
        };
        Some(Server { address: address.to_owned(), running })
    }

    /// What a command prints that is made on this node, and must end well.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        prints(&[&["--server", &self.address], arguments].concat())
    }

    /// What a command says that is made on this node, and must fail.
    pub(crate) fn complains(&self, arguments: &[&str]) -> String {
        complains(1, &[&["--server", &self.address], arguments].concat())
    }

    /// A fact of `info`.
    pub(crate) fn info(&self, name: &str) -> serde_json::Value {
        let facts: serde_json::Value = serde_json::from_str(&self.prints(&["info", "--json"])).unwrap();
        facts[name].clone()
    }

    /// What it says at its start.
    pub(crate) fn first_words(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.running.child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn end_with(mut self, signal: i32) {
        // SAFETY: a signal to a child that is not reaped yet touches no memory.
        assert_eq!(unsafe { libc::kill(self.running.child.id() as i32, signal) }, 0);
        let status = self.running.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }

    /// Kills it with SIGKILL: dropping it does that.
    pub(crate) fn kill(self) {}
}
