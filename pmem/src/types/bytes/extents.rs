//! The body of a long byte array: a table of extents.
//!
//! ```text
//! word 0, 1   of the garbage list
//!      2      number of extents in blocks of their own                          changes
//!      3      entries of the table that are free already, when it is garbage    changes
//!      4      entries of the table (32 bits) | extents behind it (32)
//!      5      bytes of the whole body
//!      6      check of words 4 and 5
//!      8..    the table: for each extent a link and the crc32c of its bytes     change
//!      ..     the first extents, as they were when the body was made
//! ```
//! An extent never changes; a change makes another one and replaces the entry, so whoever has read an entry can read its extent for
//! as long as its view lives. An entry of zeros is an extent of zeros. Entries behind the value's end are zeros.

use super::{BYTES_MAX, write_changed};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
    types::{
        Owned, TypeError, content_crc,
        link::{Link, check32, seal, unseal},
        unit_bytes,
    },
};
use std::{collections::BTreeSet, ops::Range};

const OWN: u64 = 2 * WORD;
const FREED: u64 = 3 * WORD;
const HEADER: u64 = 8 * WORD;
const ENTRY: u64 = 2 * WORD;
/// Words of a record that replacing one extent takes at most: the entry, the content, the bits of the old and of the new block,
/// and a place in the list of each one's chunk.
const EXTENT_WORDS_MAX: usize = 24;

/// A body's header, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    at: u64,
    /// Entries of the table.
    capacity: u64,
    /// Extents behind the table.
    behind: u64,
    bytes: u64,
    /// Bytes of an extent; the value's last one may have less.
    unit: u64,
}

/// What an entry of the table says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    extent: Option<u64>,
    crc: u32,
}

impl Body {
    pub(super) fn load<V: View>(view: &V, at: u64) -> Result<Self, HeapError> {
        view.check(at, HEADER)?;
        let [sizes, bytes, check] = [4, 5, 6].map(|i| view.content_word(at + i * WORD));
        let unit = unit_bytes(view);
        let body = Self { at, capacity: sizes & 0xffff_ffff, behind: sizes >> 32, bytes, unit };
        let is_good = check == u64::from(check32(view.heap().seed(), at, &[sizes, bytes]))
            && body.capacity <= BYTES_MAX / unit
            && body.behind <= body.capacity
            && bytes <= body.behind_at(body.behind) - at;
        if !is_good {
            return Err(HeapError::Corrupt { offset: at });
        }
        view.check(at, bytes)?;
        view.check(at, body.behind_at(0) - at)?;
        Ok(body)
    }

    /// Makes a body of `data` and then zeros up to `len`, with room for `spare` bytes more.
    pub(super) fn create<M: Mem>(
        tx: &mut Tx<'_, M>,
        data: &[u8],
        len: u64,
        spare: u64,
    ) -> Result<u64, TypeError> {
        let unit = unit_bytes(tx);
        let capacity = (len + spare).min(BYTES_MAX).div_ceil(unit);
        let behind = (data.len() as u64).div_ceil(unit);
        let head_bytes = HEADER + capacity * ENTRY;
        let content_bytes = len.min(behind * unit);
        let bytes = head_bytes + content_bytes;
        let at = tx.allocate(bytes)?;
        let body = Self { at, capacity, behind, bytes, unit };
        let mut head = vec![0; head_bytes as usize];
        let mut fill = |offset: u64, word: u64| {
            head[offset as usize..][..8].copy_from_slice(&word.to_le_bytes());
        };
        let sizes = capacity | behind << 32;
        fill(4 * WORD, sizes);
        fill(5 * WORD, bytes);
        fill(6 * WORD, check32(tx.heap().seed(), at, &[sizes, bytes]).into());
        let mut last = data.chunks(unit as usize).next_back().unwrap_or_default().to_vec();
        last.resize((content_bytes - behind.saturating_sub(1) * unit) as usize, 0);
        for index in 0..behind {
            let extent =
                if index + 1 == behind { &last } else { &data[(index * unit) as usize..][..unit as usize] };
            let extent_at = body.behind_at(index);
            fill(HEADER + index * ENTRY, Link::Block(extent_at).encode());
            fill(HEADER + index * ENTRY + WORD, content_crc(tx, extent_at, extent).into());
        }
        tx.put_mutable(at, &head)?;
        if let Some(last_at) = behind.checked_sub(1) {
            tx.put(body.behind_at(0), &data[..(last_at * unit) as usize])?;
            tx.put(body.behind_at(last_at), &last)?;
        }
        Ok(at)
    }

    /// Where the extent with this number stands, if it stands behind the table.
    fn behind_at(&self, index: u64) -> u64 {
        self.at + HEADER + self.capacity * ENTRY + index * self.unit
    }

