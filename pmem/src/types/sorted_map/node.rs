//! Nodes of the tree: how they stand in memory, and how they are read and written.
//!
//! ```text
//! word 0, 1  of the garbage list, once the node is its tree's discarded root; no meaning before
//!      2     crc32c of the rest (32 bits) | bytes of the entries (16) | level (8) | 0 (8)
//!      3     keys in the whole subtree
//!      4..   entries, packed
//!
//! entry of a leaf (level 0)    key bytes u16 | value bytes u16 | key | value
//!                              or, with value bytes 0xffff, key | offset of the value's block u64 (blob.rs)
//! entry of an inner node       key bytes u16 | child u48 | keys below the child u48 | key
//! ```
//! All keys below a child are at or above its entry's key and below that of the next entry. The first entry's key is
//! left out: the parent has it. A node never changes, but for words 0 and 1; the checksum also covers where it stands.

use super::super::{Owned, TypeError, blob, block_bytes_max};
use crate::{
    checksum::{checksum, checksum_bytes},
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};
use std::ops::Range;

/// Bytes before the entries.
pub(super) const HEADER_BYTES: u64 = 32;
/// Bytes before what the checksum covers: the words that change.
const GARBAGE_BYTES: u64 = 16;
/// Bytes of a leaf's entry besides key and value.
const LEAF_ENTRY_BYTES: usize = 4;
/// Bytes of an inner node's entry besides the key.
const INNER_ENTRY_BYTES: usize = 14;
/// Length that says that the value has a block of its own.
const VALUE_IN_BLOCK: u16 = u16::MAX;
/// No tree is as high.
const LEVELS_MAX: u8 = 32;
/// So many entries may always share a node.
const ENTRIES_MIN: usize = 4;

/// Bytes of a node of ordinary entries.
const NODE_BYTES: u64 = 512;
/// The longest key.
const KEY_BYTES_MAX: u64 = 1024;
/// The longest value that stands in a leaf.
const INLINE_BYTES_MAX: usize = 128;

/// Sizes that follow from the region's geometry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of a node's block, unless few entries are larger.
    node_bytes: u64,
    /// Bytes of the largest entry.
    entry_max: usize,
}

impl Sizes {
    pub(super) fn of<V: View>(view: &V) -> Self {
        let block = block_bytes_max(view);
        Self { node_bytes: NODE_BYTES.min(block), entry_max: (block - HEADER_BYTES) as usize / ENTRIES_MIN }
    }

    /// Bytes of the longest key.
    pub(super) fn key_max(self) -> u64 {
        KEY_BYTES_MAX.min((self.entry_max - INNER_ENTRY_BYTES) as u64)
    }

    fn entries_max(self) -> usize {
        (self.node_bytes - HEADER_BYTES) as usize
    }

    /// Whether entries are so few that they should join those of a sibling: a quarter of a node's bytes.
    pub(super) fn are_few(self, entries: &[&[u8]]) -> bool {
        bytes_of(entries) < self.entries_max() / 4
    }

    /// Whether a value of this length stands in its leaf.
    pub(super) fn is_inline(self, key: usize, value: usize) -> bool {
        value <= INLINE_BYTES_MAX && LEAF_ENTRY_BYTES + key + value <= self.entry_max
    }

    fn block_bytes(self, entry_bytes: usize) -> u64 {
        self.node_bytes.max(HEADER_BYTES + entry_bytes as u64)
    }

    /// Cuts a list of entries into the entries of one node each. A node holds up to its ordinary bytes, or few entries that
    /// are larger. Of two or more, each has at least two.
    fn cut(self, entries: &[&[u8]], range: Range<usize>, out: &mut Vec<Range<usize>>) {
        let all = bytes_of(&entries[range.clone()]);
        if all <= self.entries_max() || range.len() <= ENTRIES_MIN {
            out.push(range);
            return;
        }
        let mut middle = range.start + 2;
        let mut before = bytes_of(&entries[range.start..middle]);
        while middle + 2 < range.end && before + entries[middle].len() / 2 < all / 2 {
            before += entries[middle].len();
            middle += 1;
        }
        self.cut(entries, range.start..middle, out);
        self.cut(entries, middle..range.end, out);
    }
}

fn bytes_of(entries: &[&[u8]]) -> usize {
    entries.iter().map(|entry| entry.len()).sum()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u48_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word[..6].copy_from_slice(&bytes[at..at + 6]);
    u64::from_le_bytes(word)
}

