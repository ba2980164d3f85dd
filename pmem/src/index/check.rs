//! Looking at the whole index, for checks. Nobody may change it meanwhile.

use super::{
    Entry, Index, TOMBSTONE,
    lane::CHUNKS,
    tables::{Item, Walk, order_of_bucket},
};
use crate::{
    heap::{
        HeapError,
        descriptor::{Descriptor, Use, block_bytes},
    },
    mem::Mem,
};
use std::collections::{BTreeMap, BTreeSet};

/// A node as a check sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedNode {
    /// Offset of the node.
    pub node: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The name.
    pub name: Vec<u8>,
    /// The object.
    pub entry: Entry,
    /// Whether the object was deleted and its node not taken out yet. Its value is discarded.
    pub is_buried: bool,
}

/// What [`Index::check`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// Nodes in the list.
    pub nodes: u64,
    /// Of these, nodes of deleted objects.
    pub buried: u64,
    /// Buckets in the list.
    pub buckets: u64,
    /// Chunks of nodes.
    pub node_chunks: u64,
    /// Pages of the directory.
    pub pages: u64,
}

impl<M: Mem> Index<'_, M> {
    /// Visits all nodes that are not removed, and checks their order, their names and their check sums.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] where something cannot be.
    pub fn visit(&self, visit: &mut dyn FnMut(NamedNode)) -> Result<(), HeapError> {
        let tables = self.tables();
        let mut walk = Walk::new(tables, tables.first_bucket())?;
        while let Some(item) = walk.peek()? {
            if let Item::Node { node, onward } = item
                && !onward.is_marked()
            {
                visit(NamedNode {
                    node: node.offset,
                    bytes: node.bytes(),
                    name: node.name(tables.mem, tables.seed)?,
                    entry: Self::entry(&node, false),
                    is_buried: self.heap.visible_word(node.shard.into(), node.root()) == TOMBSTONE,
                });
            }
            walk.pass()?;
        }
        Ok(())
    }

    /// Checks everything: the list; that each node in it stands in an allocated block, and each allocated block holds one; that
    /// each chunk and page belongs where its descriptor says; and that buckets stand where they must. Only while
    /// no operation is under way.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] with the place of the first thing that cannot be.
    pub fn check(&self) -> Result<Survey, HeapError> {
        let tables = self.tables();
        let layout = tables.layout;
        let mut survey = Survey::default();
        let corrupt = |offset| HeapError::Corrupt { offset };

        let mut nodes = BTreeSet::new();
        let mut buckets = BTreeMap::new();
        let mut walk = Walk::new(tables, tables.first_bucket())?;
        while let Some(item) = walk.peek()? {
            match item {
                Item::Bucket { at, order } => {
                    buckets.insert(at, order);
                    survey.buckets += 1;
                }
                Item::Node { node, onward } => {
                    let block = tables.block_at(node.offset)?;
                    let fits = node.bytes() <= block_bytes(block.class);
                    if onward.is_marked() || !fits || tables.mem.load(block.word) & block.bit == 0 {
                        return Err(corrupt(node.offset));
                    }
                    node.name(tables.mem, tables.seed)?;
                    nodes.insert(node.offset);
                    survey.nodes += 1;
                    survey.buried += u64::from(self.is_buried(&node));
                }
            }
            walk.pass()?;
        }

        // Allocated blocks without a node.
        let mut chunks = BTreeSet::new();
        for lane in 0..layout.geometry().lanes {
            let mut next = tables.chunk_in(layout.lane(lane) + CHUNKS)?;
            while let Some(chunk) = next {
                if !chunks.insert(chunk) || u32::from(tables.lane_chunk(chunk)?.1) != lane {
                    return Err(corrupt(layout.descriptor(chunk)));
                }
                for (block, is_allocated) in tables.blocks_of(chunk)? {
                    if is_allocated && !nodes.contains(&block.offset) {
                        return Err(corrupt(block.offset));
                    }
                }
                next = tables.chunk_behind(chunk)?;
            }
        }
        survey.node_chunks = chunks.len() as u64;

        // Pages, and buckets that the list leads to but the directory does not.
        let mut pages = BTreeSet::new();
        for page in 0..layout.geometry().directory_pages {
            let Some(chunk) = tables.chunk_in(tables.page_word(page))? else { continue };
            let used_for = Descriptor::load(tables.mem, layout, chunk)?.used_for();
            if used_for != (Use::DirectoryPage { page: page as u16 }) || !pages.insert(chunk) {
                return Err(corrupt(tables.page_word(page)));
            }
            survey.pages += 1;
            for inside in 0..tables.page_buckets() {
                let bucket = page * tables.page_buckets() + inside;
                let Some(at) = tables.bucket(bucket)?.filter(|_| bucket != 0) else { continue };
                let link = tables.raw_link(at)?;
                let in_list = buckets.remove(&at);
                let must = !link.is_unset() && !link.is_claimed();
                if in_list.is_some_and(|order| order != order_of_bucket(bucket)) || must && in_list.is_none()
                {
                    return Err(corrupt(at));
                }
            }
        }
        if let Some((&at, _)) = buckets.first_key_value() {
            return Err(corrupt(at));
        }

        // Chunks that say that they are the index's.
        let mut chunk = 0;
        while chunk < layout.chunk_count(tables.mem.len()) {
            if !layout.is_data_chunk(chunk) {
                chunk += 1;
                continue;
            }
            let descriptor = Descriptor::load(tables.mem, layout, chunk)?;
            let is_known = match descriptor.used_for() {
                Use::LaneBlocks { .. } => chunks.contains(&chunk),
                Use::DirectoryPage { .. } => pages.contains(&chunk),
                _ => true,
            };
            if !is_known {
                return Err(corrupt(layout.descriptor(chunk)));
            }
            chunk += descriptor.chunks();
        }
        Ok(survey)
    }
}
