//! What appending and committing cost, on a real disk. Ignored, since it proves nothing: run it with
//! `LINE_LOG_DIR=/on/the/disk cargo test --release -p abide-pmem measure -- --ignored --nocapture`.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn folder() -> tempfile::TempDir {
    let parent = std::env::var_os("LINE_LOG_DIR").unwrap_or_else(|| std::env::temp_dir().into());
    tempfile::tempdir_in(parent).expect("a folder")
}

fn region(folder: &std::path::Path, bytes: u64) -> FileStorage {
    let path = folder.join("region");
    let file = std::fs::File::create(&path).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("space");
    FileStorage::open(&path).expect("a file")
}

const KEY: LogKey = LogKey { region: [1; 16], log: [2; 16] };
const REGION_BYTES: u64 = 256 << 20;

fn run(log_bytes: u64, threads: u64, lines: u64, checkpointer: bool) {
    let folder = folder();
    let path = folder.path().join("region.log");
    let options = Options::new(log_bytes, 1 << 14).expect("it fits");
    let log = FileStorage::create_log(&path, &KEY, &options).expect("a log");
    let (log, _) = LineLog::open(log, region(folder.path(), REGION_BYTES), KEY).expect("a log");
    let log = Arc::new(log);
    let background = checkpointer.then(|| Checkpointer::start(Arc::clone(&log)).expect("a thread"));
    let stop = AtomicBool::new(false);
    let commits = AtomicU64::new(0);
    let mut slowest = Vec::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (log, stop, commits) = (&log, &stop, &commits);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(thread);
                    let mut latencies = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        let offset = rng.u64(0..REGION_BYTES / LINE - lines) * LINE;
                        let sequence = log.append(offset, lines, |at| [at; 8]);
                        log.commit(sequence).expect("a disk");
                        latencies.push(start.elapsed());
                    }
                    commits.fetch_add(latencies.len() as u64, Ordering::Relaxed);
                    latencies
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            slowest.extend(worker.join().expect("no panic"));
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    drop(background);
    slowest.sort_unstable();
    let at = |share: f64| slowest[((slowest.len() - 1) as f64 * share) as usize];
    println!(
        "log {:>3} MiB, {threads:>2} threads, {lines:>2} lines, checkpointer {checkpointer:<5}: {:>8.0} commits/s, p50 {:?}, p99 {:?}, max {:?}",
        log_bytes >> 20,
        commits.into_inner() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

#[test]
#[ignore = "measures the disk"]
fn measure_commits() {
    for (threads, lines) in [(1, 1), (1, 5), (1, 64), (8, 5), (64, 1), (64, 5)] {
        run(64 << 20, threads, lines, true);
    }
    run(4 << 20, 64, 5, true);
    run(4 << 20, 64, 5, false);
}

/// A disk that takes no time, so that what is left is the mutex and the checksums.
struct Null(u64);

impl Storage for Null {
    fn pread(&self, _: u64, out: &mut [u8]) -> io::Result<usize> {
        out.fill(0);
        Ok(out.len())
    }
    fn pwrite(&self, _: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn fdatasync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0)
    }
}

#[test]
#[ignore = "measures the processor"]
fn measure_appends() {
    let folder = folder();
    let path = folder.path().join("region.log");
    for threads in [1, 2, 4] {
        let options = Options::new(64 << 20, 1 << 14).expect("it fits");
        let log = FileStorage::create_log(&path, &KEY, &options).expect("a log");
        let (log, _) = LineLog::open(log, Null(REGION_BYTES), KEY).expect("a log");
        let started = Instant::now();
        // Fewer lines than the buffer takes: no commit.
        let rounds = 16_000 / threads;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        log.append(0, 1, |at| [at; 8]);
                    }
                });
            }
        });
        println!("{threads} threads: {:.0} ns for each line", started.elapsed().as_nanos() as f64 / 16_000.0);
    }
}

#[test]
#[ignore = "measures the disk"]
fn measure_syncs() {
    let folder = folder();
    for (name, prepared) in [("zeros written", true), ("only reserved", false)] {
        let path = folder.path().join("file");
        let file = std::fs::File::create(&path).expect("a file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 16 << 20).expect("space");
        let file = FileStorage::open(&path).expect("a file");
        if prepared {
            storage::write_all(&file, 0, &vec![0; 16 << 20]).expect("space");
        }
        file.fdatasync().expect("a disk");
        let mut times = Vec::new();
        for call in 0..2000 {
            let start = Instant::now();
            storage::write_all(&file, call * 392, &[7; 392]).expect("space");
            file.fdatasync().expect("a disk");
            times.push(start.elapsed());
        }
        times.sort_unstable();
        println!("{name}: p50 {:?}, p99 {:?}", times[1000], times[1980]);
        std::fs::remove_file(&path).expect("the file");
    }
}

#[test]
#[ignore = "measures the disk"]
fn measure_opening_a_full_log() {
    let folder = folder();
    let path = folder.path().join("region.log");
    let log = FileStorage::create_log(&path, &KEY, &Options::default()).expect("a log");
    let (log, _) = LineLog::open(log, region(folder.path(), REGION_BYTES), KEY).expect("a log");
    log.lock().checkpointer = true;
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..(60 << 20) / (1000 * 72) {
        let mut sequence = 0;
        for _ in 0..1000 {
            sequence = log.append(rng.u64(0..REGION_BYTES / LINE) * LINE, 1, |at| [at; 8]);
        }
        log.commit(sequence).expect("a disk");
    }
    drop(log);
    let start = Instant::now();
    let log = FileStorage::open(&path).expect("a log");
    let replay = Replay::read(&log, REGION_BYTES, &KEY).expect("a log");
    println!("reading {} lines: {:?}", replay.len(), start.elapsed());
    let start = Instant::now();
    let region = FileStorage::open(&folder.path().join("region")).expect("a file");
    let (_, recovered) = LineLog::open(log, region, KEY).expect("a log");
    println!("opening with {} lines all over 256 MiB: {:?}", recovered.len(), start.elapsed());
}
