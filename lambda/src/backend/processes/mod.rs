//! Cloud threads as child processes of this program.
//!
//! ```text
//! spawning program                                   child: the same binary, from the start of main
//! Processes::execute                                 init() -> child::serve
//!   socket pair; one end becomes the child's stdin     takes the socket away from stdin
//!   header, arguments            ----socket--->        run::here, on a thread named as the cloud thread
//!   Exchange::run waits          <---socket----        reply, value; exit
//!   last lines, and to stderr    <----pipe-----        stderr
//!   child.wait()                 <---pidfd-----        (its end)
//! ```
//! The arguments and the result have a channel of their own, so that the function may print what it likes. That
//! channel is a socket because one file descriptor then does for both directions, and standard input because
//! that descriptor is passed on without unsafe code: everything else stays close-on-exec, so that children
//! which start at the same time hold no ends of each other's channels.

mod child;
mod exchange;
mod stderr;
mod wire;

pub use child::init;

use super::Executor;
use crate::{
    context::Context,
    error::JoinError,
    handle::Shared,
    task::{Header, Outcome, Task},
};
use exchange::Exchange;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

/// The cloud function that a child process is started for. Its presence makes [`init`] look closer.
const FUNCTION: &str = "ABIDE_CLOUD_FUNCTION";

/// The process id of the program that started the child.
const PARENT: &str = "ABIDE_CLOUD_PARENT";

/// The store's address, where `Store::from_env` looks for it.
const STORE: &str = "ABIDE";

/// How deep processes may spawn processes. A function that spawns itself by mistake, twice each time, is
/// stopped at 256 processes.
const DEPTH_MAX: u32 = 8;

/// Runs the function in a child process. The calling thread stays until the child has ended: the child asks to
/// be killed when the thread that started it is gone.
pub(crate) struct Processes;

impl Executor for Processes {
    fn execute(&self, task: &Task, attempt: u32, shared: &Arc<Shared>) -> Outcome {
        if !child::is_initialised() {
            return Err(JoinError::NotInitialised);
        }
        let depth = child::depth() + 1;
        if depth > DEPTH_MAX {
            return Err(JoinError::TooDeep { max: DEPTH_MAX });
        }
        let header = Header {
            function: task.entry.name().to_owned(),
            context: Context { id: task.id, name: task.name.clone(), attempt, shared: None },
            store: task.address()?,
            seed: task.seed(),
            depth,
        };
        let (child, channel) = start(&header)?;
        supervise(child, channel, &header, &task.arguments, shared)
    }
}

fn start(header: &Header) -> Result<(Child, UnixStream), JoinError> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| JoinError::start("a socket pair", error))?;
    let program = program().map_err(|error| JoinError::start("this program's path", error))?;
    let mut command = Command::new(&program);
    command
        .arg0(std::env::args_os().next().unwrap_or_else(|| OsString::from(&program)))
        // For whoever looks at a list of processes. And if `main` reads its arguments before `init()`, then these
        // rather stop it than let it do the parent's work again.
        .args(["cloud-thread", &header.function, &header.context.id.to_string()])
        .env(FUNCTION, &header.function)
        .env(PARENT, std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped());
    if let Some(address) = &header.store {
        command.env(STORE, address);
    }
    let child = command.spawn().map_err(|error| JoinError::Start {
        what: format!("a process of {}", program.display()),
        source: Arc::new(error),
    })?;
    // Our copy of the child's end closes with `command`, so that its end shows as the end of the channel.
    Ok((child, ours))
}

/// This very program. The link leads to the file that is running even after it was replaced on disk, and the
/// function's name and arguments mean the same only to the same binary.
fn program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

/// Brings the child its task, and waits for its end.
fn supervise(
    mut child: Child,
    channel: UnixStream,
    header: &Header,
    arguments: &[u8],
    shared: &Arc<Shared>,
) -> Outcome {
    // Nobody else waits for this child, so its id stays its own until we do.
    let ended = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(ended) => Arc::new(ended),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(JoinError::start("a descriptor of the process", error));
        }
    };
    shared.set_kill({
        let child = Arc::clone(&ended);
        move || {
            // It fails only when the child has ended already.
            let _ = pidfd_send_signal(&child, Signal::KILL);
        }
    });
    let stderr = child.stderr.take().expect("stderr is piped");
    let exchange = Exchange::new(channel, stderr, header, arguments).and_then(|exchange| {
        exchange.run(ended.as_fd()) // until the child has ended
    });
    shared.clear_kill();
    if exchange.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    let exchange = exchange.map_err(lost)?;
    if let Some((reply, value)) = wire::parse_reply(exchange.received) {
        // Complete, so the function returned, even if the process then failed to end well.
        return reply.into_outcome(value);
    }
    if shared.is_cancelled() {
        return Err(JoinError::Cancelled);
    }
    Err(JoinError::Exited { status: status.map_err(lost)?, stderr_tail: exchange.stderr_tail })
}

fn lost(error: io::Error) -> JoinError {
    JoinError::Lost { reason: format!("waiting for its process: {error}") }
}
