//! In how many pages of the region the lines of a segment are.

use crate::mapping::PAGE;

/// A half of the log takes no more frames when its lines are in so many pages of the region: what opening may have to
/// store to, twice.
pub const PAGES_MAX: usize = 4096;

/// A set of pages.
///
/// Invariant: `bits` has a bit for each of `members`, and no other.
#[derive(Debug)]
pub(super) struct Pages {
    bits: Vec<u64>,
    members: Vec<u64>,
    most: usize,
    page_bytes: u64,
}

impl Default for Pages {
    fn default() -> Self {
        Pages::new(PAGES_MAX, PAGE)
    }
}

impl Pages {
    /// An empty set that should stay within `most` pages of `page_bytes`.
    pub(super) fn new(most: usize, page_bytes: u64) -> Pages {
        Pages { bits: Vec::new(), members: Vec::new(), most, page_bytes }
    }

    /// From here on the set should stay within `most`.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Adds the pages of lines at `offsets`.
    pub(super) fn add(&mut self, offsets: impl Iterator<Item = u64>) {
        for offset in offsets {
            let page = offset / self.page_bytes;
            let (word, bit) = word_and_bit(page);
            if self.bits.len() <= word {
                self.bits.resize((word + 1).next_power_of_two(), 0);
            }
            if self.bits[word] & bit == 0 {
                self.bits[word] |= bit;
                self.members.push(page);
            }
        }
    }

    /// Adds the pages of lines at `offsets`, unless there would be too many then; says whether it did.
    pub(super) fn add_within_limit(&mut self, offsets: impl Iterator<Item = u64>) -> bool {
        let before = self.members.len();
        self.add(offsets);
        let within = self.members.len() <= self.most;
        if !within {
            self.forget_from(before);
        }
        within
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn clear(&mut self) {
        self.forget_from(0);
    }

    fn forget_from(&mut self, first: usize) {
        for page in self.members.drain(first..) {
            let (word, bit) = word_and_bit(page);
            self.bits[word] &= !bit;
        }
    }
}

fn word_and_bit(page: u64) -> (usize, u64) {
    (usize::try_from(page / 64).expect("a page of a mapping"), 1 << (page % 64))
}
