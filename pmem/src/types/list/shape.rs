//! The words of a list's root, and how positions become slots.

use super::{
    super::{Kind, TypeError, block_bytes_max, is_fresh},
    End, Slot,
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};

/// Words of a directory before those of its segments. What they are for says garbage.rs.
pub(super) const DIRECTORY_HEADER: u64 = 5;
/// Segments that a first directory has room for.
const FIRST_CAPACITY: u64 = 2;
/// The most slots that a segment has.
const SEGMENT_SLOTS_MAX: u64 = 64;

/// A list's root in ordinary memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Position of the first element.
    pub(super) head: u64,
    /// Position after the last.
    pub(super) tail: u64,
    pub(super) directory: u64,
    /// Segments that the directory has room for.
    pub(super) capacity: u64,
    /// Log2 of a segment's slots.
    bits: u32,
}

/// Log2 of the slots of a segment: eight segments or more share a chunk.
fn segment_bits<V: View>(view: &V) -> u32 {
    (block_bytes_max(view) / 16).clamp(4, SEGMENT_SLOTS_MAX).ilog2()
}

impl Shape {
    /// A shape without elements and directory.
    pub(super) fn empty<V: View>(view: &V) -> Self {
        Self { head: 0, tail: 0, directory: 0, capacity: 0, bits: segment_bits(view) }
    }

    /// A shape of so many elements from position 0 on, to which segments and a directory have yet to be made.
    pub(super) fn with_len<V: View>(view: &V, len: u64) -> Self {
        let shape = Self { tail: len, ..Self::empty(view) };
        Self { capacity: shape.segments().next_power_of_two().max(FIRST_CAPACITY), ..shape }
    }

    /// Reads a root. For a view in which words may change meanwhile, in a snapshot.
    pub(super) fn load<V: View>(view: &V, root: u64) -> Result<Self, TypeError> {
        if is_fresh(view, root, Kind::List)? {
            return Ok(Self::empty(view));
        }
        let word = |i: u64| view.word(root + i * WORD);
        Ok(Self::of_words(view, [word(1), word(2), word(3), word(4)], root)?)
    }

    /// Checks the words of a root, or of a body that was discarded, at `at`.
    pub(super) fn of_words<V: View>(
        view: &V,
        [head, tail, directory, capacity]: [u64; 4],
        at: u64,
    ) -> Result<Self, HeapError> {
        let shape = Self { head, tail, directory, capacity, bits: segment_bits(view) };
        let corrupt = HeapError::Corrupt { offset: at };
        if directory == 0 {
            return if capacity == 0 && head == tail { Ok(shape) } else { Err(corrupt) };
        }
        if !capacity.is_power_of_two() || capacity > view.heap().mem().len() / WORD {
            return Err(corrupt);
        }
        view.check(directory, shape.directory_bytes())?;
        let segments = shape.segments();
        if segments > capacity || shape.len() > segments << shape.bits {
            return Err(corrupt);
        }
        Ok(shape)
    }

