//! Directories that no root names any more: how their list is freed, a part at a time.
//!
//! ```text
//! directory   words 0 and 1 those of the garbage list (types/garbage.rs)
//!             word 2 head, 3 tail: what is left to free
//!                  4 capacity | 1 << 63 if the elements belong to another directory now
//! ```
//! These five words have no meaning before a directory is discarded.

use super::{
    super::{Kind, Owned, TypeError, garbage::discard_body},
    shape::Shape,
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};

/// Set in the word of the capacity if the elements are not to be freed.
const WITHOUT_ELEMENTS: u64 = 1 << 63;

/// What belongs to a directory besides its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    WithElements,
    WithoutElements,
}

impl Shape {
    /// Puts the directory, and all that it leads to, on the garbage list.
    pub(super) fn discard<M: Mem>(&self, tx: &mut Tx<'_, M>, rest: Rest) -> Result<(), TypeError> {
        if self.directory == 0 {
            return Ok(());
        }
        let flag = if rest == Rest::WithoutElements { WITHOUT_ELEMENTS } else { 0 };
        discard_body(tx, Kind::List, self.directory)?;
        tx.write_all(self.directory + 2 * WORD, &[self.head, self.tail, self.capacity | flag])?;
        Ok(())
    }

    /// Reads what is left of a list that was discarded.
    fn of_body<V: View>(view: &V, body: u64) -> Result<(Self, Rest), HeapError> {
        view.check(body, 5 * WORD)?;
        let word = |i: u64| view.word(body + i * WORD);
        let capacity = word(4);
        let rest = if capacity & WITHOUT_ELEMENTS == 0 { Rest::WithElements } else { Rest::WithoutElements };
        let shape = Self::of_words(view, [word(2), word(3), body, capacity & !WITHOUT_ELEMENTS], body)?;
        Ok((shape, rest))
    }
}

/// Frees up to `blocks` blocks of a discarded list, and one or two more. Says whether all are free.
pub(in super::super) fn free_some<M: Mem>(
    tx: &mut Tx<'_, M>,
    body: u64,
    blocks: u32,
) -> Result<bool, TypeError> {
    let (mut shape, rest) = Shape::of_body(tx, body)?;
    let mut left = blocks;
    while shape.segments() > 0 {
        if left == 0 {
            tx.write(body + 2 * WORD, shape.head)?;
            return Ok(false);
        }
        let segment = shape.segment(tx, shape.head)?;
        let next = shape.next_segment(shape.head);
        let end = if shape.segments() == 1 { shape.tail } else { next };
        while rest == Rest::WithElements && shape.head != end && left > 0 {
            if shape.slot_at(tx, 0)?.free(tx)? {
                left -= 1;
            }
            shape.head = shape.head.wrapping_add(1);
        }
        // A segment goes with its last element, for the head that is written back cannot tell them apart.
        if rest == Rest::WithoutElements || shape.head == end {
            tx.free(segment)?;
            left = left.saturating_sub(1);
            if end == shape.tail {
                break;
            }
            shape.head = end;
        }
    }
    tx.free(body)?;
    Ok(true)
}

/// Visits what is left of a discarded list.
pub(in super::super) fn visit_body<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    let (shape, rest) = Shape::of_body(view, body)?;
    visit_shape(view, &shape, rest, visit)
}

/// Visits all blocks below a root or a body.
pub(super) fn visit_shape<V: View>(
    view: &V,
    shape: &Shape,
    rest: Rest,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    if shape.directory == 0 {
        return Ok(());
    }
    visit(Owned { offset: shape.directory, bytes: shape.directory_bytes() });
    for position in shape.segment_positions() {
        visit(Owned { offset: shape.segment(view, position)?, bytes: shape.segment_bytes() });
    }
    if rest == Rest::WithElements {
        for index in 0..shape.len() {
            shape.slot_at(view, index)?.visit(view, visit)?;
        }
    }
    Ok(())
}
