//! Nodes of the name index, and where a name stands in its order.
//!
//! ```text
//! word 0      link to the next node or bucket
//!      1      order: the name's hash, bits reversed
//!      2      bytes of the name (16 bits) | type number (16) | shard (16) | zero (16)
//!      3      crc32c of the words above and of the other half | crc32c of the name << 32
//!      4..12  root of the object, changed by its shard's failure-atomic blocks only
//!     12..    the name
//! ```
//! Words 1 to 3 and the name never change while a node can be reached. The first two words of a bucket
//! ([`super::buckets`]) are a link and an order too, so that a walk treats both alike.

use crate::{
    checksum::{checksum, checksum_bytes},
    heap::HeapError,
    layout::Layout,
    mem::{Mem, WORD},
    types::{ROOT_BYTES, ROOT_WORDS},
};
use std::cmp::Ordering;

/// Offset of a node's order.
pub(super) const ORDER: u64 = WORD;
const LENGTHS: u64 = 2 * WORD;
const CHECKS: u64 = 3 * WORD;
/// Offset of an object's root in its node.
pub(super) const ROOT: u64 = 4 * WORD;
const NAME: u64 = ROOT + ROOT_BYTES;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 512;

/// A name that is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'n> {
    pub(super) order: u64,
    pub(super) type_number: u16,
    pub(super) name: &'n [u8],
}

impl Key<'_> {
    /// Bytes of its node.
    pub(super) fn node_bytes(&self) -> u64 {
        NAME + self.name.len() as u64
    }
}

/// What a walk along the list is to find.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'k> {
    /// The node with this name, or the place for it.
    Name(Key<'k>),
    /// The first node behind this name.
    Behind(Key<'k>),
    /// The bucket with this order, or the place for it: before all nodes with the same order.
    Bucket(u64),
}

impl Target<'_> {
    pub(super) fn order(&self) -> u64 {
        match self {
            Target::Name(key) | Target::Behind(key) => key.order,
            Target::Bucket(order) => *order,
        }
    }
}

/// A node's header, read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) offset: u64,
    pub(super) order: u64,
    pub(super) type_number: u16,
    pub(super) shard: u16,
    pub(super) name_bytes: usize,
    name_crc: u32,
}

fn lengths_word(name_bytes: usize, type_number: u16, shard: u16) -> u64 {
    name_bytes as u64 | u64::from(type_number) << 16 | u64::from(shard) << 32
}

fn header_crc(seed: u32, offset: u64, order: u64, lengths: u64, name_crc: u32) -> u32 {
    checksum(seed, &[offset, order, lengths, name_crc.into()])
}

impl Node {
    /// Reads the header of the node at an offset that may be anything.
    #[inline]
    pub(super) fn load(mem: &impl Mem, layout: &Layout, seed: u32, offset: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset };
        let end = offset.saturating_add(NAME + WORD);
        if offset < layout.zones || !offset.is_multiple_of(16) || end > mem.len() {
            return Err(corrupt);
        }
        let order = mem.load(offset + ORDER);
        let lengths = mem.load(offset + LENGTHS);
        let checks = mem.load(offset + CHECKS);
        let name_crc = (checks >> 32) as u32;
        let name_bytes = usize::from(lengths as u16);
        if checks as u32 != header_crc(seed, offset, order, lengths, name_crc)
            || !(1..=NAME_BYTES_MAX).contains(&name_bytes)
            || offset + NAME + (name_bytes as u64).next_multiple_of(WORD) > mem.len()
        {
            return Err(corrupt);
        }
        let (type_number, shard) = ((lengths >> 16) as u16, (lengths >> 32) as u16);
        if u32::from(shard) >= layout.geometry().shards {
            return Err(corrupt);
        }
        Ok(Self { offset, order, type_number, shard, name_bytes, name_crc })
    }

    /// Writes a whole node with a root of zeros. Its block must be one that nobody can reach.
    pub(super) fn write(mem: &impl Mem, seed: u32, offset: u64, link: u64, key: &Key<'_>, shard: u16) {
        let lengths = lengths_word(key.name.len(), key.type_number, shard);
        let name_crc = checksum_bytes(seed, key.name);
        let crc = header_crc(seed, offset, key.order, lengths, name_crc);
        mem.store(offset, link);
        mem.store(offset + ORDER, key.order);
        mem.store(offset + LENGTHS, lengths);
        mem.store(offset + CHECKS, u64::from(crc) | u64::from(name_crc) << 32);
        for word in 0..ROOT_WORDS as u64 {
            mem.store(offset + ROOT + word * WORD, 0);
        }
        mem.write(offset + NAME, key.name);
    }

    /// Where the node stands compared with what is looked for. Names with the same hash are in the order of
    /// their type, length and bytes.
    #[inline]
    pub(super) fn compare(
        &self,
        mem: &impl Mem,
        seed: u32,
        target: &Target<'_>,
    ) -> Result<Ordering, HeapError> {
        let (key, behind) = match target {
            Target::Bucket(order) => return Ok(self.order.cmp(order).then(Ordering::Greater)),
            Target::Name(key) => (key, false),
            Target::Behind(key) => (key, true),
        };
        let by_order = self.order.cmp(&key.order);
        if by_order.is_ne() {
            return Ok(by_order);
        }
        let ordering = match self.type_number.cmp(&key.type_number).then(self.name_bytes.cmp(&key.name.len()))
        {
            Ordering::Equal => self.compare_bytes(mem, key.name),
            other => other,
        };
        // So improbable that the name may well be damaged.
        if ordering.is_ne() {
            self.name(mem, seed)?;
        }
        Ok(if behind { ordering.then(Ordering::Less) } else { ordering })
    }

    fn compare_bytes(&self, mem: &impl Mem, name: &[u8]) -> Ordering {
        let mut at = self.offset + NAME;
        for part in name.chunks(8) {
            let word = mem.load(at).to_le_bytes();
            match word[..part.len()].cmp(part) {
                Ordering::Equal => at += WORD,
                other => return other,
            }
        }
        Ordering::Equal
    }

    /// Whether this node comes before `other` in the list. To be asked only where their orders are equal.
    pub(super) fn precedes(&self, mem: &impl Mem, seed: u32, other: &Node) -> Result<bool, HeapError> {
        let name = other.name(mem, seed)?;
        let key = Key { order: other.order, type_number: other.type_number, name: &name };
        Ok(self.compare(mem, seed, &Target::Name(key))?.is_lt())
    }

    /// The name, checked.
    pub(super) fn name(&self, mem: &impl Mem, seed: u32) -> Result<Vec<u8>, HeapError> {
        let mut name = vec![0; self.name_bytes];
        mem.read(self.offset + NAME, &mut name);
        if checksum_bytes(seed, &name) != self.name_crc {
            return Err(HeapError::Corrupt { offset: self.offset });
        }
        Ok(name)
    }

    /// Bytes that the node takes in its block.
    pub(super) fn bytes(&self) -> u64 {
        NAME + self.name_bytes as u64
    }

    /// Offset of the root.
    pub(super) fn root(&self) -> u64 {
        self.offset + ROOT
    }
}