    fn entry_at(&self, index: u64) -> u64 {
        self.at + HEADER + index * ENTRY
    }

    /// Whether an extent has a block of its own.
    fn is_own(&self, index: u64, extent: u64) -> bool {
        index >= self.behind || extent != self.behind_at(index)
    }

    fn own_count<V: View>(&self, view: &V) -> Result<u64, HeapError> {
        unseal(view.word(self.at + OWN), self.at + OWN)
    }

    /// Whether there are extents in blocks of their own.
    pub(super) fn has_own<V: View>(&self, view: &V) -> Result<bool, HeapError> {
        Ok(self.own_count(view)? > 0)
    }

    /// Reads the two words of an entry.
    fn decode(&self, index: u64, (link, crc): (u64, u64)) -> Result<Entry, HeapError> {
        let at = self.entry_at(index);
        let extent = Link::decode_block(link, at)?;
        if crc > u32::MAX.into() || extent.is_none() && crc != 0 {
            return Err(HeapError::Corrupt { offset: at + WORD });
        }
        Ok(Entry { extent, crc: crc as u32 })
    }

    fn entry<V: View>(&self, view: &V, index: u64) -> Result<Entry, HeapError> {
        let at = self.entry_at(index);
        self.decode(index, (view.word(at), view.word(at + WORD)))
    }

    /// The numbers of the extents that a range of bytes touches.
    fn touched(&self, range: &Range<u64>) -> Range<u64> {
        if range.is_empty() { 0..0 } else { range.start / self.unit..range.end.div_ceil(self.unit) }
    }

    /// The words of the entries that a range of bytes touches. Where others write, they may be of different moments.
    pub(super) fn entries<V: View>(
        &self,
        view: &V,
        range: &Range<u64>,
    ) -> Result<Vec<(u64, u64)>, HeapError> {
        let touched = self.touched(range);
        if touched.end > self.capacity {
            return Err(HeapError::Corrupt { offset: self.at });
        }
        Ok(touched
            .map(|index| self.entry_at(index))
            .map(|at| (view.word(at), view.word(at + WORD)))
            .collect())
    }

    /// Bytes of an extent of a value of `len`.
    fn extent_bytes(&self, index: u64, len: u64) -> u64 {
        len.saturating_sub(index * self.unit).min(self.unit)
    }

    /// The bytes of an extent, checked.
    fn read_extent<V: View>(&self, view: &V, entry: Entry, bytes: u64) -> Result<Vec<u8>, HeapError> {
        let mut out = vec![0; bytes as usize];
        if let Some(at) = entry.extent {
            view.check(at, bytes.next_multiple_of(WORD))?;
            view.contents(at, &mut out);
            if content_crc(view, at, &out) != entry.crc {
                return Err(HeapError::Corrupt { offset: at });
            }
        }
        Ok(out)
    }

    /// The bytes of a range of a value of `len`, given the entries that it touches, which are of one moment.
    pub(super) fn read<V: View>(
        &self,
        view: &V,
        len: u64,
        range: &Range<u64>,
        entries: &[(u64, u64)],
    ) -> Result<Vec<u8>, HeapError> {
        let mut out = Vec::with_capacity((range.end - range.start) as usize);
        for (index, &words) in self.touched(range).zip(entries) {
            let extent = self.read_extent(view, self.decode(index, words)?, self.extent_bytes(index, len))?;
            let start = index * self.unit;
            let from = range.start.saturating_sub(start) as usize;
            let to = (range.end - start).min(extent.len() as u64) as usize;
            out.extend_from_slice(&extent[from..to]);
        }
        Ok(out)
    }

