//! Nodes of a map: one entry each.
//!
//! ```text
//! word 0   link to the next node, or bucket                      changes
//!      1   order: the hash of the key, bit-reversed
//!      2   bytes of the key (31 bits) | value outside (1) | bytes of the value (32)
//!      3   check of words 1 and 2 (32 bits) | crc32c of the value (32)
//!      4.. the key, filled up with zeros to a whole word
//!      ..  the value; or, outside, a link to its block
//! ```
//! All but word 0 never changes. The key needs no checksum of its own: its hash is in word 1.

use super::{KEY_MAX, VALUE_MAX};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
    types::{
        Owned, content_crc,
        link::{Link, check32},
    },
};
use std::cmp::Ordering;

/// Bytes before the key.
const HEADER: u64 = 4 * WORD;
/// Longer values have a block of their own.
pub(super) const VALUE_INSIDE_MAX: usize = 4096;
const OUTSIDE: u64 = 1 << 31;

/// What the header of a node says. It is the node's own: its check was right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    at: u64,
    order: u64,
    key_bytes: u32,
    value_bytes: u32,
    value_crc: u32,
    is_outside: bool,
}

fn padded(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(WORD)
}

impl Node {
    /// Reads the header of the node at an offset that was read from the region.
    #[inline]
    pub(super) fn load<V: View>(view: &V, at: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset: at };
        view.check(at, HEADER)?;
        let [order, lens, checks] = [1, 2, 3].map(|i| view.content_word(at + i * WORD));
        if checks as u32 != check32(view.heap().seed(), at, &[order, lens]) {
            return Err(corrupt);
        }
        let node = Self {
            at,
            order,
            key_bytes: lens as u32 & !(OUTSIDE as u32),
            value_bytes: (lens >> 32) as u32,
            value_crc: (checks >> 32) as u32,
            is_outside: lens & OUTSIDE != 0,
        };
        if u64::from(node.key_bytes) > KEY_MAX || u64::from(node.value_bytes) > VALUE_MAX {
            return Err(corrupt);
        }
        view.check(at, node.bytes())?;
        Ok(node)
    }

    /// Bytes of the node.
    pub(super) fn bytes(&self) -> u64 {
        self.value_at() + if self.is_outside { WORD } else { padded(self.value_bytes) } - self.at
    }

    fn key_at(&self) -> u64 {
        self.at + HEADER
    }

    /// Where the value begins, or the link to it.
    fn value_at(&self) -> u64 {
        self.key_at() + padded(self.key_bytes)
    }

    pub(super) fn value_bytes(&self) -> u32 {
        self.value_bytes
    }

    /// Offset of the node, which is also that of its link.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The hash of its key, bit-reversed.
    pub(super) fn order(&self) -> u64 {
        self.order
    }

    /// Compares its key with another.
    #[inline]
    pub(super) fn compare_key<V: View>(&self, view: &V, key: &[u8]) -> Ordering {
        // Its order is that of the key, so it is the same one as good as always.
        if let Ok(word) = <[u8; 8]>::try_from(key)
            && self.key_bytes == 8
        {
            return view.content_word(self.key_at()).to_le_bytes().cmp(&word);
        }
        let own = self.key_bytes as usize;
        let mut at = self.key_at();
        let (words, rest) = key[..own.min(key.len())].as_chunks::<8>();
        for word in words {
            match view.content_word(at).to_le_bytes().cmp(word) {
                Ordering::Equal => at += WORD,
                different => return different,
            }
        }
        if !rest.is_empty() {
            match view.content_word(at).to_le_bytes()[..rest.len()].cmp(rest) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        own.cmp(&key.len())
    }

    /// Copies the key out.
    pub(super) fn read_key<V: View>(&self, view: &V, out: &mut Vec<u8>) {
        out.resize(self.key_bytes as usize, 0);
        view.contents(self.key_at(), out);
    }

    /// The block of the value, if it has one of its own.
    pub(super) fn value_block<V: View>(&self, view: &V) -> Result<Option<Owned>, HeapError> {
        if !self.is_outside {
            return Ok(None);
        }
        let corrupt = HeapError::Corrupt { offset: self.value_at() };
        let block =
            Link::decode_block(view.content_word(self.value_at()), self.value_at())?.ok_or(corrupt)?;
        view.check(block, padded(self.value_bytes))?;
        Ok(Some(Owned { offset: block, bytes: self.value_bytes.into() }))
    }

    /// Copies the value out and checks it.
    #[inline]
    pub(super) fn read_value<V: View>(&self, view: &V, out: &mut Vec<u8>) -> Result<(), HeapError> {
        let at = match self.is_outside {
            false => self.value_at(),
            true => self.value_block(view)?.map_or(self.value_at(), |block| block.offset),
        };
        out.resize(self.value_bytes as usize, 0);
        view.contents(at, out);
        if content_crc(view, at, out) != self.value_crc {
            return Err(HeapError::Corrupt { offset: at });
        }
        Ok(())
    }

    /// Makes a node whose link is `next`.
    pub(super) fn create<M: Mem>(
        tx: &mut Tx<'_, M>,
        order: u64,
        key: &[u8],
        value: &[u8],
        next: u64,
    ) -> Result<u64, HeapError> {
        let is_outside = value.len() > VALUE_INSIDE_MAX;
        let value_block = if is_outside {
            let block = tx.allocate(value.len() as u64)?;
            tx.put(block, value)?;
            Some(block)
        } else {
            None
        };
        let key_bytes = padded(key.len() as u32);
        let at =
            tx.allocate(HEADER + key_bytes + if is_outside { WORD } else { padded(value.len() as u32) })?;
        let value_at = value_block.unwrap_or(at + HEADER + key_bytes);
        let lens = key.len() as u64 | if is_outside { OUTSIDE } else { 0 } | (value.len() as u64) << 32;
        let checks = u64::from(check32(tx.heap().seed(), at, &[order, lens]))
            | u64::from(content_crc(tx, value_at, value)) << 32;
        let linked = value_block.map(|block| Link::Block(block).encode().to_le_bytes());
        let tail: &[u8] = linked.as_ref().map_or(value, |link| link);
        let len = 3 * WORD as usize + key_bytes as usize + tail.len();
        let fill = |buffer: &mut [u8]| {
            for (i, word) in [order, lens, checks].into_iter().enumerate() {
                buffer[i * 8..][..8].copy_from_slice(&word.to_le_bytes());
            }
            buffer[24..24 + key.len()].copy_from_slice(key);
            buffer[24 + key_bytes as usize..].copy_from_slice(tail);
        };
        let mut small = [0; 512];
        if let Some(buffer) = small.get_mut(..len) {
            fill(buffer);
            tx.put(at + WORD, buffer)?;
        } else {
            let mut buffer = vec![0; len];
            fill(&mut buffer);
            tx.put(at + WORD, &buffer)?;
        }
        tx.write(at, next)?;
        Ok(at)
    }

    /// Frees the node and its value.
    pub(super) fn free<M: Mem>(&self, tx: &mut Tx<'_, M>) -> Result<(), HeapError> {
        if let Some(block) = self.value_block(tx)? {
            tx.free(block.offset)?;
        }
        tx.free(self.at)
    }
}