/// A value as a leaf has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'n> {
    Inline(&'n [u8]),
    /// The offset of its block.
    Block(u64),
}

impl Value<'_> {
    pub(super) fn read<V: View>(self, view: &V) -> Result<Vec<u8>, TypeError> {
        match self {
            Self::Inline(bytes) => Ok(bytes.to_vec()),
            Self::Block(offset) => Ok(blob::read(view, offset)?),
        }
    }
}

/// An entry's bytes: a child with the keys below it.
pub(super) fn inner_entry(key: &[u8], child: u64, count: u64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(INNER_ENTRY_BYTES + key.len());
    entry.extend_from_slice(&(key.len() as u16).to_le_bytes());
    entry.extend_from_slice(&child.to_le_bytes()[..6]);
    entry.extend_from_slice(&count.to_le_bytes()[..6]);
    entry.extend_from_slice(key);
    entry
}

/// The same inner entry with another key.
pub(super) fn with_key(entry: &[u8], key: &[u8]) -> Vec<u8> {
    inner_entry(key, inner_child(entry), inner_count(entry))
}

/// The child of an inner node's entry.
pub(super) fn inner_child(entry: &[u8]) -> u64 {
    u48_at(entry, 2)
}

fn inner_count(entry: &[u8]) -> u64 {
    u48_at(entry, 8)
}

/// An entry's bytes: a key with its value.
pub(super) fn leaf_entry(key: &[u8], value: Value<'_>) -> Vec<u8> {
    let offset_bytes;
    let (len, bytes) = match value {
        Value::Inline(bytes) => (bytes.len() as u16, bytes),
        Value::Block(offset) => {
            offset_bytes = offset.to_le_bytes();
            (VALUE_IN_BLOCK, &offset_bytes[..])
        }
    };
    let mut entry = Vec::with_capacity(LEAF_ENTRY_BYTES + key.len() + bytes.len());
    entry.extend_from_slice(&(key.len() as u16).to_le_bytes());
    entry.extend_from_slice(&len.to_le_bytes());
    entry.extend_from_slice(key);
    entry.extend_from_slice(bytes);
    entry
}

/// The length of the entry that begins here, if all of it is here.
fn entry_len(bytes: &[u8], level: u8) -> Option<usize> {
    let key = usize::from(u16_at(bytes, 0)?);
    let len = if level > 0 {
        INNER_ENTRY_BYTES + key
    } else {
        match u16_at(bytes, 2)? {
            VALUE_IN_BLOCK => LEAF_ENTRY_BYTES + key + 8,
            value => LEAF_ENTRY_BYTES + key + usize::from(value),
        }
    };
    (len <= bytes.len()).then_some(len)
}

fn entry_key(entry: &[u8], level: u8) -> &[u8] {
    let key = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
    let at = if level > 0 { INNER_ENTRY_BYTES } else { LEAF_ENTRY_BYTES };
    &entry[at..at + key]
}

/// A node that was read and checked.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) offset: u64,
    pub(super) level: u8,
    /// Keys in the subtree.
    pub(super) count: u64,
    bytes: Vec<u8>,
    /// Where each entry begins, and where the last one ends.
    starts: Vec<u16>,
}

