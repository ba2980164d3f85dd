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
//! The key and its hash never change, nor do long values. A value of at most 128 bytes is changed in place by one of as many
//! words, together with words 2 and 3; so these and the value are read at one instant. The key needs no checksum of its own: its
//! hash is in word 1.

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
/// Values of so many bytes are changed in place. A multiple of a word: of a node it can be said for its whole life.
const CHANGEABLE_MAX: u64 = 128;
const OUTSIDE: u64 = 1 << 31;

/// What the header of a node says. It is the node's own: its check was right.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Node {
    at: u64,
    order: u64,
    key_bytes: u32,
    value_bytes: u32,
    is_outside: bool,
    /// Word 3.
    checks: u64,
}

/// Word 2 of a node.
fn lens(key_bytes: u32, is_outside: bool, value_bytes: u32) -> u64 {
    u64::from(key_bytes) | if is_outside { OUTSIDE } else { 0 } | u64::from(value_bytes) << 32
}

/// Word 3 of the node at `at`, whose value stands at the offset beside it.
fn checks<V: View>(view: &V, at: u64, order: u64, lens: u64, (value_at, value): (u64, &[u8])) -> u64 {
    u64::from(check32(view.heap().seed(), at, &[order, lens]))
        | u64::from(content_crc(view, value_at, value)) << 32
}

fn padded(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(WORD)
}

impl Node {
    /// Reads the header of the node at an offset that was read from the region.
    #[inline]
    pub(super) fn load<V: View>(view: &V, at: u64) -> Result<Self, HeapError> {
        view.check(at, HEADER)?;
        let [order, lens, checks] = view.words([1, 2, 3].map(|i| at + i * WORD));
        Self::parse(view, at, order, lens, checks)
    }

    #[inline]
    fn parse<V: View>(view: &V, at: u64, order: u64, lens: u64, checks: u64) -> Result<Self, HeapError> {
        let corrupt = HeapError::Corrupt { offset: at };
        if checks as u32 != check32(view.heap().seed(), at, &[order, lens]) {
            return Err(corrupt);
        }
        let node = Self {
            at,
            order,
            key_bytes: lens as u32 & !(OUTSIDE as u32),
            value_bytes: (lens >> 32) as u32,
            is_outside: lens & OUTSIDE != 0,
            checks,
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

    /// Word 2.
    fn lens(&self) -> u64 {
        lens(self.key_bytes, self.is_outside, self.value_bytes)
    }

    fn value_crc(&self) -> u32 {
        (self.checks >> 32) as u32
    }

    pub(super) fn value_bytes(&self) -> u32 {
        self.value_bytes
    }

    /// Offset of the node, which is also that of its link.
    pub(in super::super) fn at(&self) -> u64 {
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
        if self.is_changeable() {
            return self.read_changeable(view, out);
        }
        let at = self.value_block(view)?.map_or(self.value_at(), |block| block.offset);
        out.resize(self.value_bytes as usize, 0);
        view.contents(at, out);
        if content_crc(view, at, out) != self.value_crc() {
            return Err(HeapError::Corrupt { offset: at });
        }
        Ok(())
    }

    /// Whether its value is changed in place.
    fn is_changeable(&self) -> bool {
        !self.is_outside && u64::from(self.value_bytes) <= CHANGEABLE_MAX
    }

    /// A value that has exactly so many words, checked.
    #[inline]
    pub(in super::super) fn value_words<const N: usize>(
        &self,
        view: &impl View,
    ) -> Result<[u64; N], HeapError> {
        let corrupt = HeapError::Corrupt { offset: self.at };
        let mut bytes = [[0; 8]; N];
        if !self.is_changeable()
            || self.value_bytes as usize != N * 8
            || self.read_changeable_into(view, bytes.as_flattened_mut())? != bytes.as_flattened().len()
        {
            return Err(corrupt);
        }
        Ok(bytes.map(u64::from_le_bytes))
    }

    #[inline]
    fn read_changeable<V: View>(&self, view: &V, out: &mut Vec<u8>) -> Result<(), HeapError> {
        out.resize(padded(self.value_bytes) as usize, 0);
        let len = self.read_changeable_into(view, out)?;
        out.truncate(len);
        Ok(())
    }

    /// Copies a value that is changed in place, with what fills its last word up, and checks it. Gives its length.
    #[inline]
    fn read_changeable_into<V: View>(&self, view: &V, out: &mut [u8]) -> Result<usize, HeapError> {
        let value_at = self.value_at();
        let header_at = [2, 3].map(|i| self.at + i * WORD);
        let glance = view.glance(|mem| {
            mem.read(value_at, &mut *out);
            header_at.map(|at| mem.load(at))
        });
        let [lens, checks] = glance.unwrap_or_else(|| {
            view.snapshot(|view| {
                for (i, word) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    *word = view.word(value_at + i as u64 * WORD).to_le_bytes();
                }
                header_at.map(|at| view.word(at))
            })
        });
        let corrupt = HeapError::Corrupt { offset: value_at };
        let mut now = *self;
        if [lens, checks] != [self.lens(), self.checks] {
            // It was changed since its header was read.
            now = Self::parse(view, self.at, self.order, lens, checks)?;
            if now.bytes() != self.bytes() || now.value_at() != value_at || !now.is_changeable() {
                return Err(corrupt);
            }
        }
        let len = now.value_bytes as usize;
        if content_crc(view, value_at, &out[..len]) != now.value_crc() {
            return Err(corrupt);
        }
        Ok(len)
    }

    /// Changes the value in place. Says whether that could be.
    pub(super) fn change_value<M: Mem>(&self, tx: &mut Tx<'_, M>, value: &[u8]) -> Result<bool, HeapError> {
        let is_of_its_size =
            value.len() as u64 <= CHANGEABLE_MAX && padded(value.len() as u32) == padded(self.value_bytes);
        if !self.is_changeable() || !is_of_its_size || !tx.can_change(self.at + WORD) {
            return Ok(false);
        }
        let lens = lens(self.key_bytes, false, value.len() as u32);
        let checks = checks(tx, self.at, self.order, lens, (self.value_at(), value));
        let (words, rest) = value.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(last);
        let places = (self.value_at()..).step_by(WORD as usize);
        let value = words.iter().chain(&last).map(|&word| u64::from_le_bytes(word));
        let header = [(self.at + 2 * WORD, lens), (self.at + 3 * WORD, checks)];
        for (at, word) in header.into_iter().chain(places.zip(value)) {
            if tx.word(at) != word {
                tx.write(at, word)?;
            }
        }
        Ok(true)
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
        let lens = lens(key.len() as u32, is_outside, value.len() as u32);
        let checks = checks(tx, at, order, lens, (value_at, value));
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
