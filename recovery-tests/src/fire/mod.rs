//! Exactly once under fire: sessions add to shared persistent objects while their processes are killed and run again with
//! their seeds, their connections are cut, and the node is killed and started again on the same data.
//!
//! Clients (client.rs) note each acknowledged result in a file, and note it again whenever they run again. What follows from
//! the seed, and how a line reads, is in work.rs; the node is in node.rs; what cuts connections in proxy.rs. At the end
//! (check.rs) each call must have had one result in all runs; the results on each shared number must be those of all changes
//! made once, one after the other, without one in between that nobody asked for; and the sums must be there.

mod check;
mod client;
mod node;
mod proxy;
mod work;

pub use client::{Client, client};
pub use node::{FireNode, fire_node};

use abide::client::Store;
use abide_pmem::{Persistence, RegionOptions, check::check_file};
use anyhow::{Context as _, ensure};
use check::{Changes, compare};
use fastrand::Rng;
use node::NodeProcess;
use proxy::Proxy;
use std::{
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use work::Objects;

/// What `fire` is told.
#[derive(Debug, clap::Args)]
pub struct Fire {
    /// Client sessions.
    #[arg(long, default_value_t = 64)]
    sessions: u64,
    /// Processes that have them, in equal parts. Every other one is killed, and run again. A quarter has ordinary sessions,
    /// the others have seeds.
    #[arg(long, default_value_t = 16)]
    processes: u64,
    /// Increments of each session, and as many merges.
    #[arg(long, default_value_t = 50_000)]
    calls: u64,
    /// How often the node is killed while calls are under way.
    #[arg(long, default_value_t = 10)]
    restarts: u64,
    /// One in so many messages is the last of its connection. 0: none is.
    #[arg(long, default_value_t = 2_000)]
    cut_every: u64,
    /// Shards of the node.
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// Where the data and the results are kept meanwhile. [default: the folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What the calls and the fire follow from. [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Breaks a promise, to see that it is noticed.
    #[arg(long)]
    fault: Option<FireFault>,
}

/// A promise that is broken on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FireFault {
    /// A process that runs again does so with other seeds, so that its calls are new ones.
    OtherSeed,
}

/// Whether this process is killed and run again.
fn is_killed(process: u64) -> bool {
    process % 2 == 1
}

/// Whether its sessions have seeds, so that they can be run again. The others have what sessions usually have: one answer for
/// each slot, for as long as the process lives.
fn is_seeded(process: u64) -> bool {
    is_killed(process) || process % 4 == 2
}

/// How long a node that was told to start may be left alone before it is killed again, at most.
const EARLY_KILL_AFTER_US: u64 = 100_000;

/// A process that does not outlive whoever started it.
#[derive(Debug)]
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has this process killed when the one that started it ends, however that ends.
fn die_with_parent() {
    let kill = Some(rustix::process::Signal::KILL);
    // Only tidiness depends on it.
    let _ = rustix::process::set_parent_process_death_signal(kill);
}

