//! What a simulated memory does wrong on request, and what it has seen asked of it.

use crate::mem::{Rule, Site};
use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// One thing left out on purpose, to see whether the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// The code is told that this rule is broken.
    Rule(Rule),
    /// Flushes of this site do nothing.
    Flush(Site),
    /// Fences, and orderings, of this site do nothing.
    Fence(Site),
}

impl Mutant {
    /// All that can be named. Not each site has both a flush and a fence: [`Seen`] tells.
    pub fn all() -> impl Iterator<Item = Mutant> {
        let rules = Rule::ALL.iter().map(|&rule| Mutant::Rule(rule));
        let sites = Site::ALL.iter();
        rules.chain(sites.flat_map(|&site| [Mutant::Flush(site), Mutant::Fence(site)]))
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::Rule(rule) => write!(f, "rule:{}", rule.name()),
            Mutant::Flush(site) => write!(f, "flush:{}", site.name()),
            Mutant::Fence(site) => write!(f, "fence:{}", site.name()),
        }
    }
}

/// No mutant has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no mutant is called {0:?}; names are like rule:R4ApplyAfterFence, flush:RecordFlush, fence:CommitFence"
)]
pub struct UnknownMutant(pub String);

impl FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Mutant::all().find(|mutant| mutant.to_string() == name).ok_or_else(|| UnknownMutant(name.into()))
    }
}

const _: () = assert!(Site::ALL.len() <= 256 && Rule::ALL.len() <= 256, "the sets below hold 256 members");

/// A set of the numbers 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Members([u64; 4]);

impl Members {
    fn insert(&mut self, member: usize) {
        self.0[member / 64] |= 1 << (member % 64);
    }

    #[inline]
    fn has(&self, member: usize) -> bool {
        self.0[member / 64] & (1 << (member % 64)) != 0
    }
}

/// The same set, filled by many threads.
#[derive(Debug, Default)]
struct SharedMembers([AtomicU64; 4]);

impl SharedMembers {
    #[inline]
    fn insert(&self, member: usize) {
        let (word, bit) = (&self.0[member / 64], 1 << (member % 64));
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    fn copy(&self) -> Members {
        Members([0, 1, 2, 3].map(|word: usize| self.0[word].load(Relaxed)))
    }
}

/// The mutants of a memory, looked up quickly.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    rules: Members,
    flushes: Members,
    fences: Members,
}

impl Faults {
    pub(super) fn new(mutants: &[Mutant]) -> Self {
        let mut faults = Faults::default();
        for mutant in mutants {
            match *mutant {
                Mutant::Rule(rule) => faults.rules.insert(rule as usize),
                Mutant::Flush(site) => faults.flushes.insert(site as usize),
                Mutant::Fence(site) => faults.fences.insert(site as usize),
            }
        }
        faults
    }

    pub(super) fn breaks(&self, rule: Rule) -> bool {
        self.rules.has(rule as usize)
    }

    pub(super) fn drops_flush(&self, site: Site) -> bool {
        self.flushes.has(site as usize)
    }

    pub(super) fn drops_fence(&self, site: Site) -> bool {
        self.fences.has(site as usize)
    }
}

/// What code has asked of a memory so far: which mutants its workload could have noticed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    rules: Members,
    flushes: Members,
    fences: Members,
}

impl Seen {
    /// Whether the code reached the place that this mutant breaks.
    #[must_use]
    pub fn reached(&self, mutant: Mutant) -> bool {
        match mutant {
            Mutant::Rule(rule) => self.rules.has(rule as usize),
            Mutant::Flush(site) => self.flushes.has(site as usize),
            Mutant::Fence(site) => self.fences.has(site as usize),
        }
    }

    /// Adds what another memory has seen.
    pub fn join(&mut self, other: &Seen) {
        let pairs = [
            (&mut self.rules, other.rules),
            (&mut self.flushes, other.flushes),
            (&mut self.fences, other.fences),
        ];
        for (own, other) in pairs {
            own.0.iter_mut().zip(other.0).for_each(|(own, other)| *own |= other);
        }
    }
}

/// [`Seen`], while it is gathered.
#[derive(Debug, Default)]
pub(super) struct SeenCells {
    rules: SharedMembers,
    flushes: SharedMembers,
    fences: SharedMembers,
}

impl SeenCells {
    pub(super) fn rule(&self, rule: Rule) {
        self.rules.insert(rule as usize);
    }

    pub(super) fn flush(&self, site: Site) {
        self.flushes.insert(site as usize);
    }

    pub(super) fn fence(&self, site: Site) {
        self.fences.insert(site as usize);
    }

    pub(super) fn copy(&self) -> Seen {
        Seen { rules: self.rules.copy(), flushes: self.flushes.copy(), fences: self.fences.copy() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutant_is_found_by_its_name_and_no_other() {
        for mutant in Mutant::all() {
            assert_eq!(mutant.to_string().parse(), Ok(mutant));
        }
        assert_eq!("flush:Nothing".parse::<Mutant>(), Err(UnknownMutant("flush:Nothing".into())));
    }

    #[test]
    fn a_fault_breaks_what_it_names_and_nothing_else() {
        let faults = Faults::new(&[Mutant::Fence(Site::CommitFence), Mutant::Rule(Rule::R8Watermark)]);
        for &site in Site::ALL {
            assert!(!faults.drops_flush(site));
            assert_eq!(faults.drops_fence(site), site == Site::CommitFence);
        }
        for &rule in Rule::ALL {
            assert_eq!(faults.breaks(rule), rule == Rule::R8Watermark);
        }
    }
}
