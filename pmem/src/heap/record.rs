//! Redo records: what a failure-atomic block changes, as it stands in its shard's ring.
//!
//! ```text
//! word 0   checksum of all that follows (low half) | words of the record (high half)
//!      1   run id
//!      2   batch
//!      3   index in the batch (16 bits) | entries (16) | contents (16) | records of the batch before (16)
//!      4   checksum of the contents (low half)
//!      5.. one word for each content: offset | words << 48
//!      ..  entries, each a word offset | words << 48, and then so many words
//! ```
//! A record begins on a line. Both checksums are sealed ones, since what they cover has checksums of its own (see
//! [`sealed`]). The record's is seeded with the region's and with the record's own offset.

use crate::{
    checksum::{checksum, sealed},
    mem::{Mem, Rule, WORD},
};

/// Words before the contents.
pub(super) const HEADER_WORDS: usize = 5;
const OFFSET_BITS: u32 = 48;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
/// The greatest length of a content or an entry, in words.
pub(super) const RUN_WORDS_MAX: u64 = (1 << 16) - 1;
/// Bytes of a line, in words.
const LINE_WORDS: usize = 8;

/// Offset and length of a run of words, in one word.
pub(super) fn run_word(offset: u64, words: u64) -> u64 {
    assert!(offset <= OFFSET_MASK && words <= RUN_WORDS_MAX, "run {offset:#x}, {words} words");
    offset | words << OFFSET_BITS
}

fn split_run(word: u64) -> (u64, usize) {
    (word & OFFSET_MASK, (word >> OFFSET_BITS) as usize)
}

/// The slot of a batch. Rule R5: there must be more slots than batches that recovery needs.
pub(super) fn ring_slot(mem: &impl Mem, batch: u64) -> u64 {
    if mem.broken(Rule::R5ThreeSlots) { batch % 2 } else { batch % 4 }
}

/// What a record's header says besides its lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) run_id: u64,
    pub(super) batch: u64,
    pub(super) index: u16,
    /// Records of the batch before; zero if that was before the watermark.
    pub(super) records_before: u16,
}

/// A record that was read back.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    content_crc: u32,
    /// Words from its first to the next record's, whole lines.
    pub(super) stride: usize,
    /// All its words.
    words: Vec<u64>,
}

/// Whole lines that so many words take, in words.
pub(super) fn padded(words: usize) -> usize {
    words.next_multiple_of(LINE_WORDS)
}

/// The words of a record: header, contents, entries.
///
/// `changes` are words by their offsets; those that stand one behind the other become one entry.
pub(super) fn encode(
    out: &mut Vec<u64>,
    seed: u32,
    at: u64,
    place: Place,
    (contents, content_crc): (&[u64], u32),
    changes: &[(u64, u64)],
) {
    out.clear();
    out.reserve(HEADER_WORDS + contents.len() + 2 * changes.len());
    out.extend([0, place.run_id, place.batch, 0, content_crc.into()]);
    out.extend_from_slice(contents);
    let mut entry_count = 0;
    // The word of the entry that grows, its length, and the offset that it would go on with.
    let (mut head, mut len, mut next) = (0, 0, 0);
    for &(offset, value) in changes {
        if offset != next || len == RUN_WORDS_MAX {
            entry_count += 1;
            (head, len) = (out.len(), 0);
            out.push(run_word(offset, 0));
        }
        out.push(value);
        out[head] += 1 << OFFSET_BITS;
        len += 1;
        next = offset + WORD;
    }
    out[3] = u64::from(place.index)
        | entry_count << 16
        | (contents.len() as u64) << 32
        | u64::from(place.records_before) << 48;
    let crc = sealed(record_seed(seed, at, out.len()), &out[1..]);
    out[0] = u64::from(crc) | (out.len() as u64) << 32;
}

/// Words of the record that [`encode`] makes of so many contents and the changes of words at these offsets.
pub(super) fn encoded_words(contents: usize, offsets: impl Iterator<Item = u64>) -> usize {
    let (mut words, mut len, mut next) = (HEADER_WORDS + contents, 0, 0);
    for offset in offsets {
        if offset != next || len == RUN_WORDS_MAX {
            words += 1;
            len = 0;
        }
        words += 1;
        len += 1;
        next = offset + WORD;
    }
    words
}

/// Seeds a record's checksum with its place in the region and its length.
fn record_seed(seed: u32, at: u64, words: usize) -> u32 {
    checksum(seed, &[at, words as u64])
}

impl Record {
    /// Reads the record at an offset, with at most `room` words. `None` if there is no whole one.
    /// Any bytes are welcome. With `trust`, the checksum is not looked at: only to show that it is needed.
    pub(super) fn read(mem: &impl Mem, seed: u32, at: u64, room: usize, trust: bool) -> Option<Self> {
        if room < HEADER_WORDS {
            return None;
        }
        let head = mem.load(at);
        let len = (head >> 32) as usize;
        if len < HEADER_WORDS || len > room {
            return None;
        }
        let words: Vec<u64> =
            std::iter::once(head).chain((1..len).map(|i| mem.load(at + i as u64 * WORD))).collect();
        if head as u32 != sealed(record_seed(seed, at, len), &words[1..]) && !trust {
            return None;
        }
        let place = Place {
            run_id: words[1],
            batch: words[2],
            index: words[3] as u16,
            records_before: (words[3] >> 48) as u16,
        };
        let record = Self { place, content_crc: words[4] as u32, stride: padded(len), words };
        record.is_well_formed().then_some(record)
    }

    fn content_count(&self) -> usize {
        (self.words[3] >> 32) as u16 as usize
    }

    fn entry_count(&self) -> usize {
        (self.words[3] >> 16) as u16 as usize
    }

    fn is_well_formed(&self) -> bool {
        let mut at = HEADER_WORDS + self.content_count();
        for _ in 0..self.entry_count() {
            let Some(&word) = self.words.get(at) else { return false };
            at += 1 + split_run(word).1;
        }
        at == self.words.len()
    }

    /// New contents that the record names: offset and words of each.
    pub(super) fn contents(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.words[HEADER_WORDS..HEADER_WORDS + self.content_count()].iter().map(|&word| split_run(word))
    }

    /// Runs of words to store: offset and the words from there.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, &[u64])> + '_ {
        let mut at = HEADER_WORDS + self.content_count();
        (0..self.entry_count()).map(move |_| {
            let (offset, len) = split_run(self.words[at]);
            let values = &self.words[at + 1..at + 1 + len];
            at += 1 + len;
            (offset, values)
        })
    }

    /// Whether all runs that the record names are aligned and inside of `bytes` bytes.
    pub(super) fn stays_within(&self, bytes: u64) -> bool {
        let inside =
            |offset: u64, words: usize| offset.is_multiple_of(WORD) && offset + words as u64 * WORD <= bytes;
        self.contents().all(|(offset, words)| inside(offset, words))
            && self.entries().all(|(offset, values)| inside(offset, values.len()))
    }

    /// Whether the new contents are as they were when the record was made.
    pub(super) fn contents_are_whole(&self, mem: &impl Mem, seed: u32) -> bool {
        let mut crc = seed;
        for (offset, words) in self.contents() {
            let words: Vec<u64> = (0..words as u64).map(|i| mem.load(offset + i * WORD)).collect();
            crc = sealed(crc, &words);
        }
        crc == self.content_crc
    }
}
