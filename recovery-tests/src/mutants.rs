//! Breaks each rule, flush and fence in turn, and expects the scenarios to notice. Without this a harness that finds
//! nothing means nothing.

use crate::explore::{Budget, Explorable, Report};
use abide_pmem::sim::{Mutant, Seen, SimConfig};
use std::fmt;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A scenario noticed, at this seed, and said this.
    Caught {
        /// The scenario.
        scenario: &'static str,
        /// The run's seed.
        seed: u64,
        /// What was wrong.
        why: String,
    },
    /// All scenarios that reach it found nothing wrong.
    Survived,
    /// No scenario reaches it.
    Unreached,
    /// It is listed as one that nobody has to catch, for this reason.
    NotApplicable(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The mutant.
    pub mutant: Mutant,
    /// What became of it.
    pub fate: Fate,
    /// Images until then.
    pub images: u64,
}

impl Row {
    /// Whether this is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.fate, Fate::Caught { .. } | Fate::NotApplicable(_))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28} {:>9} images  ", self.mutant.to_string(), self.images)?;
        match &self.fate {
            Fate::Caught { scenario, seed, why } => {
                let why: String = why.chars().take(70).collect();
                write!(f, "caught by {scenario} at seed {seed}: {why}")
            }
            Fate::Survived => write!(f, "SURVIVED"),
            Fate::Unreached => write!(f, "UNREACHED: no scenario comes by"),
            Fate::NotApplicable(why) => write!(f, "not applicable: {why}"),
        }
    }
}

/// The scenarios found something wrong with memory that does nothing wrong.
#[derive(Debug, thiserror::Error)]
#[error("the code is wrong as it is, without a mutant:\n{0}")]
pub struct Broken(pub String);

/// Tries mutants one after the other.
pub struct Mutants<'a> {
    scenarios: &'a [Box<dyn Explorable>],
    /// By scenario.
    reached: Vec<Seen>,
    not_applicable: &'a [(Mutant, &'static str)],
}

impl<'a> Mutants<'a> {
    /// Explores each scenario without mutants first, with this budget, to learn what it reaches.
    pub fn new(
        scenarios: &'a [Box<dyn Explorable>],
        not_applicable: &'a [(Mutant, &'static str)],
        budget: &Budget,
    ) -> Result<Self, Broken> {
        let mut reached = Vec::new();
        for scenario in scenarios {
            let Report { violations, seen, .. } = scenario.explore(&SimConfig::default(), budget);
            match violations.first() {
                Some(violation) => return Err(Broken(violation.to_string())),
                None => reached.push(seen),
            }
        }
        Ok(Mutants { scenarios, reached, not_applicable })
    }

    /// All mutants that there are, or that are named: each rule, and each flush and fence that some scenario reached. A site that
    /// none reached is there as the one of the two that its name says.
    #[must_use]
    pub fn list(&self) -> Vec<Mutant> {
        let reached = |mutant| self.reached.iter().any(|seen| seen.reached(mutant));
        let exists = |&mutant: &Mutant| match mutant {
            Mutant::Rule(_) => true,
            Mutant::Flush(site) => {
                reached(mutant) || site.name().ends_with("Flush") && !reached(Mutant::Fence(site))
            }
            Mutant::Fence(site) => {
                reached(mutant) || !site.name().ends_with("Flush") && !reached(Mutant::Flush(site))
            }
        };
        Mutant::all().filter(exists).collect()
    }

    /// Tries one mutant: each scenario that reaches it has the whole budget.
    #[must_use]
    pub fn try_one(&self, mutant: Mutant, budget: &Budget) -> Row {
        let listed = self.not_applicable.iter().find(|(listed, _)| *listed == mutant);
        if let Some((_, why)) = listed {
            return Row { mutant, fate: Fate::NotApplicable(why), images: 0 };
        }
        let config = SimConfig { mutants: vec![mutant], ..SimConfig::default() };
        let (mut images, mut fate) = (0, Fate::Unreached);
        for (scenario, seen) in self.scenarios.iter().zip(&self.reached) {
            if !seen.reached(mutant) {
                continue;
            }
            let report = scenario.explore(&config, budget);
            images += report.images + report.nested;
            if let Some(violation) = report.violations.into_iter().next() {
                let (seed, why) = (violation.seed, violation.why);
                fate = Fate::Caught { scenario: scenario.name(), seed, why };
                break;
            }
            fate = Fate::Survived;
        }
        Row { mutant, fate, images }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;
    use abide_pmem::{Rule, Site};

    const BUDGET: u64 = 100_000;

    #[test]
    fn all_mutants_that_the_toys_reach_are_caught_and_others_are_told() {
        let toys = scenarios::toys();
        let mutants = Mutants::new(&toys, &[], &Budget::images(BUDGET / 10)).unwrap();
        let rows: Vec<Row> = mutants
            .list()
            .into_iter()
            .map(|mutant| mutants.try_one(mutant, &Budget::images(BUDGET)))
            .collect();
        for row in &rows {
            println!("{row}");
            assert!(matches!(row.fate, Fate::Caught { .. } | Fate::Unreached), "{row}");
        }
        let fate = |mutant| &rows.iter().find(|row| row.mutant == mutant).unwrap().fate;
        assert!(matches!(fate(Mutant::Fence(Site::CommitFence)), Fate::Caught { .. }));
        assert!(matches!(fate(Mutant::Rule(Rule::R8NewRun)), Fate::Caught { .. }));
        assert_eq!(*fate(Mutant::Flush(Site::FormatFlush)), Fate::Unreached);
        assert_eq!(*fate(Mutant::Rule(Rule::I5TwoIntents)), Fate::Unreached);
        assert!(rows.iter().all(|row| row.mutant != Mutant::Flush(Site::CommitFence)), "that is a fence");
        assert!(rows.iter().filter(|row| matches!(row.fate, Fate::Caught { .. })).count() >= 16);
    }

    #[test]
    fn a_mutant_that_nothing_notices_survives() {
        // One image is not enough to notice anything.
        let toys = scenarios::toys();
        let mutants = Mutants::new(&toys, &[], &Budget::images(BUDGET / 10)).unwrap();
        let mut none = Budget::images(0);
        none.runs_max = 0;
        let row = mutants.try_one(Mutant::Fence(Site::CommitFence), &none);
        assert_eq!(row.fate, Fate::Survived);
        assert!(!row.is_good());
    }

    #[test]
    fn what_is_listed_as_not_applicable_is_not_tried() {
        let toys = scenarios::toys();
        let listed = [(Mutant::Fence(Site::CommitFence), "because")];
        let mutants = Mutants::new(&toys, &listed, &Budget::images(100)).unwrap();
        let row = mutants.try_one(Mutant::Fence(Site::CommitFence), &Budget::images(BUDGET));
        assert_eq!((row.fate.clone(), row.images), (Fate::NotApplicable("because"), 0));
        assert!(row.is_good());
    }
}
