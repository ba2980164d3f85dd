//! A byte array of up to 16 MiB and 4 KiB, with one writer and readers that are never blocked.
//!
//! ```text
//! root word 0   kind (16 bits) | form (8)
//!           1   number of bytes
//!           2   crc32c of the bytes, if they are not in extents
//!           3   inside: the bytes, up to 40; block: the link to it; extents: the link to the body
//!           4   extents: a number that grows with each change
//! ```
//! Words 0 and 1 are sealed. Up to 40 bytes stand inside of the root. Up to two extents' worth are one block, and a change of a part
//! writes a new one. More are a **body** (extents.rs): a table of immutable extents of 4 KiB each, of which a change of a part
//! replaces those that it touches. What one record could not replace is written anew as a whole: one run of chunks, without
//! copies in the redo ring.
//!
//! Every read is of one moment, and what it gives was checked against its checksum.
//!
//! | operation | fences | words of the record, its header of 5 included | allocations |
//! |---|---|---|---|
//! | a read | 0 | | 0 |
//! | set, up to 40 bytes | 1, that of the batch | 6 to 14 | 0 |
//! | set, longer | 1, that of the batch; above 4 KiB an ordering of flushes before the record | 14 to 20 | 1, and 1 freed |
//! | change of a part, up to 8 KiB long | as set | as set | as set |
//! | change of n extents' parts | 1, that of the batch | 10 + 8 n | n, and up to n freed |
//!
//! A body whose extents were replaced is not freed at once, but goes to the garbage list.

mod extents;
#[cfg(test)]
mod tests;

pub(crate) use extents::{free_some, visit_garbage};

use super::{
    Kind, Owned, Persistent, TypeError, clear_root, content_crc, garbage,
    link::{Link, seal, unseal},
    unit_bytes,
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};
use extents::Body;
use std::ops::Range;

/// Greatest length: 16 MiB, and room for a header of whoever stores them.
pub const BYTES_MAX: u64 = (16 << 20) + 4096;
/// Greatest length that stands in the root.
pub const INSIDE_MAX: u64 = 40;

const LEN: u64 = WORD;
const CRC: u64 = 2 * WORD;
const DATA: u64 = 3 * WORD;
const VERSION: u64 = 4 * WORD;

/// What a root says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    len: u64,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Inside { crc: u32, bytes: [u8; INSIDE_MAX as usize] },
    Block { crc: u32, at: u64 },
    Extents { body: u64, version: u64 },
}

impl Form {
    const INSIDE: u64 = 0;
    const BLOCK: u64 = 1;
    const EXTENTS: u64 = 2;
}

impl Value {
    fn load<V: View>(view: &V, root: u64) -> Result<Self, TypeError> {
        let words: [u64; 8] = view.words(std::array::from_fn(|i| root + i as u64 * WORD));
        let corrupt = HeapError::Corrupt { offset: root };
        let [head, len, crc, data, version, ..] = words;
        if head == 0 {
            let empty = Form::Inside { crc: 0, bytes: [0; INSIDE_MAX as usize] };
            return if words == [0; 8] { Ok(Self { len: 0, form: empty }) } else { Err(corrupt.into()) };
        }
        if head & 0xffff != Kind::Bytes as u64 {
            return Err(TypeError::WrongType { found: head & 0xffff, expected: Kind::Bytes });
        }
        let form = unseal(head, root)? >> 16;
        let len = unseal(len, root + LEN)?;
        let unit = unit_bytes(view);
        let link = || {
            let at = Link::decode_block(data, root + DATA)?;
            at.ok_or(HeapError::Corrupt { offset: root + DATA })
        };
        let checked_crc = || u32::try_from(crc).map_err(|_| HeapError::Corrupt { offset: root + CRC });
        let form = match form {
            Form::INSIDE if len <= INSIDE_MAX => {
                let mut bytes = [0; INSIDE_MAX as usize];
                for (bytes, word) in bytes.chunks_exact_mut(8).zip(&words[3..]) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
                Form::Inside { crc: checked_crc()?, bytes }
            }
            Form::BLOCK if len <= 2 * unit => {
                Form::Block { crc: checked_crc()?, at: view.check(link()?, len.next_multiple_of(WORD))? }
            }
            Form::EXTENTS if len <= BYTES_MAX => Form::Extents { body: link()?, version },
            _ => return Err(corrupt.into()),
        };
        Ok(Self { len, form })
    }

    /// The bytes of a value that has no extents, checked.
    fn read_whole<V: View>(&self, view: &V, root: u64) -> Result<Vec<u8>, TypeError> {
        let (bytes, at, crc) = match self.form {
            // Nothing was ever stored.
            Form::Inside { crc: 0, .. } if self.len == 0 => return Ok(Vec::new()),
            Form::Inside { crc, bytes } => (bytes[..self.len as usize].to_vec(), root, crc),
            Form::Block { crc, at } => {
                let mut bytes = vec![0; self.len as usize];
                view.contents(at, &mut bytes);
                (bytes, at, crc)
            }
            Form::Extents { .. } => unreachable!("extents are read one by one"),
        };
        if content_crc(view, at, &bytes) != crc {
            return Err(HeapError::Corrupt { offset: at }.into());
        }
        Ok(bytes)
    }
}

