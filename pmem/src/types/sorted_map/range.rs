//! Going through keys in order.

use super::{super::TypeError, node::Node};
use crate::heap::View;

/// Keys and values of a part of a map, in ascending order, or from the end. They are those of the instant at which
/// it was made: it keeps the tree of that time. To go on later, or in another view, make a new one from behind the last key.
///
/// It ends after an error.
pub struct Range<'v, V> {
    view: &'v V,
    tree: u64,
    /// Ranks of the next key from the front, and of the one after the next from the back.
    from: u64,
    to: u64,
    front: Option<Leaf>,
    back: Option<Leaf>,
}

/// A leaf, and the rank of its first key.
struct Leaf {
    node: Node,
    rank: u64,
}

impl<V> std::fmt::Debug for Range<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// The leaf that holds the key of a rank, and the rank of its first key.
fn leaf_at<V: View>(view: &V, tree: u64, rank: u64) -> Result<Option<Leaf>, TypeError> {
    if tree == 0 {
        return Ok(None);
    }
    let mut node = Node::load(view, tree)?;
    if rank >= node.count {
        return Ok(None);
    }
    let mut left = rank;
    while node.level > 0 {
        let mut index = 0;
        while left >= node.count_of(index) {
            left -= node.count_of(index);
            index += 1;
        }
        node = node.load_child(view, index)?;
    }
    Ok(Some(Leaf { node, rank: rank - left }))
}

/// The key of a rank, and its value.
pub(super) fn pair_at<V: View>(view: &V, tree: u64, rank: u64) -> Result<Option<Pair>, TypeError> {
    match leaf_at(view, tree, rank)? {
        Some(leaf) => leaf.pair(view, rank).map(Some),
        None => Ok(None),
    }
}

impl Leaf {
    fn has(&self, rank: u64) -> bool {
        rank.checked_sub(self.rank).is_some_and(|index| index < self.node.len() as u64)
    }

    fn key(&self, rank: u64) -> Vec<u8> {
        self.node.key((rank - self.rank) as usize).to_vec()
    }

    fn pair<V: View>(&self, view: &V, rank: u64) -> Result<Pair, TypeError> {
        let index = (rank - self.rank) as usize;
        Ok((self.key(rank), self.node.value(index).read(view)?))
    }
}

impl<'v, V: View> Range<'v, V> {
    pub(super) fn new(view: &'v V, tree: u64, from: u64, to: u64) -> Self {
        Self { view, tree, from, to: to.max(from), front: None, back: None }
    }

    /// How many keys are left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.to - self.from
    }

    /// The next key alone, as the iterator gives it with its value, which is not read here.
    pub fn next_key(&mut self) -> Option<Result<Vec<u8>, TypeError>> {
        if self.from == self.to {
            return None;
        }
        let key =
            Self::leaf(self.view, self.tree, &mut self.front, self.from).map(|leaf| leaf.key(self.from));
        self.from += 1;
        self.end_after_error(key)
    }

    fn leaf<'l>(view: &V, tree: u64, leaf: &'l mut Option<Leaf>, rank: u64) -> Result<&'l Leaf, TypeError> {
        if !leaf.as_ref().is_some_and(|leaf| leaf.has(rank)) {
            *leaf = leaf_at(view, tree, rank)?;
        }
        Ok(leaf.as_ref().expect("ranks of a range are those of its tree"))
    }

    fn pair(view: &V, tree: u64, leaf: &mut Option<Leaf>, rank: u64) -> Result<Pair, TypeError> {
        Self::leaf(view, tree, leaf, rank)?.pair(view, rank)
    }

    fn end_after_error<T>(&mut self, item: Result<T, TypeError>) -> Option<Result<T, TypeError>> {
        if item.is_err() {
            self.from = self.to;
        }
        Some(item)
    }
}

impl<V: View> Iterator for Range<'_, V> {
    type Item = Result<Pair, TypeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from == self.to {
            return None;
        }
        let pair = Self::pair(self.view, self.tree, &mut self.front, self.from);
        self.from += 1;
        self.end_after_error(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error ends it early.
        (0, usize::try_from(self.remaining()).ok())
    }
}

impl<V: View> DoubleEndedIterator for Range<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from == self.to {
            return None;
        }
        self.to -= 1;
        let pair = Self::pair(self.view, self.tree, &mut self.back, self.to);
        self.end_after_error(pair)
    }
}
