//! The process that is killed. It says on its output what it was doing: `opening`, `open`, and then `c CLIENT SEQUENCE` or
//! `n THREAD SEQUENCE` for each call that has returned, and `g 0 BYTES` when the region has grown.

use super::calls::{
    Call, Client, Fault, GROWN_BYTES, NameChange, Progress, Promise, REGION_BYTES, Roots, SHARDS, collect,
    options,
};
use abide_pmem::{
    Heap, HeapError, IndexError, Mapping, Region, mapping::PAGE, region::OpenError, types::TypeError,
};
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
    /// What the region must survive.
    #[arg(long)]
    promise: Promise,
    /// Kills itself so many microseconds after it has begun to open the region.
    #[arg(long)]
    dies_after_us: Option<u64>,
    /// Breaks a promise.
    #[arg(long)]
    fault: Option<Fault>,
}

/// Says something in one write, so that no kill and no other thread can tear it.
fn say(mut output: &File, line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
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
    let options = options(arguments.promise);
    let region = match Region::open(&arguments.path, &options) {
        Err(OpenError::NotFound { .. }) => Region::create(&arguments.path, REGION_BYTES, &options)?,
        opened => opened?,
    };
    let heap = region.heap();
    say(&output, format_args!("open"))?;
    let roots = (0..SHARDS)
        .map(|shard| with_room(&region, &output, || Roots::create(heap, shard)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let threads = arguments.after.names.len();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (region, output, roots) = (&region, &output, &roots);
                scope.spawn(move || Thread { arguments, region, roots, output, thread }.work())
            })
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a panic ends the process"))
    })
}

/// Whether an error says that the region is full.
trait Full {
    fn is_full(&self) -> bool;
}

impl Full for IndexError {
    fn is_full(&self) -> bool {
        matches!(self, IndexError::Heap(HeapError::NoSpace))
    }
}

impl Full for TypeError {
    fn is_full(&self) -> bool {
        matches!(self, TypeError::Heap(HeapError::NoSpace))
    }
}

/// Makes the region larger, and says so.
fn grow(region: &Region, output: &File, bytes: u64) -> anyhow::Result<()> {
    let bytes = region.bytes() + bytes;
    region.grow(bytes).context("the region does not grow")?;
    say(output, format_args!("g 0 {bytes}"))
}

/// Does it, and again in a larger region whenever it is full.
fn with_room<R, E: Full + std::error::Error + Send + Sync + 'static>(
    region: &Region,
    output: &File,
    mut make: impl FnMut() -> Result<R, E>,
) -> anyhow::Result<R> {
    loop {
        match make() {
            Err(error) if error.is_full() => grow(region, output, 256 << 10)?,
            done => return Ok(done?),
        }
    }
}

struct Thread<'a> {
    arguments: &'a Writer,
    region: &'a Region,
    roots: &'a [Roots],
    output: &'a File,
    thread: usize,
}

impl Thread<'_> {
    fn work(&self) -> anyhow::Result<()> {
        let Progress { mut calls, mut names } = self.arguments.after.clone();
        let mut rng = fastrand::Rng::new();
        // A client that does not know whether its last call was made makes it again.
        for shard in 0..SHARDS {
            let client = self.client(shard);
            if calls[client.0] > 0 {
                self.call(client, calls[client.0])?;
            }
        }
        // With a log on a disk each call takes long.
        let growth_every = if self.arguments.promise == Promise::PowerFail { 30 } else { 300 };
        loop {
            if rng.u32(..growth_every) == 0 && self.region.bytes() < GROWN_BYTES {
                grow(self.region, self.output, PAGE * rng.u64(1..32))?;
            }
            match rng.u32(..10) {
                0 => {
                    let shard = rng.u32(..SHARDS);
                    self.with_room(|| collect(self.heap(), shard))?;
                }
                1 => {
                    let sequence = &mut names[self.thread];
                    *sequence += 1;
                    let change = NameChange::new(self.arguments.seed, self.thread, *sequence);
                    self.with_room(|| change.make(self.heap()))?;
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

    fn heap(&self) -> &Heap<Mapping> {
        self.region.heap()
    }

    fn with_room<R, E: Full + std::error::Error + Send + Sync + 'static>(
        &self,
        make: impl FnMut() -> Result<R, E>,
    ) -> anyhow::Result<R> {
        with_room(self.region, self.output, make)
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
        let result = self.with_room(|| {
            if sequence.is_multiple_of(3) {
                let call = call.clone();
                self.heap().atomically_grouped(client.shard(), move |tx| call.make(tx, &roots, fault))
            } else {
                self.heap().atomically(client.shard(), |tx| call.make(tx, &roots, fault))
            }
        })?;
        ensure!(result == call.result, "call {sequence} of client {} has the result {result:?}", client.0);
        if fault == Some(Fault::Apart) {
            self.with_room(|| {
                self.heap().atomically::<_, TypeError>(client.shard(), |tx| call.complete(tx))
            })?;
        }
        if fault == Some(Fault::Early) { Ok(()) } else { acknowledge() }
    }
}
