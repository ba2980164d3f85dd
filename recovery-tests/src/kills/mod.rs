//! Kills a process that uses a region, again and again, and checks what it leaves.
//!
//! One process opens the region and has threads make exactly-once calls and change names; it acknowledges each
//! through a pipe once it has returned ([`writer`](write())). The other kills it, opens the region itself and checks
//! it (check.rs). The region grows while the threads write. Some kills come while the region is being created or recovered; after some of these there is no
//! check, so that the next process has to recover what is left of a recovery.
//!
//! The same writer and the same check are used where the power of a virtual machine is cut (recovery-tests/vm): then the
//! check runs inside of the machine ([`inspect`](inspect())), and what was acknowledged is heard outside ([`heard`]).

mod calls;
mod check;
mod inspect;
mod promise;
mod said;
mod writer;

pub use calls::Fault;
pub use inspect::{Inspect, inspect};
pub use promise::Promise;
pub use said::{Heard, Progress, heard};
pub use writer::{Writer, write};

use abide_pmem::{Region, region::OpenError};
use anyhow::{Context as _, bail, ensure};
use check::Expected;
use fastrand::Rng;
use said::Said;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How long the killed process may take to say that it is open, in seconds. Only a hang takes so long.
const PATIENCE_S: u64 = 60;
const SIGKILL: i32 = 9;
/// Threads of the process that is killed.
const THREADS: usize = 3;

/// What `kills` is told.
#[derive(Debug, clap::Args)]
pub struct Kills {
    /// How often to kill, in each folder and for each promise.
    #[arg(long, default_value_t = 1_000)]
    rounds: u64,
    /// Where the region is. May be repeated. [default: /dev/shm, and the folder for temporary files]
    #[arg(long)]
    dir: Vec<PathBuf>,
    /// Threads of the process that is killed.
    #[arg(long, default_value_t = THREADS)]
    threads: usize,
    /// What the calls and the moments of the kills follow from. [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Breaks a promise, to see that it is noticed.
    #[arg(long)]
    fault: Option<Fault>,
}

/// What was done in one folder.
#[derive(Debug, Default)]
struct Report {
    rounds: u64,
    in_creation: u64,
    in_recovery: u64,
    checks: u64,
    calls: u64,
}

/// Kills in all folders; prints what was done.
///
/// # Errors
/// The first thing that is wrong after a kill, with the seed; its region is left where it is.
pub fn kills(arguments: &Kills) -> anyhow::Result<()> {
    let dirs = match &arguments.dir[..] {
        [] => vec![PathBuf::from("/dev/shm"), std::env::temp_dir()],
        dirs => dirs.to_vec(),
    };
    ensure!(arguments.threads > 0, "no threads");
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    for dir in dirs {
        for promise in Promise::of_kills() {
            let name = promise.name();
            let path = dir.join(format!("abide-kills-{name}-{}-{seed}", std::process::id()));
            let begun = Instant::now();
            let run = Run::new(arguments, path.clone(), promise, seed);
            let report = run.all().with_context(|| {
                let threads = arguments.threads;
                format!("seed {seed}, {name}, region {} with {threads} threads", path.display())
            })?;
            let Report { rounds, in_creation, in_recovery, checks, calls } = report;
            println!(
                "{} {name}: kills {rounds} in creation {in_creation} in recovery {in_recovery} checks {checks} \
                 calls {calls} seconds {:.1} seed {seed}",
                dir.display(),
                begun.elapsed().as_secs_f64()
            );
            remove(&path);
        }
    }
    Ok(())
}

/// Removes a region, and its log if it has one.
fn remove(path: &Path) {
    let mut log = path.as_os_str().to_owned();
    log.push(".log");
    std::fs::remove_file(path).ok();
    std::fs::remove_file(log).ok();
}