/// A byte array at a root. It is empty until something is stored.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    root: u64,
}

impl Persistent for Bytes {
    const KIND: Kind = Kind::Bytes;

    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        let value = Value::load(view, root)?;
        match value.form {
            Form::Inside { .. } => {}
            Form::Block { at, .. } => visit(Owned { offset: at, bytes: value.len }),
            Form::Extents { body, .. } => Body::load(view, body)?.visit(view, value.len, visit)?,
        }
        Ok(())
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        let value = Value::load(tx, root)?;
        release(tx, value)?;
        clear_root(tx, root)
    }
}

/// Frees what a value holds, or leaves it to the garbage list.
fn release<M: Mem>(tx: &mut Tx<'_, M>, value: Value) -> Result<(), TypeError> {
    match value.form {
        Form::Inside { .. } => {}
        Form::Block { at, .. } => tx.free(at)?,
        Form::Extents { body, .. } => {
            if Body::load(tx, body)?.has_own(tx)? {
                garbage::discard_body(tx, Kind::Bytes, body)?;
            } else {
                tx.free(body)?;
            }
        }
    }
    Ok(())
}

/// Stores a word that is another one now.
fn write_changed<M: Mem>(tx: &mut Tx<'_, M>, at: u64, word: u64) -> Result<(), HeapError> {
    if tx.word(at) == word { Ok(()) } else { tx.write(at, word) }
}

fn check_len(bytes: u64) -> Result<(), TypeError> {
    if bytes > BYTES_MAX { Err(TypeError::TooLarge { bytes, max: BYTES_MAX }) } else { Ok(()) }
}

impl Bytes {
    /// The byte array at this root.
    #[must_use]
    pub fn at(root: u64) -> Self {
        Self { root }
    }

    /// Number of bytes.
    ///
    /// # Errors
    /// [`TypeError::WrongType`], [`HeapError::Corrupt`].
    pub fn len<V: View>(&self, view: &V) -> Result<u64, TypeError> {
        Ok(Value::load(view, self.root)?.len)
    }

    /// Whether there are no bytes.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty<V: View>(&self, view: &V) -> Result<bool, TypeError> {
        Ok(self.len(view)? == 0)
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn get<V: View>(&self, view: &V) -> Result<Vec<u8>, TypeError> {
        self.read(view, |len| Ok(0..len))
    }

    /// `bytes` bytes from `offset` on.
    ///
    /// # Errors
    /// [`TypeError::OutOfBounds`], and as [`len`](Self::len).
    pub fn get_range<V: View>(&self, view: &V, offset: u64, bytes: u64) -> Result<Vec<u8>, TypeError> {
        self.read(view, |len| within(offset, bytes, len))
    }

    /// The bytes of the range that `range` makes of the length.
    fn read<V: View>(
        &self,
        view: &V,
        range: impl Fn(u64) -> Result<Range<u64>, TypeError>,
    ) -> Result<Vec<u8>, TypeError> {
        loop {
            let value = Value::load(view, self.root)?;
            let range = range(value.len)?;
            let Form::Extents { body, .. } = value.form else {
                let mut bytes = value.read_whole(view, self.root)?;
                bytes.truncate(range.end as usize);
                bytes.drain(..range.start as usize);
                return Ok(bytes);
            };
            let body = Body::load(view, body)?;
            let entries = body.entries(view, &range)?;
            // The entries are of one moment if the value was not changed while they were read.
            if Value::load(view, self.root)? == value {
                return Ok(body.read(view, value.len, &range, &entries)?);
            }
        }
    }

    /// Replaces all bytes.
    ///
    /// # Errors
    /// [`TypeError::TooLarge`], and as [`len`](Self::len), and those of the heap.
    pub fn set<M: Mem>(&self, tx: &mut Tx<'_, M>, bytes: &[u8]) -> Result<(), TypeError> {
        check_len(bytes.len() as u64)?;
        let old = Value::load(tx, self.root)?;
        self.store(tx, old, bytes, bytes.len() as u64, 0)
    }

