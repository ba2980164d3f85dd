//! The roles of the binary that explore crash images: `images`, `mutants`, `replay`.

use abide_pmem::sim::{Mutant, SimConfig};
use abide_recovery_tests::{
    explore::{Budget, Explorable, Report},
    mutants::Mutants,
    scenarios,
};
use anyhow::{Context as _, ensure};
use clap::Args;

/// Which scenarios.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only this one. [default: all but the toys]
    #[arg(long)]
    scenario: Option<String>,
    /// The toys, which test the harness, and nothing else.
    #[arg(long)]
    toys: bool,
}

impl Which {
    fn scenarios(&self) -> anyhow::Result<Vec<Box<dyn Explorable>>> {
        let named = |name: &String| {
            let mut known = scenarios::all();
            known.extend(scenarios::toys());
            let names: Vec<&str> = known.iter().map(|scenario| scenario.name()).collect();
            let names = names.join(", ");
            let found = known.into_iter().find(|scenario| scenario.name() == name);
            Ok(vec![found.with_context(|| format!("no scenario is called {name}; there are {names}"))?])
        };
        let found = match &self.scenario {
            Some(name) => return named(name),
            None if self.toys => scenarios::toys(),
            None => scenarios::all(),
        };
        ensure!(!found.is_empty(), "there are no scenarios but the toys yet: say --toys");
        Ok(found)
    }
}

/// What `images` is told.
#[derive(Debug, Args)]
pub(crate) struct Images {
    #[command(flatten)]
    which: Which,
    /// Images to look at, over all scenarios.
    #[arg(long, default_value_t = 1_000_000)]
    budget: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many explorers run beside each other.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
}

/// Explores; prints images, violations and seconds of each scenario.
pub(crate) fn images(arguments: &Images) -> anyhow::Result<()> {
    let scenarios = arguments.which.scenarios()?;
    let jobs = arguments.jobs.max(1);
    let each = arguments.budget.div_ceil(scenarios.len() as u64 * jobs);
    let (mut images, mut violations, mut seconds) = (0, 0, 0.0);
    for scenario in &scenarios {
        let explore = |job: u64| {
            let budget = Budget {
                violations_max: 3,
                first_seed: arguments.seed + job,
                seed_step: jobs,
                ..Budget::images(each)
            };
            scenario.explore(&SimConfig::default(), &budget)
        };
        let mut report = Report::new(scenario.name());
        std::thread::scope(|scope| {
            let explore = &explore;
            let running: Vec<_> = (0..jobs).map(|job| scope.spawn(move || explore(job))).collect();
            for explorer in running {
                report.join(explorer.join().expect("the harness does not panic"));
            }
        });
        println!("{report}");
        report.violations.iter().for_each(|violation| println!("{violation}\n"));
        images += report.images + report.nested;
        violations += report.violations.len();
        seconds += report.seconds;
    }
    println!("images {images} violations {violations} seconds {seconds:.1}");
    ensure!(violations == 0, "{violations} violations");
    Ok(())
}

/// What `mutants` is told.
#[derive(Debug, Args)]
pub(crate) struct TryMutants {
    #[command(flatten)]
    which: Which,
    /// Only the mutants whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Images for each mutant and scenario.
    #[arg(long, default_value_t = 300_000)]
    budget: u64,
}

/// Tries all mutants; prints the table.
pub(crate) fn mutants(arguments: &TryMutants) -> anyhow::Result<()> {
    let scenarios = arguments.which.scenarios()?;
    // Without a mutant a tenth suffices: it is to see what is reached. `images` looks for more.
    let mutants =
        Mutants::new(&scenarios, scenarios::NOT_APPLICABLE, &Budget::images(arguments.budget / 10 + 1))?;
    let wanted =
        |mutant: &Mutant| arguments.only.as_ref().is_none_or(|only| mutant.to_string().contains(only));
    let partial = arguments.which.toys || arguments.which.scenario.is_some();
    let (mut tried, mut bad) = (0, 0);
    for mutant in mutants.list().into_iter().filter(wanted) {
        let row = mutants.try_one(mutant, &Budget::images(arguments.budget));
        // Some of the scenarios cannot be asked to reach everything.
        if partial && row.fate == abide_recovery_tests::mutants::Fate::Unreached {
            continue;
        }
        println!("{row}");
        tried += 1;
        bad += u32::from(!row.is_good());
    }
    println!("mutants {tried} not caught {bad}");
    ensure!(bad == 0, "{bad} mutants were not caught");
    ensure!(tried > 0, "there is no such mutant");
    Ok(())
}

/// What `replay` is told.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    which: Which,
    /// The run.
    #[arg(long)]
    seed: u64,
    /// What the memory does wrong. May be repeated.
    #[arg(long)]
    mutant: Vec<Mutant>,
}

/// Has one run again, and says what it finds.
pub(crate) fn replay(arguments: &Replay) -> anyhow::Result<()> {
    let config = SimConfig { mutants: arguments.mutant.clone(), ..SimConfig::default() };
    let mut violations = 0;
    for scenario in arguments.which.scenarios()? {
        let report = scenario.explore(&config, &Budget::one_run(arguments.seed));
        println!("{report}");
        report.violations.iter().for_each(|violation| println!("{violation}\n"));
        violations += report.violations.len();
    }
    ensure!(violations == 0, "{violations} violations");
    Ok(())
}
