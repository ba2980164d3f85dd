//! All of a map: visiting its blocks, and freeing them part by part.

use super::{Node, Shape, buckets, walk};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
    types::{Owned, TypeError, link::Link},
};

/// Words of the record that freeing one block takes at most: its bit, and its chunk's place in a list.
const FREE_WORDS_MAX: usize = 10;

/// Visits what the value of a node owns.
pub(in super::super) type Each<'e> = &'e mut dyn FnMut(&Node, &mut dyn FnMut(Owned)) -> Result<(), TypeError>;

/// Visits all blocks below a root.
pub(super) fn visit<V: View>(
    view: &V,
    shape: &Shape,
    visit: &mut dyn FnMut(Owned),
    each: Each<'_>,
) -> Result<(), TypeError> {
    let count = visit_list(view, shape.bucket_zero(), visit, each)?;
    if count != shape.count {
        return Err(HeapError::Corrupt { offset: shape.root + super::COUNT }.into());
    }
    if let Some(directory) = shape.directory {
        buckets::visit(view, directory, 0, visit)?;
    }
    Ok(())
}

/// Visits the blocks of the nodes from a link on. Gives how many nodes there are.
fn visit_list<V: View>(
    view: &V,
    link_at: u64,
    visit: &mut dyn FnMut(Owned),
    each: Each<'_>,
) -> Result<u64, TypeError> {
    let mut count = 0;
    walk::for_each(view, link_at, |node| {
        count += 1;
        visit(Owned { offset: node.at(), bytes: node.bytes() });
        if let Some(block) = node.value_block(view)? {
            visit(block);
        }
        each(&node, visit)?;
        Ok(true)
    })?;
    Ok(count)
}

/// Frees the few entries of a map that has no directory.
pub(super) fn free_few<M: Mem>(
    tx: &mut Tx<'_, M>,
    shape: &Shape,
    mut release: impl FnMut(&mut Tx<'_, M>, &Node) -> Result<(), TypeError>,
) -> Result<(), TypeError> {
    let mut nodes = Vec::new();
    walk::for_each(tx, shape.bucket_zero(), |node| {
        nodes.push(node);
        Ok(nodes.len() as u64 <= buckets::SMALL_MAX)
    })?;
    if nodes.len() as u64 != shape.count {
        return Err(HeapError::Corrupt { offset: shape.root + super::COUNT }.into());
    }
    nodes.iter().try_for_each(|node| {
        release(tx, node)?;
        Ok(node.free(tx)?)
    })
}

/// Visits the blocks of a map that is on the garbage list.
pub(crate) fn visit_garbage<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    visit_garbage_with(view, body, visit, &mut |_, _| Ok(()))
}

/// [`visit_garbage`] of a map whose values own something.
pub(in super::super) fn visit_garbage_with<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
    each: Each<'_>,
) -> Result<(), TypeError> {
    let (_, freed) = buckets::garbage(view, body)?;
    visit_list(view, buckets::garbage_list(body), visit, each)?;
    Ok(buckets::visit(view, body, freed, visit)?)
}

/// Frees up to `blocks` blocks of a map that is on the garbage list, nodes first. Says whether all is free.
pub(crate) fn free_some<M: Mem>(tx: &mut Tx<'_, M>, body: u64, blocks: u32) -> Result<bool, TypeError> {
    free_some_with(tx, body, blocks, |_, _| Ok(0))
}

/// [`free_some`] of a map whose values own something, which `release` frees or puts on the garbage list. It says how many blocks this
/// counts for; if it counts for any, the call does not free all.
pub(in super::super) fn free_some_with<M: Mem>(
    tx: &mut Tx<'_, M>,
    body: u64,
    blocks: u32,
    mut release: impl FnMut(&mut Tx<'_, M>, &Node) -> Result<u32, TypeError>,
) -> Result<bool, TypeError> {
    let mut released = 0;
    let fit = (tx.words_max() / FREE_WORDS_MAX).saturating_sub(2).max(1);
    let mut left = blocks.clamp(1, fit as u32);
    let list_at = buckets::garbage_list(body);
    let (first, _) = buckets::garbage(tx, body)?;
    let mut link = first;
    let mut at = list_at;
    let mut hops = 0_u32;
    while left > 0 {
        match Link::decode(link, at)? {
            Link::None if at == list_at => break,
            Link::None => return Err(HeapError::Corrupt { offset: at }.into()),
            Link::End => break,
            Link::Bucket { at: word, .. } => {
                at = tx.check(word, WORD)?;
                hops += 1;
                // Empty buckets cost a look each; so many are worth a block.
                left -= u32::from(hops.is_multiple_of(64));
            }
            Link::Block(node_at) => {
                let node = super::Node::load(tx, node_at)?;
                at = node_at;
                let cost = release(tx, &node)?;
                released += cost;
                left = left.saturating_sub(cost + if node.value_block(tx)?.is_some() { 2 } else { 1 });
                node.free(tx)?;
            }
        }
        link = tx.word(at);
    }
    if link != first {
        tx.write(list_at, link)?;
    }
    // What was put on the list stands before this body, which must not be taken off it then.
    if left == 0 || released > 0 {
        return Ok(false);
    }
    Ok(buckets::free_some(tx, body, left)?)
}
