//! A list of byte strings that is also a queue, a stack and a deque.
//!
//! ```text
//! root        word 0 kind
//!                  1 head: position of the first element
//!                  2 tail: position after the last
//!                  3 directory, 0 for none
//!                  4 capacity of the directory in segments, a power of two
//! directory   a header of 5 words, see garbage.rs; then a word for each segment: its offset
//! segment     a power of two of slots, a word each
//! slot        odd: 1 | length << 1 | up to 7 bytes in the 7 higher bytes; else the offset of a block (blob.rs)
//! ```
//! Positions are numbers modulo 2^64: pushing at the front takes one from `head`, pushing at the back adds one to
//! `tail`. The slot of position p is in segment p / slots, whose offset stands in the directory at that number modulo the
//! capacity.
//!
//! **Invariants.** `tail - head` is the length. Segment n exists if and only if head / slots <= n < ceil(tail / slots), and these
//! are at most as many as the directory has words. What stands in words of other segments and in slots before the head or behind the
//! tail has no meaning. An element's block never changes; a new element has a new block.
//!
//! **Readers** take a slot's word together with head, tail and directory in one snapshot, and read the element's block
//! afterwards: their epoch keeps it.
//!
//! **Costs.** `len` and `get` fence nothing. Each change is part of one record; the words below are what it adds to the record
//! besides the header of 5 words (a run is one word more for consecutive words), without those of a chunk that is taken or filled
//! (up to 13).
//!
//! | operation | words with their runs |
//! |---|---|
//! | push of up to 7 bytes | 4: slot, tail |
//! | push of more | 7: slot, tail, bit, contents |
//! | one push in so many as a segment has slots | 4 more: bit, directory word |
//! | push that doubles the directory | 6 more: two bits, two root words; and one more ordering of flushes |
//! | pop | 2: head; 4 if a block is freed; 2 more if a segment is |
//! | set | 2 to 5: slot, and bit and contents of the new block, and bit of the old one |
//! | insert, remove | as push and pop, and a word for each slot between there and the nearer end |
//! | ... where those are more than a quarter of a record | all slots are copied; 2 for each 64 new segments, and the root |
//! | clear | 12: the root, the garbage list |

mod garbage;
mod middle;
mod salvage;
mod shape;
#[cfg(test)]
mod tests;
mod truncate;

pub(super) use garbage::{free_some, visit_body};
pub(crate) use salvage::salvage;

use super::{Kind, Owned, Persistent, TypeError, blob, clear_root, is_fresh};
use crate::{
    heap::{HeapError, Tx, View},
    mem::Mem,
};
use shape::Shape;

/// A list. The value is only the root's offset; all else is in the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct List {
    root: u64,
}

