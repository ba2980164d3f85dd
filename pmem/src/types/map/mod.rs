//! A hash map from bytes to bytes, with one writer and readers that are never blocked.
//!
//! All entries are in one list, in the order of their keys' bit-reversed hashes (a split-ordered list), and buckets are words that
//! point into it (see buckets.rs). So a map grows by one word, and nothing is ever moved. A short value is changed in place by one
//! of as many words; otherwise a new value is a new entry that takes the old one's place (node.rs). The hash is SipHash-1-3 with the region's own key, so
//! nobody outside can choose keys that collide.
//!
//! ```text
//! root word 0   kind (16 bits) | level (8): there are 2^level buckets
//!           1   number of entries
//!           2   bucket 0: the link to the first entry
//!           3   link to the directory of the other buckets; none as long as there are few entries
//! ```
//! Words 0 and 1 are sealed: they carry a check of 16 bits.
//!
//! | operation | fences | words of the record, its header of 5 included | allocations |
//! |---|---|---|---|
//! | a read | 0 | | 0 |
//! | insert of a new key | 1, that of the batch | 14; 2 more for the first, 4 when the number of buckets grows | 1 |
//! | insert of a known key, in place | 1, that of the batch | 8, or 9 if the length changes, and the words of the value | 0 |
//! | insert of a known key | 1, that of the batch | 14 | 1, and 1 freed |
//! | removal | 1, that of the batch | 11 | 1 freed |
//! | clear | 1, that of the batch | 17 | 0; the blocks go to the garbage list |
//!
//! A value of more than 4 KiB takes a block more: 2 to 4 words, and an ordering of flushes before the record. The same ordering
//! comes with new pages of buckets, one for 512 inserts at most. Putting a bucket into the list takes 4 words, once for each
//! bucket; a chunk that is taken or given back by the allocator up to 13.
//!
//! An error that comes from the heap may come in the middle of an operation. The failure-atomic block must then fail with it, so that
//! nothing was changed; it must not go on.

mod base;
mod buckets;
mod node;
mod salvage;
mod sweep;
#[cfg(test)]
mod tests;
mod walk;

pub(super) use node::Node;
pub(crate) use salvage::salvage;
pub(crate) use sweep::{free_some, visit_garbage};
pub(super) use sweep::{free_some_with, visit_garbage_with};

use super::{
    Kind, Owned, Persistent, TypeError,
    link::{Link, seal, unseal},
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};
use buckets::{LEVEL_MAX, SMALL_MAX, Start};
use siphasher::sip::SipHasher13;
use walk::Place;

/// Bytes of the longest key.
pub const KEY_MAX: u64 = 64 << 10;
/// Bytes of the longest value: 16 MiB, and room for a header of whoever stores it.
pub const VALUE_MAX: u64 = (16 << 20) + 4096;

/// Words of the record that one removal takes at most, for who makes several in one failure-atomic block.
pub const REMOVAL_WORDS_MAX: usize = 30;

const COUNT: u64 = WORD;
const BUCKET_ZERO: u64 = 2 * WORD;
const DIRECTORY: u64 = 3 * WORD;
/// The directory's buckets: 1 to 7.
const FIRST_LEVEL: u32 = 3;

/// What the root says.
#[derive(Debug, Clone, Copy)]
struct Shape {
    root: u64,
    kind: Kind,
    level: u32,
    count: u64,
    directory: Option<u64>,
}

impl Shape {
    fn load<V: View>(view: &V, root: u64, kind: Kind) -> Result<Self, TypeError> {
        let [head, count, directory] = view.words([root, root + COUNT, root + DIRECTORY]);
        if head == 0 {
            return if (count, directory) == (0, 0) {
                Ok(Self { root, kind, level: 0, count: 0, directory: None })
            } else {
                Err(HeapError::Corrupt { offset: root }.into())
            };
        }
        if head & 0xffff != kind as u64 {
            return Err(TypeError::WrongType { found: head & 0xffff, expected: kind });
        }
        let head = unseal(head, root)?;
        let level = (head >> 16) as u32;
        let count = unseal(count, root + COUNT)?;
        let directory = Link::decode_block(directory, root + DIRECTORY)?;
        if level > LEVEL_MAX || (level > 0) != directory.is_some() {
            return Err(HeapError::Corrupt { offset: root }.into());
        }
        if let Some(at) = directory {
            view.check(at, buckets::DIRECTORY_BYTES)?;
        }
        Ok(Self { root, kind, level, count, directory })
    }

