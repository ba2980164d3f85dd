//! A map in the order of its keys, which are byte strings: a copy-on-write B+tree.
//!
//! ```text
//! root   word 0 kind
//!             1 offset of the tree's root node, 0 for none
//! node   see node.rs
//! ```
//! Nodes never change. A change writes new ones from the leaf to the root, unlogged, frees the old ones, and its record
//! swaps the root's word. So a reader that has taken that word has the whole map of one instant for as long as it lives, and
//! iterators need nothing else. Each node knows how many keys lie below each of its children, for ranks.
//!
//! **Costs.** Reads fence nothing; they load a node a level and check its checksum. A change is part of one record.
//! With h levels it adds about 3 h + 2 words to the record besides its header of 5 (h contents, and with their runs h bits
//! taken and h bits given back, fewer where nodes share a chunk), and flushes the used lines of h nodes of up to
//! 512 bytes. A large value costs 3 words more, an old one that is replaced 2. A chunk that is taken or filled costs up to 13.
//!
//! Logging the child's word in the parent instead of copying the parent would flush about a third of the lines, but then a
//! reader would see keys of one leaf as of one instant and of the next as of another, and ranks not at all without repeating its
//! walk whenever a batch is committed.

mod garbage;
mod node;
mod range;
mod salvage;
#[cfg(test)]
mod tests;
mod update;

pub(super) use garbage::{free_some, visit_body};
pub use range::Range;
pub(crate) use salvage::salvage;

use super::{Kind, Owned, Persistent, TypeError, blob, clear_root, garbage::discard_body, is_fresh};
use crate::{
    heap::{Tx, View},
    mem::{Mem, WORD},
};
use node::{Node, Sizes, Value, leaf_entry};
use range::{Pair, pair_at};
use std::ops::{Bound, RangeBounds};
use update::{path_to, replace};

/// A map in the order of its keys. The value is only the root's offset; all else is in the region.
///
/// All methods fail if the root is another type's, or damaged, and with [`HeapError::Corrupt`](crate::HeapError::Corrupt)
/// if a node or a value on their way is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortedMap {
    root: u64,
}

impl SortedMap {
    /// The map with this root, which may be one of zeros.
    #[must_use]
    pub const fn at(root: u64) -> Self {
        Self { root }
    }

    /// The longest key that a region's maps can have: 1024 bytes, or less where chunks are small.
    pub fn key_bytes_max<V: View>(view: &V) -> u64 {
        Sizes::of(view).key_max()
    }

