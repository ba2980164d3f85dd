//! A directory: names of objects, each with a bundle of values.
//!
//! Unlike a name of the [index](crate::index), a name here is created and removed in a failure-atomic block, together with whatever
//! else that block changes, and costs no fence of its own. It is known to one shard, in whose blocks all of it stands.
//!
//! A directory is a map (types/map) of another kind: from the name to the place and the size of a [`Bundle`], a block with the
//! roots of the object's values.
//!
//! ```text
//! root   word 0  7 | level << 16; else as a map's
//! value of an entry
//!        word 0  link to the bundle
//!             1  number of its roots; sealed
//! ```
//! | operation | fences | words of the record, its header of 5 included | allocations |
//! |---|---|---|---|
//! | a read | 0 | | 0 |
//! | create | 1, that of the batch, and an ordering of flushes before the record | 16; more as an insert into a map | 2 |
//! | remove, of registers and empty values | 1, that of the batch | 13 | 2 freed |
//! | remove, of few other values | 1, that of the batch | 13, and 40 for a value, 120 for a map, at most | 2 freed, and the values' |
//! | remove, of many | 1, that of the batch | 16 | 1 freed; the bundle goes to the garbage list |

mod bundle;
mod salvage;
#[cfg(test)]
mod tests;

pub use bundle::{BUNDLE_FIELDS_MAX, Bundle};
pub(crate) use bundle::{free_some as free_some_of_bundle, visit_body as visit_bundle};
pub(crate) use salvage::salvage;

use super::{
    Kind, Map, Owned, Persistent, TypeError,
    map::{self, Node},
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};
use std::collections::HashSet;

/// Bytes of the longest name.
pub const NAME_MAX: usize = 1024;

/// A directory at a root. It is empty until something is created.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    map: Map,
}

/// A part of a directory, in the directory's own order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryPage {
    /// Names and their bundles. The last name is the cursor to go on from, whether or not it is there still.
    pub entries: Vec<(Vec<u8>, Bundle)>,
    /// Whether nothing comes after them.
    pub is_last: bool,
}

impl Persistent for Directory {
    const KIND: Kind = Kind::Directory;

    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        let mut once = Once::new(view);
        Self::at(root).map.visit_with(view, visit, &mut |node, visit| once.visit(node, visit))
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        // A directory of few names, whose bundles go one by one.
        let words = words_to_spend(tx) / 4;
        Self::at(root).map.discard_with(tx, |tx, node| bundle_of(tx, node)?.discard(tx, words).map(drop))
    }
}

/// Words that discarding values may take of a record.
fn words_to_spend<M: Mem>(tx: &Tx<'_, M>) -> usize {
    tx.words_max() / 3
}

fn bundle_of<V: View>(view: &V, node: &Node) -> Result<Bundle, HeapError> {
    Bundle::from_words(view, node.value_words(view)?, node.at())
}

/// Visits bundles, each once: entries that all name one would make a visit without end of a small region.
struct Once<'v, V> {
    view: &'v V,
    seen: HashSet<u64>,
}

impl<'v, V: View> Once<'v, V> {
    fn new(view: &'v V) -> Self {
        Self { view, seen: HashSet::new() }
    }

    fn visit(&mut self, node: &Node, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        let bundle = bundle_of(self.view, node)?;
        if !self.seen.insert(bundle.at()) {
            return Err(HeapError::Corrupt { offset: node.at() }.into());
        }
        bundle.visit(self.view, visit)
    }
}

fn check_name(name: &[u8]) -> Result<(), TypeError> {
    if (1..=NAME_MAX).contains(&name.len()) { Ok(()) } else { Err(TypeError::BadName { bytes: name.len() }) }
}

impl Directory {
    /// The directory at this root.
    #[must_use]
    pub fn at(root: u64) -> Self {
        Self { map: Map::of_kind(root, Kind::Directory) }
    }

    /// Number of names.
    ///
    /// # Errors
    /// [`TypeError::WrongType`], [`HeapError::Corrupt`].
    pub fn len<V: View>(&self, view: &V) -> Result<u64, TypeError> {
        self.map.len(view)
    }

    /// Whether there is no name.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty<V: View>(&self, view: &V) -> Result<bool, TypeError> {
        self.map.is_empty(view)
    }

    /// The bundle of a name. Allocates nothing.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn find<V: View>(&self, view: &V, name: &[u8]) -> Result<Option<Bundle>, TypeError> {
        match self.map.node(view, name)? {
            Some(node) => Ok(Some(bundle_of(view, &node)?)),
            None => Ok(None),
        }
    }

    /// Creates a name with a bundle of `count` empty values. `None`, and nothing was changed, if there is such a name.
    ///
    /// # Errors
    /// [`TypeError::BadName`], [`TypeError::BadCount`], and as [`len`](Self::len), and those of the heap.
    pub fn create<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        name: &[u8],
        count: u32,
    ) -> Result<Option<Bundle>, TypeError> {
        check_name(name)?;
        let mut made = None;
        self.map.insert_absent_with(tx, name, |tx| {
            let bundle = Bundle::create(tx, count)?;
            made = Some(bundle);
            let [link, count] = bundle.words().map(u64::to_le_bytes);
            let mut value = [0; 2 * WORD as usize];
            value[..8].copy_from_slice(&link);
            value[8..].copy_from_slice(&count);
            Ok(value)
        })?;
        Ok(made)
    }

    /// Removes a name and discards the values of its bundle. What takes too many words for that goes to the shard's garbage list, where
    /// [`garbage::collect`](super::garbage::collect) frees it. Says whether the name was there.
    ///
    /// # Errors
    /// As [`len`](Self::len), and those of the heap.
    pub fn remove<M: Mem>(&self, tx: &mut Tx<'_, M>, name: &[u8]) -> Result<bool, TypeError> {
        let Some(bundle) = self.map.take_with(tx, name, |tx, node| Ok(bundle_of(tx, node)?))? else {
            return Ok(false);
        };
        let words = words_to_spend(tx);
        bundle.discard(tx, words)?;
        Ok(true)
    }

    /// Up to `limit` names after `after` in the directory's own order, that of their hashes; the first ones for `None`. Whatever is
    /// changed between two pages, a name that is there all the time is on exactly one.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn page<V: View>(
        &self,
        view: &V,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<DirectoryPage, TypeError> {
        let mut entries = Vec::new();
        let is_last = self.map.node_page(view, after, |name, node| {
            if entries.len() == limit {
                return Ok(false);
            }
            entries.push((name.to_vec(), bundle_of(view, node)?));
            Ok(true)
        })?;
        Ok(DirectoryPage { entries, is_last })
    }
}

/// Frees up to `blocks` blocks of a directory that is on the garbage list; its bundles go before it, or to the list. Says whether all
/// is free.
pub(crate) fn free_some<M: Mem>(tx: &mut Tx<'_, M>, body: u64, blocks: u32) -> Result<bool, TypeError> {
    map::free_some_with(tx, body, blocks, |tx, node| {
        // Only what owns nothing more than its block goes at once.
        bundle_of(tx, node)?.discard(tx, 0)?;
        Ok(1)
    })
}

/// Visits what is left of a directory that is on the garbage list.
pub(crate) fn visit_garbage<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    let mut once = Once::new(view);
    map::visit_garbage_with(view, body, visit, &mut |node, visit| once.visit(node, visit))
}
