//! The child's side: [`init`].

use super::{FUNCTION, PARENT, wire};
use crate::{
    context::Context,
    error::JoinError,
    registry, run,
    task::{Header, Outcome, Reply, Session},
};
use abide_client::Store;
use rustix::{
    net::sockopt::socket_peercred,
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

static INITIALISED: AtomicBool = AtomicBool::new(false);
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Whether this program called [`init`], so that its children will.
pub(super) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Relaxed)
}

/// How many processes stand between this one and the program that was started by someone else.
pub(super) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// Takes up the cloud function that this process was started for, if it was; call it first thing in `main`.
///
/// [`Backend::Processes`](crate::Backend::Processes) runs this program again. In such a child this call runs
/// the cloud function and ends the process; what follows in `main` never runs. Otherwise it returns at once.
/// Without it, a child would do the work of `main` all over, and spawn children in turn: cloud threads that
/// are to be processes therefore fail with [`JoinError::NotInitialised`] in a program that has not called it.
pub fn init() {
    INITIALISED.store(true, Ordering::Relaxed);
    match take_channel() {
        Ok(None) => {}
        Ok(Some(channel)) => serve(channel),
        Err(error) => {
            eprintln!("abide: cannot take up the cloud function: {error}");
            process::exit(1);
        }
    }
}

/// The channel to the program that started this process as its child, if one did.
///
/// The environment alone does not tell: a command that a cloud function starts inherits it. But that one has
/// another parent and no socket to it.
fn take_channel() -> io::Result<Option<UnixStream>> {
    if std::env::var_os(FUNCTION).is_none() {
        return Ok(None);
    }
    let Some(parent) = std::env::var(PARENT).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?)) else {
        return Ok(None);
    };
    let stdin = io::stdin();
    match socket_peercred(&stdin) {
        Ok(peer) if peer.pid == parent => {}
        _ => return Ok(None),
    }
    // Die with the parent, also with one that died before this took effect.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        process::exit(1);
    }
    // A copy that the function's own children do not inherit; and nothing to read for the function.
    let channel = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(channel))
}

/// Runs the function and ends the process.
fn serve(mut channel: UnixStream) -> ! {
    let sent = wire::read_task(&mut channel).and_then(|(header, arguments)| {
        DEPTH.store(header.depth, Ordering::Relaxed);
        let outcome = on_own_thread(header, arguments);
        match &outcome {
            Ok(value) => wire::write_reply(&mut channel, &Reply::Returned, value),
            Err(error) => wire::write_reply(&mut channel, &Reply::from(error), &[]),
        }
    });
    // Exiting flushes standard output. An error here means that the parent is gone, and with it who cares.
    process::exit(if sent.is_ok() { 0 } else { 1 })
}

/// Runs the function on a thread with the cloud thread's name and the stack that it would have with the threads
/// backend, so that it meets the same limits here and there.
fn on_own_thread(header: Header, arguments: Vec<u8>) -> Outcome {
    let name = header.context.name.replace('\0', "?");
    if let Ok(name) = CString::new(name.clone()) {
        // The process is called as the file it was started from, which is a link; and it is only a name.
        let _ = rustix::thread::set_name(&name);
    }
    match thread::Builder::new().name(name).spawn(move || work(header, &arguments)) {
        Ok(thread) => thread.join().unwrap_or_else(|payload| {
            Err(JoinError::Lost { reason: format!("panic: {}", run::message(&*payload)) })
        }),
        Err(error) => Err(JoinError::start("a thread in the child process", error)),
    }
}

fn work(header: Header, arguments: &[u8]) -> Outcome {
    let entry = registry::find_name(&header.function)?;
    let connect = |address: &str| {
        let session = Store::connect(address).and_then(|store| Session::only(store, header.seed));
        session.map_err(|error| JoinError::NoStore { reason: format!("{address}: {error}") })
    };
    let session = header.store.as_deref().map(connect).transpose()?;
    let context: Context = header.context;
    run::here(entry, context, session, arguments)
}
