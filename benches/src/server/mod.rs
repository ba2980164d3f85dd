//! The servers under test: child processes, pinned to a processor, that do not outlive the benchmark.

mod cpu;
mod usage;

pub(crate) use usage::Usage;

use crate::wire;
use anyhow::{Context as _, bail, ensure};
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CpuSet, sched_setaffinity},
};
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// This machine allows no node. Not a failure of the benchmark.
#[derive(Debug)]
pub(crate) struct Unavailable(String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A port that was free may be taken when the server wants it.
const PORT_ATTEMPTS: usize = 5;

/// A server. It is killed when this is dropped, also in a panic; and if this process is killed, the kernel
/// kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    clock: cpu::Clock,
}

impl Server {
    /// Starts the node of `program`, which is this program or another build of it.
    pub(crate) fn abide(program: &Path, busy_poll: Duration, processor: usize) -> anyhow::Result<Server> {
        Server::abide_with(program, busy_poll, processor, None)
    }

    /// The same with persistent objects in this file.
    pub(crate) fn abide_with(
        program: &Path,
        busy_poll: Duration,
        processor: usize,
        data: Option<&Path>,
    ) -> anyhow::Result<Server> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--cores", "1"]);
        command.args(["--busy-poll-us", &busy_poll.as_micros().to_string()]);
        if let Some(data) = data {
            command.arg("--data").arg(data);
        }
        command.stdout(Stdio::piped());
        let mut server = Server::spawn(command, processor, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let mut line = String::new();
        BufReader::new(server.child.stdout.take().context("it was asked for")?).read_line(&mut line)?;
        match line.trim_end().split_once(' ') {
            Some(("ready", address)) => server.address = address.parse()?,
            Some(("unavailable", why)) => return Err(Unavailable(why.to_owned()).into()),
            _ => bail!("{} serve did not start: {line:?}", program.display()),
        }
        Ok(server)
    }

    /// Starts Redis, without persistence. Nothing if it is not installed.
    pub(crate) fn redis(processor: usize) -> anyhow::Result<Option<Server>> {
        for _ in 0..PORT_ATTEMPTS {
            // Redis takes no port from the system and says which; so ask for a free one and hand it on.
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"]);
            command.stdout(Stdio::null());
            let mut server = match Server::spawn(command, processor, address) {
                Err(error) if is_not_found(&error) => return Ok(None),
                other => other?,
            };
            let until = Instant::now() + START_MAX;
            while server.child.try_wait()?.is_none() {
                if wire::redis::ping(address).is_ok() {
                    return Ok(Some(server));
                }
                ensure!(Instant::now() < until, "redis-server does not answer");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("redis-server does not start")
    }

    fn spawn(mut command: Command, processor: usize, address: SocketAddr) -> anyhow::Result<Server> {
        let mut processors = CpuSet::new();
        processors.set(processor);
        command.stdin(Stdio::null());
        // SAFETY: between fork and exec only system calls are made, on a value that was moved in.
        unsafe {
            command.pre_exec(move || {
                sched_setaffinity(None, &processors)?;
                set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            })
        };
        let mut child = command.spawn()?;
        match cpu::Clock::of(child.id()) {
            Ok(clock) => Ok(Server { child, address, clock }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it and this process have used of their processors so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::look(self.child.id(), self.clock)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// What `redis-server --version` says, if it is installed.
pub(crate) fn redis_version() -> Option<String> {
    let output = Command::new("redis-server").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split_whitespace().find_map(|word| word.strip_prefix("v="))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_its_guard_also_in_a_panic() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let server = Server::spawn(
            command,
            abide_bench_common::machine::processors().unwrap()[0],
            ([127, 0, 0, 1], 1).into(),
        );
        let server = server.unwrap();
        let directory = format!("/proc/{}", server.process());
        assert!(Path::new(&directory).exists());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _server = server;
            panic!("the benchmark fails");
        }))
        .unwrap_err();
        assert!(!Path::new(&directory).exists());
    }
}
