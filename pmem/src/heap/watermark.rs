//! A shard's watermark: up to which batch its ring is in place for good, and in which run.
//!
//! Two lines, written in turn. A record counts only if it is of the watermark's run and of a later batch, so what a
//! crash left of a batch that nobody was told of can never be taken for one of the next run (rule R8).

use crate::{
    checksum::checksum,
    mem::{LINE, Mem, Site, WORD},
};

/// What the newest of a shard's two watermark lines says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermark {
    /// Grows with each write.
    generation: u64,
    /// The run whose records follow.
    pub(super) run_id: u64,
    /// The last batch that is in place.
    pub(super) batch: u64,
}

impl Watermark {
    /// That of a new shard: no batch yet.
    pub(super) fn initial() -> Self {
        Self { generation: 1, run_id: 0, batch: 0 }
    }

    fn crc(&self, seed: u32, at: u64) -> u64 {
        checksum(seed, &[at, self.generation, self.run_id, self.batch]).into()
    }

    fn at(header: u64, generation: u64) -> u64 {
        header + generation % 2 * LINE
    }

    /// Whether it is that of a new shard.
    pub(super) fn is_initial(self) -> bool {
        self == Self::initial()
    }

    /// Reads one line, if it is whole.
    pub(super) fn load_line(mem: &impl Mem, seed: u32, at: u64) -> Option<Self> {
        let watermark =
            Self { generation: mem.load(at), run_id: mem.load(at + WORD), batch: mem.load(at + 2 * WORD) };
        (mem.load(at + 3 * WORD) == watermark.crc(seed, at)).then_some(watermark)
    }

    /// Reads the newest whole one from a shard's header.
    pub(super) fn load(mem: &impl Mem, seed: u32, header: u64) -> Option<Self> {
        let one = |at| Self::load_line(mem, seed, at);
        [one(header), one(header + LINE)].into_iter().flatten().max_by_key(|watermark| watermark.generation)
    }

    /// The next one, for a new run.
    pub(super) fn next(self, run_id: u64, batch: u64) -> Self {
        Self { generation: self.generation + 1, run_id, batch }
    }

    /// Writes it over the older line and flushes that.
    pub(super) fn store(&self, mem: &impl Mem, seed: u32, header: u64, site: Site) {
        let at = Self::at(header, self.generation);
        for (i, word) in
            [self.generation, self.run_id, self.batch, self.crc(seed, at)].into_iter().enumerate()
        {
            mem.store(at + i as u64 * WORD, word);
        }
        mem.flush(site, at, LINE);
    }
}
