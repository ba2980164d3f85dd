//! Reading a damaged sorted map.
//!
//! Each node has a checksum, which covers its place, and names the places of its children; only the root's word that names the tree has
//! none. If that leads to another node, the map is what lies below that one: whoever reports what was read has to say so.

use super::{SortedMap, node::Node};
use crate::{
    heap::View,
    types::salvage::{Counts, Salvage},
};

type Sink<'s, E> = &'s mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>;

/// Gives `each` all keys with their values that can be read, in order.
///
/// # Errors
/// Those of `each`.
pub(crate) fn salvage<V: View, E>(
    view: &V,
    root: u64,
    salvage: &mut Salvage<'_>,
    each: Sink<'_, E>,
) -> Result<Counts, E> {
    let tree = match SortedMap::at(root).tree(view) {
        Ok(0) => return Ok(Counts { saved: 0, expected: Some(0) }),
        Ok(tree) => tree,
        Err(error) => {
            salvage.failed(&error, root, "the root");
            return Ok(Counts::default());
        }
    };
    match Node::load(view, tree) {
        Ok(node) => {
            let mut counts = Counts { saved: 0, expected: Some(node.count) };
            below(view, &node, salvage, &mut counts.saved, each)?;
            Ok(counts)
        }
        Err(error) => {
            salvage.failed(&error.into(), tree, "the tree's root node");
            Ok(Counts::default())
        }
    }
}

/// Reads all below a node. The recursion is as deep as the node's level says, which is below 32. Says whether to go on.
fn below<V: View, E>(
    view: &V,
    node: &Node,
    salvage: &mut Salvage<'_>,
    saved: &mut u64,
    each: Sink<'_, E>,
) -> Result<bool, E> {
    if !salvage.allow(node.offset, node.entry_bytes() as u64) {
        return Ok(false);
    }
    for index in 0..node.len() {
        if node.level > 0 {
            match node.load_child(view, index) {
                Ok(child) => {
                    if !below(view, &child, salvage, saved, each)? {
                        return Ok(false);
                    }
                }
                Err(error) => {
                    let what = format!("a node of {} keys", node.count_of(index));
                    salvage.failed(&error.into(), node.offset, &what);
                }
            }
            continue;
        }
        match node.value(index).read(view) {
            Ok(value) => {
                if !salvage.allow(node.offset, value.len() as u64) {
                    return Ok(false);
                }
                each(node.key(index), &value)?;
                *saved += 1;
            }
            Err(error) => salvage.failed(&error, node.offset, "a value"),
        }
    }
    Ok(true)
}
