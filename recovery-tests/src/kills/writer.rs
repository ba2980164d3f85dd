//! The process that is killed. It says on its output what it was doing (said.rs).

use super::{
    Progress, Promise,
    calls::{Call, Client, Fault, NameChange, REGION_BYTES, REGION_BYTES_MAX, Roots, SHARDS, collect},
};
use abide_pmem::{Heap, Mapping, Region, mapping::PAGE, types::TypeError};
use anyhow::{Context as _, ensure};
use std::{
    fs::File,
    io::Write,
    os::fd::AsFd as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What the process is told.
#[derive(Debug, clap::Args)]
pub struct Writer {
    /// The region.
    #[arg(long)]
    path: PathBuf,
    /// What the calls follow from.
    #[arg(long)]
    seed: u64,
    /// The last calls that were acknowledged: of each client, and of each thread's names.
    #[arg(long)]
    after: Progress,
    /// Kills itself so many microseconds after it has begun to open the region.
    #[arg(long)]
    dies_after_us: Option<u64>,
    /// Breaks a promise.
    #[arg(long)]
    fault: Option<Fault>,
    #[command(flatten)]
    promise: Promise,
}

/// Says something in one write, so that no kill and no other thread can tear it.
pub(super) fn say(mut output: &File, line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    output.write_all(format!("{line}\n").as_bytes()).context("nobody listens any more")
}

/// Opens or creates the region and works until it is killed.
///
/// # Errors
/// Whatever stops it before that.
pub fn write(arguments: &Writer) -> anyhow::Result<()> {
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    say(&output, format_args!("opening"))?;
    if let Some(after_us) = arguments.dies_after_us {
        let begun = Instant::now();
        std::thread::spawn(move || {
            // Sleeping is not exact enough.
            while begun.elapsed() < Duration::from_micros(after_us) {
                std::hint::spin_loop();
            }
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        });
    }
    let options = arguments.promise.options();
    let region = &Region::open_or_create(&arguments.path, REGION_BYTES, &options)?;
    arguments.promise.expect_domain(region)?;
    let heap = region.heap();
    say(&output, format_args!("open"))?;
    let roots = (0..SHARDS).map(|shard| Roots::create(heap, shard)).collect::<Result<Vec<_>, _>>()?;
    let threads = arguments.after.names.len();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (output, roots) = (&output, &roots);
                scope.spawn(move || Thread { arguments, region, heap, roots, output, thread }.work())
            })
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a panic ends the process"))
    })
}

struct Thread<'a> {
    arguments: &'a Writer,
    region: &'a Region,
    heap: &'a Heap<Mapping>,
    roots: &'a [Roots],
    output: &'a File,
    thread: usize,
}

impl Thread<'_> {
    fn work(&self) -> anyhow::Result<()> {
        let Progress { mut calls, mut names, .. } = self.arguments.after.clone();
        let mut rng = fastrand::Rng::new();
        // A client that does not know whether its last call was made makes it again.
        for shard in 0..SHARDS {
            let client = self.client(shard);
            if calls[client.0] > 0 {
                self.call(client, calls[client.0])?;
            }
        }
        loop {
            match rng.u32(..10) {
                0 if rng.u32(..50) == 0 => self.grow(rng.u64(1..256) * PAGE)?,
                0 => drop(collect(self.heap, rng.u32(..SHARDS))?),
                1 => {
                    let sequence = &mut names[self.thread];
                    *sequence += 1;
                    let change = NameChange::new(self.arguments.seed, self.thread, *sequence);
                    change.make(self.heap)?;
                    say(self.output, format_args!("n {} {sequence}", self.thread))?;
                }
                _ => {
                    let client = self.client(rng.u32(..SHARDS));
                    calls[client.0] += 1;
                    self.call(client, calls[client.0])?;
                }
            }
        }
    }

    /// Makes the region grow, if it may.
    fn grow(&self, more: u64) -> anyhow::Result<()> {
        let bytes = (self.region.bytes() + more).min(REGION_BYTES_MAX);
        self.region.grow(bytes)?;
        say(self.output, format_args!("g {bytes}"))
    }

    fn client(&self, shard: u32) -> Client {
        Client(self.thread * SHARDS as usize + shard as usize)
    }

    /// Makes a call and acknowledges it.
    fn call(&self, client: Client, sequence: u64) -> anyhow::Result<()> {
        let Writer { seed, fault, .. } = *self.arguments;
        let call = Call::new(seed, client, sequence);
        let roots = self.roots[client.shard() as usize];
        let acknowledge = || say(self.output, format_args!("c {} {sequence}", client.0));
        if fault == Some(Fault::Early) {
            acknowledge()?;
        }
        let result = if sequence.is_multiple_of(3) {
            let call = call.clone();
            self.heap.atomically_grouped(client.shard(), move |tx| call.make(tx, &roots, fault))?
        } else {
            self.heap.atomically(client.shard(), |tx| call.make(tx, &roots, fault))?
        };
        ensure!(result == call.result, "call {sequence} of client {} has the result {result:?}", client.0);
        if fault == Some(Fault::Apart) {
            self.heap.atomically::<_, TypeError>(client.shard(), |tx| call.complete(tx))?;
        }
        if fault == Some(Fault::Early) { Ok(()) } else { acknowledge() }
    }
}
