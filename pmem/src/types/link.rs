//! Words that change in place and still carry a check of their own: links to blocks, and small numbers.
//!
//! ```text
//! link     check (11 bits) | level (5) | offset (45 bits, a multiple of 8) | check (3 bits)
//! sealed   check (16 bits) | number (48)
//! ```
//! The check is there for damage, not against an adversary: it finds every single flipped bit, and all but one in
//! thousands of other changes. A link of zero is none.

use crate::heap::HeapError;

const OFFSET_MASK: u64 = 0x0000_ffff_ffff_fff8;
const LEVEL_SHIFT: u32 = 48;
const LEVEL_MAX: u64 = 31;
const CHECK_MASK: u64 = 0xffe0_0000_0000_0007;
const NUMBER_BITS: u32 = 48;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a link word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing was ever stored here.
    None,
    /// The end of a list.
    End,
    /// A block.
    Block(u64),
    /// A bucket's word, which stands in a list for the bucket's beginning.
    Bucket {
        /// Offset of the word.
        at: u64,
        /// Bits of the bucket's number, 1 to 30.
        level: u32,
    },
}

fn check_of(body: u64) -> u64 {
    let mixed = (body ^ 0x5bd1_e995_0000_0000).wrapping_mul(ODD);
    (mixed >> 53 << 53) | (mixed >> 50 & 7)
}

impl Link {
    /// As a word.
    pub(crate) fn encode(self) -> u64 {
        let (offset, level) = match self {
            Link::None => return 0,
            Link::End => (0, LEVEL_MAX),
            Link::Block(at) => (at, 0),
            Link::Bucket { at, level } => {
                assert!(level > 0 && u64::from(level) < LEVEL_MAX, "level {level}");
                (at, level.into())
            }
        };
        assert!(offset & !OFFSET_MASK == 0, "a link to {offset:#x}");
        let body = offset | level << LEVEL_SHIFT;
        body | check_of(body)
    }

    /// Reads the word that stands at `at`.
    #[inline]
    pub(crate) fn decode(word: u64, at: u64) -> Result<Self, HeapError> {
        if word == 0 {
            return Ok(Link::None);
        }
        let body = word & !CHECK_MASK;
        if word & CHECK_MASK != check_of(body) {
            return Err(HeapError::Corrupt { offset: at });
        }
        let offset = body & OFFSET_MASK;
        match body >> LEVEL_SHIFT {
            0 if offset != 0 => Ok(Link::Block(offset)),
            LEVEL_MAX if offset == 0 => Ok(Link::End),
            level @ 1..LEVEL_MAX if offset != 0 => Ok(Link::Bucket { at: offset, level: level as u32 }),
            _ => Err(HeapError::Corrupt { offset: at }),
        }
    }

    /// Reads a word that names a block or nothing.
    #[inline]
    pub(crate) fn decode_block(word: u64, at: u64) -> Result<Option<u64>, HeapError> {
        match Self::decode(word, at)? {
            Link::None => Ok(None),
            Link::Block(offset) => Ok(Some(offset)),
            Link::End | Link::Bucket { .. } => Err(HeapError::Corrupt { offset: at }),
        }
    }
}

/// A number below 2^48 with its check. Zero is zero.
pub(crate) fn seal(number: u64) -> u64 {
    assert!(number <= NUMBER_MASK, "{number} is too large to be sealed");
    if number == 0 { 0 } else { number | seal_check(number) }
}

/// Reads a sealed number that stands at `at`.
#[inline]
pub(crate) fn unseal(word: u64, at: u64) -> Result<u64, HeapError> {
    let number = word & NUMBER_MASK;
    if word == 0 || word & !NUMBER_MASK == seal_check(number) && number != 0 {
        Ok(number)
    } else {
        Err(HeapError::Corrupt { offset: at })
    }
}

fn seal_check(number: u64) -> u64 {
    (number ^ 0x0000_a5a5_0000_0000).wrapping_mul(ODD) >> NUMBER_BITS << NUMBER_BITS
}

/// A check of 32 bits over a few words, seeded with the region's seed and the words' place.
#[inline]
pub(crate) fn check32(seed: u32, at: u64, words: &[u64]) -> u32 {
    let mut mixed = (u64::from(seed) ^ at.rotate_left(24)).wrapping_mul(ODD);
    for &word in words {
        mixed = (mixed ^ mixed >> 32 ^ word).wrapping_mul(ODD);
    }
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_numbers_come_back_as_they_were() {
        for link in
            [Link::None, Link::End, Link::Block(0x1_2340), Link::Bucket { at: 0xffff_ffff_fff8, level: 30 }]
        {
            assert_eq!(Link::decode(link.encode(), 8), Ok(link));
        }
        for number in [0, 1, 7, 1 << 20, NUMBER_MASK] {
            assert_eq!(unseal(seal(number), 8), Ok(number));
        }
    }

    #[test]
    fn each_flipped_bit_is_found() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let at = rng.u64(1..1 << 40) & OFFSET_MASK | 64;
            for link in [Link::Block(at), Link::End, Link::Bucket { at, level: rng.u32(1..31) }] {
                for bit in 0..64 {
                    let word = link.encode() ^ 1 << bit;
                    assert_eq!(
                        Link::decode(word, 8),
                        Err(HeapError::Corrupt { offset: 8 }),
                        "{link:?} {bit}"
                    );
                }
            }
            let number = rng.u64(1..=NUMBER_MASK);
            let words = [rng.u64(..), rng.u64(..), rng.u64(..)];
            let check = check32(5, at, &words);
            for bit in 0..64 {
                assert!(unseal(seal(number) ^ 1 << bit, 8).is_err(), "{number:#x} {bit}");
                for i in 0..3 {
                    let mut flipped = words;
                    flipped[i] ^= 1 << bit;
                    assert_ne!(check32(5, at, &flipped), check, "{words:x?} {i} {bit}");
                }
            }
        }
        for bit in 0..64 {
            assert!(unseal(1 << bit, 8).is_err(), "bit {bit} of a zero");
        }
    }
}
