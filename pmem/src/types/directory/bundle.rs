//! Bundles: several values side by side in one block.
//!
//! ```text
//! word 0, 1  of the garbage list
//!      2     number of roots (low half) | check32(place, number) (high half)
//!      8..   the roots, 8 words each
//! ```
//! All blocks of such sizes begin on a line, and so does each root.

use crate::{
    heap::{HeapError, Tx, View},
    mem::{LINE, Mem, WORD},
    types::{
        Kind, Owned, ROOT_BYTES, TypeError, discard_root, garbage,
        link::{Link, check32, seal, unseal},
        root_kind, visit_root,
    },
};

/// The most values that a bundle has.
pub const BUNDLE_FIELDS_MAX: u32 = 64;
/// Bytes before the roots.
const HEADER: u64 = LINE;
const COUNT: u64 = 2 * WORD;

const _: () = assert!(ROOT_BYTES == LINE, "a root is one line");

/// The values of one object: so many roots in one block, each empty or of any type but a directory.
///
/// It names a place and is good as long as its name is in the [`Directory`](super::Directory). Nobody may follow it after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bundle {
    at: u64,
    count: u32,
}

/// Words of the record that discarding a value takes at most.
fn discard_words(kind: Option<Kind>) -> usize {
    match kind {
        None | Some(Kind::Register) => 0,
        // Up to four entries, each with a block for its value.
        Some(Kind::Map) => 120,
        Some(_) => 40,
    }
}

/// The kind of a root inside of a bundle.
fn field_kind<V: View>(view: &V, root: u64) -> Result<Option<Kind>, TypeError> {
    match root_kind(view, root)? {
        // A directory in a directory could be one in itself.
        Some(Kind::Directory) => Err(HeapError::Corrupt { offset: root }.into()),
        kind => Ok(kind),
    }
}

impl Bundle {
    /// How many roots it has.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// Offset of its block.
    #[must_use]
    pub fn at(self) -> u64 {
        self.at
    }

    /// The root with this number.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    #[inline]
    pub fn root(self, index: u32) -> u64 {
        assert!(index < self.count, "field {index} of {}", self.count);
        self.at + HEADER + u64::from(index) * ROOT_BYTES
    }

    /// All roots, in the order of their numbers.
    pub fn fields(self) -> impl ExactSizeIterator<Item = u64> {
        (0..self.count).map(move |index| self.root(index))
    }

    fn bytes(self) -> u64 {
        HEADER + u64::from(self.count) * ROOT_BYTES
    }

    /// The block.
    pub(super) fn owned(self) -> Owned {
        Owned { offset: self.at, bytes: self.bytes() }
    }

    /// Makes one whose values are all empty.
    pub(crate) fn create<M: Mem>(tx: &mut Tx<'_, M>, count: u32) -> Result<Self, TypeError> {
        if !(1..=BUNDLE_FIELDS_MAX).contains(&count) {
            return Err(TypeError::BadCount { count });
        }
        let bytes = Self { at: 0, count }.bytes();
        let bundle = Self { at: tx.allocate(bytes)?, count };
        let mut block = [0; (HEADER + BUNDLE_FIELDS_MAX as u64 * ROOT_BYTES) as usize];
        block[COUNT as usize..][..8].copy_from_slice(&bundle.head(tx).to_le_bytes());
        // Roots change, perhaps in this batch already.
        tx.put_mutable(bundle.at, &block[..bytes as usize])?;
        Ok(bundle)
    }

    fn head<V: View>(self, view: &V) -> u64 {
        let count = u64::from(self.count);
        count | u64::from(check32(view.heap().seed(), self.at, &[count])) << 32
    }

    /// As the value of a directory's entry.
    pub(super) fn words(self) -> [u64; 2] {
        [Link::Block(self.at).encode(), seal(self.count.into())]
    }

    /// Reads the value of the entry at `entry`.
    #[inline]
    pub(super) fn from_words<V: View>(view: &V, words: [u64; 2], entry: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset: entry };
        let at = Link::decode_block(words[0], entry)?.ok_or(corrupt.clone())?;
        Self::checked(view, at, unseal(words[1], entry)?).ok_or(corrupt)
    }

    /// The bundle at a place that was read from the region.
    fn checked<V: View>(view: &V, at: u64, count: u64) -> Option<Self> {
        let count = u32::try_from(count).ok().filter(|count| (1..=BUNDLE_FIELDS_MAX).contains(count))?;
        let bundle = Self { at, count };
        (at.is_multiple_of(LINE) && view.check(at, bundle.bytes()).is_ok()).then_some(bundle)
    }

    /// A discarded one, of which only the place is known.
    fn of_body<V: View>(view: &V, at: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset: at };
        view.check(at, HEADER)?;
        let bundle = Self::checked(view, at, view.content_word(at + COUNT) & 0xffff_ffff);
        let bundle = bundle.ok_or(corrupt.clone())?;
        bundle.expect_head(view)?;
        Ok(bundle)
    }

    /// Whether the block itself says what it is.
    pub(super) fn expect_head<V: View>(self, view: &V) -> Result<(), HeapError> {
        if view.content_word(self.at + COUNT) == self.head(view) {
            Ok(())
        } else {
            Err(HeapError::Corrupt { offset: self.at })
        }
    }

    /// Visits its block and all blocks of its values.
    pub(super) fn visit<V: View>(self, view: &V, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        self.expect_head(view)?;
        visit(self.owned());
        for root in self.fields() {
            field_kind(view, root)?;
            visit_root(view, root, visit)?;
        }
        Ok(())
    }

    /// Discards all values and frees the block; all of it later, as garbage, if that takes more words than are to be spent now.
    /// Says whether it is garbage now.
    pub(super) fn discard<M: Mem>(self, tx: &mut Tx<'_, M>, words: usize) -> Result<bool, TypeError> {
        self.expect_head(tx)?;
        let mut cost = 0;
        for root in self.fields() {
            cost += discard_words(field_kind(tx, root)?);
        }
        if cost > words {
            garbage::discard_body(tx, Kind::Bundle, self.at)?;
            return Ok(true);
        }
        for root in self.fields() {
            self.discard_field(tx, root)?;
        }
        tx.free(self.at)?;
        Ok(false)
    }

    /// Discards a value before its root is freed. Gives how many words that took at most.
    fn discard_field<M: Mem>(self, tx: &mut Tx<'_, M>, root: u64) -> Result<usize, TypeError> {
        let words = discard_words(field_kind(tx, root)?);
        // What owns nothing goes with its root.
        if words > 0 {
            discard_root(tx, root)?;
        }
        Ok(words)
    }
}

/// Discards some of the values of a bundle that is on the garbage list: as many as `blocks` blocks' words are for, but at least
/// one. Says whether all is free.
pub(crate) fn free_some<M: Mem>(tx: &mut Tx<'_, M>, body: u64, blocks: u32) -> Result<bool, TypeError> {
    let bundle = Bundle::of_body(tx, body)?;
    let words_max = blocks as usize * 16;
    let mut words = 0;
    for root in bundle.fields() {
        let next = discard_words(field_kind(tx, root)?);
        if words > 0 && words + next > words_max {
            return Ok(false);
        }
        words += bundle.discard_field(tx, root)?;
    }
    // What the values left as garbage stands before this body, which must not be taken off the list then.
    if words > 0 {
        return Ok(false);
    }
    tx.free(bundle.at)?;
    Ok(true)
}

/// Visits what is left of a bundle that is on the garbage list.
pub(crate) fn visit_body<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    Bundle::of_body(view, body)?.visit(view, visit)
}
