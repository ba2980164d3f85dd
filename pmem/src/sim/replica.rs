//! Memories that crash images are loaded into, quickly: what an image costs depends on the lines that it and its
//! recovery change, not on the size of the region.

use super::{
    Sim, SimConfig,
    images::{CrashPoint, Cut, LineWords},
    line_set::LineSet,
    lines::LINE_WORDS,
};
use std::sync::Arc;

/// A memory that takes on one crash image after the other of a run, and deeper ones for the crashes of the recovery
/// of each image.
///
/// Level 0 takes images of the run itself, level 1 images of the recovery that runs in level 0's memory, and so on.
///
/// Invariant: the base of a level is the durable memory of the level above it (of the run, for level 0) at the crash point
/// that it was last [`advance`](Self::advance)d to.
#[derive(Debug)]
pub struct Replicas {
    config: SimConfig,
    levels: Vec<Replica>,
}

#[derive(Debug)]
struct Replica {
    base: Vec<u64>,
    sim: Arc<Sim>,
    /// Lines in which `sim` may differ from `base`, beyond those that it knows that it changed.
    stale: LineSet,
    /// What lines of `base` held before; `None` where a level was entered.
    undo: Vec<Option<(u32, LineWords)>>,
}

impl Replicas {
    /// `depth` levels over a run that starts with `words`, all durable.
    #[must_use]
    pub fn new(config: &SimConfig, words: &[u64], depth: usize) -> Self {
        let level = |_| Replica {
            base: words.to_vec(),
            sim: Arc::new(Sim::with_words(config, words.to_vec())),
            stale: LineSet::new(words.len() / LINE_WORDS),
            undo: Vec::new(),
        };
        Replicas { config: config.clone(), levels: (0..depth).map(level).collect() }
    }

    /// How many levels there are.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Begins with another run, or another part of it, over `words`, all durable. Cheaper than a new one: it compares, and
    /// allocates nothing.
    pub fn restart(&mut self, words: &[u64]) {
        for replica in &mut self.levels {
            assert!(replica.undo.is_empty(), "an image that was entered was not left");
            assert_eq!(replica.base.len(), words.len(), "a region of another size");
            for (line, words) in words.as_chunks::<LINE_WORDS>().0.iter().enumerate() {
                if replica.base[line * LINE_WORDS..][..LINE_WORDS] != *words {
                    replica.set_base(line as u32, words);
                }
            }
        }
    }

    /// Moves `level`, and all below it, on to the next crash point of the memory above it.
    pub fn advance(&mut self, level: usize, point: &CrashPoint) {
        for replica in &mut self.levels[level..] {
            for (line, words) in &point.advanced {
                replica.set_base(*line, words);
            }
        }
    }

    /// Loads an image of the crash point that `level` was last advanced to. All of it is durable. The levels below
    /// get it as their base, until [`leave`](Self::leave).
    ///
    /// The memory is the same one each time, if nobody kept it; otherwise that one is left to its keeper, and this is a new one.
    pub fn enter(&mut self, level: usize, point: &CrashPoint, cut: &Cut) -> Arc<Sim> {
        for replica in &mut self.levels[level + 1..] {
            replica.undo.push(None);
            let mut changed = Vec::new();
            point.overlay(cut, &replica.base, |line, words| changed.push((line, *words)));
            changed.iter().for_each(|(line, words)| replica.set_base(*line, words));
        }
        self.levels[level].load(&self.config, point, cut)
    }

    /// Ends what [`enter`](Self::enter) began.
    pub fn leave(&mut self, level: usize) {
        for replica in &mut self.levels[level + 1..] {
            while let Some((line, words)) = replica.undo.pop().expect("this level was entered") {
                replica.base[line as usize * LINE_WORDS..][..LINE_WORDS].copy_from_slice(&words);
                replica.stale.insert(line);
            }
        }
    }
}

impl Replica {
    fn set_base(&mut self, line: u32, words: &LineWords) {
        let base = &mut self.base[line as usize * LINE_WORDS..][..LINE_WORDS];
        if !self.undo.is_empty() {
            self.undo.push(Some((line, (&*base).try_into().expect("eight words"))));
        }
        base.copy_from_slice(words);
        self.stale.insert(line);
    }

    fn load(&mut self, config: &SimConfig, point: &CrashPoint, cut: &Cut) -> Arc<Sim> {
        if Arc::strong_count(&self.sim) == 1 {
            self.sim.restore(&self.base, &self.stale);
        } else {
            self.sim = Arc::new(Sim::with_words(config, self.base.clone()));
        }
        self.stale.clear();
        let sim = &self.sim;
        point.overlay(cut, &self.base, |line, words| sim.overlay(line, words));
        Arc::clone(sim)
    }
}
