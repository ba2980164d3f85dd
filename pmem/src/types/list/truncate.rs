//! Taking the end of a list away.
//!
//! The list keeps its directory, and its segments up to the one of its last element. Those behind it get a directory of their own,
//! which goes to the garbage list with their elements.

use super::{super::TypeError, List, garbage::Rest, shape::Shape};
use crate::{
    heap::{HeapError, Tx},
    mem::Mem,
};

pub(super) fn truncate<M: Mem>(list: List, tx: &mut Tx<'_, M>, len: u64) -> Result<(), TypeError> {
    tx.set_urgent();
    let shape = Shape::load(tx, list.root)?;
    if len >= shape.len() {
        return Ok(());
    }
    if len == 0 {
        return list.clear(tx);
    }
    let mut shorter = shape;
    shorter.tail = shape.head.wrapping_add(len);
    // Positions may wrap around; indexes do not.
    let behind = shape.next_segment(shorter.tail.wrapping_sub(1));
    let behind_index = behind.wrapping_sub(shape.head);
    for index in len..behind_index.min(shape.len()) {
        shape.slot_at(tx, index)?.free(tx)?;
    }
    if behind_index < shape.len() {
        let mut rest = Shape::with_len(tx, shape.len() - behind_index);
        (rest.head, rest.tail) = (behind, shape.tail);
        let segments = rest
            .segment_positions()
            .map(|position| Ok((position, shape.segment(tx, position)?)))
            .collect::<Result<Vec<_>, HeapError>>()?;
        rest.create_directory(tx, segments)?;
        rest.discard(tx, Rest::WithElements)?;
    }
    shorter.store(tx, list.root)
}