    /// Writes what changed of a root.
    pub(super) fn store<M: Mem>(&self, tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        let words = [Kind::List as u64, self.head, self.tail, self.directory, self.capacity];
        for (&word, i) in words.iter().zip(0..) {
            if tx.word(root + i * WORD) != word {
                tx.write(root + i * WORD, word)?;
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.tail.wrapping_sub(self.head)
    }

    pub(super) fn check_index(&self, index: u64, end: u64) -> Result<(), TypeError> {
        if index < end { Ok(()) } else { Err(TypeError::OutOfBounds { position: index, len: self.len() }) }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        WORD << self.bits
    }

    pub(super) fn directory_bytes(&self) -> u64 {
        (DIRECTORY_HEADER + self.capacity) * WORD
    }

    /// Number of the first segment.
    fn first_segment(&self) -> u64 {
        self.head >> self.bits
    }

    /// How many segments exist.
    pub(super) fn segments(&self) -> u64 {
        let end = self.tail.wrapping_add((1 << self.bits) - 1) >> self.bits;
        end.wrapping_sub(self.first_segment()) & (u64::MAX >> self.bits)
    }

    /// Where the directory has the word of a position's segment.
    fn directory_word(&self, position: u64) -> u64 {
        let index = (position >> self.bits) & (self.capacity - 1);
        self.directory + (DIRECTORY_HEADER + index) * WORD
    }

    /// The segment that holds a position.
    pub(super) fn segment<V: View>(&self, view: &V, position: u64) -> Result<u64, HeapError> {
        let at = self.directory_word(position);
        view.check(at, WORD)?;
        let segment = view.word(at);
        view.check(segment, self.segment_bytes()).map_err(|_| HeapError::Corrupt { offset: at })
    }

    /// A position in each segment, from the first on.
    pub(super) fn segment_positions(&self) -> impl Iterator<Item = u64> + use<> {
        let shape = *self;
        (0..shape.segments()).map(move |i| (shape.first_segment().wrapping_add(i)) << shape.bits)
    }

    /// The position at which the segment after that of `position` begins.
    pub(super) fn next_segment(&self, position: u64) -> u64 {
        ((position >> self.bits) + 1) << self.bits
    }

    fn slot_offset<V: View>(&self, view: &V, position: u64) -> Result<u64, HeapError> {
        let index = position & ((1 << self.bits) - 1);
        Ok(self.segment(view, position)? + index * WORD)
    }

    /// The slot of a position.
    pub(super) fn slot<V: View>(&self, view: &V, position: u64) -> Result<Slot, HeapError> {
        Ok(Slot::load(view, self.slot_offset(view, position)?))
    }

    /// The slot of the element at an index.
    pub(super) fn slot_at<V: View>(&self, view: &V, index: u64) -> Result<Slot, HeapError> {
        self.slot(view, self.head.wrapping_add(index))
    }

    /// Position of the element at an end of a list that is not empty.
    fn last_at(&self, end: End) -> u64 {
        match end {
            End::Front => self.head,
            End::Back => self.tail.wrapping_sub(1),
        }
    }

    /// The slot of the element at an end of a list that is not empty.
    pub(super) fn slot_of_end<V: View>(&self, view: &V, end: End) -> Result<Slot, HeapError> {
        self.slot(view, self.last_at(end))
    }

    /// Adds a position at an end. Gives the offset of its slot, which holds anything.
    pub(super) fn open<M: Mem>(&mut self, tx: &mut Tx<'_, M>, end: End) -> Result<u64, TypeError> {
        let mut longer = *self;
        match end {
            End::Front => longer.head = self.head.wrapping_sub(1),
            End::Back => longer.tail = self.tail.wrapping_add(1),
        }
        let position = longer.last_at(end);
        if longer.segments() > self.segments() {
            if longer.segments() > self.capacity {
                self.double_directory(tx)?;
                longer = Self { head: longer.head, tail: longer.tail, ..*self };
            }
            let segment = tx.allocate(self.segment_bytes())?;
            tx.write(longer.directory_word(position), segment)?;
        }
        *self = longer;
        Ok(self.slot_offset(tx, position)?)
    }

    /// Takes the position at an end away, of a list that is not empty.
    pub(super) fn close<M: Mem>(&mut self, tx: &mut Tx<'_, M>, end: End) -> Result<(), TypeError> {
        let position = self.last_at(end);
        let mut shorter = *self;
        match end {
            End::Front => shorter.head = self.head.wrapping_add(1),
            End::Back => shorter.tail = self.tail.wrapping_sub(1),
        }
        if shorter.segments() < self.segments() {
            tx.free(self.segment(tx, position)?)?;
        }
        *self = shorter;
        Ok(())
    }

    /// Replaces the directory by one of twice the room.
    fn double_directory<M: Mem>(&mut self, tx: &mut Tx<'_, M>) -> Result<(), TypeError> {
        let mut larger = Self { capacity: (self.capacity * 2).max(FIRST_CAPACITY), ..*self };
        let segments = self
            .segment_positions()
            .map(|position| Ok((position, self.segment(tx, position)?)))
            .collect::<Result<Vec<_>, HeapError>>()?;
        larger.create_directory(tx, segments)?;
        if self.directory != 0 {
            tx.free(self.directory)?;
        }
        *self = larger;
        Ok(())
    }

    /// Makes a directory of `capacity` with these segments, each with one of its positions.
    pub(super) fn create_directory<M: Mem>(
        &mut self,
        tx: &mut Tx<'_, M>,
        segments: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<(), TypeError> {
        self.directory = tx.allocate(self.directory_bytes())?;
        let mut bytes = vec![0; self.directory_bytes() as usize];
        for (position, segment) in segments {
            let at = (self.directory_word(position) - self.directory) as usize;
            bytes[at..at + 8].copy_from_slice(&segment.to_le_bytes());
        }
        tx.put_mutable(self.directory, &bytes)?;
        Ok(())
    }
}
