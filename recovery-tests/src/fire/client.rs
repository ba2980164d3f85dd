//! A process of clients: several sessions, each in a thread.

use super::work::{Acknowledged, Change, Objects, file_of};
use abide::{
    RemoteOptions,
    client::{Store, remote::RETRY_FOR_MAX},
};
use anyhow::Context as _;
use fastrand::Rng;
use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

/// What `fire-client` is told.
#[derive(Debug, clap::Args)]
pub struct Client {
    /// What the calls follow from.
    #[arg(long)]
    pub(super) seed: u64,
    /// What the sessions' seeds follow from: calls are known again under the same one only. [default: they have none]
    #[arg(long)]
    pub(super) session_seed: Option<u64>,
    /// The number of its first session.
    #[arg(long)]
    pub(super) first: u64,
    /// How many sessions it has.
    #[arg(long)]
    pub(super) sessions: u64,
    /// Increments of each session, and as many merges.
    #[arg(long)]
    pub(super) calls: u64,
    /// Where the files of acknowledged results are.
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// Kills itself when it has so many results.
    #[arg(long)]
    pub(super) dies_after: Option<u64>,
    /// Ends the sessions in order when all calls are made.
    #[arg(long)]
    pub(super) finish: bool,
}

/// How long after the result that it was told of a process kills itself, at most.
const DEATH_AFTER_US: u64 = 2_000;

/// Makes the calls of all its sessions, and adds each result to the session's file as soon as it is there.
///
/// # Errors
/// A call's that ended otherwise than with its result.
pub fn client(server: &str, arguments: &Client) -> anyhow::Result<()> {
    super::die_with_parent();
    // The node is down again and again, and the machine may be busy. A call that is given up is a failure.
    let options =
        RemoteOptions { retry_for: RETRY_FOR_MAX, lease: Some(RETRY_FOR_MAX), ..RemoteOptions::default() };
    let store = Store::connect_with(server, &options)?;
    let results = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let numbers = arguments.first..arguments.first + arguments.sessions;
        let sessions: Vec<_> = numbers
            .map(|session| {
                let (store, results) = (&store, &results);
                let work = move || work(store, arguments, session, results);
                scope.spawn(move || work().with_context(|| format!("session {session}")))
            })
            .collect();
        sessions.into_iter().try_for_each(|session| session.join().expect("a panic ends the process"))
    })
}

fn work(store: &Store, arguments: &Client, session: u64, results: &AtomicU64) -> anyhow::Result<()> {
    let Client { seed, session_seed, calls, dies_after, .. } = *arguments;
    let mut file = File::options().append(true).create(true).open(file_of(&arguments.dir, session))?;
    let store = match session_seed {
        Some(seed) => store.with_seed(u128::from(seed) << 64 | u128::from(session))?,
        None => store.new_session()?,
    };
    let objects = Objects::of(&store);
    for call in 0..2 * calls {
        let result = objects.make(Change::new(seed, session, call));
        let result = result.with_context(|| format!("call {call}"))?;
        file.write_all(Acknowledged { call, result }.line().as_bytes())?;
        if Some(results.fetch_add(1, SeqCst) + 1) == dies_after {
            // The other sessions go on meanwhile, so they are killed anywhere in a call.
            std::thread::sleep(Duration::from_micros(Rng::new().u64(..DEATH_AFTER_US)));
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        }
    }
    if arguments.finish {
        store.finish()?;
    }
    Ok(())
}
