//! What a type builds on that is a map of another kind, whose values own something.

use super::{Map, Node, buckets, sweep};
use crate::{
    heap::{Tx, View},
    mem::Mem,
    types::{Kind, Owned, TypeError, clear_root, garbage},
};

impl Map {
    /// The map at a root of another kind.
    pub(in super::super) fn of_kind(root: u64, kind: Kind) -> Self {
        Self { root, kind, hash: None }
    }

    /// Its root.
    #[cfg(test)]
    pub(in super::super) fn root(&self) -> u64 {
        self.root
    }

    /// Visits all blocks below the root. `each` visits what the value of a node owns.
    pub(in super::super) fn visit_with<V: View>(
        &self,
        view: &V,
        visit: &mut dyn FnMut(Owned),
        each: sweep::Each<'_>,
    ) -> Result<(), TypeError> {
        sweep::visit(view, &self.shape(view)?, visit, each)
    }

    /// Discards the value at the root. `release` frees what the value of a node owns, or puts it on the garbage list. It is called
    /// for the few nodes of a map that is freed at once; whoever collects the garbage calls it for all others.
    pub(in super::super) fn discard_with<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        release: impl FnMut(&mut Tx<'_, M>, &Node) -> Result<(), TypeError>,
    ) -> Result<(), TypeError> {
        let shape = self.shape(tx)?;
        match shape.directory {
            Some(directory) => {
                let list = tx.word(shape.bucket_zero());
                buckets::begin_garbage(tx, directory, list)?;
                garbage::discard_body(tx, self.kind, directory)?;
            }
            None => sweep::free_few(tx, &shape, release)?,
        }
        clear_root(tx, self.root)
    }

    /// The node of a key.
    pub(in super::super) fn node<V: View>(&self, view: &V, key: &[u8]) -> Result<Option<Node>, TypeError> {
        Ok(self.find(view, &self.shape(view)?, key)?.found)
    }

    /// Gives `each` the keys and nodes after `after`; see [`page`](Self::page).
    pub(in super::super) fn node_page<V: View>(
        &self,
        view: &V,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &Node) -> Result<bool, TypeError>,
    ) -> Result<bool, TypeError> {
        let mut key = Vec::new();
        self.nodes_after(view, after, |node| {
            node.read_key(view, &mut key);
            self.check_key(view, &node, &key)?;
            each(&key, &node)
        })
    }

    /// Sets the value of a key that has none to what `make` gives, which is called only then. Says whether it had none.
    pub(in super::super) fn insert_absent_with<M: Mem, const N: usize>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        make: impl FnOnce(&mut Tx<'_, M>) -> Result<[u8; N], TypeError>,
    ) -> Result<bool, TypeError> {
        let shape = self.shape(tx)?;
        let (order, place) = self.find_to_change(tx, &shape, key)?;
        if place.found.is_some() {
            return Ok(false);
        }
        let value = make(tx)?;
        self.add(tx, &shape, (order, place), key, &value)?;
        Ok(true)
    }
    /// Removes a key; gives what `last_look` makes of its node.
    pub(in super::super) fn take_with<M: Mem, R>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        last_look: impl FnOnce(&Tx<'_, M>, &Node) -> Result<R, TypeError>,
    ) -> Result<Option<R>, TypeError> {
        self.take_out(tx, key, last_look)
    }
}
