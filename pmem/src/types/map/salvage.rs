//! Reading a damaged map.
//!
//! The list is walked from its beginning, and then from each bucket, up to what was seen before. A node whose header, key or value is
//! damaged still has a link with a check of its own, so the walk goes on behind it.

use super::{Entry, Map, buckets, node::Node};
use crate::{
    heap::View,
    mem::WORD,
    types::{
        TypeError,
        link::{Link, unseal},
        salvage::{Counts, Salvage},
    },
};
use std::collections::HashSet;

/// Bytes of a node besides key and value.
const NODE_BYTES: u64 = 4 * WORD;

/// Gives `each` all entries that can be read. An entry may be given twice, with the same value.
///
/// # Errors
/// Those of `each`.
pub(crate) fn salvage<V: View, E>(
    view: &V,
    map: Map,
    salvage: &mut Salvage<'_>,
    each: &mut dyn FnMut(&Entry) -> Result<(), E>,
) -> Result<Counts, E> {
    let root = map.root;
    let shape = map.shape(view);
    let mut why = None;
    if let Ok(shape) = &shape {
        let mut saved = 0;
        let mut refused = None;
        let mut may_go_on = true;
        let mut has_more = false;
        let walked = map.page(view, None, |entry| {
            if saved == shape.count {
                // A list that leads back into itself has no end.
                has_more = true;
                return Ok(false);
            }
            may_go_on = salvage.allow(root, NODE_BYTES + (entry.key.len() + entry.value.len()) as u64);
            if may_go_on {
                saved += 1;
                refused = each(entry).err();
            }
            Ok(may_go_on && refused.is_none())
        });
        if let Some(error) = refused {
            return Err(error);
        }
        if !may_go_on || (walked == Ok(true) && saved == shape.count) {
            return Ok(Counts { saved, expected: Some(shape.count) });
        }
        why = walked.err();
        if why.is_none() {
            let found = if has_more { "more".to_owned() } else { saved.to_string() };
            let text = format!("the map says that it has {} entries, and {found} are there", shape.count);
            salvage.damaged(root + super::COUNT, text);
        }
    }
    if let Err(error) = &shape {
        salvage.failed(error, root, "the root");
    }
    let expected = unseal(view.word(root + super::COUNT), root + super::COUNT).ok();
    let mut parts = Parts { view, map, seen: HashSet::new(), orders: HashSet::new(), salvage };
    let mut saved = parts.walk(root + super::BUCKET_ZERO, each)?;
    let at = root + super::DIRECTORY;
    match Link::decode_block(view.word(at), at)
        .and_then(|link| link.map(|directory| view.check(directory, buckets::DIRECTORY_BYTES)).transpose())
    {
        Ok(None) => {}
        Ok(Some(directory)) => {
            let mut words = Vec::new();
            for error in buckets::words(view, directory, &mut words) {
                parts.salvage.failed(&error.into(), directory, "buckets");
            }
            if !parts.salvage.allow(directory, words.len() as u64 * WORD) {
                words.clear();
            }
            for at in words {
                saved += parts.walk(at, each)?;
            }
        }
        Err(error) => parts.salvage.failed(&error.into(), at, "the directory of buckets"),
    }
    // A link that leads back shows only in the order of the list.
    if let Some(error) = why.filter(|_| parts.salvage.damage_count == 0) {
        parts.salvage.failed(&error, root, "the list of entries");
    }
    Ok(Counts { saved, expected })
}

struct Parts<'p, 'b, V> {
    view: &'p V,
    map: Map,
    /// Nodes and bucket words that were passed.
    seen: HashSet<u64>,
    /// Hashes of keys that were given. That two keys have the same is as good as impossible.
    orders: HashSet<u64>,
    salvage: &'p mut Salvage<'b>,
}

impl<V: View> Parts<'_, '_, V> {
    /// Walks from the link at an offset on. Gives how many entries are new.
    fn walk<E>(&mut self, mut link_at: u64, each: &mut dyn FnMut(&Entry) -> Result<(), E>) -> Result<u64, E> {
        let mut saved = 0;
        let mut entry = Entry::default();
        while self.seen.insert(link_at) {
            let next = match Link::decode(self.view.word(link_at), link_at) {
                Ok(Link::End | Link::None) => break,
                Ok(Link::Bucket { at, .. }) => self.view.check(at, WORD).map(|at| (at, false)),
                Ok(Link::Block(at)) => self.view.check(at, NODE_BYTES).map(|at| (at, true)),
                Err(error) => Err(error),
            };
            match next {
                Ok((at, is_node)) => {
                    link_at = at;
                    if !is_node || self.seen.contains(&at) {
                        continue;
                    }
                    if !self.salvage.allow(at, NODE_BYTES) {
                        break;
                    }
                    match self.read(at, &mut entry) {
                        Ok(true) => {
                            each(&entry)?;
                            saved += 1;
                        }
                        Ok(false) => {}
                        Err(error) => self.salvage.failed(&error, at, "an entry"),
                    }
                }
                Err(error) => {
                    self.salvage.failed(&error.into(), link_at, "the link to what follows");
                    break;
                }
            }
        }
        Ok(saved)
    }

    /// Reads the entry of a node. Says whether it is a new one.
    fn read(&mut self, at: u64, entry: &mut Entry) -> Result<bool, TypeError> {
        let node = Node::load(self.view, at)?;
        if !self.salvage.allow(at, node.bytes() + u64::from(node.value_bytes())) {
            return Ok(false);
        }
        node.read_key(self.view, &mut entry.key);
        self.map.check_key(self.view, &node, &entry.key)?;
        node.read_value(self.view, &mut entry.value)?;
        Ok(self.orders.insert(node.order()))
    }
}
