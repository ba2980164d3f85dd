//! Changes in the middle of a list: the slots between there and the nearer end move by one.
//!
//! As long as these are few, their words are logged. Otherwise all slots are written into new segments under a new
//! directory, which nobody sees until the root's words change; the old directory goes to the garbage list without its
//! elements.

use super::{super::TypeError, End, List, create_element, garbage::Rest, shape::Shape};
use crate::{
    heap::{HeapError, Tx},
    mem::Mem,
};
use std::ops::Range;

/// The end from which the element at `index` of `len` is nearer, and how many elements lie between.
fn nearer_end(index: u64, behind: u64) -> (End, u64) {
    if index < behind { (End::Front, index) } else { (End::Back, behind) }
}

/// How many slots are moved at most.
fn moved_max<M: Mem>(tx: &Tx<'_, M>) -> u64 {
    tx.words_max() as u64 / 4
}

pub(super) fn insert<M: Mem>(
    list: List,
    tx: &mut Tx<'_, M>,
    index: u64,
    element: &[u8],
) -> Result<(), TypeError> {
    let mut shape = Shape::load(tx, list.root)?;
    let len = shape.len();
    shape.check_index(index, len + 1)?;
    let (end, distance) = nearer_end(index, len - index);
    let word = create_element(tx, element)?;
    if distance > moved_max(tx) {
        let mut words = words_of(tx, &shape, 0..len)?;
        words.insert(index as usize, word);
        return rebuild(list, tx, &shape, &words);
    }
    shape.open(tx, end)?;
    match end {
        End::Front => move_slots(tx, &shape, 1..index + 1, 0)?,
        End::Back => move_slots(tx, &shape, index..len, index + 1)?,
    }
    let slot = shape.slot_at(tx, index)?;
    tx.write(slot.at, word)?;
    shape.store(tx, list.root)
}

pub(super) fn remove<M: Mem>(list: List, tx: &mut Tx<'_, M>, index: u64) -> Result<Vec<u8>, TypeError> {
    tx.set_urgent();
    let mut shape = Shape::load(tx, list.root)?;
    let len = shape.len();
    shape.check_index(index, len)?;
    let (end, distance) = nearer_end(index, len - 1 - index);
    let slot = shape.slot_at(tx, index)?;
    let element = slot.read(tx)?;
    slot.free(tx)?;
    if distance > moved_max(tx) {
        let mut words = words_of(tx, &shape, 0..len)?;
        words.remove(index as usize);
        rebuild(list, tx, &shape, &words)?;
        return Ok(element);
    }
    match end {
        End::Front => move_slots(tx, &shape, 0..index, 1)?,
        End::Back => move_slots(tx, &shape, index + 1..len, index)?,
    }
    shape.close(tx, end)?;
    shape.store(tx, list.root)?;
    Ok(element)
}

/// Copies the slots of a range of indexes to those from `to` on. They are written in the order of their offsets, for the
/// record has one word more for each run.
fn move_slots<M: Mem>(tx: &mut Tx<'_, M>, shape: &Shape, from: Range<u64>, to: u64) -> Result<(), HeapError> {
    for (word, index) in words_of(tx, shape, from)?.into_iter().zip(to..) {
        let slot = shape.slot_at(tx, index)?;
        tx.write(slot.at, word)?;
    }
    Ok(())
}

fn words_of<M: Mem>(tx: &Tx<'_, M>, shape: &Shape, range: Range<u64>) -> Result<Vec<u64>, HeapError> {
    range.map(|index| Ok(shape.slot_at(tx, index)?.word)).collect()
}

/// Makes a list of these slots anew.
fn rebuild<M: Mem>(list: List, tx: &mut Tx<'_, M>, old: &Shape, words: &[u64]) -> Result<(), TypeError> {
    let mut shape = Shape::with_len(tx, words.len() as u64);
    let positions: Vec<u64> = shape.segment_positions().collect();
    // First all blocks, so that a list that is too long is refused before it is copied.
    let segments = positions
        .into_iter()
        .map(|position| Ok((position, tx.allocate(shape.segment_bytes())?)))
        .collect::<Result<Vec<_>, HeapError>>()?;
    for (&(_, segment), words) in segments.iter().zip(words.chunks(shape.segment_bytes() as usize / 8)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        tx.put_mutable(segment, &bytes)?;
    }
    shape.create_directory(tx, segments)?;
    old.discard(tx, Rest::WithoutElements)?;
    shape.store(tx, list.root)
}
