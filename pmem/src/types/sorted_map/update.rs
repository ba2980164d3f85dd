//! Changes of the tree: new nodes along the path from the changed leaf to the root, and the root's word.
//!
//! **Rules.** A node whose entries outgrow its bytes is cut in two (or three, if one large entry came between small ones)
//! of about the same bytes. A node that a deletion leaves with less than a quarter of its bytes takes in the entries of a
//! sibling, the left one if there is one, and is cut again if both together are too many. One that is left with
//! none goes. A root with one child makes place for it. So every node has an entry, and all leaves have one depth.
//!
//! **Words of the record.** A level costs a deletion six words at worst: what the new node's contents are; the old one's bit with
//! its run, and the links of its chunk, which was full, with theirs. The header, a chunk that is filled by the new nodes and one
//! that is taken for them, a large value in a chunk that was full, and the root cost 42. A sibling costs five more. Where records are so small that this matters, siblings are let be, and a tree is only
//! as high as a deletion can afford.

use super::{
    super::TypeError,
    node::{Node, Sizes, inner_child, with_key, write_nodes},
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::Mem,
};
use std::ops::Range;

/// Words of a record that a deletion may cost: for itself, for each level, for each sibling.
const WORDS_MIN: usize = 42;
const WORDS_OF_LEVEL: usize = 6;
const WORDS_OF_SIBLING: usize = 5;

/// How many siblings a change of a tree of so many levels can afford to replace too.
fn siblings_max<M: Mem>(tx: &Tx<'_, M>, levels: usize) -> usize {
    tx.words_max().saturating_sub(WORDS_MIN + WORDS_OF_LEVEL * levels) / WORDS_OF_SIBLING
}

/// A node on the way to a key, and the entry at which the way goes on.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    pub(super) index: usize,
}

/// The way to the leaf where a key is or would be, from the root. Says whether it is there.
pub(super) fn path_to<V: View>(view: &V, tree: u64, key: &[u8]) -> Result<(Vec<Step>, bool), TypeError> {
    let mut path = Vec::with_capacity(8);
    let mut node = Node::load(view, tree)?;
    while node.level > 0 {
        let index = node.child_for(key);
        let child = node.load_child(view, index)?;
        path.push(Step { node, index });
        node = child;
    }
    let index = node.lower_bound(key);
    let is_there = index < node.len() && node.key(index) == key;
    path.push(Step { node, index });
    Ok((path, is_there))
}

/// Replaces entries of the leaf at the end of a path, and all nodes of the path. Gives the new root node, or 0.
pub(super) fn replace<M: Mem>(
    tx: &mut Tx<'_, M>,
    sizes: Sizes,
    mut path: Vec<Step>,
    mut replaced: Range<usize>,
    mut new: Vec<Vec<u8>>,
) -> Result<u64, TypeError> {
    let mut siblings_left = siblings_max(tx, path.len());
    while let Some(Step { node, .. }) = path.pop() {
        tx.free(node.offset)?;
        let mut entries: Vec<&[u8]> = node.entries().collect();
        entries.splice(replaced, new.iter().map(Vec::as_slice));
        let Some(parent) = path.last() else {
            return write_root(tx, sizes, node.level, &entries);
        };
        let mut range = parent.index..parent.index + 1;
        let sibling;
        let first_of_right;
        let shrinks = entries.iter().map(|entry| entry.len()).sum::<usize>() < node.entry_bytes();
        let joins = shrinks && !entries.is_empty() && sizes.are_few(&entries);
        if joins && siblings_left > 0 && parent.node.len() > 1 {
            siblings_left -= 1;
            let is_left = range.start > 0;
            if is_left {
                range.start -= 1;
            } else {
                range.end += 1;
            }
            sibling = parent.node.load_child(tx, if is_left { range.start } else { range.end - 1 })?;
            tx.free(sibling.offset)?;
            let others: Vec<&[u8]> = sibling.entries().collect();
            let (mut left, mut right) = if is_left { (others, entries) } else { (entries, others) };
            // The right one's first key stands only in the parent.
            if node.level > 0 {
                first_of_right = with_key(right[0], parent.node.key(range.end - 1));
                right[0] = &first_of_right;
            }
            left.extend(right);
            entries = left;
        }
        let mut written = write_nodes(tx, sizes, node.level, &entries)?;
        if let Some(first) = written.first_mut() {
            *first = with_key(first, parent.node.key(range.start));
        }
        replaced = range;
        new = written;
    }
    write_root(tx, sizes, 0, &new.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Writes the entries of a root, with as many levels above them as they need.
fn write_root<M: Mem>(
    tx: &mut Tx<'_, M>,
    sizes: Sizes,
    mut level: u8,
    entries: &[&[u8]],
) -> Result<u64, TypeError> {
    if level > 0 && entries.len() == 1 {
        return Ok(inner_child(entries[0]));
    }
    let mut nodes = write_nodes(tx, sizes, level, entries)?;
    while nodes.len() > 1 {
        level += 1;
        let words = WORDS_MIN + WORDS_OF_LEVEL * (usize::from(level) + 1);
        if words > tx.words_max() {
            return Err(HeapError::TooLarge { found: words, max: tx.words_max() }.into());
        }
        nodes = write_nodes(tx, sizes, level, &nodes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    }
    Ok(nodes.first().map_or(0, |entry| inner_child(entry)))
}
