//! What is asked of a store, and what it must answer.
//!
//! Each thread writes its own keys, so that what each must contain is known; all threads read all keys.

use crate::{
    contenders::Contender,
    store::{Call, Session, Store},
    syncs, values,
};
use abide_bench_common::{machine, mix};
use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use std::{
    hint::black_box,
    sync::Barrier,
    time::{Duration, Instant},
};
use xxhash_rust::xxh3::Xxh3;

/// One kind of operation, measured for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Puts under keys that are not there.
    Insert,
    /// Reads a random key.
    Get,
    /// Puts under random keys that are there.
    Update,
    /// 95 of 100 read, the others update.
    Mixed,
    /// Adds 1 to a random counter, exactly once.
    Counter,
    /// Deletes a key that is there.
    Delete,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Insert => "insert",
            Phase::Get => "get",
            Phase::Update => "update",
            Phase::Mixed => "mixed 95-5",
            Phase::Counter => "counter once",
            Phase::Delete => "delete",
        }
    }

    fn possible(self, contender: &Contender) -> bool {
        let abilities = contender.abilities;
        match self {
            Phase::Insert | Phase::Update => true,
            Phase::Counter => abilities.counters,
            Phase::Get | Phase::Mixed | Phase::Delete => abilities.keeps,
        }
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Keys that are there at first; `Insert` adds the rest.
    pub(crate) preload: usize,
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
    pub(crate) threads: usize,
    /// Puts of one commit.
    pub(crate) batch: usize,
    /// Of a phase, all threads together. `Insert` has as many as there are keys to insert.
    pub(crate) operations: usize,
    /// One operation of so many is timed by itself, so that reading the clock costs the others nothing.
    pub(crate) sample_every: usize,
    pub(crate) phases: &'static [Phase],
}

/// What one phase of one contender came to.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Puts of a batch count one by one.
    pub(crate) operations: usize,
    /// From the first thread's start to the last one's end.
    pub(crate) time: Duration,
    /// CPU time of the calling threads. What a store's own threads use is not in it.
    pub(crate) cpu: Duration,
    pub(crate) threads: usize,
    /// Of commits, a sample of them.
    pub(crate) latency_ns: Histogram<u32>,
    pub(crate) syncs: u64,
    pub(crate) fences: Option<u64>,
    /// Share of the time in which a thread, the one that suffered most, was ready to run and something else ran.
    pub(crate) disturbed: f64,
}

/// What a contender answered and contained, which must be the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Of all that [`Phase::Get`] has read.
    pub(crate) answers: u64,
    /// XXH3 over the values, in the order of the keys.
    pub(crate) contents: u64,
}

/// What a load on a store came to; without a digest if it keeps nothing.
pub(crate) type Outcome = (Vec<(Phase, Measured)>, Option<Digest>);

/// Counters of a thread.
const COUNTERS: usize = 512;

/// Entries of one commit of a preload.
const PRELOAD_BATCH: usize = 1000;

const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Puts the whole load on a store, and checks what it contains in the end.
pub(crate) fn run(
    store: &dyn Store,
    contender: &Contender,
    load: &Load,
    round: usize,
) -> anyhow::Result<Outcome> {
    let mut workers: Vec<Worker> = (0..load.threads).map(|number| Worker::new(number, load)).collect();
    if contender.abilities.keeps {
        preload(store, load, &mut workers)?;
    }
    let mut measured = Vec::new();
    for &phase in load.phases.iter().filter(|phase| phase.possible(contender)) {
        measured.push((phase, measure(store, phase, load, round, &mut workers).context(phase.name())?));
    }
    let digest = contender.abilities.keeps.then(|| verify(store, load, &workers)).transpose();
    Ok((measured, digest.context("what it contains in the end")?))
}

fn preload(store: &dyn Store, load: &Load, workers: &mut [Worker]) -> anyhow::Result<()> {
    let mut session = store.session()?;
    let all: Vec<usize> = (0..load.preload).collect();
    for some in all.chunks(PRELOAD_BATCH) {
        let mut entries = Vec::with_capacity(some.len());
        for &nth in some {
            let version = workers[nth % load.threads].next_version(nth);
            entries.push(entry(nth, version, load.value_bytes));
        }
        session.put_all(&entries)?;
    }
    Ok(())
}

fn entry(nth: usize, version: u32, value_bytes: usize) -> (u64, Vec<u8>) {
    let mut value = vec![0; value_bytes];
    values::write(values::key(nth), version, &mut value);
    (values::key(nth), value)
}

