//! What an exploration may cost, and what it found.

use abide_pmem::sim::{Seen, SimConfig};
use std::fmt;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Crash images to look at, with those of crashes in recovery. The last run is finished.
    pub images: u64,
    /// The most runs to make.
    pub runs_max: u64,
    /// Violations after which to stop.
    pub violations_max: usize,
    /// The first run's seed.
    pub first_seed: u64,
    /// From one run's seed to the next one's: more than 1 where several explorers share the seeds.
    pub seed_step: u64,
}

impl Budget {
    /// So many images, from seed 0, up to the first violation.
    #[must_use]
    pub fn images(images: u64) -> Self {
        Budget { images, runs_max: u64::MAX, violations_max: 1, first_seed: 0, seed_step: 1 }
    }

    /// One run.
    #[must_use]
    pub fn one_run(seed: u64) -> Self {
        Budget { runs_max: 1, first_seed: seed, ..Budget::images(u64::MAX) }
    }
}

/// What was done, and what was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// Runs, each a chain of crashes.
    pub runs: u64,
    /// Crashes that a run went on after.
    pub crashes: u64,
    /// Moments whose images were looked at.
    pub moments: u64,
    /// Images of those moments.
    pub images: u64,
    /// Images of crashes inside of recovery.
    pub nested: u64,
    /// Calls that were repeated after recovery.
    pub repeated: u64,
    /// Runs that found something wrong.
    pub violations: Vec<Violation>,
    /// How long it took.
    pub seconds: f64,
    /// Sites and rules that the code reached.
    pub seen: Seen,
}

impl Report {
    /// Nothing done.
    #[must_use]
    pub fn new(scenario: &'static str) -> Self {
        Report {
            scenario,
            runs: 0,
            crashes: 0,
            moments: 0,
            images: 0,
            nested: 0,
            repeated: 0,
            violations: Vec::new(),
            seconds: 0.0,
            seen: Seen::default(),
        }
    }

    /// Adds the report of an explorer that ran beside this one.
    pub fn join(&mut self, other: Report) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.moments += other.moments;
        self.images += other.images;
        self.nested += other.nested;
        self.repeated += other.repeated;
        self.violations.extend(other.violations);
        self.seconds = self.seconds.max(other.seconds);
        self.seen.join(&other.seen);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.images + self.nested;
        write!(
            f,
            "{}: {} runs, {} crashes survived, {} moments, {} images + {} of crashes in recovery, {} repeated calls, \
             {} violations, {:.1} s, {:.0} images/s",
            self.scenario,
            self.runs,
            self.crashes,
            self.moments,
            self.images,
            self.nested,
            self.repeated,
            self.violations.len(),
            self.seconds,
            all as f64 / self.seconds.max(1e-9),
        )
    }
}

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The scenario.
    pub scenario: &'static str,
    /// Names of the mutants of the memory.
    pub mutants: Vec<String>,
    /// The run's seed.
    pub seed: u64,
    /// How many crashes the run had survived.
    pub crashes: u32,
    /// What was wrong.
    pub why: String,
    /// Where: the images, outermost first, and the history.
    pub place: Vec<String>,
}

impl Violation {
    pub(super) fn of(scenario: &'static str, config: &SimConfig, seed: u64, why: String) -> Self {
        let mutants = config.mutants.iter().map(ToString::to_string).collect();
        Violation { scenario, mutants, seed, crashes: 0, why, place: Vec::new() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "VIOLATION in {} after {} crashes: {}", self.scenario, self.crashes, self.why)?;
        for place in &self.place {
            writeln!(f, "{}", place.trim_end())?;
        }
        write!(f, "again: abide-recovery-tests replay --scenario {} --seed {}", self.scenario, self.seed)?;
        self.mutants.iter().try_for_each(|mutant| write!(f, " --mutant {mutant}"))
    }
}
