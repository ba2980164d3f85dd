//! The name index: objects by their type and name (mode I). Lock-free for any number of readers and writers.
//!
//! It is one list in the order of the names' reversed hashes, with buckets as ways into it (a split-ordered list). An
//! object's root stands in its node, so creating an object is one insertion. What a crash may undo is in no list and in no bitmap:
//!
//! ```text
//! insert   node, intent, flush; fence 1; set the node's bit, flush; link it, flush; fence 2
//! remove   bury the root (a failure-atomic block of its shard, together with what discards the value);
//!          intent, flush; fence 1; mark the node; link around it, flush; fence 2; clear its bit, flush
//! get      none, unless it meets a link that another thread has not made durable yet
//! ```
//! A name is gone when its root is buried: nobody sees a node with such a root, and whoever wants to use its name again
//! takes the node out first. So deleting an object with its value is atomic, though two protocols share in it.
//!
//! Read in this order: node.rs, link.rs, tables.rs (what stands where), list.rs (the list), change.rs (insert and remove), lane.rs
//! (intents, claims of chunks), recovery.rs, blocks.rs (which blocks are free), buckets.rs.
//!
//! **Rules.** I1: only the thread that won the mark retires the node. I2: the bit is set after the intent is durable and
//! before the node is linked. I3: a dirty link is made durable before it is used. I4: an unlink is durable before the
//! block is used again. I5: a lane keeps two intents. I6: a block is used again only when no shard's recovery can still
//! write into the root that was there.

mod blocks;
mod buckets;
mod change;
mod check;
mod error;
mod lane;
mod link;
mod list;
mod node;
mod recovery;
mod salvage;
mod scan;
mod tables;
#[cfg(test)]
mod tests;

pub use check::{NamedNode, Survey};
pub use error::IndexError;
pub use node::NAME_BYTES_MAX;
pub(crate) use recovery::{Recovered, recover};
pub(crate) use salvage::Salvaged;
pub use scan::{Cursor, Page};
pub(crate) use tables::Tables;

use crate::{
    heap::{Heap, HeapError, Tx, View},
    mem::{Mem, WORD},
    types::ROOT_WORDS,
};
use blocks::ChunkSet;
use buckets::TryLock;
use lane::Lane;
use list::Found;
use node::{Key, Node, Target};
use siphasher::sip::SipHasher13;
use std::{
    hash::Hasher,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

/// First word of the root of an object that was deleted. No type has this number.
pub const TOMBSTONE: u64 = 0x746f_6d62_7374_ffff;

/// How names are hashed: with the region's key, the type number, and the name.
pub type NameHash = fn(&[u8; 16], u16, &[u8]) -> u64;

/// SipHash-1-3: quick for short names, and nobody who does not know the key can choose names that collide.
fn sip_hash(key: &[u8; 16], type_number: u16, name: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(&type_number.to_le_bytes());
    hasher.write(name);
    hasher.finish()
}

/// The index in ordinary memory: a part of its heap.
#[derive(Debug)]
pub(crate) struct Names {
    /// Tells indexes of this process apart.
    instance: u64,
    lanes: Box<[Lane]>,
    /// Chunks whose free blocks are listed.
    listed: ChunkSet,
    bucket_locks: [TryLock; 64],
    page_lock: TryLock,
    /// Names that there are, or nearly so: a crash can make it wrong by one a lane.
    count: AtomicI64,
    hash: NameHash,
}

impl Names {
    pub(crate) fn new(recovered: Recovered) -> Self {
        static INSTANCES: AtomicU64 = AtomicU64::new(0);
        let count = recovered.lanes.iter().map(|lane| lane.names).fold(0, i64::wrapping_add);
        Self {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed) + 1,
            lanes: recovered.lanes.into_iter().map(Lane::new).collect(),
            listed: ChunkSet::new(),
            bucket_locks: [const { TryLock::new() }; 64],
            page_lock: TryLock::new(),
            count: AtomicI64::new(count),
            hash: sip_hash,
        }
    }

    /// Hashes names in another way from here on, which must be the one that all names of the region were hashed by.
    pub(crate) fn set_hash(&mut self, hash: NameHash) {
        self.hash = hash;
    }
}

