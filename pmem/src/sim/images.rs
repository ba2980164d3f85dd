//! What a power cut at one moment can leave: every combination of one prefix of the pending stores for each line, but for
//! those that an ordering forbids.

use super::lines::LINE_WORDS;
use fastrand::Rng;

/// The words of a line.
pub(super) type LineWords = [u64; LINE_WORDS];

/// A line that a cut can leave in several ways: any prefix of `count` stores from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingLine {
    pub(super) line: u32,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What an ordering asks of a cut. Both lists name lines by their place among the pending ones.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// So many stores of these lines survive,
    pub(super) needed: Vec<(u32, u32)>,
    /// or not more than so many of these.
    pub(super) until: Vec<(u32, u32)>,
}

impl Condition {
    fn has_what_is_needed(&self, survivors: &[u32]) -> bool {
        self.needed.iter().all(|&(place, count)| survivors[place as usize] >= count)
    }

    fn asks_nothing(&self, survivors: &[u32]) -> bool {
        self.until.iter().all(|&(place, count)| survivors[place as usize] <= count)
    }

    fn holds(&self, survivors: &[u32]) -> bool {
        self.asks_nothing(survivors) || self.has_what_is_needed(survivors)
    }
}

/// A moment at which the power may be cut.
///
/// It holds what became durable since the crash point that was taken before it from the same memory, and what is
/// pending. So the crash points of one memory have to be given to a [`Replicas`](super::Replicas) in the order in which they were
/// taken, all of them.
#[derive(Debug, Clone)]
pub struct CrashPoint {
    pub(super) advanced: Vec<(u32, LineWords)>,
    pub(super) lines: Vec<PendingLine>,
    /// Word of the line, value; of all lines.
    pub(super) stores: Vec<(u8, u64)>,
    /// Only cuts in which all of them hold can happen.
    pub(super) conditions: Vec<Condition>,
}

/// One image out of those of a [`CrashPoint`]: for each of its pending lines, how many stores of it survive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    survivors: Vec<u32>,
}

impl Cut {
    /// For each pending line how many of its stores survive.
    #[must_use]
    pub fn survivors(&self) -> &[u32] {
        &self.survivors
    }
}

/// How many images of one crash point to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Up to this many combinations, all of them.
    pub exhaustive_max: u64,
    /// Otherwise, this many samples.
    pub samples: u32,
}

impl Default for Limits {
    /// 600 combinations, or 60 samples.
    fn default() -> Self {
        Limits { exhaustive_max: 600, samples: 60 }
    }
}

impl CrashPoint {
    /// How many different images there are, if it fits. Orderings may forbid some of them.
    #[must_use]
    pub fn combinations(&self) -> Option<u64> {
        self.lines.iter().try_fold(1_u64, |product, line| product.checked_mul(u64::from(line.count) + 1))
    }

