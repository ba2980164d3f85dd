//! Failure-atomic blocks of an unshared heap: words are stored in place at once, and what stood there is kept until the
//! block is done.
//!
//! Nobody else looks at the shard meanwhile and nothing of it survives a crash, so neither a record nor a write set is needed.
//! A block is bounded by the record that it would write, so that whether it is refused does not depend on where its objects live.

use super::{HeapError, Tx, record};
use crate::mem::Mem;
use std::collections::HashSet;

/// What the block that is running has stored.
#[derive(Debug)]
pub(super) struct InPlace {
    /// The words in the order in which they were stored, and what stood there before. A word that was stored twice is
    /// there twice as long as `is_exact` is false; the former of the two then counts.
    former: Vec<(u64, u64)>,
    /// Whether `seen` is kept. Small blocks do without: they are below all bounds, however often they store the same word.
    is_exact: bool,
    /// The offsets in `former`.
    seen: HashSet<u64>,
    /// Words that a record may have.
    words_max: usize,
}

impl InPlace {
    pub(super) fn new(words_max: usize) -> Self {
        Self { former: Vec::new(), is_exact: false, seen: HashSet::new(), words_max }
    }

    /// Begins a block.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.former.clear();
        if self.is_exact {
            self.is_exact = false;
            self.seen.clear();
        }
    }

    /// Words that were stored, some of them perhaps counted twice.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.former.len()
    }

    /// Stores a word.
    #[inline]
    pub(super) fn write(&mut self, mem: &impl Mem, offset: u64, value: u64) -> Result<(), HeapError> {
        if self.is_exact || self.former.len() >= self.words_max {
            return self.write_one_of_many(mem, offset, value);
        }
        self.former.push((offset, mem.load(offset)));
        mem.store(offset, value);
        Ok(())
    }

    #[cold]
    fn write_one_of_many(&mut self, mem: &impl Mem, offset: u64, value: u64) -> Result<(), HeapError> {
        self.make_exact();
        if !self.seen.contains(&offset) {
            if self.former.len() >= self.words_max {
                return Err(HeapError::TooLarge { found: self.former.len() + 1, max: self.words_max });
            }
            self.seen.insert(offset);
            self.former.push((offset, mem.load(offset)));
        }
        mem.store(offset, value);
        Ok(())
    }

    /// Keeps each word's first entry only, which is the one that counts.
    fn make_exact(&mut self) {
        if !self.is_exact {
            let Self { former, seen, .. } = self;
            former.retain(|&(offset, _)| seen.insert(offset));
            self.is_exact = true;
        }
    }

    /// Refuses what no record could hold.
    fn expect_fits(&mut self, contents: usize) -> Result<(), HeapError> {
        // A run of one word takes two.
        if record::HEADER_WORDS + contents + 2 * self.former.len() <= self.words_max {
            return Ok(());
        }
        self.make_exact();
        let found = record::encoded_words(contents, self.former.iter().map(|&(offset, _)| offset));
        if found > self.words_max {
            return Err(HeapError::TooLarge { found, max: self.words_max });
        }
        Ok(())
    }

    /// Puts back what stood there before the block.
    pub(super) fn roll_back(&mut self, mem: &impl Mem) {
        for (offset, value) in self.former.drain(..).rev() {
            mem.store(offset, value);
        }
    }
}

impl<M: Mem> Tx<'_, M> {
    /// Ends the block: nothing can take it back any more, so what it freed can be used again.
    #[inline]
    pub(super) fn finish_in_place(mut self) -> Result<(), HeapError> {
        if self.words_written() == 0 {
            self.is_finished = self.state.block.undo.is_empty();
            return Ok(());
        }
        self.give_back_empty_chunk()?;
        let contents = self.state.block.contents.len();
        let in_place = self.state.in_place.as_mut().expect("a block of an unshared heap");
        in_place.expect_fits(contents)?;
        // One is enough for the batch to count.
        self.state.records = 1;
        self.is_finished = true;
        while let Some(freed) = self.state.block.freed.pop() {
            self.reuse(freed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