    fn bucket_zero(&self) -> u64 {
        self.root + BUCKET_ZERO
    }

    /// The root's first word if there are so many buckets.
    fn head(&self, level: u32) -> u64 {
        seal(self.kind as u64 | u64::from(level) << 16)
    }
}

/// Values that a read fills in, so that a loop of reads allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// A hash map at a root.
///
/// A read sees the map at one moment; [`page`](Self::page) sees each entry at a moment of its own.
#[derive(Debug, Clone, Copy)]
pub struct Map {
    root: u64,
    /// Maps that mean something else have roots of another kind.
    kind: Kind,
    /// In place of the region's hash, for tests of collisions.
    hash: Option<fn(&[u8]) -> u64>,
}

impl Persistent for Map {
    const KIND: Kind = Kind::Map;

    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        Map::at(root).visit_with(view, visit, &mut |_, _| Ok(()))
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        Map::at(root).discard_with(tx, |_, _| Ok(()))
    }
}

impl Map {
    /// The map at this root.
    #[must_use]
    pub fn at(root: u64) -> Self {
        Self::of_kind(root, Kind::Map)
    }

    fn shape<V: View>(&self, view: &V) -> Result<Shape, TypeError> {
        Shape::load(view, self.root, self.kind)
    }

    fn hash<V: View>(&self, view: &V, key: &[u8]) -> u64 {
        if let Some(hash) = self.hash {
            return hash(key);
        }
        SipHasher13::new_with_key(&view.heap().superblock().identity.hash_key).hash(key)
    }

    /// Where the key is, or would be.
    fn find<V: View>(&self, view: &V, shape: &Shape, key: &[u8]) -> Result<Place, TypeError> {
        let hash = self.hash(view, key);
        let start = buckets::start(view, shape, hash)?;
        self.find_from(view, start, hash, key)
    }

    fn find_from<V: View>(&self, view: &V, start: Start, hash: u64, key: &[u8]) -> Result<Place, TypeError> {
        let place = walk::find(view, start, hash.reverse_bits(), key, |node| {
            // Another key of the same hash is as good as impossible; a damaged key is not.
            let mut other = Vec::new();
            node.read_key(view, &mut other);
            if self.hash(view, &other) == hash {
                Ok(())
            } else {
                Err(HeapError::Corrupt { offset: node.at() })
            }
        })?;
        Ok(place)
    }