/// Which end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl List {
    /// The list with this root, which may be one of zeros.
    #[must_use]
    pub const fn at(root: u64) -> Self {
        Self { root }
    }

    /// How many elements there are.
    ///
    /// # Errors
    /// If the root is not a list's, or is damaged; so with all methods.
    pub fn len<V: View>(self, view: &V) -> Result<u64, TypeError> {
        Ok(view.snapshot(|view| Shape::load(view, self.root))?.len())
    }

    /// Whether there is no element.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty<V: View>(self, view: &V) -> Result<bool, TypeError> {
        Ok(self.len(view)? == 0)
    }

    /// The element at an index, counted from the front.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if it is damaged.
    pub fn get<V: View>(self, view: &V, index: u64) -> Result<Option<Vec<u8>>, TypeError> {
        let slot = view.snapshot(|view| {
            let shape = Shape::load(view, self.root)?;
            if index >= shape.len() {
                return Ok::<_, TypeError>(None);
            }
            Ok(Some(shape.slot_at(view, index)?))
        })?;
        slot.map(|slot| slot.read(view)).transpose()
    }

    /// The first element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn front<V: View>(self, view: &V) -> Result<Option<Vec<u8>>, TypeError> {
        self.get(view, 0)
    }

    /// The last element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn back<V: View>(self, view: &V) -> Result<Option<Vec<u8>>, TypeError> {
        let slot = view.snapshot(|view| {
            let shape = Shape::load(view, self.root)?;
            if shape.len() == 0 {
                return Ok::<_, TypeError>(None);
            }
            Ok(Some(shape.slot_of_end(view, End::Back)?))
        })?;
        slot.map(|slot| slot.read(view)).transpose()
    }

    /// Up to `count` elements from an index on, all as of one instant. A page should be small, for the words of its slots
    /// are looked at again if a batch is committed meanwhile.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn page<V: View>(self, view: &V, index: u64, count: u64) -> Result<Vec<Vec<u8>>, TypeError> {
        let slots = view.snapshot(|view| {
            let shape = Shape::load(view, self.root)?;
            let count = count.min(shape.len().saturating_sub(index));
            (0..count).map(|i| Ok(shape.slot_at(view, index + i)?)).collect::<Result<Vec<Slot>, TypeError>>()
        })?;
        slots.into_iter().map(|slot| slot.read(view)).collect()
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// [`TypeError::TooLarge`] if it is longer than [`BLOB_BYTES_MAX`](super::BLOB_BYTES_MAX);
    /// [`HeapError::NoSpace`].
    pub fn push_back<M: Mem>(self, tx: &mut Tx<'_, M>, element: &[u8]) -> Result<(), TypeError> {
        self.push(tx, End::Back, element)
    }

    /// Adds an element at the front.
    ///
    /// # Errors
    /// As [`push_back`](Self::push_back).
    pub fn push_front<M: Mem>(self, tx: &mut Tx<'_, M>, element: &[u8]) -> Result<(), TypeError> {
        self.push(tx, End::Front, element)
    }

    /// Takes the first element away.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if it is damaged; then it stays.
    pub fn pop_front<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<Option<Vec<u8>>, TypeError> {
        self.pop(tx, End::Front)
    }

    /// Takes the last element away.
    ///
    /// # Errors
    /// As [`pop_front`](Self::pop_front).
    pub fn pop_back<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<Option<Vec<u8>>, TypeError> {
        self.pop(tx, End::Back)
    }

    /// Puts another element in place of the one at an index.
    ///
    /// # Errors
    /// [`TypeError::OutOfBounds`] if there is none, and as [`push_back`](Self::push_back).
    pub fn set<M: Mem>(self, tx: &mut Tx<'_, M>, index: u64, element: &[u8]) -> Result<(), TypeError> {
        let shape = Shape::load(tx, self.root)?;
        shape.check_index(index, shape.len())?;
        let old = shape.slot_at(tx, index)?;
        let word = create_element(tx, element)?;
        tx.write(old.at, word)?;
        old.free(tx)?;
        Ok(())
    }

    /// Adds an element before the one at `index`, or at the end if `index` is the length.
    ///
    /// # Errors
    /// [`TypeError::OutOfBounds`], as [`push_back`](Self::push_back), and [`HeapError::TooLarge`] far from both ends of a
    /// list of very many elements: from about 500 times as many as a record has words.
    pub fn insert<M: Mem>(self, tx: &mut Tx<'_, M>, index: u64, element: &[u8]) -> Result<(), TypeError> {
        middle::insert(self, tx, index, element)
    }

    /// Takes the element at `index` away.
    ///
    /// # Errors
    /// [`TypeError::OutOfBounds`], as [`pop_front`](Self::pop_front) and as [`insert`](Self::insert). Far from both ends
    /// it needs space for new segments.
    pub fn remove<M: Mem>(self, tx: &mut Tx<'_, M>, index: u64) -> Result<Vec<u8>, TypeError> {
        middle::remove(self, tx, index)
    }

    /// Takes the elements from index `len` on away; nothing if there are not more. Costs no more for many of them than for
    /// those of a segment: all others go to the shard's garbage list.
    ///
    /// # Errors
    /// Those of the heap.
    pub fn truncate<M: Mem>(self, tx: &mut Tx<'_, M>, len: u64) -> Result<(), TypeError> {
        truncate::truncate(self, tx, len)
    }

    /// Takes all elements away. Their blocks go to the shard's garbage list.
    ///
    /// # Errors
    /// Those of the heap.
    pub fn clear<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<(), TypeError> {
        if is_fresh(tx, self.root, Kind::List)? {
            return Ok(());
        }
        tx.set_urgent();
        let shape = Shape::load(tx, self.root)?;
        shape.discard(tx, garbage::Rest::WithElements)?;
        Shape::empty(tx).store(tx, self.root)
    }

    fn push<M: Mem>(self, tx: &mut Tx<'_, M>, end: End, element: &[u8]) -> Result<(), TypeError> {
        let mut shape = Shape::load(tx, self.root)?;
        let word = create_element(tx, element)?;
        let at = shape.open(tx, end)?;
        tx.write(at, word)?;
        shape.store(tx, self.root)
    }

    fn pop<M: Mem>(self, tx: &mut Tx<'_, M>, end: End) -> Result<Option<Vec<u8>>, TypeError> {
        tx.set_urgent();
        let mut shape = Shape::load(tx, self.root)?;
        if shape.len() == 0 {
            return Ok(None);
        }
        let slot = shape.slot_of_end(tx, end)?;
        let element = slot.read(tx)?;
        shape.close(tx, end)?;
        slot.free(tx)?;
        shape.store(tx, self.root)?;
        Ok(Some(element))
    }
}