fn measure(
    store: &dyn Store,
    phase: Phase,
    load: &Load,
    round: usize,
    workers: &mut [Worker],
) -> anyhow::Result<Measured> {
    let processors = machine::processors()?;
    let barrier = Barrier::new(load.threads);
    let (syncs, fences) = (syncs::count(), store.fences());
    let spans = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                let (barrier, processors) = (&barrier, &processors);
                scope.spawn(move || {
                    // Where threads are more than processors, the kernel spreads them.
                    if load.threads <= processors.len() {
                        machine::pin(&[processors[processors.len() - 1 - worker.number]])?;
                    }
                    let session = store.session();
                    let random = mix((round as u64) << 32 | (phase as u64) << 16 | worker.number as u64);
                    worker.random = fastrand::Rng::with_seed(random);
                    barrier.wait();
                    worker.phase(&mut *session?, phase, load)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a worker panicked"));
        joined.collect::<anyhow::Result<Vec<Span>>>()
    })?;
    let start = spans.iter().map(|span| span.start).min().expect("there is a thread");
    let end = spans.iter().map(|span| span.end).max().expect("there is a thread");
    let mut latency_ns = histogram()?;
    for span in &spans {
        latency_ns.add(&span.latency_ns)?;
    }
    let share = |span: &Span| span.in_line.as_secs_f64() / (span.end - span.start).as_secs_f64();
    Ok(Measured {
        operations: spans.iter().map(|span| span.operations).sum(),
        time: end - start,
        cpu: spans.iter().map(|span| span.cpu).sum(),
        threads: load.threads,
        latency_ns,
        syncs: syncs::count() - syncs,
        fences: store.fences().zip(fences).map(|(after, before)| after - before),
        // A thread may have waited a little before its start, too.
        disturbed: spans.iter().map(share).fold(0.0, f64::max).min(1.0),
    })
}

fn histogram() -> anyhow::Result<Histogram<u32>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 2)?)
}

/// What one thread found in one phase.
struct Span {
    start: Instant,
    end: Instant,
    cpu: Duration,
    operations: usize,
    latency_ns: Histogram<u32>,
    in_line: Duration,
}

/// One thread's keys and counters, and what they must contain. Of the keys it has every `threads`th.
struct Worker {
    number: usize,
    threads: usize,
    /// The version of each of its keys, by position among them. 0: not there.
    versions: Vec<u32>,
    /// How many of them, from the first on, have ever been put.
    inserted: usize,
    sums: Vec<u64>,
    sequence: u64,
    random: fastrand::Rng,
    value: Vec<u8>,
    answers: u64,
}

impl Worker {
    fn new(number: usize, load: &Load) -> Worker {
        Worker {
            number,
            threads: load.threads,
            versions: vec![0; (load.keys - number).div_ceil(load.threads)],
            inserted: 0,
            sums: vec![0; COUNTERS],
            sequence: 0,
            random: fastrand::Rng::new(),
            value: vec![0; load.value_bytes],
            answers: 0,
        }
    }

    /// The nth of all keys is about to be put, by its owner.
    fn next_version(&mut self, nth: usize) -> u32 {
        let own = nth / self.threads;
        self.inserted = self.inserted.max(own + 1);
        self.versions[own] += 1;
        self.versions[own]
    }

    fn phase(&mut self, session: &mut dyn Session, phase: Phase, load: &Load) -> anyhow::Result<Span> {
        let (first, operations) = match phase {
            Phase::Insert => (self.inserted, self.versions.len() - self.inserted),
            // Every second key, so that what stays is looked at in the end.
            Phase::Delete => (0, (load.operations / load.threads).min(self.versions.len() / 2)),
            _ => (0, (load.operations / load.threads).div_ceil(load.batch)),
        };
        // Where the floor has no keys but what it is asked to overwrite.
        self.inserted = self.inserted.max(1);
        let clock_ns = clock_ns();
        let mut latency_ns = histogram()?;
        let in_line = machine::thread_in_line();
        let cpu = machine::thread_cpu();
        let start = Instant::now();
        for nth in 0..operations {
            if nth % load.sample_every == 0 {
                let start = Instant::now();
                self.operation(session, phase, load, first + nth)?;
                let ns = (start.elapsed().as_nanos() as u64).saturating_sub(clock_ns);
                latency_ns.record(ns.clamp(1, LATENCY_NS_MAX))?;
            } else {
                self.operation(session, phase, load, first + nth)?;
            }
        }
        let end = Instant::now();
        let cpu = machine::thread_cpu() - cpu;
        let in_line = machine::thread_in_line().saturating_sub(in_line);
        if phase == Phase::Counter && self.sequence > 0 {
            self.repeat_last_call(session)?;
        }
        Ok(Span { start, end, cpu, operations: operations * load.batch, latency_ns, in_line })
    }

