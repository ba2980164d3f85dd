//! Crash images at every fence of chains of runs, one thread.

use super::*;
use crate::{
    heap::HeapOpenError,
    sim::{Hook, Limits, Mutant, SimConfig, Step, Watch},
};
use fastrand::Rng;
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
};

/// Cuts the power before a fence. Between two fences the images only become more.
struct Cut {
    /// Fences until then.
    left: Mutex<u32>,
}

struct PowerCut;

impl Hook for Cut {
    fn before(&self, _: &Sim, _: Step) {
        if std::thread::panicking() {
            return;
        }
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            drop(left);
            resume_unwind(Box::new(PowerCut));
        }
        *left -= 1;
    }
}

/// A chain of runs that are cut at a random fence. Says what is wrong.
fn chain(seed: u64, mutants: &[Mutant]) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let config = SimConfig { mutants: mutants.to_vec(), ..SimConfig::default() };
    let geometry = Geometry { chunk_bytes: 1024, zone_chunks: 16, ..Geometry::tiny() };
    let clean = Sim::new(32 << 10);
    let identity = Identity { uuid: [3; 16], hash_key: [4; 16], created_s: 0 };
    Heap::format(&clean, identity, geometry).unwrap();
    Heap::<Sim>::finish_format(&clean).unwrap();
    let mut words = clean.durable_words();
    let mut names: BTreeSet<String> = BTreeSet::new();
    // Names whose last operation was cut.
    let mut unsure: BTreeSet<String> = BTreeSet::new();
    for run in 0..rng.u32(2..7) {
        let sim = Arc::new(Sim::with_words(&config, words.clone()));
        sim.watch(Watch::Fences, Arc::new(Cut { left: Mutex::new(rng.u32(..30)) }));
        let body = AssertUnwindSafe(|| -> Result<(), String> {
            let heap = open(&sim)?;
            verify(&heap, &mut names, &mut unsure)?;
            for _ in 0..rng.u32(2..12) {
                let name = format!("{}", rng.u32(..5));
                unsure.insert(name.clone());
                step(&heap, &mut rng, &mut names, &name)?;
                unsure.remove(&name);
            }
            heap.index().check().map_err(|error| format!("in the end of a run: {error}"))?;
            Ok(())
        });
        match catch_unwind(body) {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => return Err(format!("run {run}: {wrong}")),
            Err(panic) if panic.is::<PowerCut>() => {}
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                return Err(format!("run {run}: panic {text}"));
            }
        }
        sim.unwatch();
        // All images are looked at, and the run goes on with one of them.
        let images = sim.crash_images(Limits { exhaustive_max: 64, samples: 16 }, &mut rng);
        for image in &images {
            let copy = Sim::with_words(&config, image.durable_words());
            let heap = open(&Arc::new(copy))?;
            verify(&heap, &mut names.clone(), &mut unsure.clone())?;
        }
        words = images[rng.usize(..images.len())].durable_words();
    }
    Ok(())
}

fn open(sim: &Arc<Sim>) -> Result<Heap<Arc<Sim>>, String> {
    Heap::open(Arc::clone(sim), [0; 16]).map_err(|error: HeapOpenError| format!("open: {error}"))
}

fn step(
    heap: &Heap<Arc<Sim>>,
    rng: &mut Rng,
    names: &mut BTreeSet<String>,
    name: &str,
) -> Result<(), String> {
    let index = heap.index();
    let failed = |error: IndexError| format!("{name}: {error}");
    match rng.u32(..5) {
        0..2 => {
            let entry = index.create(TYPE, name.as_bytes(), 0).map_err(failed)?;
            if entry.created == names.contains(name) {
                return Err(format!("create of {name}: created is {}", entry.created));
            }
            names.insert(name.into());
        }
        2..4 => {
            let removed = index.remove(TYPE, name.as_bytes(), |_, _| Ok(())).map_err(failed)?;
            if removed != names.remove(name) {
                return Err(format!("remove of {name}: removed is {removed}"));
            }
        }
        _ => {
            let found = index.get(TYPE, name.as_bytes()).map_err(failed)?.is_some();
            if found != names.contains(name) {
                return Err(format!("get of {name}: found is {found}"));
            }
        }
    }
    Ok(())
}

/// Compares what recovery found with what was acknowledged, and adopts it where either may be.
fn verify(
    heap: &Heap<Arc<Sim>>,
    names: &mut BTreeSet<String>,
    unsure: &mut BTreeSet<String>,
) -> Result<(), String> {
    heap.index().check().map_err(|error| format!("after recovery: {error}"))?;
    for name in 0..5 {
        let name = format!("{name}");
        let found = heap.index().get(TYPE, name.as_bytes()).map_err(|error| error.to_string())?.is_some();
        if unsure.contains(&name) {
            if found {
                names.insert(name)
            } else {
                names.remove(&name)
            };
        } else if found != names.contains(&name) {
            return Err(format!("after recovery: {name} is there: {found}"));
        }
    }
    unsure.clear();
    Ok(())
}

#[test]
fn what_is_acknowledged_is_there_in_every_image_of_every_chain() {
    for seed in 0..if cfg!(miri) { 2 } else { 300 } {
        chain(seed, &[]).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}
