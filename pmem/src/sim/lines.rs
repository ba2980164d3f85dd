//! What a simulated memory would still hold after a power cut: the durable image, and behind it for each line the
//! stores that may or may not have reached it.

use super::{
    images::{CrashPoint, LineWords, PendingLine},
    line_set::LineSet,
};

/// Words in a line.
pub(super) const LINE_WORDS: usize = 8;

/// A store that is not durable yet.
#[derive(Debug, Clone, Copy)]
struct Store {
    /// Grows with each store to the memory.
    number: u64,
    word: u8,
    value: u64,
}

/// A line with stores that are not durable.
#[derive(Debug)]
struct DirtyLine {
    line: u32,
    /// In the order in which they were made. A cut keeps any prefix.
    stores: Vec<Store>,
}

/// A thread flushed `line` when the stores up to `number` had been made.
#[derive(Debug, Clone, Copy)]
struct Mark {
    line: u32,
    number: u64,
}

/// Durable words and pending stores of one memory.
///
/// Invariant: `dirty[dirty_at[line] - 1].line == line` for each line with pending stores, `dirty_at[line] == 0` for all
/// others; no list of pending stores is empty.
#[derive(Debug)]
pub(super) struct Lines {
    durable: Vec<u64>,
    dirty_at: Vec<u32>,
    dirty: Vec<DirtyLine>,
    /// Emptied lists, to be filled again.
    spare: Vec<Vec<Store>>,
    /// By thread: what it flushed since its last fence.
    marks: Vec<Vec<Mark>>,
    stores: u64,
    /// Lines that may differ from those at the last [`restore`](Self::restore).
    touched: LineSet,
    /// Lines whose durable words changed since the last [`crash_point`](Self::crash_point).
    advanced: LineSet,
}

impl Lines {
    pub(super) fn new(words: Vec<u64>) -> Self {
        assert!(words.len().is_multiple_of(LINE_WORDS), "a region is a whole number of lines");
        let lines = words.len() / LINE_WORDS;
        Lines {
            durable: words,
            dirty_at: vec![0; lines],
            dirty: Vec::new(),
            spare: Vec::new(),
            marks: Vec::new(),
            stores: 0,
            touched: LineSet::new(lines),
            advanced: LineSet::new(lines),
        }
    }

    pub(super) fn durable(&self) -> &[u64] {
        &self.durable
    }

    pub(super) fn store(&mut self, word: usize, value: u64) {
        let line = (word / LINE_WORDS) as u32;
        self.stores += 1;
        let store = Store { number: self.stores, word: (word % LINE_WORDS) as u8, value };
        match self.dirty_at[line as usize] {
            0 => {
                let mut stores = self.spare.pop().unwrap_or_default();
                stores.push(store);
                self.dirty.push(DirtyLine { line, stores });
                self.dirty_at[line as usize] = self.dirty.len() as u32;
                self.touched.insert(line);
            }
            at => self.dirty[at as usize - 1].stores.push(store),
        }
    }

    /// Remembers for `thread` that the line's present stores are to become durable. Whether there are any.
    pub(super) fn flush(&mut self, thread: usize, line: u32) -> bool {
        if self.marks.len() <= thread {
            self.marks.resize_with(thread + 1, Vec::new);
        }
        self.marks[thread].push(Mark { line, number: self.stores });
        self.dirty_at[line as usize] != 0
    }

    /// Makes durable what `thread` has flushed. Whether it had flushed anything.
    pub(super) fn fence(&mut self, thread: usize) -> bool {
        let Some(marks) = self.marks.get_mut(thread) else { return false };
        let mut marks = std::mem::take(marks);
        for mark in &marks {
            self.make_durable(mark.line, mark.number);
        }
        let any = !marks.is_empty();
        marks.clear();
        self.marks[thread] = marks;
        any
    }

    fn make_durable(&mut self, line: u32, up_to: u64) {
        let at = self.dirty_at[line as usize] as usize;
        if at == 0 {
            return;
        }
        let stores = &mut self.dirty[at - 1].stores;
        let count = stores.partition_point(|store| store.number <= up_to);
        if count == 0 {
            return;
        }
        let words = &mut self.durable[line as usize * LINE_WORDS..][..LINE_WORDS];
        for store in &stores[..count] {
            words[store.word as usize] = store.value;
        }
        self.advanced.insert(line);
        if count < stores.len() {
            stores.drain(..count);
        } else {
            self.dirty_at[line as usize] = 0;
            let mut clean = self.dirty.swap_remove(at - 1);
            clean.stores.clear();
            self.spare.push(clean.stores);
            if let Some(moved) = self.dirty.get(at - 1) {
                self.dirty_at[moved.line as usize] = at as u32;
            }
        }
    }

    fn line(&self, line: u32) -> LineWords {
        let start = line as usize * LINE_WORDS;
        self.durable[start..start + LINE_WORDS].try_into().expect("a line has eight words")
    }

    /// What a cut now could leave. Stores that change nothing are left out: they give the same images.
    pub(super) fn crash_point(&mut self) -> CrashPoint {
        let mut point = CrashPoint {
            advanced: self.advanced.as_slice().iter().map(|&line| (line, self.line(line))).collect(),
            lines: Vec::with_capacity(self.dirty.len()),
            stores: Vec::with_capacity(self.dirty.len() * 4),
        };
        self.advanced.clear();
        for dirty in &self.dirty {
            let mut words = self.line(dirty.line);
            let first = point.stores.len() as u32;
            for store in &dirty.stores {
                let word = &mut words[store.word as usize];
                if *word != store.value {
                    *word = store.value;
                    point.stores.push((store.word, store.value));
                }
            }
            let count = point.stores.len() as u32 - first;
            if count > 0 {
                point.lines.push(PendingLine { line: dirty.line, first, count });
            }
        }
        point
    }

    /// Takes back everything since the last call, given the words as they were: all durable, nothing pending.
    /// Gives `each` every line that changed, so that the visible words can follow.
    pub(super) fn restore(&mut self, base: &[u64], stale: &LineSet, mut each: impl FnMut(usize, &[u64])) {
        for dirty in &mut self.dirty {
            self.dirty_at[dirty.line as usize] = 0;
            let mut stores = std::mem::take(&mut dirty.stores);
            stores.clear();
            self.spare.push(stores);
        }
        self.dirty.clear();
        self.marks.iter_mut().for_each(Vec::clear);
        self.stores = 0;
        for &line in self.touched.as_slice().iter().chain(stale.as_slice()) {
            let start = line as usize * LINE_WORDS;
            let words = &base[start..start + LINE_WORDS];
            self.durable[start..start + LINE_WORDS].copy_from_slice(words);
            each(start, words);
        }
        self.touched.clear();
        self.advanced.clear();
    }

    /// Replaces a line by words that count as durable.
    pub(super) fn overlay(&mut self, line: u32, words: &LineWords) {
        self.durable[line as usize * LINE_WORDS..][..LINE_WORDS].copy_from_slice(words);
        self.touched.insert(line);
    }
}