impl Node {
    /// Reads a tree's root node.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if there is none.
    pub(super) fn load<V: View>(view: &V, offset: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset };
        view.check(offset, HEADER_BYTES)?;
        let (head, count) = (view.content_word(offset + 2 * WORD), view.content_word(offset + 3 * WORD));
        let len = (head >> 32) as u16;
        let level = (head >> 48) as u8;
        view.check(offset, HEADER_BYTES + u64::from(len))?;
        let mut bytes = vec![0; len.into()];
        view.contents(offset + HEADER_BYTES, &mut bytes);
        if level >= LEVELS_MAX || head as u32 != crc(view.heap().seed(), offset, head >> 32, count, &bytes) {
            return Err(corrupt);
        }
        let mut starts = Vec::with_capacity(32);
        let mut at = 0;
        let mut sum = 0_u64;
        while at < bytes.len() {
            starts.push(at as u16);
            let entry = &bytes[at..];
            let len = entry_len(entry, level).ok_or(corrupt.clone())?;
            sum += if level > 0 { inner_count(entry) } else { 1 };
            at += len;
        }
        let entries = starts.len();
        starts.push(at as u16);
        if sum != count || entries == 0 {
            return Err(corrupt);
        }
        Ok(Self { offset, level, count, bytes, starts })
    }

    /// Reads the child of an entry.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn load_child<V: View>(&self, view: &V, index: usize) -> Result<Self, HeapError> {
        let entry = self.entry(index);
        let child = Self::load(view, inner_child(entry))?;
        if child.level + 1 != self.level || child.count != inner_count(entry) {
            return Err(HeapError::Corrupt { offset: child.offset });
        }
        Ok(child)
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn entry(&self, index: usize) -> &[u8] {
        &self.bytes[self.starts[index].into()..self.starts[index + 1].into()]
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// Bytes of all entries.
    pub(super) fn entry_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        entry_key(self.entry(index), self.level)
    }

    /// The value of a leaf's entry.
    pub(super) fn value(&self, index: usize) -> Value<'_> {
        debug_assert_eq!(self.level, 0);
        let entry = self.entry(index);
        let bytes = &entry[LEAF_ENTRY_BYTES + self.key(index).len()..];
        match u16::from_le_bytes([entry[2], entry[3]]) {
            VALUE_IN_BLOCK => Value::Block(u64::from_le_bytes(bytes.try_into().expect("eight bytes"))),
            _ => Value::Inline(bytes),
        }
    }

    /// Keys below an inner node's entry.
    pub(super) fn count_of(&self, index: usize) -> u64 {
        inner_count(self.entry(index))
    }

    /// The first entry of a leaf whose key is at or above `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.partition_point(0, |found| found < key)
    }

    /// The entry of an inner node below which `key` belongs.
    pub(super) fn child_for(&self, key: &[u8]) -> usize {
        // The first entry's key is left out: it is below all.
        self.partition_point(1, |found| found <= key) - 1
    }

    fn partition_point(&self, from: usize, is_before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The node's memory.
    pub(super) fn owned(&self, sizes: Sizes) -> Owned {
        Owned { offset: self.offset, bytes: sizes.block_bytes(self.bytes.len()) }
    }
}

fn crc(seed: u32, offset: u64, head: u64, count: u64, bytes: &[u8]) -> u32 {
    checksum_bytes(checksum(seed, &[offset, head, count]), bytes)
}

/// Writes entries into as many new nodes as they need, and gives for each the entry of its parent. The first of these
/// has no key.
pub(super) fn write_nodes<M: Mem>(
    tx: &mut Tx<'_, M>,
    sizes: Sizes,
    level: u8,
    entries: &[&[u8]],
) -> Result<Vec<Vec<u8>>, TypeError> {
    let mut pieces = Vec::new();
    if !entries.is_empty() {
        sizes.cut(entries, 0..entries.len(), &mut pieces);
    }
    let mut parents = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let first = entry_key(entries[piece.start], level);
        let key = match piece.start {
            0 => &[],
            _ if level > 0 => first,
            start => separator(entry_key(entries[start - 1], level), first),
        };
        let (offset, count) = write_node(tx, sizes, level, &entries[piece.clone()])?;
        parents.push(inner_entry(key, offset, count));
    }
    Ok(parents)
}

/// The shortest key that is above `low` and not above `high`.
fn separator<'k>(low: &[u8], high: &'k [u8]) -> &'k [u8] {
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    &high[..(common + 1).min(high.len())]
}

fn write_node<M: Mem>(
    tx: &mut Tx<'_, M>,
    sizes: Sizes,
    level: u8,
    entries: &[&[u8]],
) -> Result<(u64, u64), TypeError> {
    let mut block = Vec::with_capacity(bytes_of(entries) + 16);
    block.extend_from_slice(&[0; (HEADER_BYTES - GARBAGE_BYTES) as usize]);
    let mut count = entries.len() as u64;
    if level > 0 {
        count = entries.iter().map(|entry| inner_count(entry)).sum();
        block.extend_from_slice(&with_key(entries[0], &[]));
    } else {
        block.extend_from_slice(entries[0]);
    }
    entries[1..].iter().for_each(|entry| block.extend_from_slice(entry));
    let (head_bytes, entry_bytes) = block.split_at_mut(16);
    let offset = tx.allocate(sizes.block_bytes(entry_bytes.len()))?;
    let head = entry_bytes.len() as u64 | u64::from(level) << 16;
    let crc = crc(tx.heap().seed(), offset, head, count, entry_bytes);
    head_bytes[..8].copy_from_slice(&(u64::from(crc) | head << 32).to_le_bytes());
    head_bytes[8..].copy_from_slice(&count.to_le_bytes());
    tx.put(offset + GARBAGE_BYTES, &block)?;
    Ok((offset, count))
}