    fn operation(
        &mut self,
        session: &mut dyn Session,
        phase: Phase,
        load: &Load,
        nth: usize,
    ) -> anyhow::Result<()> {
        match phase {
            Phase::Insert => self.put(session, nth),
            Phase::Update if load.batch > 1 => self.put_batch(session, load),
            Phase::Update => self.update(session),
            Phase::Get => {
                let folded = self.get(session, load)?;
                self.answers = self.answers.rotate_left(7) ^ folded;
                Ok(())
            }
            Phase::Mixed if self.random.u32(..100) < 5 => self.update(session),
            // What other threads' keys contain meanwhile is not certain, so it is not in the digest.
            Phase::Mixed => self.get(session, load).map(|folded| _ = black_box(folded)),
            Phase::Counter => {
                let counter = self.random.usize(..COUNTERS);
                self.sums[counter] += 1;
                self.sequence += 1;
                let sum = session.add_once(self.call(counter))?;
                ensure!(sum == self.sums[counter], "a counter is {sum}, not {}", self.sums[counter]);
                Ok(())
            }
            Phase::Delete => {
                let own = nth * 2;
                self.versions[own] = 0;
                ensure!(session.delete(self.key(own))?, "a key to delete was not there");
                Ok(())
            }
        }
    }

    fn key(&self, own: usize) -> u64 {
        values::key(own * self.threads + self.number)
    }

    fn put(&mut self, session: &mut dyn Session, own: usize) -> anyhow::Result<()> {
        let (key, version) = (self.key(own), self.next_version(own * self.threads + self.number));
        values::write(key, version, &mut self.value);
        session.put(key, &self.value)
    }

    fn update(&mut self, session: &mut dyn Session) -> anyhow::Result<()> {
        let own = self.random.usize(..self.inserted);
        self.put(session, own)
    }

    fn put_batch(&mut self, session: &mut dyn Session, load: &Load) -> anyhow::Result<()> {
        let mut entries = Vec::with_capacity(load.batch);
        for _ in 0..load.batch {
            let nth = self.random.usize(..self.inserted) * self.threads + self.number;
            entries.push(entry(nth, self.next_version(nth), load.value_bytes));
        }
        session.put_all(&entries)
    }

    /// Reads any key, all of which are there, and returns its value's words together.
    fn get(&mut self, session: &mut dyn Session, load: &Load) -> anyhow::Result<u64> {
        let key = values::key(self.random.usize(..load.keys));
        let (mut folded, mut right) = (0, false);
        let found = session.get(key, &mut |bytes| {
            right = bytes.len() == load.value_bytes && bytes[..8] == key.to_le_bytes();
            folded = values::fold(bytes);
        })?;
        ensure!(found && right, "key {key:#x}: the value is missing, or another key's");
        Ok(folded)
    }

    fn call(&self, counter: usize) -> Call {
        let counter = (counter * self.threads + self.number) as u64;
        Call { counter, client: self.number as u64, sequence: self.sequence, by: 1 }
    }

    /// The same client and sequence again, on any counter: it must change nothing, and return what it did before.
    fn repeat_last_call(&mut self, session: &mut dyn Session) -> anyhow::Result<()> {
        let counter = self.random.usize(..COUNTERS);
        self.sequence += 1;
        self.sums[counter] += 1;
        for time in ["first", "second"] {
            let sum = session.add_once(self.call(counter))?;
            ensure!(
                sum == self.sums[counter],
                "the {time} time a call returned {sum}, not {}",
                self.sums[counter]
            );
        }
        Ok(())
    }
}

/// What reading the clock twice takes.
fn clock_ns() -> u64 {
    let twice = || Instant::now().elapsed().as_nanos() as u64;
    (0..100).map(|_| twice()).min().unwrap_or_default()
}

