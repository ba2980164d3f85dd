//! Finding names in an index that is damaged.
//!
//! As long as the list can be walked to its end it is believed. Otherwise each place is looked at where a node can stand:
//! nodes carry checksums over their own place, so nothing else passes for one. A node that is found only this way
//! counts if its object was not deleted: deleting buries the root, and creating an object fills it only after the node is
//! in the list. So what counts is a node with something in its root, or one with an empty root whose block is allocated.

use super::{Entry, Index, NamedNode, TOMBSTONE, link::Link, node::Node};
use crate::{
    heap::{
        HeapError,
        descriptor::{Descriptor, Use},
    },
    mem::{Mem, WORD},
    types::ROOT_WORDS,
};
use std::collections::HashSet;

/// What is left of an index.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Objects with their names. None is buried, and no two have the same type and name.
    pub(crate) named: Vec<NamedNode>,
    /// Objects whose names are damaged, with the offsets of their nodes.
    pub(crate) nameless: Vec<(u64, Entry)>,
    /// Allocated blocks without a readable node.
    pub(crate) lost: Vec<u64>,
    /// Chunks whose descriptors cannot be read, so that what they hold is not known. Offsets of the descriptors.
    pub(crate) unknown: Vec<u64>,
    /// Why the list cannot be walked to its end.
    pub(crate) error: Option<HeapError>,
}

impl<M: Mem> Index<'_, M> {
    /// Finds what is left. Only while nobody changes the index.
    pub(crate) fn salvage(&self) -> Salvaged {
        let mut found = Salvaged::default();
        let mut listed = HashSet::new();
        let walked = self.visit(&mut |node| {
            listed.insert(node.node);
            if !node.is_buried {
                found.named.push(node);
            }
        });
        if let Err(error) = walked {
            found.error = Some(error);
            self.look_everywhere(&listed, &mut found);
        }
        found
    }

    fn look_everywhere(&self, listed: &HashSet<u64>, found: &mut Salvaged) {
        let tables = self.tables();
        let (mem, layout) = (tables.mem, tables.layout);
        let mut names: HashSet<(u16, Vec<u8>)> =
            found.named.iter().map(|node| (node.entry.type_number, node.name.clone())).collect();
        let mut take = |offset, is_allocated: Option<bool>, found: &mut Salvaged| {
            if listed.contains(&offset) {
                return;
            }
            let Ok(node) = tables.node(offset) else {
                if is_allocated == Some(true) {
                    found.lost.push(offset);
                }
                return;
            };
            if !self.counts(&node, is_allocated) {
                return;
            }
            let entry = Self::entry(&node, false);
            match node.name(mem, tables.seed) {
                Ok(name) => {
                    if names.insert((node.type_number, name.clone())) {
                        let bytes = node.bytes();
                        found.named.push(NamedNode { node: offset, bytes, name, entry, is_buried: false });
                    }
                }
                Err(_) => found.nameless.push((offset, entry)),
            }
        };
        let count = layout.chunk_count(mem.len());
        let zone = layout.geometry().zone_chunks;
        let mut chunk = 0;
        while chunk < count {
            if !layout.is_data_chunk(chunk) {
                chunk += 1;
                continue;
            }
            let start = layout.chunk(chunk);
            let descriptor = Descriptor::load(mem, layout, chunk);
            let mut chunks = 1;
            match descriptor.as_ref().map(|descriptor| descriptor.used_for()) {
                Ok(Use::LaneBlocks { .. }) => match tables.blocks_of(chunk) {
                    Ok(blocks) => {
                        blocks
                            .for_each(|(block, is_allocated)| take(block.offset, Some(is_allocated), found));
                    }
                    Err(_) => found.unknown.push(layout.descriptor(chunk)),
                },
                Ok(Use::ShardBlocks { .. } | Use::Run { .. } | Use::DirectoryPage { .. }) => {
                    let room = zone - chunk % zone;
                    chunks = descriptor.map_or(1, Descriptor::chunks).clamp(1, room);
                }
                // A descriptor of zeros may be one that was lost.
                Ok(Use::Free) | Err(_) => {
                    if descriptor.is_err() {
                        found.unknown.push(layout.descriptor(chunk));
                    }
                    for at in (0..u64::from(layout.geometry().chunk_bytes)).step_by(16) {
                        take(start + at, None, found);
                    }
                }
            }
            chunk += chunks;
        }
    }

    /// Whether a node that no list leads to is that of an object.
    fn counts(&self, node: &Node, is_allocated: Option<bool>) -> bool {
        let mem = self.mem();
        if Link::from_word(mem.load(node.offset)).is_some_and(Link::is_marked) {
            return false;
        }
        let root = |word: usize| self.heap.visible_word(node.shard.into(), node.root() + word as u64 * WORD);
        match root(0) {
            TOMBSTONE => false,
            0 if (1..ROOT_WORDS).all(|word| root(word) == 0) => is_allocated == Some(true),
            _ => true,
        }
    }
}
