//! Walking along a map's list.
//!
//! A reader may walk while the writer changes the list. Nodes that are taken out keep their link and are not used again while
//! somebody may stand on them, so the walk goes on along what was the list at that moment and comes back to what is: each
//! answer is right at some moment of the call.

use super::{buckets::Start, node::Node};
use crate::{
    heap::{HeapError, View},
    mem::{Mem as _, WORD},
    types::{TypeError, link::Link},
};
use std::cmp::Ordering;

/// A place in the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The word that links to what comes next.
    pub(super) link_at: u64,
    /// What stands there; never zero.
    pub(super) link: u64,
    /// The node that it links to, if that is what was looked for.
    pub(super) found: Option<Node>,
}

/// Bounds a walk: no list is longer than there can be nodes and bucket words.
struct Steps(u64);

impl Steps {
    fn new<V: View>(view: &V) -> Self {
        Self(view.heap().mem().len() / WORD)
    }

    fn take(&mut self, at: u64) -> Result<(), HeapError> {
        self.0 = self.0.checked_sub(1).ok_or(HeapError::Corrupt { offset: at })?;
        Ok(())
    }
}

/// Where the key is, or where it would be. `check_other` is given nodes of other keys whose order is the same.
#[inline]
pub(super) fn find<V: View>(
    view: &V,
    start: Start,
    order: u64,
    key: &[u8],
    check_other: impl Fn(&Node) -> Result<(), HeapError>,
) -> Result<Place, HeapError> {
    walk(view, start, order, |node| {
        let compared = node.compare_key(view, key);
        if compared != Ordering::Equal {
            check_other(node)?;
        }
        Ok(compared)
    })
}

/// The place before all keys of this order and greater ones.
pub(super) fn find_first<V: View>(view: &V, start: Start, order: u64) -> Result<Place, HeapError> {
    walk(view, start, order, |_| Ok(Ordering::Greater))
}

/// Walks to the first node that is not less. `compare` is asked for nodes of the same order.
#[inline]
fn walk<V: View>(
    view: &V,
    start: Start,
    order: u64,
    compare: impl Fn(&Node) -> Result<Ordering, HeapError>,
) -> Result<Place, HeapError> {
    let mut link_at = start.at;
    let mut steps = Steps::new(view);
    let mut last_order = 0;
    loop {
        steps.take(link_at)?;
        let link = view.word(link_at);
        let here = Place { link_at, link, found: None };
        match Link::decode(link, link_at)? {
            Link::End => return Ok(here),
            // Bucket 0 of a map that was always empty, or is again. No other search begins at a word of zero.
            Link::None if link_at == start.at => {
                return Ok(Place { link: Link::End.encode(), ..here });
            }
            Link::None => return Err(HeapError::Corrupt { offset: link_at }),
            Link::Bucket { level, .. } if level <= start.depth => return Ok(here),
            Link::Bucket { at, .. } => link_at = view.check(at, WORD)?,
            Link::Block(at) => {
                let node = Node::load(view, at)?;
                if node.order() < last_order {
                    return Err(HeapError::Corrupt { offset: at });
                }
                last_order = node.order();
                let compared = match node.order().cmp(&order) {
                    Ordering::Equal => compare(&node)?,
                    different => different,
                };
                match compared {
                    Ordering::Less => link_at = at,
                    Ordering::Equal => return Ok(Place { found: Some(node), ..here }),
                    Ordering::Greater => return Ok(here),
                }
            }
        }
    }
}

/// Gives `each` the nodes from the link at `link_at` on, until it says that it has enough. Says whether the end was
/// reached.
pub(super) fn for_each<V: View>(
    view: &V,
    mut link_at: u64,
    mut each: impl FnMut(Node) -> Result<bool, TypeError>,
) -> Result<bool, TypeError> {
    let mut steps = Steps::new(view);
    let mut last_order = 0;
    let first = link_at;
    loop {
        steps.take(link_at)?;
        match Link::decode(view.word(link_at), link_at)? {
            Link::End => return Ok(true),
            Link::None if link_at == first => return Ok(true),
            Link::None => return Err(HeapError::Corrupt { offset: link_at }.into()),
            Link::Bucket { at, .. } => link_at = view.check(at, WORD)?,
            Link::Block(at) => {
                let node = Node::load(view, at)?;
                if node.order() < last_order {
                    return Err(HeapError::Corrupt { offset: at }.into());
                }
                last_order = node.order();
                if !each(node)? {
                    return Ok(false);
                }
                link_at = at;
            }
        }
    }
}