/// An object: where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Offset of its root of [`ROOT_BYTES`](crate::types::ROOT_BYTES).
    pub root: u64,
    /// The shard that it belongs to: only its failure-atomic blocks change the root.
    pub shard: u32,
    /// Its type.
    pub type_number: u16,
    /// Whether the call that gave this entry created it.
    pub created: bool,
}

/// The name index of a heap.
///
/// An [`Entry`] may be used until its name is deleted. Whoever does not order deletions itself keeps a
/// [`Reader`](crate::Reader) of any shard from before it asks for the entry until its failure-atomic block has looked at the
/// root: with that, a deleted object's root still says [`TOMBSTONE`], and is not another object's.
#[derive(Debug)]
pub struct Index<'h, M: Mem> {
    heap: &'h Heap<M>,
}

impl<M: Mem> Clone for Index<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Mem> Copy for Index<'_, M> {}

impl<'h, M: Mem> Index<'h, M> {
    pub(crate) fn new(heap: &'h Heap<M>) -> Self {
        Self { heap }
    }

    fn names(&self) -> &'h Names {
        self.heap.names()
    }

    fn mem(&self) -> &'h M {
        self.heap.mem()
    }

    fn tables(&self) -> Tables<'h, M> {
        Tables { mem: self.heap.mem(), layout: self.heap.layout(), seed: self.heap.seed() }
    }

    fn run(&self) -> u64 {
        self.heap.run_id()
    }

    fn key<'n>(&self, type_number: u16, name: &'n [u8]) -> Result<Key<'n>, IndexError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(IndexError::NameLength { bytes: name.len() });
        }
        let hash = (self.names().hash)(&self.heap.superblock().identity.hash_key, type_number, name);
        Ok(Key { order: hash.reverse_bits(), type_number, name })
    }

    fn entry(node: &Node, created: bool) -> Entry {
        Entry { root: node.root(), shard: node.shard.into(), type_number: node.type_number, created }
    }

    /// Whether a node's object was deleted.
    fn is_buried(&self, node: &Node) -> bool {
        self.heap.visible_word(node.shard.into(), node.root()) == TOMBSTONE
    }

    /// Finds an object. No fence, unless it meets a change of another thread that is not durable yet.
    ///
    /// # Errors
    /// Those of the heap; [`IndexError::NameLength`].
    pub fn get(&self, type_number: u16, name: &[u8]) -> Result<Option<Entry>, IndexError> {
        let key = self.key(type_number, name)?;
        let _guard = self.heap.epochs.pin();
        Ok(self.look_up(&key)?.map(|node| Self::entry(&node, false)))
    }

    /// The node of a name that was not deleted. The epoch must be pinned.
    fn look_up(&self, key: &Key<'_>) -> Result<Option<Node>, HeapError> {
        let start = self.tables().start(key.order)?;
        match self.find(start, &Target::Name(*key))?.found {
            Some(Found::Node(node)) if !self.is_buried(&node) => Ok(Some(node)),
            _ => Ok(None),
        }
    }

    /// Marks an object as deleted, in the failure-atomic block that also discards its value: its name is free once that
    /// is committed. [`take_out`](Self::take_out) then gives back its space; so does whoever uses the name again.
    ///
    /// # Errors
    /// Those of the heap.
    pub fn bury(tx: &mut Tx<'_, M>, root: u64) -> Result<(), HeapError> {
        tx.write(root, TOMBSTONE)?;
        for at in (1..ROOT_WORDS as u64).map(|word| root + word * WORD) {
            if tx.word(at) != 0 {
                tx.write(at, 0)?;
            }
        }
        Ok(())
    }

    /// How many names there are, deleted ones that were not taken out included. Exact while nobody changes any, and off
    /// by at most one a lane for each crash of the past.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.names().count.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    /// Whether there seem to be no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
