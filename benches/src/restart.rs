//! How long it takes from the start of a node's process until it has answered its first call, by the number of objects.
//!
//! A child makes persistent counters through an embedded store, goes on counting, and is killed. Then a node is started on what
//! it left, asked for a counter, and killed as well; again and again. The time is that of the whole way: fork, exec, opening
//! after a death in the middle of a call, listening, the client's connection, the call. The file is in the page cache.

use crate::server::Server;
use abide_bench_common::{
    machine::{self, Machine, file_system},
    print, print_json,
    spread::Spread,
    table::{
        Column::{Number, Text},
        Table, thousands, three_digits,
    },
};
use abide_client::Store;
use abide_shards::embedded::{EmbeddedOptions, EmbeddedStore};
use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Debug, Args)]
pub(crate) struct RestartOptions {
    /// Machine-readable: one JSON object a line.
    #[arg(long)]
    json: bool,
    /// A second or two in all, to see that it runs. The numbers mean nothing.
    #[arg(long)]
    pub(crate) tiny: bool,
    /// How often a node is started for each number of objects. [default: 5, or 1 with --tiny]
    #[arg(long)]
    rounds: Option<usize>,
    /// Numbers of objects. [default: 10000,100000,1000000,10000000, or 1000 with --tiny]
    #[arg(long, value_delimiter = ',')]
    objects: Vec<u64>,
    /// Where the region's file lies, in a new folder. 10 million objects need some gigabytes.
    #[arg(long, value_name = "FOLDER", default_value = "/dev/shm")]
    folder: PathBuf,
}

/// What the child that makes objects is told.
#[derive(Debug, Args)]
pub(crate) struct FillOptions {
    /// The region's file.
    data: PathBuf,
    objects: u64,
}

fn key(nth: u64) -> String {
    format!("counter {nth}")
}

/// The child. It ends when it is killed.
pub(crate) fn fill(options: &FillOptions) -> anyhow::Result<()> {
    let embedded = EmbeddedOptions { shards: Some(1), ..EmbeddedOptions::default() };
    let store = Store::from_caller(Arc::new(EmbeddedStore::open(&options.data, &embedded)?));
    for nth in 0..options.objects {
        ensure!(store.atomic_long(&key(nth)).increment_and_get()? == 1, "a new counter begins at 0");
    }
    let mut out = std::io::stdout();
    out.write_all(b".")?;
    out.flush()?;
    for nth in (0..options.objects).cycle() {
        store.atomic_long(&key(nth)).increment_and_get()?;
    }
    Ok(())
}

/// A child that does not outlive the benchmark's interest in it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fill_and_kill(data: &Path, objects: u64) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("fill").arg(data).arg(objects.to_string()).stdout(Stdio::piped());
    let mut child = Killed(command.spawn()?);
    let mut pipe = child.0.stdout.take().context("it was asked for")?;
    pipe.read_exact(&mut [0]).context("the child that makes objects ended by itself")?;
    // So that it dies somewhere in the middle of its calls.
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// Starts a node, asks it for a counter, and kills it.
fn start(data: &Path, objects: u64, round: u64, processor: usize) -> anyhow::Result<Took> {
    let program = std::env::current_exe()?;
    let start = Instant::now();
    let server = Server::abide_with(&program, Duration::ZERO, processor, Some(data))?;
    let ready = start.elapsed();
    let store = Store::connect(&server.address().to_string())?;
    let value = store.atomic_long(&key(abide_bench_common::mix(round) % objects)).get()?;
    let answered = start.elapsed();
    ensure!(value >= 1, "a counter was lost: it is {value}");
    drop((store, server));
    Ok(Took { ready_ms: ready.as_secs_f64() * 1e3, answered_ms: answered.as_secs_f64() * 1e3 })
}

struct Took {
    ready_ms: f64,
    answered_ms: f64,
}

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line<'a> {
    Setup { tiny: bool, rounds: usize, machine: &'a Machine, file_system: &'a str },
    Measured { objects: u64, file_bytes: u64, fill_s: f64, ready_ms: Spread, answered_ms: Spread },
}

/// Measures.
pub(crate) fn run(options: &RestartOptions) -> anyhow::Result<()> {
    let default: &[u64] = if options.tiny { &[1000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };
    let sizes = if options.objects.is_empty() { default } else { &options.objects };
    let rounds = options.rounds.unwrap_or(if options.tiny { 1 } else { 5 });
    ensure!(rounds > 0 && !sizes.contains(&0), "nothing to measure");
    let folder = std::path::absolute(&options.folder)?;
    let on = file_system(&folder).with_context(|| folder.display().to_string())?;
    let (machine, tiny) = (Machine::look(), options.tiny);
    if options.json {
        print_json(&Line::Setup { tiny, rounds, machine: &machine, file_system: &on })?;
    } else {
        let about = format!("{}, load {}, {on}; {rounds} rounds", machine.describe(), machine.load);
        print(&format!("From exec of a node to its first answer, after a kill\n{about}"))?;
    }
    let columns = [
        Text("objects"),
        Number("file MiB"),
        Number("fill s"),
        Number("ready ms"),
        Number("answered ms"),
        Number("(min-max)"),
    ];
    let mut table = Table::new(&columns);
    let processor = *machine::processors()?.first().context("a processor")?;
    for &objects in sizes {
        let home = tempfile::Builder::new().prefix("abide-bench-").tempdir_in(&folder)?;
        let data = home.path().join("region");
        let begun = Instant::now();
        fill_and_kill(&data, objects)?;
        let fill_s = begun.elapsed().as_secs_f64();
        let mut took = Vec::new();
        for round in 0..rounds {
            took.push(start(&data, objects, round as u64, processor)?);
        }
        let file_bytes = data.metadata()?.len();
        let ready_ms = Spread::of(took.iter().map(|took| took.ready_ms));
        let answered_ms = Spread::of(took.iter().map(|took| took.answered_ms));
        if options.json {
            print_json(&Line::Measured { objects, file_bytes, fill_s, ready_ms, answered_ms })?;
            continue;
        }
        table.row(vec![
            thousands(objects as f64),
            thousands((file_bytes >> 20) as f64),
            three_digits(fill_s),
            three_digits(ready_ms.median),
            three_digits(answered_ms.median),
            format!("{}-{}", three_digits(answered_ms.min), three_digits(answered_ms.max)),
        ]);
    }
    if options.json { Ok(()) } else { print(&table.to_string()) }
}