/// Compares all keys and counters with what they must contain.
fn verify(store: &dyn Store, load: &Load, workers: &[Worker]) -> anyhow::Result<Digest> {
    let mut session = store.session()?;
    let mut contents = Xxh3::new();
    for nth in 0..load.keys {
        let version = workers[nth % load.threads].versions[nth / load.threads];
        let mut checked = Ok(());
        let found = session.get(values::key(nth), &mut |bytes| {
            checked = values::check(values::key(nth), version, load.value_bytes, bytes);
            contents.update(bytes);
        })?;
        ensure!(found == (version > 0), "key {nth}: version {version}, found: {found}");
        checked?;
    }
    for worker in workers.iter().filter(|worker| worker.sequence > 0) {
        for (counter, expected) in worker.sums.iter().enumerate() {
            let sum = session.sum(worker.call(counter).counter)?;
            ensure!(sum == *expected, "counter {counter} of thread {}: {sum}, not {expected}", worker.number);
        }
    }
    let answers = workers.iter().fold(0, |all: u64, worker| all.rotate_left(1) ^ worker.answers);
    Ok(Digest { answers, contents: contents.digest() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contenders::Abilities,
        store::{Durability, step, sum_of},
    };
    use std::{
        collections::HashMap,
        sync::{Mutex, MutexGuard},
    };

    /// What a store may get wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        /// Of some puts nothing stays.
        ForgetsPut,
        /// Some puts go to a neighbour too.
        PutsTwice,
        ForgetsDelete,
        /// A call again is executed again.
        AddsTwice,
        /// A counter loses an addition after it was acknowledged.
        ForgetsSum,
        /// A value lacks its last byte.
        Truncates,
    }

    #[derive(Default)]
    struct Tables {
        values: HashMap<u64, Vec<u8>>,
        counters: HashMap<u64, [u8; 8]>,
        completions: HashMap<u64, [u8; 16]>,
        puts: usize,
    }

    struct Faulty(Fault, Mutex<Tables>);

    impl Faulty {
        fn tables(&self) -> MutexGuard<'_, Tables> {
            self.1.lock().unwrap()
        }
    }

    impl Store for Faulty {
        fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
            Ok(Box::new(self))
        }

        fn close(self: Box<Self>) -> anyhow::Result<()> {
            Ok(())
        }
    }

    impl Session for &Faulty {
        fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
            let mut tables = self.tables();
            tables.puts += 1;
            if self.0 == Fault::ForgetsPut && tables.puts % 100 == 99 {
                return Ok(());
            }
            if self.0 == Fault::PutsTwice && tables.puts % 100 == 99 {
                let other = *tables.values.keys().next().unwrap();
                tables.values.insert(other, value.to_vec());
            }
            let kept = value.len() - usize::from(self.0 == Fault::Truncates);
            tables.values.insert(key, value[..kept].to_vec());
            Ok(())
        }

        fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
            Ok(self.tables().values.get(&key).map(|value| show(value)).is_some())
        }

        fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
            let mut tables = self.tables();
            Ok(if self.0 == Fault::ForgetsDelete {
                tables.values.contains_key(&key)
            } else {
                tables.values.remove(&key).is_some()
            })
        }

        fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
            entries.iter().try_for_each(|(key, value)| self.put(*key, value))
        }

        fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
            let mut tables = self.tables();
            let last = tables.completions.get(&call.client).filter(|_| self.0 != Fault::AddsTwice);
            let sum = tables.counters.get(&call.counter);
            let (sum, completion) =
                step(call, last.map(|last| last.as_slice()), sum.map(|sum| sum.as_slice()))?;
            if let Some(completion) = completion {
                tables.counters.insert(call.counter, sum.to_le_bytes());
                tables.completions.insert(call.client, completion);
            }
            Ok(sum)
        }

        fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
            let lost = u64::from(self.0 == Fault::ForgetsSum);
            sum_of(self.tables().counters.get(&counter).map(|sum| sum.as_slice()))
                .map(|sum| sum.saturating_sub(lost))
        }
    }

    fn run_with(fault: Fault, batch: usize) -> anyhow::Result<Option<Digest>> {
        let contender = Contender {
            name: "faulty",
            classes: &[Durability::Volatile],
            open: Err("made by the test"),
            abilities: Abilities { keeps: true, counters: true, batches: true },
        };
        let phases: &[Phase] = if batch > 1 {
            &[Phase::Update]
        } else {
            &[Phase::Insert, Phase::Get, Phase::Update, Phase::Mixed, Phase::Counter, Phase::Delete]
        };
        let (preload, keys) = (100, 500);
        let load = Load {
            preload,
            keys,
            value_bytes: 32,
            threads: 2,
            batch,
            operations: 1000,
            sample_every: 4,
            phases,
        };
        let load = if batch > 1 { Load { preload: keys, ..load } } else { load };
        let store = Faulty(fault, Mutex::default());
        let (measured, digest) = run(&store, &contender, &load, 0)?;
        assert_eq!(measured.len(), phases.len());
        for (phase, measured) in &measured {
            assert!(measured.operations > 0 && !measured.latency_ns.is_empty(), "{phase:?}");
        }
        Ok(digest)
    }

    #[test]
    fn a_store_that_is_right_passes_and_always_with_the_same_digest() {
        let digest = run_with(Fault::None, 1).unwrap();
        assert!(digest.is_some_and(|digest| digest.answers != 0));
        assert_eq!(run_with(Fault::None, 1).unwrap(), digest);
        run_with(Fault::None, 10).unwrap();
    }

    #[test]
    fn each_fault_of_a_store_ends_the_benchmark() {
        for fault in [
            Fault::ForgetsPut,
            Fault::PutsTwice,
            Fault::ForgetsDelete,
            Fault::AddsTwice,
            Fault::ForgetsSum,
            Fault::Truncates,
        ] {
            assert!(run_with(fault, 1).is_err(), "{fault:?}");
        }
        for fault in [Fault::ForgetsPut, Fault::PutsTwice, Fault::Truncates] {
            assert!(run_with(fault, 10).is_err(), "{fault:?} in a batch");
        }
    }
}
