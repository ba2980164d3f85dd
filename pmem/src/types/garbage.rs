//! Values that nothing reaches any more and that are too large to be freed in one record.
//!
//! A shard's header holds the head of a list of bodies. The first two words of a body's first block are free for it while it
//! is in the list: the next body's offset, and the body's kind in the low 16 bits. Each call of [`collect`] frees a bounded part of the
//! first body. A crash loses nothing: the list is made of words like any other.

use super::{Kind, Owned, TypeError, bytes, directory, list, map, sorted_map};
use crate::{
    heap::{HeapError, SHARD_GARBAGE, Tx, View},
    mem::{Mem, WORD},
};

/// The bits of a body's second word that are its kind. In the others its type keeps how far it has been freed.
pub(crate) const KIND_MASK: u64 = 0xffff;

/// Puts a body on its shard's garbage list. Its first two words must be ones that change through
/// [`Tx::write`] only, and have no meaning for [`free_some`] of its kind. Its blocks may be looked at by readers a while
/// longer; they must not be confused by the two words.
pub(crate) fn discard_body<M: Mem>(tx: &mut Tx<'_, M>, kind: Kind, body: u64) -> Result<(), HeapError> {
    let head = head(tx);
    let first = tx.word(head);
    tx.write(body, first)?;
    tx.write(body + WORD, kind as u64)?;
    tx.write(head, body)
}

fn head<V: View>(view: &V) -> u64 {
    view.heap().layout().shard_header(view.shard()) + SHARD_GARBAGE
}

/// Whether the shard has garbage to collect.
pub fn is_pending<V: View>(view: &V) -> bool {
    view.word(head(view)) != 0
}

/// Frees up to `blocks` blocks of the shard's garbage, roughly. Says whether more is left.
///
/// # Errors
/// Those of the heap; [`HeapError::Corrupt`] if the list is damaged.
pub fn collect<M: Mem>(tx: &mut Tx<'_, M>, blocks: u32) -> Result<bool, TypeError> {
    let head = head(tx);
    let body = tx.word(head);
    if body == 0 {
        return Ok(false);
    }
    tx.set_urgent();
    tx.check(body, 2 * WORD)?;
    let (next, kind) = (tx.word(body), tx.word(body + WORD));
    if free_some(tx, kind, body, blocks)? {
        tx.write(head, next)?;
    }
    Ok(tx.word(head) != 0)
}

/// Frees a part of a body. Says whether all of it is free; then nothing was put on the list, on which the body is first still.
fn free_some<M: Mem>(tx: &mut Tx<'_, M>, kind: u64, body: u64, blocks: u32) -> Result<bool, TypeError> {
    // Each block costs up to ten words of the record.
    let blocks = blocks.clamp(1, (tx.words_max() as u32 / 16).max(1));
    match Kind::from_number(kind & KIND_MASK) {
        Some(Kind::Bytes) => bytes::free_some(tx, body, blocks),
        Some(Kind::Map) => map::free_some(tx, body, blocks),
        Some(Kind::List) => list::free_some(tx, body, blocks),
        Some(Kind::SortedMap) => sorted_map::free_some(tx, body, blocks),
        Some(Kind::Bundle) => directory::free_some_of_bundle(tx, body, blocks),
        Some(Kind::Directory) => directory::free_some(tx, body, blocks),
        _ => Err(HeapError::Corrupt { offset: body + WORD }.into()),
    }
}

/// Visits all blocks of the shard's garbage, for checks.
///
/// # Errors
/// [`HeapError::Corrupt`] where something cannot be.
pub fn visit<V: View>(view: &V, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
    let mut body = view.word(head(view));
    // As many bodies as there can be blocks: a list that is longer runs in a circle.
    let mut left = view.heap().mem().len() / 64;
    while body != 0 {
        view.check(body, 2 * WORD)?;
        left = left.checked_sub(1).ok_or(HeapError::Corrupt { offset: body })?;
        visit_body(view, view.word(body + WORD), body, visit)?;
        body = view.word(body);
    }
    Ok(())
}

/// Visits the blocks of one body.
fn visit_body<V: View>(
    view: &V,
    kind: u64,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    match Kind::from_number(kind & KIND_MASK) {
        Some(Kind::Bytes) => bytes::visit_garbage(view, body, visit),
        Some(Kind::Map) => map::visit_garbage(view, body, visit),
        Some(Kind::List) => list::visit_body(view, body, visit),
        Some(Kind::SortedMap) => sorted_map::visit_body(view, body, visit),
        Some(Kind::Bundle) => directory::visit_bundle(view, body, visit),
        Some(Kind::Directory) => directory::visit_garbage(view, body, visit),
        _ => Err(HeapError::Corrupt { offset: body + WORD }.into()),
    }
}
