//! The groups A to D: which loads they put on which class of stores.

use crate::{
    cli::{Options, Place},
    contenders::{self, Contender},
    store::Durability,
    workload::{Load, Phase},
};
use anyhow::ensure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Stores,
    Instructions,
    Commits,
    SharedCommits,
}

/// Operations that share a commit in group D.
const SHARED: usize = 64;

impl Group {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Stores => "A: survives the end of the process",
            Group::Instructions => "B: instructions of persistent memory, on DRAM",
            Group::Commits => "C: survives a power failure, one operation a commit",
            Group::SharedCommits => "D: survives a power failure, 64 operations may share a commit",
        }
    }

    /// The class that is compared.
    pub(crate) fn class(self) -> Durability {
        match self {
            Group::Stores => Durability::ProcessCrash,
            Group::Instructions => Durability::Instructions,
            Group::Commits | Group::SharedCommits => Durability::PowerFail,
        }
    }

    /// Who takes part, each with the class that it is opened for. In group A also those that keep less: they are
    /// shown beside the others, as what durability costs, and never compared.
    pub(crate) fn contenders(self) -> Vec<(Contender, Durability)> {
        let classes: &[Durability] = match self {
            Group::Stores => &[Durability::ProcessCrash, Durability::Volatile],
            _ => &[self.class()],
        };
        let of = |class: Durability| {
            contenders::all()
                .into_iter()
                .filter(move |one| one.classes.contains(&class))
                .map(move |one| (one, class))
        };
        classes.iter().flat_map(|class| of(*class)).collect()
    }

    pub(crate) fn places(self, options: &Options) -> anyhow::Result<Vec<Place>> {
        if options.on.is_empty() {
            let disk = self.class() == Durability::PowerFail;
            return Ok(vec![if disk { Place::Disk } else { Place::Memory }]);
        }
        let contradiction = self.class() == Durability::PowerFail && options.on.contains(&Place::Memory);
        ensure!(!contradiction, "group {}: nothing in memory does", self.title());
        Ok(options.on.clone())
    }

    /// All loads, a measurement of each phase of each being a cell.
    pub(crate) fn loads(self, options: &Options) -> anyhow::Result<Vec<Load>> {
        let tiny = options.tiny;
        let or = |given: &[usize], default: &[usize]| {
            if given.is_empty() { default.to_vec() } else { given.to_vec() }
        };
        let syncs = self.class() == Durability::PowerFail;
        let keys = match (syncs, tiny) {
            (_, true) => or(&options.keys, &[500]),
            (false, _) => or(&options.keys, &[100_000, 1_000_000]),
            (true, _) => or(&options.keys, &[10_000]),
        };
        let values = or(&options.value_bytes, if tiny { &[32] } else { &[32, 100] });
        let operations = options.operations.unwrap_or(match (self, tiny) {
            (Group::Commits, true) => 10,
            (Group::Commits, false) => 500,
            (Group::SharedCommits, true) => SHARED,
            (Group::SharedCommits, false) => 100 * SHARED,
            (_, true) => 200,
            (_, false) => 200_000,
        });
        // How many threads there are, and how many puts a commit has.
        let shapes: Vec<(usize, usize)> = match self {
            Group::SharedCommits => vec![(SHARED, 1), (1, SHARED)],
            _ => or(&options.threads, &[1, 2]).into_iter().map(|threads| (threads, 1)).collect(),
        };
        let mut loads = Vec::new();
        for &keys in &keys {
            for &value_bytes in &values {
                for &(threads, batch) in &shapes {
                    let phases: &[Phase] = match (self, batch) {
                        (Group::SharedCommits, 1) => &[Phase::Update, Phase::Counter],
                        (Group::SharedCommits, _) => &[Phase::Update],
                        (Group::Commits, _) => &[Phase::Insert, Phase::Update, Phase::Counter, Phase::Delete],
                        _ => &[
                            Phase::Insert,
                            Phase::Get,
                            Phase::Update,
                            Phase::Mixed,
                            Phase::Counter,
                            Phase::Delete,
                        ],
                    };
                    // Where each put waits for the disk, most keys are there before it is measured.
                    let (preload, keys) = if syncs { (keys, keys + operations) } else { (0, keys) };
                    ensure!(
                        value_bytes >= 16 && threads > 0 && keys >= 2 * threads,
                        "too small to be measured"
                    );
                    let sample_every = if syncs { 1 } else { 16 };
                    loads.push(Load {
                        preload,
                        keys,
                        value_bytes,
                        threads,
                        batch,
                        operations,
                        sample_every,
                        phases,
                    });
                }
            }
        }
        Ok(loads)
    }
}