impl Persistent for List {
    const KIND: Kind = Kind::List;

    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        let shape = Shape::load(view, root)?;
        garbage::visit_shape(view, &shape, garbage::Rest::WithElements, visit)
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        Self::at(root).clear(tx)?;
        clear_root(tx, root)
    }
}

/// A slot that was read.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Where it is.
    at: u64,
    word: u64,
}

/// What a slot's word means.
enum Element {
    /// These bytes.
    Inline { len: usize, bytes: [u8; 8] },
    /// Those in the block there.
    Block(u64),
}

/// The longest element that a slot holds itself.
const INLINE_BYTES_MAX: usize = 7;

impl Slot {
    fn load<V: View>(view: &V, at: u64) -> Self {
        Self { at, word: view.word(at) }
    }

    fn element(self) -> Result<Element, HeapError> {
        if self.word & 1 == 0 {
            return Ok(Element::Block(self.word));
        }
        let len = (self.word as u8 >> 1) as usize;
        if len > INLINE_BYTES_MAX {
            return Err(HeapError::Corrupt { offset: self.at });
        }
        Ok(Element::Inline { len, bytes: (self.word >> 8).to_le_bytes() })
    }

    fn read<V: View>(self, view: &V) -> Result<Vec<u8>, TypeError> {
        match self.element()? {
            Element::Inline { len, bytes } => Ok(bytes[..len].to_vec()),
            Element::Block(offset) => Ok(blob::read(view, offset)?),
        }
    }

    /// Frees the element's block, if it has one. Says whether it had.
    fn free<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<bool, TypeError> {
        match self.element()? {
            Element::Inline { .. } => Ok(false),
            Element::Block(offset) => {
                tx.free(offset)?;
                Ok(true)
            }
        }
    }

    fn visit<V: View>(self, view: &V, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        if let Element::Block(offset) = self.element()? {
            visit(blob::owned(view, offset)?);
        }
        Ok(())
    }
}

/// Makes the word of a slot for an element.
fn create_element<M: Mem>(tx: &mut Tx<'_, M>, element: &[u8]) -> Result<u64, TypeError> {
    if element.len() > INLINE_BYTES_MAX {
        return blob::create(tx, element);
    }
    let mut bytes = [0; 8];
    bytes[..element.len()].copy_from_slice(element);
    Ok(u64::from_le_bytes(bytes) << 8 | (element.len() as u64) << 1 | 1)
}