    /// Chooses images: see [`Limits`].
    pub fn images(&self, limits: Limits) -> Images<'_> {
        let kind = match self.combinations() {
            Some(combinations) if combinations <= limits.exhaustive_max => Kind::All { first: true },
            _ => Kind::Sampled { done: 0, samples: limits.samples },
        };
        Images { point: self, kind, cut: Cut { survivors: vec![0; self.lines.len()] } }
    }

    /// The image in which nothing pending survives.
    #[must_use]
    pub fn nothing_survives(&self) -> Cut {
        Cut { survivors: vec![0; self.lines.len()] }
    }

    /// The image in which everything survives.
    #[must_use]
    pub fn everything_survives(&self) -> Cut {
        Cut { survivors: self.lines.iter().map(|line| line.count).collect() }
    }

    /// An image at random.
    pub fn any(&self, rng: &mut Rng) -> Cut {
        let mut cut = self.nothing_survives();
        self.sample(rng.u32(..), &mut cut, rng);
        cut
    }

    /// Whether no ordering forbids it.
    fn allows(&self, cut: &Cut) -> bool {
        self.conditions.iter().all(|condition| condition.holds(&cut.survivors))
    }

    /// Makes a cut one that no ordering forbids: lets more survive, or less.
    fn correct(&self, cut: &mut Cut, more: bool) {
        let survivors = &mut cut.survivors;
        while let Some(broken) = self.conditions.iter().find(|condition| !condition.holds(survivors)) {
            if more {
                for &(place, count) in &broken.needed {
                    survivors[place as usize] = survivors[place as usize].max(count);
                }
            } else {
                for &(place, count) in &broken.until {
                    survivors[place as usize] = survivors[place as usize].min(count);
                }
            }
        }
    }

    /// Fills in one of several kinds of samples. Uniform ones alone would rarely leave just one line behind or ahead
    /// of all others, which is what a missing fence looks like.
    fn sample(&self, kind: u32, cut: &mut Cut, rng: &mut Rng) {
        let lines = self.lines.iter().zip(&mut cut.survivors);
        match kind % 4 {
            0 => lines.for_each(|(line, survivors)| *survivors = rng.u32(0..=line.count)),
            1 => lines.for_each(|(line, survivors)| *survivors = if rng.bool() { line.count } else { 0 }),
            2 => {
                let ahead = rng.usize(..self.lines.len().max(1));
                for (at, (line, survivors)) in lines.enumerate() {
                    *survivors = if at == ahead { rng.u32(1..=line.count) } else { 0 };
                }
            }
            _ => {
                let behind = rng.usize(..self.lines.len().max(1));
                for (at, (line, survivors)) in lines.enumerate() {
                    *survivors = if at == behind { rng.u32(..line.count) } else { line.count };
                }
            }
        }
        if !self.conditions.is_empty() {
            // A line that is ahead or behind mostly stays so.
            let more = match kind % 4 {
                0 | 1 => rng.bool(),
                2 => true,
                _ => false,
            };
            self.correct(cut, more);
        }
    }

    /// Gives `each` the lines that the cut leaves other than durable, over the durable words in `base`.
    pub(super) fn overlay(&self, cut: &Cut, base: &[u64], mut each: impl FnMut(u32, &LineWords)) {
        assert_eq!(cut.survivors.len(), self.lines.len(), "a cut of another crash point");
        for (pending, &survivors) in self.lines.iter().zip(&cut.survivors) {
            if survivors == 0 {
                continue;
            }
            let start = pending.line as usize * LINE_WORDS;
            let mut words: LineWords = base[start..start + LINE_WORDS].try_into().expect("eight words");
            for &(word, value) in &self.stores[pending.first as usize..][..survivors as usize] {
                words[word as usize] = value;
            }
            each(pending.line, &words);
        }
    }

    /// Says in words which stores of which lines a cut keeps.
    #[must_use]
    pub fn describe(&self, cut: &Cut) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (pending, survivors) in self.lines.iter().zip(&cut.survivors) {
            let _ = write!(text, "line {:#x}: {survivors} of {} stores", pending.line * 64, pending.count);
            for (at, (word, value)) in
                self.stores[pending.first as usize..][..pending.count as usize].iter().enumerate()
            {
                let bar = if at as u32 == *survivors { " |" } else { "" };
                let _ = write!(text, "{bar} +{:#x}={value:#x}", word * 8);
            }
            text.push('\n');
        }
        text
    }
}

/// The images that [`CrashPoint::images`] chose, one after the other.
#[derive(Debug)]
pub struct Images<'a> {
    point: &'a CrashPoint,
    kind: Kind,
    cut: Cut,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    All { first: bool },
    Sampled { done: u32, samples: u32 },
}

impl Images<'_> {
    /// The next image. `rng` is asked only where images are sampled.
    pub fn next(&mut self, rng: &mut Rng) -> Option<&Cut> {
        match &mut self.kind {
            Kind::All { first: first @ true } => *first = false,
            Kind::All { .. } => loop {
                // Counts up in mixed radix.
                let lines = self.point.lines.iter().zip(&mut self.cut.survivors);
                let mut carried = true;
                for (line, survivors) in lines {
                    if *survivors < line.count {
                        *survivors += 1;
                        carried = false;
                        break;
                    }
                    *survivors = 0;
                }
                if carried {
                    return None;
                }
                if self.point.allows(&self.cut) {
                    break;
                }
            },
            Kind::Sampled { done, samples } => {
                if *done == *samples {
                    return None;
                }
                *done += 1;
                match *done {
                    1 => self.cut.survivors.fill(0),
                    2 => self.cut = self.point.everything_survives(),
                    done => self.point.sample(done, &mut self.cut, rng),
                }
            }
        }
        Some(&self.cut)
    }
}
