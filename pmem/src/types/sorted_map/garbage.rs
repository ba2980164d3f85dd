//! Trees that no root names any more: how they are freed, a part at a time.
//!
//! A tree's root node is on the garbage list. In its second word stands, beside the kind, how many of its entries are
//! dealt with. An inner node's leaves are freed with it; an inner child, or a leaf with many large values, is put on the
//! list before its parent instead, and freed first. So nothing is looked at twice, and no list of what is left is
//! needed.

use super::{
    super::{
        Kind, Owned, TypeError, blob,
        garbage::{KIND_MASK, discard_body},
    },
    node::{Node, Sizes, Value},
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};

const DONE_SHIFT: u32 = KIND_MASK.count_ones();

/// A discarded root node, and how many of its entries are dealt with.
fn load_body<V: View>(view: &V, body: u64) -> Result<(Node, usize), HeapError> {
    let node = Node::load(view, body)?;
    let done = (view.word(body + WORD) >> DONE_SHIFT) as usize;
    if done > node.len() {
        return Err(HeapError::Corrupt { offset: body + WORD });
    }
    Ok((node, done))
}

fn blocks_of(leaf: &Node, from: usize) -> impl Iterator<Item = u64> + '_ {
    (from..leaf.len()).filter_map(|index| match leaf.value(index) {
        Value::Block(offset) => Some(offset),
        Value::Inline(_) => None,
    })
}

/// Frees up to `blocks` blocks of a discarded tree, and one more. Says whether all are free.
pub(in super::super) fn free_some<M: Mem>(
    tx: &mut Tx<'_, M>,
    body: u64,
    blocks: u32,
) -> Result<bool, TypeError> {
    let (node, mut done) = load_body(tx, body)?;
    let mut left = blocks as usize;
    while done < node.len() {
        if left == 0 {
            tx.write(body + WORD, Kind::SortedMap as u64 | (done as u64) << DONE_SHIFT)?;
            return Ok(false);
        }
        if node.level == 0 {
            if let Value::Block(offset) = node.value(done) {
                tx.free(offset)?;
                left -= 1;
            }
            done += 1;
            continue;
        }
        let child = node.load_child(tx, done)?;
        done += 1;
        let cost = 1 + if child.level == 0 { blocks_of(&child, 0).count() } else { usize::MAX - 1 };
        if cost > left.max(1) {
            discard_body(tx, Kind::SortedMap, child.offset)?;
            tx.write(body + WORD, Kind::SortedMap as u64 | (done as u64) << DONE_SHIFT)?;
            return Ok(false);
        }
        blocks_of(&child, 0).try_for_each(|offset| tx.free(offset))?;
        tx.free(child.offset)?;
        left -= cost;
    }
    tx.free(body)?;
    Ok(true)
}

/// Visits what is left of a discarded tree.
pub(in super::super) fn visit_body<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    let (node, done) = load_body(view, body)?;
    Visitor::new(view, visit).visit(node, done)
}

/// Visits all blocks of a tree.
pub(super) fn visit_tree<V: View>(
    view: &V,
    tree: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    Visitor::new(view, visit).visit(Node::load(view, tree)?, 0)
}

/// Walks a tree.
struct Visitor<'v, V> {
    view: &'v V,
    visit: &'v mut dyn FnMut(Owned),
    /// As many nodes as there can be: a tree that is not one would have more.
    nodes_left: u64,
}

impl<'v, V: View> Visitor<'v, V> {
    fn new(view: &'v V, visit: &'v mut dyn FnMut(Owned)) -> Self {
        let nodes_left = view.heap().mem().len() / 64;
        Self { view, visit, nodes_left }
    }

    fn visit(&mut self, node: Node, from: usize) -> Result<(), TypeError> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(HeapError::Corrupt { offset: node.offset })?;
        (self.visit)(node.owned(Sizes::of(self.view)));
        if node.level == 0 {
            for offset in blocks_of(&node, from) {
                (self.visit)(blob::owned(self.view, offset)?);
            }
            return Ok(());
        }
        for index in from..node.len() {
            self.visit(node.load_child(self.view, index)?, 0)?;
        }
        Ok(())
    }
}