    /// The root node; 0 if the map is empty.
    fn tree<V: View>(self, view: &V) -> Result<u64, TypeError> {
        view.snapshot(|view| {
            let is_fresh = is_fresh(view, self.root, Kind::SortedMap)?;
            Ok(if is_fresh { 0 } else { view.word(self.root + WORD) })
        })
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// As all methods.
    pub fn len<V: View>(self, view: &V) -> Result<u64, TypeError> {
        len_of(view, self.tree(view)?)
    }

    /// Whether there is no key.
    ///
    /// # Errors
    /// As all methods.
    pub fn is_empty<V: View>(self, view: &V) -> Result<bool, TypeError> {
        Ok(self.tree(view)? == 0)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As all methods.
    pub fn get<V: View>(self, view: &V, key: &[u8]) -> Result<Option<Vec<u8>>, TypeError> {
        let tree = self.tree(view)?;
        if tree == 0 {
            return Ok(None);
        }
        let mut node = Node::load(view, tree)?;
        while node.level > 0 {
            node = node.load_child(view, node.child_for(key))?;
        }
        let index = node.lower_bound(key);
        if index == node.len() || node.key(index) != key {
            return Ok(None);
        }
        node.value(index).read(view).map(Some)
    }

    /// How many keys are below `key`.
    ///
    /// # Errors
    /// As all methods.
    pub fn rank<V: View>(self, view: &V, key: &[u8]) -> Result<u64, TypeError> {
        rank_of(view, self.tree(view)?, key, false)
    }

    /// The key with so many keys below it, and its value.
    ///
    /// # Errors
    /// As all methods.
    pub fn nth<V: View>(self, view: &V, rank: u64) -> Result<Option<Pair>, TypeError> {
        pair_at(view, self.tree(view)?, rank)
    }

    /// The least key.
    ///
    /// # Errors
    /// As all methods.
    pub fn first<V: View>(self, view: &V) -> Result<Option<Pair>, TypeError> {
        self.nth(view, 0)
    }

    /// The greatest key.
    ///
    /// # Errors
    /// As all methods.
    pub fn last<V: View>(self, view: &V) -> Result<Option<Pair>, TypeError> {
        let tree = self.tree(view)?;
        before(view, tree, len_of(view, tree)?)
    }

    /// The greatest key that is not above `key`.
    ///
    /// # Errors
    /// As all methods.
    pub fn floor<V: View>(self, view: &V, key: &[u8]) -> Result<Option<Pair>, TypeError> {
        let tree = self.tree(view)?;
        before(view, tree, rank_of(view, tree, key, true)?)
    }

    /// The greatest key below `key`.
    ///
    /// # Errors
    /// As all methods.
    pub fn lower<V: View>(self, view: &V, key: &[u8]) -> Result<Option<Pair>, TypeError> {
        let tree = self.tree(view)?;
        before(view, tree, rank_of(view, tree, key, false)?)
    }

    /// The least key that is not below `key`.
    ///
    /// # Errors
    /// As all methods.
    pub fn ceiling<V: View>(self, view: &V, key: &[u8]) -> Result<Option<Pair>, TypeError> {
        let tree = self.tree(view)?;
        pair_at(view, tree, rank_of(view, tree, key, false)?)
    }

    /// The least key above `key`.
    ///
    /// # Errors
    /// As all methods.
    pub fn higher<V: View>(self, view: &V, key: &[u8]) -> Result<Option<Pair>, TypeError> {
        let tree = self.tree(view)?;
        pair_at(view, tree, rank_of(view, tree, key, true)?)
    }

    /// All keys between bounds with their values, in order, as of now. Empty if the bounds cross.
    ///
    /// # Errors
    /// As all methods.
    pub fn range<'v, 'k, V: View>(
        self,
        view: &'v V,
        bounds: impl RangeBounds<&'k [u8]>,
    ) -> Result<Range<'v, V>, TypeError> {
        let tree = self.tree(view)?;
        let from = match bounds.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(key) => rank_of(view, tree, key, false)?,
            Bound::Excluded(key) => rank_of(view, tree, key, true)?,
        };
        let to = match bounds.end_bound() {
            Bound::Unbounded => len_of(view, tree)?,
            Bound::Included(key) => rank_of(view, tree, key, true)?,
            Bound::Excluded(key) => rank_of(view, tree, key, false)?,
        };
        Ok(Range::new(view, tree, from, to))
    }

    /// Gives a key a value. Says whether it had none before.
    ///
    /// # Errors
    /// [`TypeError::TooLarge`] if the key is longer than [`key_bytes_max`](Self::key_bytes_max) or the value longer than
    /// [`BLOB_BYTES_MAX`](super::BLOB_BYTES_MAX); [`HeapError::NoSpace`](crate::HeapError::NoSpace);
    /// [`HeapError::TooLarge`](crate::HeapError::TooLarge) where ring slots are so small that no deletion from a tree one
    /// level higher would fit a record: three levels with slots of 1 KiB, all levels with 4 KiB and more.
    pub fn insert<M: Mem>(self, tx: &mut Tx<'_, M>, key: &[u8], value: &[u8]) -> Result<bool, TypeError> {
        let sizes = Sizes::of(tx);
        let key_bytes = key.len() as u64;
        if key_bytes > sizes.key_max() {
            return Err(TypeError::TooLarge { bytes: key_bytes, max: sizes.key_max() });
        }
        blob::check_len(value)?;
        let tree = self.tree(tx)?;
        let (path, is_there) = if tree == 0 { (Vec::new(), false) } else { path_to(tx, tree, key)? };
        let stored = if sizes.is_inline(key.len(), value.len()) {
            Value::Inline(value)
        } else {
            Value::Block(blob::create(tx, value)?)
        };
        let start = path.last().map_or(0, |step| step.index);
        if is_there && let Some(Value::Block(old)) = path.last().map(|step| step.node.value(start)) {
            tx.free(old)?;
        }
        let replaced = start..start + usize::from(is_there);
        let new = replace(tx, sizes, path, replaced, vec![leaf_entry(key, stored)])?;
        self.set_tree(tx, new)?;
        Ok(!is_there)
    }

