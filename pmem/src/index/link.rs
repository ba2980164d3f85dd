//! Links of the name index's list, and other words that carry a check of their own.
//!
//! ```text
//! bits 0..4     DIRTY, MARK, DUMMY, CLAIMED
//!      4..48    offset of the next node or bucket, a multiple of 16
//!     48..52    low bits of the run that set DIRTY
//!     52..64    check of all that is below
//! ```
//! The check catches every single flipped bit, so that a damaged link is never followed and a flipped MARK never
//! removes a name. A word of zeros is one that was never written.

/// The link may not be durable yet.
const DIRTY: u64 = 1;
/// The node that holds this link is removed; the link never changes again.
const MARK: u64 = 2;
/// The link leads to a bucket, not to a node.
const DUMMY: u64 = 4;
/// The bucket that holds this link is not known to be in the list.
const CLAIMED: u64 = 8;
const OFFSET: u64 = 0x0000_ffff_ffff_fff0;
const RUN_SHIFT: u32 = 48;
const RUN: u64 = 0xf << RUN_SHIFT;
const CHECK_SHIFT: u32 = 52;
const BELOW_CHECK: u64 = (1 << CHECK_SHIFT) - 1;
/// Chosen so that a change of any one bit, or any two, below the check changes the check.
const MULTIPLIER: u64 = 0x91b7_584a_2265_b1f5;

/// Adds the check to a number of up to 52 bits. Zero stays zero.
pub(super) fn seal(number: u64) -> u64 {
    assert!(number <= BELOW_CHECK, "{number:#x} leaves no room for its check");
    number | number.wrapping_mul(MULTIPLIER) & !BELOW_CHECK
}

/// The number in a word, if its check fits.
#[inline]
pub(super) fn unseal(word: u64) -> Option<u64> {
    let number = word & BELOW_CHECK;
    (number | number.wrapping_mul(MULTIPLIER) & !BELOW_CHECK == word).then_some(number)
}

/// A whole link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(u64);

impl Link {
    /// The end of the list.
    pub(super) const NIL: Link = Link(OFFSET);

    /// Reads a word. `None` if it is not one that was written as a link.
    #[inline]
    pub(super) fn from_word(word: u64) -> Option<Self> {
        unseal(word).map(Link)
    }

    /// The word to store.
    #[inline]
    pub(super) fn word(self) -> u64 {
        seal(self.0)
    }

    pub(super) fn to_node(offset: u64) -> Self {
        assert!(offset & !OFFSET == 0 && offset != OFFSET, "a node at {offset:#x}");
        Link(offset)
    }

    pub(super) fn to_bucket(offset: u64) -> Self {
        assert!(offset & !OFFSET == 0 && offset != OFFSET, "a bucket at {offset:#x}");
        Link(offset | DUMMY)
    }

    pub(super) fn offset(self) -> u64 {
        self.0 & OFFSET
    }

    /// Whether the word was never written.
    pub(super) fn is_unset(self) -> bool {
        self.0 == 0
    }

    pub(super) fn is_nil(self) -> bool {
        self.offset() == OFFSET
    }

    pub(super) fn is_marked(self) -> bool {
        self.0 & MARK != 0
    }

    pub(super) fn leads_to_bucket(self) -> bool {
        self.0 & DUMMY != 0
    }

    pub(super) fn is_claimed(self) -> bool {
        self.0 & CLAIMED != 0
    }

    /// Whether the link may not be durable. What an earlier run left is: the region could not have been opened
    /// with it otherwise.
    pub(super) fn is_dirty(self, run: u64) -> bool {
        self.0 & DIRTY != 0 && (self.0 & RUN) >> RUN_SHIFT == run & (RUN >> RUN_SHIFT)
    }

    /// The same link, not known to be durable.
    pub(super) fn dirty(self, run: u64) -> Self {
        Link(self.0 & !RUN | DIRTY | run << RUN_SHIFT & RUN)
    }

    /// The same link, durable.
    pub(super) fn clean(self) -> Self {
        Link(self.0 & !(DIRTY | RUN))
    }

    /// The same link, of a node that is removed.
    pub(super) fn marked(self) -> Self {
        Link(self.0 | MARK)
    }

    /// The same link, of a bucket that is not known to be in the list.
    pub(super) fn claimed(self) -> Self {
        Link(self.0 | CLAIMED)
    }

    /// The same link, of a bucket that is in the list.
    pub(super) fn unclaimed(self) -> Self {
        Link(self.0 & !CLAIMED)
    }

    /// A durable link to where this one leads, without what this one says of its holder.
    pub(super) fn target(self) -> Self {
        Link(self.0 & (OFFSET | DUMMY))
    }

    /// Leads somewhere else, but says the same of its holder.
    pub(super) fn retarget(self, to: Link) -> Self {
        Link(self.0 & (MARK | CLAIMED) | to.target().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_two_never_make_another_link() {
        let samples = [
            Link::NIL,
            Link::to_node(0x1230),
            Link::to_bucket(0xffff_ffff_ff00).claimed(),
            Link::to_node(0x7_0000_0010).marked().dirty(9),
        ];
        for link in samples {
            assert_eq!(Link::from_word(link.word()), Some(link));
            for first in 0..64 {
                for second in 0..=first {
                    let flipped = link.word() ^ (1 << first) ^ if second < first { 1 << second } else { 0 };
                    let read = Link::from_word(flipped);
                    // Two flipped bits may leave a good word where one of them is in the check.
                    let may_pass = second < first && first >= CHECK_SHIFT;
                    assert!(may_pass || read.is_none(), "{link:?} {first} {second}: {read:?}");
                }
            }
        }
    }

    #[test]
    fn a_link_is_dirty_only_in_the_run_that_made_it_so() {
        let link = Link::to_node(0x40).dirty(0x123);
        assert!(link.is_dirty(0x123) && !link.is_dirty(0x124));
        assert_eq!(link.clean(), Link::to_node(0x40));
        assert_eq!(link.dirty(0x124).clean(), Link::to_node(0x40));
    }

    #[test]
    fn a_new_target_keeps_what_is_said_of_the_holder() {
        let link = Link::to_node(0x40).claimed().dirty(1);
        assert_eq!(link.retarget(Link::to_bucket(0x80).marked()), Link::to_bucket(0x80).claimed());
        assert_eq!(Link::to_node(0x40).marked().retarget(Link::NIL), Link::NIL.marked());
    }

    #[test]
    fn zero_is_a_word_that_was_never_written() {
        assert!(Link::from_word(0).unwrap().is_unset());
        assert_eq!(seal(0), 0);
        assert_eq!(unseal(seal(7)), Some(7));
    }

    #[test]
    fn a_word_of_a_lost_page_is_no_link() {
        assert_eq!(unseal(crate::mapping::LOST), None);
    }
}
