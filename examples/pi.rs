//! Estimates pi by throwing darts, on cloud threads that share two counters (listing 1 of the CRUCIAL paper).
//!
//! `cargo run --release --example pi` runs embedded, on threads of this process. With `--server ADDR` the
//! counters live on a node, and with `--backend processes` each cloud thread is a process.

mod support;

use abide::{CallError, CloudThread, Store, cloud_function};
use clap::Parser;
use std::time::Instant;

/// Estimates pi by throwing darts.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many darts to throw, all threads together.
    #[arg(long, default_value_t = 200_000_000)]
    points: u64,
    #[command(flatten)]
    common: support::Common,
}

/// Throws darts at the unit square and adds those that hit the quarter circle to the shared count.
#[cloud_function]
fn throw_darts(run: String, seed: u64, points: u64) -> Result<(), CallError> {
    const BATCH: u64 = 1 << 20;
    let store = Store::current()?;
    let (hits, thrown) = (store.counter(&format!("{run}/hits")), store.counter(&format!("{run}/thrown")));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left = points;
    while left > 0 {
        let batch = left.min(BATCH);
        let inside = (0..batch).filter(|_| random.f64().powi(2) + random.f64().powi(2) <= 1.0).count();
        hits.increment(inside as i64)?;
        thrown.increment(batch as i64)?;
        left -= batch;
    }
    Ok(())
}

/// Runs `threads` cloud threads of `points` darts each. Returns all hits and the darts thrown in a second.
fn run(
    store: &Store,
    common: &support::Common,
    run: &str,
    threads: u64,
    points: u64,
) -> anyhow::Result<(i64, f64)> {
    let thrown = store.counter(&format!("{run}/thrown"));
    let bar = support::progress(threads * points, "darts");
    let started = Instant::now();
    let spawn = |seed| {
        let thread = CloudThread::builder().backend(common.backend.clone()).store(store);
        thread.spawn(throw_darts, (run.to_owned(), seed, points))
    };
    let handles: Vec<_> = (1..=threads).map(spawn).collect();
    support::watched(&bar, &thrown, || handles.into_iter().try_for_each(|handle| handle.join()))?;
    let seconds = started.elapsed().as_secs_f64();
    let hits = store.counter(&format!("{run}/hits"));
    let count = hits.tally()?;
    hits.delete()?;
    thrown.delete()?;
    Ok((count, (threads * points) as f64 / seconds))
}

fn main() -> anyhow::Result<()> {
    abide::init();
    let arguments = Arguments::parse();
    let place = arguments.common.open()?;
    let (threads, name) = (arguments.common.threads(), support::run_name("pi"));
    let points = (arguments.points / threads).max(1);
    let (_, one_rate) = run(&place.store, &arguments.common, &format!("{name}/one"), 1, points)?;
    let (hits, rate) = run(&place.store, &arguments.common, &format!("{name}/all"), threads, points)?;
    println!("pi        {:.6}", 4.0 * hits as f64 / (threads * points) as f64);
    println!("points/s  {rate:.0}");
    println!("speed-up  {:.2} over one thread ({threads} threads)", rate / one_rate);
    Ok(())
}