    /// Number of entries.
    ///
    /// # Errors
    /// [`TypeError::WrongType`], [`HeapError::Corrupt`].
    pub fn len<V: View>(&self, view: &V) -> Result<u64, TypeError> {
        Ok(self.shape(view)?.count)
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty<V: View>(&self, view: &V) -> Result<bool, TypeError> {
        Ok(self.len(view)? == 0)
    }

    /// Whether there is an entry of this key.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn contains_key<V: View>(&self, view: &V, key: &[u8]) -> Result<bool, TypeError> {
        let shape = self.shape(view)?;
        Ok(self.find(view, &shape, key)?.found.is_some())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn get<V: View>(&self, view: &V, key: &[u8]) -> Result<Option<Vec<u8>>, TypeError> {
        let mut value = Vec::new();
        Ok(self.get_into(view, key, &mut value)?.then_some(value))
    }

    /// Puts the value of a key in place of what `value` holds. Says whether there is one; if not, `value` is left.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn get_into<V: View>(&self, view: &V, key: &[u8], value: &mut Vec<u8>) -> Result<bool, TypeError> {
        let shape = self.shape(view)?;
        match self.find(view, &shape, key)?.found {
            Some(node) => {
                node.read_value(view, value)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// How many bytes the value of a key has.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn value_len<V: View>(&self, view: &V, key: &[u8]) -> Result<Option<u64>, TypeError> {
        let shape = self.shape(view)?;
        Ok(self.find(view, &shape, key)?.found.map(|node| node.value_bytes().into()))
    }

    /// Gives `each` the entries after `after` in the map's own order, from the first for `None`, until it answers that it has
    /// enough. Says whether the end was reached.
    ///
    /// The last key that was seen is the cursor to go on from, whether or not its entry is there still. Whatever is changed between
    /// two pages, an entry that is there all the time is seen exactly once.
    ///
    /// # Errors
    /// As [`len`](Self::len), and those of `each`.
    pub fn page<V: View>(
        &self,
        view: &V,
        after: Option<&[u8]>,
        mut each: impl FnMut(&Entry) -> Result<bool, TypeError>,
    ) -> Result<bool, TypeError> {
        let mut entry = Entry::default();
        self.nodes_after(view, after, |node| {
            node.read_key(view, &mut entry.key);
            self.check_key(view, &node, &entry.key)?;
            node.read_value(view, &mut entry.value)?;
            each(&entry)
        })
    }

    /// As [`page`](Self::page), without the values.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn key_page<V: View>(
        &self,
        view: &V,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8]) -> Result<bool, TypeError>,
    ) -> Result<bool, TypeError> {
        let mut key = Vec::new();
        self.nodes_after(view, after, |node| {
            node.read_key(view, &mut key);
            self.check_key(view, &node, &key)?;
            each(&key)
        })
    }

    fn check_key<V: View>(&self, view: &V, node: &Node, key: &[u8]) -> Result<(), TypeError> {
        if self.hash(view, key).reverse_bits() == node.order() {
            Ok(())
        } else {
            Err(HeapError::Corrupt { offset: node.at() }.into())
        }
    }

    fn nodes_after<V: View>(
        &self,
        view: &V,
        after: Option<&[u8]>,
        each: impl FnMut(Node) -> Result<bool, TypeError>,
    ) -> Result<bool, TypeError> {
        let shape = self.shape(view)?;
        let link_at = match after {
            None => shape.bucket_zero(),
            Some(key) => {
                let place = self.find(view, &shape, key)?;
                place.found.map_or(place.link_at, |node| node.at())
            }
        };
        // After a place between two entries others of smaller keys may have come meanwhile: they are not after.
        let bound = after.map(|key| (self.hash(view, key).reverse_bits(), key));
        let mut each = each;
        walk::for_each(view, link_at, |node| {
            if let Some((order, key)) = bound
                && (node.order() < order || node.order() == order && node.compare_key(view, key).is_le())
            {
                return Ok(true);
            }
            each(node)
        })
    }

    /// Sets the value of a key. Says whether the key is new.
    ///
    /// # Errors
    /// [`TypeError::TooLarge`] for a key or a value, and as [`len`](Self::len), and those of the heap.
    pub fn insert<M: Mem>(&self, tx: &mut Tx<'_, M>, key: &[u8], value: &[u8]) -> Result<bool, TypeError> {
        Ok(self.put(tx, key, value, |_, _| Ok(true))?.is_none())
    }

    /// Sets the value of a key; gives the old one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn swap<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, TypeError> {
        let mut old = Vec::new();
        let was_there = self.put(tx, key, value, |tx, node| {
            node.read_value(tx, &mut old)?;
            Ok(true)
        })?;
        Ok(was_there.map(|_| old))
    }

    /// Sets the value of a key that has none. Says whether it had none.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_if_absent<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, TypeError> {
        Ok(self.put(tx, key, value, |_, _| Ok(false))?.is_none())
    }

    /// Puts a node into the list, in place of the one of the same key if `replaces` agrees. Gives that one.
    fn put<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        value: &[u8],
        replaces: impl FnOnce(&Tx<'_, M>, &Node) -> Result<bool, TypeError>,
    ) -> Result<Option<Node>, TypeError> {
        for (bytes, max) in [(key.len() as u64, KEY_MAX), (value.len() as u64, VALUE_MAX)] {
            if bytes > max {
                return Err(TypeError::TooLarge { bytes, max });
            }
        }
        let shape = self.shape(tx)?;
        let (order, place) = self.find_to_change(tx, &shape, key)?;
        if let Some(old) = place.found {
            if replaces(tx, &old)? && !old.change_value(tx, value)? {
                let next = tx.word(old.at());
                let node = Node::create(tx, order, key, value, next)?;
                tx.write(place.link_at, Link::Block(node).encode())?;
                old.free(tx)?;
            }
            return Ok(Some(old));
        }
        self.add(tx, &shape, (order, place), key, value)?;
        Ok(None)
    }

    /// Where the key is, or is to be, after its bucket was put into the list; and its order.
    fn find_to_change<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        shape: &Shape,
        key: &[u8],
    ) -> Result<(u64, Place), TypeError> {
        let hash = self.hash(tx, key);
        let start = buckets::start(tx, shape, hash)?;
        let start = buckets::add_missing(tx, shape, hash, start)?;
        Ok((hash.reverse_bits(), self.find_from(tx, start, hash, key)?))
    }

    /// Adds an entry whose key is not there at its place.
    fn add<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        shape: &Shape,
        (order, place): (u64, Place),
        key: &[u8],
        value: &[u8],
    ) -> Result<(), TypeError> {
        let node = Node::create(tx, order, key, value, place.link)?;
        tx.write(place.link_at, Link::Block(node).encode())?;
        self.count_one_more(tx, shape)
    }

    /// Counts a new entry, and adds buckets if there are more entries now than buckets.
    fn count_one_more<M: Mem>(&self, tx: &mut Tx<'_, M>, shape: &Shape) -> Result<(), TypeError> {
        let count = shape.count + 1;
        tx.write(self.root + COUNT, seal(count))?;
        if shape.directory.is_none() {
            if count > SMALL_MAX {
                let directory = buckets::make_directory(tx)?;
                tx.write(self.root + DIRECTORY, Link::Block(directory).encode())?;
                tx.write(self.root, shape.head(FIRST_LEVEL))?;
            } else if tx.word(self.root) == 0 {
                tx.write(self.root, shape.head(0))?;
            }
        } else if count > 1 << shape.level && shape.level < LEVEL_MAX {
            tx.write(self.root, shape.head(shape.level + 1))?;
        }
        Ok(())
    }

    /// Removes a key. Says whether it was there.
    ///
    /// # Errors
    /// As [`len`](Self::len), and those of the heap.
    pub fn remove<M: Mem>(&self, tx: &mut Tx<'_, M>, key: &[u8]) -> Result<bool, TypeError> {
        Ok(self.take_out(tx, key, |_, _| Ok(()))?.is_some())
    }

    /// Removes a key; gives its value.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn take<M: Mem>(&self, tx: &mut Tx<'_, M>, key: &[u8]) -> Result<Option<Vec<u8>>, TypeError> {
        let mut value = Vec::new();
        let taken = self.take_out(tx, key, |tx, node| Ok(node.read_value(tx, &mut value)?))?;
        Ok(taken.map(|()| value))
    }

    fn take_out<M: Mem, R>(
        &self,
        tx: &mut Tx<'_, M>,
        key: &[u8],
        last_look: impl FnOnce(&Tx<'_, M>, &Node) -> Result<R, TypeError>,
    ) -> Result<Option<R>, TypeError> {
        let shape = self.shape(tx)?;
        let place = self.find(tx, &shape, key)?;
        let Some(node) = place.found else { return Ok(None) };
        let seen = last_look(tx, &node)?;
        let next = tx.word(node.at());
        tx.write(place.link_at, next)?;
        node.free(tx)?;
        let count = shape.count.checked_sub(1).ok_or(HeapError::Corrupt { offset: self.root + COUNT })?;
        tx.write(self.root + COUNT, seal(count))?;
        Ok(Some(seen))
    }

    /// Removes all entries. Their blocks go to the shard's garbage list, where [`garbage::collect`](super::garbage::collect) frees them.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn clear<M: Mem>(&self, tx: &mut Tx<'_, M>) -> Result<(), TypeError> {
        self.discard_with(tx, |_, _| Ok(()))
    }

    /// Looks at up to `entries` entries after `after` and removes those that `keep` does not want. Gives the cursor to go on from,
    /// or `None` at the end. Of `entries`, at most [`words_max`](Tx::words_max) / [`REMOVAL_WORDS_MAX`] fit one block.
    ///
    /// # Errors
    /// As [`remove`](Self::remove), and those of `keep`.
    pub fn retain_page<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        after: Option<&[u8]>,
        entries: usize,
        mut keep: impl FnMut(&Entry) -> Result<bool, TypeError>,
    ) -> Result<Option<Vec<u8>>, TypeError> {
        let mut unwanted = Vec::new();
        let mut last = after.map(<[u8]>::to_vec);
        let mut left = entries;
        let at_end = self.page(tx, after, |entry| {
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            last = Some(entry.key.clone());
            if !keep(entry)? {
                unwanted.push(entry.key.clone());
            }
            Ok(true)
        })?;
        for key in &unwanted {
            self.remove(tx, key)?;
        }
        Ok(if at_end { None } else { last })
    }
}