/// Has all sessions make all calls under fire; prints what was done.
///
/// # Errors
/// What is wrong, with the seed; data and results are left where they are.
pub fn fire(arguments: &Fire) -> anyhow::Result<()> {
    let Fire { sessions, processes, calls, restarts, .. } = *arguments;
    ensure!(processes > 0 && sessions > 0 && sessions.is_multiple_of(processes), "processes of equal parts");
    ensure!(calls > 0 && sessions * calls >= 100 * restarts, "too few calls for so many restarts");
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    // Whoever stops a run that hangs wants to know.
    println!("seed {seed}");
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = base.join(format!("abide-fire-{}-{seed}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Run::new(arguments, &dir, seed)
        .and_then(Run::all)
        .with_context(|| format!("seed {seed}, data and results in {}", dir.display()))?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

struct Run<'a> {
    arguments: &'a Fire,
    dir: &'a Path,
    seed: u64,
    rng: Rng,
    proxy: Proxy,
    node: Option<NodeProcess>,
    /// How often the node was killed while it started.
    early_kills: u64,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Fire, dir: &'a Path, seed: u64) -> anyhow::Result<Self> {
        let proxy = Proxy::start(seed, arguments.cut_every)?;
        let rng = Rng::with_seed(seed);
        let mut run = Run { arguments, dir, seed, rng, proxy, node: None, early_kills: 0 };
        run.node = Some(run.spawn_node()?.ready()?);
        Ok(run)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("objects.region")
    }

    fn spawn_node(&self) -> anyhow::Result<NodeProcess> {
        NodeProcess::spawn(self.proxy.node, self.arguments.shards, &self.data())
    }

    fn all(mut self) -> anyhow::Result<()> {
        let Fire { sessions, calls, .. } = *self.arguments;
        let begun = Instant::now();
        let kills = self.under_fire()?;
        let fire_s = begun.elapsed().as_secs_f64();
        let cuts = self.proxy.cuts();
        self.proxy.cease();
        let totals = Changes::read(self.dir, self.seed, sessions, 2 * calls)?.totals()?;
        self.compare(&totals)?;

        // What was acknowledged does not depend on what the node has in memory; and whoever asks again changes nothing.
        self.restart().context("the restart after the fire")?;
        self.compare(&totals)?;
        self.again()?;
        let changes = Changes::read(self.dir, self.seed, sessions, 2 * calls)?;
        let repeated = changes.repeated;
        ensure!(changes.totals()? == totals, "the sum of what was acknowledged has changed");
        self.compare(&totals)?;

        self.node.take().context("a node")?.kill()?;
        let report = check_file(self.data(), &RegionOptions::new(Persistence::ProcessCrash), &[])?;
        ensure!(report.is_clean(), "the region is damaged: {:?}", report.findings);
        println!(
            "sessions {sessions} calls {} restarts {} early kills {} clients killed {kills} cuts {cuts} \
             results repeated {repeated} seconds {fire_s:.1} and in all {:.1} seed {}",
            2 * calls * sessions,
            self.arguments.restarts,
            self.early_kills,
            begun.elapsed().as_secs_f64(),
            self.seed
        );
        Ok(())
    }

    /// Has all calls made. Gives how many sessions were killed.
    fn under_fire(&mut self) -> anyhow::Result<u64> {
        let Fire { processes, sessions, calls, fault, .. } = *self.arguments;
        let (each, all) = (sessions / processes, 2 * calls * sessions);
        let to_die: Vec<_> = (0..processes)
            .map(|process| {
                let results = 2 * calls * each;
                is_killed(process).then(|| self.rng.u64(1 + results / 20..=results - results / 20))
            })
            .collect();
        let mut restarts = self.moments_of_restarts(all).into_iter().peekable();
        // Where the machine is so busy that it is not looked for a while, the clients wait: else they were done too early.
        let leeway = all / 50 + 1;
        self.proxy.let_by(restarts.peek().map_or(u64::MAX, |moment| moment + leeway));
        let spawn = |process: usize| {
            let dies_after = to_die[process];
            Ok((
                process,
                dies_after.is_some(),
                self.spawn_client(process as u64, dies_after, self.seed, false)?,
            ))
        };
        let mut running = (0..processes as usize).map(spawn).collect::<anyhow::Result<Vec<_>>>()?;
        let mut killed = 0;
        while !running.is_empty() {
            self.node.as_mut().context("a node")?.check()?;
            for (process, dies, mut client) in std::mem::take(&mut running) {
                match client.0.try_wait()? {
                    None => running.push((process, dies, client)),
                    Some(status) if !dies => ensure!(status.success(), "process {process} ended, {status}"),
                    Some(status) => {
                        let was_killed = status.signal() == Some(rustix::process::Signal::KILL.as_raw());
                        ensure!(was_killed, "process {process} ended before it was killed, {status}");
                        killed += each;
                        let other = u64::from(fault == Some(FireFault::OtherSeed));
                        let client =
                            self.spawn_client(process as u64, None, self.seed.wrapping_add(other), false)?;
                        running.push((process, false, client));
                    }
                }
            }
            if let Some(moment) = restarts.next_if(|&moment| moment <= self.proxy.requests()) {
                self.restart().with_context(|| format!("the restart after {moment} messages"))?;
                self.proxy.let_by(restarts.peek().map_or(u64::MAX, |moment| moment + leeway));
            }
            thread::sleep(Duration::from_millis(1));
        }
        ensure!(restarts.next().is_none(), "the clients were done before all restarts");
        Ok(killed)
    }

    /// After how many messages of clients the node is killed: spread over nine tenths of the calls that are made at least, so that
    /// there are calls left after the last.
    fn moments_of_restarts(&mut self, calls: u64) -> Vec<u64> {
        let restarts = self.arguments.restarts;
        let part = calls * 9 / 10 / restarts.max(1);
        (0..restarts).map(|restart| part * restart + self.rng.u64(..part)).collect()
    }

    /// Kills the node and starts it again, now and then also while it starts.
    fn restart(&mut self) -> anyhow::Result<()> {
        self.node.take().context("a node")?.kill()?;
        while self.rng.u32(..3) == 0 {
            let starting = self.spawn_node()?;
            thread::sleep(Duration::from_micros(self.rng.u64(..EARLY_KILL_AFTER_US)));
            starting.kill()?;
            self.early_kills += 1;
        }
        self.node = Some(self.spawn_node()?.ready()?);
        Ok(())
    }

    fn spawn_client(
        &self,
        process: u64,
        dies_after: Option<u64>,
        session_seed: u64,
        finish: bool,
    ) -> anyhow::Result<Guarded> {
        let Fire { sessions, processes, calls, .. } = *self.arguments;
        let each = sessions / processes;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--server", &self.proxy.address.to_string(), "fire-client"]);
        let mut tell = |name: &str, value: u64| {
            command.args([format!("--{name}"), value.to_string()]);
        };
        tell("seed", self.seed);
        if is_seeded(process) {
            tell("session-seed", session_seed);
        }
        tell("first", process * each);
        tell("sessions", each);
        tell("calls", calls);
        if let Some(results) = dies_after {
            tell("dies-after", results);
        }
        if finish {
            command.arg("--finish");
        }
        command.arg("--dir").arg(self.dir).stdin(Stdio::null());
        Ok(Guarded(command.spawn().context("cannot start a client")?))
    }

    /// Runs all clients again whose sessions have seeds, who then end them.
    fn again(&self) -> anyhow::Result<()> {
        let spawn = |process| self.spawn_client(process, None, self.seed, true);
        let running = (0..self.arguments.processes).filter(|&process| is_seeded(process));
        let running = running.map(spawn).collect::<anyhow::Result<Vec<_>>>()?;
        for mut client in running {
            let status = client.0.wait()?;
            ensure!(status.success(), "a process that ran again ended, {status}");
        }
        Ok(())
    }

    fn compare(&self, totals: &[i64]) -> anyhow::Result<()> {
        let objects = Objects::of(&Store::connect(&self.proxy.address.to_string())?);
        compare(totals, |place| Ok(objects.read(place)?))
    }
}
