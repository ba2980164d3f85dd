//! Crashes a structure in as many ways as a budget allows.
//!
//! Read [`Scenario`] first: it says what a run does and what a structure must provide. [`explore`] makes runs, one for
//! each seed, until the budget is used or enough violations are found; a [`Violation`] prints the command that has its run again.

mod image;
mod moments;
mod report;
mod run;
mod scenario;
#[cfg(test)]
mod tests;

pub use report::{Budget, Report, Violation};
pub use scenario::{Answer, Op, Refused, Scenario, State};

use abide_pmem::sim::{Replicas, SimConfig};
use run::Run;
use std::time::Instant;

/// A scenario whose types are hidden, to be kept in lists.
pub trait Explorable: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Makes runs: see [`explore`].
    fn explore(&self, config: &SimConfig, budget: &Budget) -> Report;
}

impl<S: Scenario> Explorable for S {
    fn name(&self) -> &'static str {
        Scenario::name(self)
    }

    fn explore(&self, config: &SimConfig, budget: &Budget) -> Report {
        explore(self, config, budget)
    }
}

/// Whether the run of this seed is one in which orderings only order: one in three.
fn orders_only(seed: u64) -> bool {
    // Shares nothing with what else follows from the seed.
    fastrand::Rng::with_seed(seed ^ 0x0bde_0ed0).u32(..3) == 0
}

/// Runs `scenario` over memories of `config`, one run for each seed from the budget's first, until the budget is used.
pub fn explore<S: Scenario>(scenario: &S, config: &SimConfig, budget: &Budget) -> Report {
    let since = Instant::now();
    let mut report = Report::new(Scenario::name(scenario));
    let words = match run::format(scenario, config, &mut report.seen) {
        Ok(words) => words,
        Err(why) => {
            report.runs = 1;
            report.violations.push(Violation::of(Scenario::name(scenario), config, budget.first_seed, why));
            return report;
        }
    };
    // In some of the runs an ordering makes nothing durable: whatever needs it to must fail there.
    let configs = [config.clone(), SimConfig { orders_only: true, ..config.clone() }];
    let mut replicas = configs.each_ref().map(|config| Replicas::new(config, &words, run::DEPTH));
    for seed in (budget.first_seed..).step_by(budget.seed_step.max(1) as usize) {
        let used = report.runs >= budget.runs_max || report.images + report.nested >= budget.images;
        if used || report.violations.len() >= budget.violations_max {
            break;
        }
        report.runs += 1;
        let kind = usize::from(orders_only(seed));
        let run = Run::new(scenario, &configs[kind], seed, &mut report, &mut replicas[kind]);
        if let Err(violation) = run.go(&words) {
            report.violations.push(*violation);
        }
    }
    report.seconds = since.elapsed().as_secs_f64();
    report
}