    /// Replaces all bytes; gives the old ones.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn swap<M: Mem>(&self, tx: &mut Tx<'_, M>, bytes: &[u8]) -> Result<Vec<u8>, TypeError> {
        let old = self.get(tx)?;
        self.set(tx, bytes)?;
        Ok(old)
    }

    /// Replaces all bytes if they are `current`. Otherwise gives them.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn compare_exchange<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        current: &[u8],
        new: &[u8],
    ) -> Result<Result<(), Vec<u8>>, TypeError> {
        check_len(new.len() as u64)?;
        let old = self.get(tx)?;
        if old == current { Ok(Ok(self.set(tx, new)?)) } else { Ok(Err(old)) }
    }

    /// Replaces the bytes from `offset` on, which must be there.
    ///
    /// # Errors
    /// [`TypeError::OutOfBounds`], and as [`set`](Self::set).
    pub fn set_range<M: Mem>(&self, tx: &mut Tx<'_, M>, offset: u64, bytes: &[u8]) -> Result<(), TypeError> {
        let len = self.len(tx)?;
        within(offset, bytes.len() as u64, len)?;
        self.edit(tx, len, offset, bytes)
    }

    /// Adds bytes at the end; gives the new length.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn append<M: Mem>(&self, tx: &mut Tx<'_, M>, bytes: &[u8]) -> Result<u64, TypeError> {
        let len = self.len(tx)?;
        check_len(len + bytes.len() as u64)?;
        self.edit(tx, len + bytes.len() as u64, len, bytes)?;
        Ok(len + bytes.len() as u64)
    }

    /// Cuts the end off, or adds zeros, which take no space in extents of their own.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn resize<M: Mem>(&self, tx: &mut Tx<'_, M>, len: u64) -> Result<(), TypeError> {
        check_len(len)?;
        self.edit(tx, len, 0, &[])
    }

    /// Changes the length, and then the bytes from `offset` on.
    fn edit<M: Mem>(&self, tx: &mut Tx<'_, M>, len: u64, offset: u64, bytes: &[u8]) -> Result<(), TypeError> {
        let old = Value::load(tx, self.root)?;
        if old.len == len && bytes.is_empty() {
            return Ok(());
        }
        if let Form::Extents { body, version } = old.form
            && len > 2 * unit_bytes(tx)
            && Body::load(tx, body)?.edit(tx, old.len, len, offset, bytes)?
        {
            if len != old.len {
                tx.write(self.root + LEN, seal(len))?;
            }
            return Ok(tx.write(self.root + VERSION, version.wrapping_add(1))?);
        }
        let kept = old.len.min(len);
        let mut data = self.read(tx, |_| Ok(0..kept))?;
        let end = offset as usize + bytes.len();
        if !bytes.is_empty() {
            data.resize(data.len().max(end), 0);
            data[offset as usize..end].copy_from_slice(bytes);
        }
        // What grows once often grows again.
        let spare = if len > old.len { len } else { 0 };
        self.store(tx, old, &data, len, spare)
    }

    /// Replaces the value by `data` and then zeros up to `len`, with room in the table for `spare` bytes more.
    fn store<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        old: Value,
        data: &[u8],
        len: u64,
        spare: u64,
    ) -> Result<(), TypeError> {
        let root = self.root;
        // In the order of the words, so that they make one run of the record.
        let write_head = |tx: &mut Tx<'_, M>, form: u64| {
            write_changed(tx, root, seal(Kind::Bytes as u64 | form << 16))?;
            write_changed(tx, root + LEN, seal(len))
        };
        if len <= INSIDE_MAX {
            let mut bytes = [0; INSIDE_MAX as usize];
            bytes[..data.len()].copy_from_slice(data);
            write_head(tx, Form::INSIDE)?;
            write_changed(tx, root + CRC, content_crc(tx, root, &bytes[..len as usize]).into())?;
            let (words, _) = bytes.as_chunks::<8>();
            for (i, word) in (0..).zip(&words[..len.div_ceil(8) as usize]) {
                write_changed(tx, root + DATA + i * WORD, u64::from_le_bytes(*word))?;
            }
        } else if len <= 2 * unit_bytes(tx) {
            let mut padded = Vec::new();
            let bytes = if data.len() as u64 == len {
                data
            } else {
                padded.extend_from_slice(data);
                padded.resize(len as usize, 0);
                &padded
            };
            let at = tx.allocate(len)?;
            tx.put(at, bytes)?;
            write_head(tx, Form::BLOCK)?;
            write_changed(tx, root + CRC, content_crc(tx, at, bytes).into())?;
            tx.write(root + DATA, Link::Block(at).encode())?;
        } else {
            let body = Body::create(tx, data, len, spare)?;
            write_head(tx, Form::EXTENTS)?;
            tx.write(root + DATA, Link::Block(body).encode())?;
            write_changed(tx, root + VERSION, 0)?;
        }
        release(tx, old)
    }
}

/// The range of `bytes` bytes from `offset` on, if it lies in a value of `len`.
fn within(offset: u64, bytes: u64, len: u64) -> Result<Range<u64>, TypeError> {
    match offset.checked_add(bytes) {
        Some(end) if end <= len => Ok(offset..end),
        end => Err(TypeError::OutOfBounds { position: end.unwrap_or(u64::MAX), len }),
    }
}