    /// Changes a value's length from `old_len` to `len`, and then its bytes from `offset` on. Says whether it could: not
    /// if that takes a larger table, or more than a record holds. Then nothing was changed.
    pub(super) fn edit<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        old_len: u64,
        len: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<bool, TypeError> {
        let (old_count, count) = (old_len.div_ceil(self.unit), len.div_ceil(self.unit));
        if old_count > self.capacity {
            return Err(HeapError::Corrupt { offset: self.at }.into());
        }
        let range = offset..offset + bytes.len() as u64;
        let written = self.touched(&range);
        // Those whose bytes change, and the one whose length does.
        let mut changed: BTreeSet<u64> = written.clone().collect();
        let shorter = old_len.min(len);
        if old_len != len && !shorter.is_multiple_of(self.unit) {
            changed.insert(shorter / self.unit);
        }
        let dropped = count.min(old_count)..old_count;
        let touched = changed.len() as u64 + (dropped.end - dropped.start);
        if count > self.capacity || touched > (tx.words_max() / EXTENT_WORDS_MAX) as u64 {
            return Ok(false);
        }
        let (mut made, mut freed) = (0, 0);
        for index in changed {
            let old = self.entry(tx, index)?;
            if old.extent.is_none() && !written.contains(&index) {
                continue;
            }
            let start = index * self.unit;
            let new_bytes = self.extent_bytes(index, len);
            let covered = range.start <= start && range.end >= start + new_bytes;
            let mut extent = if covered {
                Vec::new()
            } else {
                self.read_extent(tx, old, self.extent_bytes(index, old_len))?
            };
            extent.resize(new_bytes as usize, 0);
            if written.contains(&index) {
                let from = range.start.max(start);
                let to = range.end.min(start + new_bytes);
                extent[(from - start) as usize..(to - start) as usize]
                    .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
            let at = tx.allocate(new_bytes)?;
            tx.put(at, &extent)?;
            let crc = content_crc(tx, at, &extent);
            made += 1;
            freed += self.replace(tx, index, old, Link::Block(at).encode(), crc)?;
        }
        for index in dropped {
            let old = self.entry(tx, index)?;
            freed += self.replace(tx, index, old, 0, 0)?;
        }
        let own = (self.own_count(tx)? + made).checked_sub(freed);
        let own =
            own.filter(|&own| own <= self.capacity).ok_or(HeapError::Corrupt { offset: self.at + OWN })?;
        write_changed(tx, self.at + OWN, seal(own))?;
        Ok(true)
    }

    /// Replaces an entry, and frees its extent if that has a block of its own. Gives how many it had: none or one.
    fn replace<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        index: u64,
        old: Entry,
        link: u64,
        crc: u32,
    ) -> Result<u64, HeapError> {
        let at = self.entry_at(index);
        write_changed(tx, at, link)?;
        write_changed(tx, at + WORD, crc.into())?;
        match old.extent {
            Some(extent) if self.is_own(index, extent) => {
                tx.free(extent)?;
                Ok(1)
            }
            _ => Ok(0),
        }
    }

    /// Visits the body and the extents of a value of `len`.
    pub(super) fn visit<V: View>(
        &self,
        view: &V,
        len: u64,
        visit: &mut dyn FnMut(Owned),
    ) -> Result<(), TypeError> {
        if len.div_ceil(self.unit) > self.capacity {
            return Err(HeapError::Corrupt { offset: self.at }.into());
        }
        let mut own = 0;
        for index in 0..self.capacity {
            let entry = self.entry(view, index)?;
            let bytes = self.extent_bytes(index, len);
            match entry.extent {
                Some(_) if bytes == 0 => {
                    return Err(HeapError::Corrupt { offset: self.entry_at(index) }.into());
                }
                Some(offset) if self.is_own(index, offset) => {
                    own += 1;
                    visit(Owned { offset, bytes });
                }
                _ => {}
            }
        }
        if own != self.own_count(view)? {
            return Err(HeapError::Corrupt { offset: self.at + OWN }.into());
        }
        visit(Owned { offset: self.at, bytes: self.bytes });
        Ok(())
    }

    fn freed<V: View>(&self, view: &V) -> Result<u64, HeapError> {
        unseal(view.word(self.at + FREED), self.at + FREED)
    }
}

/// Visits the blocks of a body that is on the garbage list.
pub(crate) fn visit_garbage<V: View>(
    view: &V,
    body: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), TypeError> {
    let body = Body::load(view, body)?;
    for index in body.freed(view)?..body.capacity {
        if let Some(offset) = body.entry(view, index)?.extent
            && body.is_own(index, offset)
        {
            // How many there are of the last one is not known any more.
            visit(Owned { offset, bytes: 1 });
        }
    }
    visit(Owned { offset: body.at, bytes: body.bytes });
    Ok(())
}

/// Frees up to `blocks` blocks of a body that is on the garbage list. Says whether all is free.
pub(crate) fn free_some<M: Mem>(tx: &mut Tx<'_, M>, body: u64, blocks: u32) -> Result<bool, TypeError> {
    let body = Body::load(tx, body)?;
    let fit = (tx.words_max() / EXTENT_WORDS_MAX).max(1);
    let mut left = (blocks as usize).clamp(1, fit);
    for index in body.freed(tx)?..body.capacity {
        let Some(offset) = body.entry(tx, index)?.extent else { continue };
        if !body.is_own(index, offset) {
            continue;
        }
        if left == 0 {
            tx.write(body.at + FREED, seal(index))?;
            return Ok(false);
        }
        tx.free(offset)?;
        left -= 1;
    }
    tx.free(body.at)?;
    Ok(true)
}