    /// Takes a key away. Gives the value that it had.
    ///
    /// It takes a block for each level before it frees one, also in a full region, from the space that is kept for that.
    ///
    /// # Errors
    /// [`HeapError::NoSpace`](crate::HeapError::NoSpace) if that is used up: by many deletions in one batch, or by
    /// readers that stay.
    pub fn remove<M: Mem>(self, tx: &mut Tx<'_, M>, key: &[u8]) -> Result<Option<Vec<u8>>, TypeError> {
        tx.set_urgent();
        let tree = self.tree(tx)?;
        if tree == 0 {
            return Ok(None);
        }
        let (path, is_there) = path_to(tx, tree, key)?;
        let Some(leaf) = path.last().filter(|_| is_there) else { return Ok(None) };
        let index = leaf.index;
        let stored = leaf.node.value(index);
        let value = stored.read(tx)?;
        if let Value::Block(offset) = stored {
            tx.free(offset)?;
        }
        let new = replace(tx, Sizes::of(tx), path, index..index + 1, Vec::new())?;
        self.set_tree(tx, new)?;
        Ok(Some(value))
    }

    /// Takes the least key away.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn pop_first<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<Option<Pair>, TypeError> {
        let found = self.first(tx)?;
        if let Some((key, _)) = &found {
            self.remove(tx, key)?;
        }
        Ok(found)
    }

    /// Takes the greatest key away.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn pop_last<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<Option<Pair>, TypeError> {
        let found = self.last(tx)?;
        if let Some((key, _)) = &found {
            self.remove(tx, key)?;
        }
        Ok(found)
    }

    /// Takes all keys away. The tree goes to the shard's garbage list. 4 words of the record, with their runs 7.
    ///
    /// # Errors
    /// As all methods.
    pub fn clear<M: Mem>(self, tx: &mut Tx<'_, M>) -> Result<(), TypeError> {
        tx.set_urgent();
        let tree = self.tree(tx)?;
        if tree != 0 {
            // Only a whole node can be put on a list: what stands there is written over.
            let root = Node::load(tx, tree)?;
            discard_body(tx, Kind::SortedMap, root.offset)?;
            self.set_tree(tx, 0)?;
        }
        Ok(())
    }

    /// Moves all keys to another root of the shard, which is that of an empty map. This one is empty from then on.
    ///
    /// # Errors
    /// [`TypeError::WrongType`] if the other root is in use, and as all methods.
    pub fn move_to<M: Mem>(self, tx: &mut Tx<'_, M>, other: Self) -> Result<(), TypeError> {
        let tree = self.tree(tx)?;
        if other.tree(tx)? != 0 {
            return Err(TypeError::WrongType { found: Kind::SortedMap as u64, expected: Kind::SortedMap });
        }
        self.set_tree(tx, 0)?;
        other.set_tree(tx, tree)
    }

    fn set_tree<M: Mem>(self, tx: &mut Tx<'_, M>, tree: u64) -> Result<(), TypeError> {
        if tx.word(self.root) == 0 {
            tx.write(self.root, Kind::SortedMap as u64)?;
        }
        Ok(tx.write(self.root + WORD, tree)?)
    }
}

fn len_of<V: View>(view: &V, tree: u64) -> Result<u64, TypeError> {
    Ok(if tree == 0 { 0 } else { Node::load(view, tree)?.count })
}

/// How many keys are below `key`; with `inclusive`, or are the same.
fn rank_of<V: View>(view: &V, tree: u64, key: &[u8], inclusive: bool) -> Result<u64, TypeError> {
    if tree == 0 {
        return Ok(0);
    }
    let mut node = Node::load(view, tree)?;
    let mut rank = 0;
    while node.level > 0 {
        let index = node.child_for(key);
        rank += (0..index).map(|before| node.count_of(before)).sum::<u64>();
        node = node.load_child(view, index)?;
    }
    let index = node.lower_bound(key);
    let is_there = index < node.len() && node.key(index) == key;
    Ok(rank + index as u64 + u64::from(inclusive && is_there))
}

/// The key before a rank.
fn before<V: View>(view: &V, tree: u64, rank: u64) -> Result<Option<Pair>, TypeError> {
    rank.checked_sub(1).map_or(Ok(None), |rank| pair_at(view, tree, rank))
}

impl Persistent for SortedMap {
    const KIND: Kind = Kind::SortedMap;

    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        match Self::at(root).tree(view)? {
            0 => Ok(()),
            tree => garbage::visit_tree(view, tree, visit),
        }
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        Self::at(root).clear(tx)?;
        clear_root(tx, root)
    }
}