struct Run<'a> {
    arguments: &'a Kills,
    path: PathBuf,
    promise: Promise,
    seed: u64,
    rng: Rng,
    report: Report,
    /// How long the last opening took, in microseconds.
    opening_us: u64,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Kills, path: PathBuf, promise: Promise, seed: u64) -> Self {
        Self {
            arguments,
            path,
            promise,
            seed,
            rng: Rng::with_seed(seed),
            report: Report::default(),
            opening_us: 1_000,
        }
    }

    fn all(mut self) -> anyhow::Result<Report> {
        let fresh = |seed, threads| (Expected::new(seed, threads), Progress::none(threads));
        let threads = self.arguments.threads;
        let (mut expected, mut progress) = fresh(self.seed, threads);
        for round in 0..self.arguments.rounds {
            let existed = self.path.exists();
            let early = !existed && self.rng.bool() || self.rng.u32(..4) == 0;
            let said = self.kill_one(&progress, early).with_context(|| format!("round {round}"))?;
            self.report.rounds += 1;
            if said.opening && !said.opened {
                *(if existed { &mut self.report.in_recovery } else { &mut self.report.in_creation }) += 1;
            }
            self.report.calls += said.acknowledged.total().saturating_sub(progress.total());
            progress = said.acknowledged;
            let is_last = round + 1 == self.arguments.rounds;
            // Whoever has opened it may have made calls that it did not acknowledge: the next process must know of them.
            if early && !said.opened && self.rng.bool() && !is_last {
                continue;
            }
            match Region::open(&self.path, &self.promise.options()) {
                Ok(region) => {
                    progress = expected
                        .check(region.heap(), &progress)
                        .with_context(|| format!("after the kill of round {round}"))?;
                    self.report.checks += 1;
                    if self.rng.bool() {
                        region.close()?;
                    }
                }
                Err(OpenError::NotFound { .. }) if !existed && !said.opened => {}
                Err(error) => bail!("after the kill of round {round}: {error}"),
            }
            // Now and then from the start, to kill creations too.
            if self.rng.u32(..16) == 0 && !is_last {
                remove(&self.path);
                (expected, progress) = fresh(self.seed, threads);
            }
        }
        Ok(self.report)
    }

    /// Starts the process and kills it: early, while it opens the region, or when it has worked a while.
    fn kill_one(&mut self, after: &Progress, early: bool) -> anyhow::Result<Said> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("pmem-writer").arg("--path").arg(&self.path);
        command.args(self.promise.arguments());
        command.args(["--seed", &self.seed.to_string(), "--after", &after.to_string()]);
        if let Some(fault) = self.arguments.fault {
            let value = clap::ValueEnum::to_possible_value(&fault).context("a fault has a name")?;
            command.args(["--fault", value.get_name()]);
        }
        if early {
            let moment_us = self.rng.u64(..self.opening_us * 3 / 2);
            command.args(["--dies-after-us", &moment_us.to_string()]);
        }
        let (spawned, mut hangs) = (Instant::now(), None);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("a pipe")?);
        let (sender, lines) = mpsc::channel();
        let listener = std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let patience = Duration::from_secs(PATIENCE_S);
        let mut said = Said::nothing(after);
        if early {
            // It kills itself, by the clock that it starts when it begins to open: from here it cannot be timed as well.
            child.wait()?;
        } else {
            let mut wait_for = |what: &str| {
                // A process that ends by itself is asked why below.
                match lines.recv_timeout(patience) {
                    Ok(line) => said.hear(&line)?,
                    Err(mpsc::RecvTimeoutError::Disconnected) => {}
                    Err(mpsc::RecvTimeoutError::Timeout) => hangs = Some(format!("it hangs {what}")),
                }
                anyhow::Ok(spawned.elapsed().as_micros() as u64)
            };
            let start = wait_for("before it opens the region")?;
            let end = wait_for("while it opens the region")?;
            self.opening_us = (end - start).max(200);
            std::thread::sleep(Duration::from_micros(self.rng.u64(..20_000)));
        }
        child.kill()?;
        let status = child.wait()?;
        listener.join().expect("the listener does not panic");
        if status.signal() != Some(SIGKILL) {
            let mut error = String::new();
            child.stderr.take().context("a pipe")?.read_to_string(&mut error)?;
            bail!("the process ended by itself, {status}: {error}");
        }
        if let Some(hangs) = hangs {
            bail!(hangs);
        }
        for line in lines.try_iter() {
            said.hear(&line)?;
        }
        Ok(said)
    }
}
