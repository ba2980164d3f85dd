//! What a simulated memory would still hold after a power cut: the durable image, and behind it for each line the
//! stores that may or may not have reached it.

use super::{
    images::{Condition, CrashPoint, LineWords, PendingLine},
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

/// A thread made an ordering when the stores up to `number` had been made: what anybody stores after that survives only with
/// what the thread had flushed.
#[derive(Debug)]
struct Ordering {
    number: u64,
    thread: usize,
    flushed: Vec<Mark>,
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
    /// By thread: what it flushed since its last fence or ordering.
    marks: Vec<Vec<Mark>>,
    /// Each thread's orderings since its last fence, in the order in which they were made, if they only order.
    orderings: Vec<Ordering>,
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
            orderings: Vec::new(),
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
        let word = (word % LINE_WORDS) as u8;
        let store = Store { number: self.stores, word, value };
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
        let ordered: Vec<Ordering> =
            self.orderings.extract_if(.., |ordering| ordering.thread == thread).collect();
        let any_ordered = !ordered.is_empty();
        ordered.iter().for_each(|ordering| self.make_all_durable(&ordering.flushed));
        let Some(marks) = self.marks.get_mut(thread) else { return any_ordered };
        let mut marks = std::mem::take(marks);
        self.make_all_durable(&marks);
        let any = !marks.is_empty();
        marks.clear();
        self.marks[thread] = marks;
        any || any_ordered
    }

    /// Lets nothing that is stored from here on survive without what `thread` has flushed. Whether it had flushed anything
    /// since its last ordering or fence.
    pub(super) fn order(&mut self, thread: usize) -> bool {
        let Some(flushed) = self.marks.get_mut(thread).map(std::mem::take) else { return false };
        if flushed.is_empty() {
            return false;
        }
        self.orderings.push(Ordering { number: self.stores, thread, flushed });
        true
    }

    fn make_all_durable(&mut self, marks: &[Mark]) {
        for mark in marks {
            self.make_durable(mark.line, mark.number);
        }
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
        let last = stores[count - 1].number;
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
        // What had to be durable before these stores is so, too.
        let before = self.orderings.partition_point(|ordering| ordering.number < last);
        for ordering in self.orderings.drain(..before).collect::<Vec<_>>() {
            self.make_all_durable(&ordering.flushed);
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
            conditions: Vec::new(),
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
        if !self.orderings.is_empty() {
            point.conditions = self.conditions(&point.lines);
        }
        point
    }

    /// What the orderings ask of a cut of `lines`.
    fn conditions(&self, lines: &[PendingLine]) -> Vec<Condition> {
        // By line: the numbers of the stores of the line that change something.
        let numbers: Vec<Vec<u64>> = lines.iter().map(|pending| self.changes(pending.line)).collect();
        let place_of = |line: u32| lines.iter().position(|pending| pending.line == line);
        let mut conditions = Vec::new();
        for ordering in &self.orderings {
            let mut needed = Vec::new();
            for mark in &ordering.flushed {
                let Some(place) = place_of(mark.line) else { continue };
                let count = numbers[place].partition_point(|&number| number <= mark.number);
                if count > 0 {
                    needed.push((place as u32, count as u32));
                }
            }
            if needed.is_empty() {
                continue;
            }
            let mut until = Vec::new();
            for (place, pending) in lines.iter().enumerate() {
                let later = |store: &&Store| store.number > ordering.number;
                let stores = &self.dirty[self.dirty_at[pending.line as usize] as usize - 1].stores;
                if let Some(first) = stores.iter().find(later) {
                    let before = numbers[place].partition_point(|&number| number < first.number);
                    until.push((place as u32, before as u32));
                }
            }
            if !until.is_empty() {
                conditions.push(Condition { needed, until });
            }
        }
        conditions
    }

    /// The numbers of a dirty line's stores that change something.
    fn changes(&self, line: u32) -> Vec<u64> {
        let mut words = self.line(line);
        let stores = &self.dirty[self.dirty_at[line as usize] as usize - 1].stores;
        let changes =
            |store: &&Store| std::mem::replace(&mut words[store.word as usize], store.value) != store.value;
        stores.iter().filter(changes).map(|store| store.number).collect()
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
        self.orderings.clear();
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
