//! Persistent data types: what objects are made of.
//!
//! Each value has a **root** of [`ROOT_BYTES`], in an entry of the name index or in a block of its own. A root of zeros is
//! that of an empty value of any type; the first word says which type it is once something was stored. All else
//! hangs below the root in blocks of the root's shard. Writes are made in a failure-atomic block ([`Tx`]), so several
//! values of a shard can change together; reads through any [`View`], by the writer in the middle of a block or by anybody
//! without locks.
//!
//! What costs more than one record can hold to take apart is not taken apart at once: it is put on the shard's garbage
//! list in the record that makes it unreachable, and later blocks free a part of it each ([`garbage`]).

mod blob;
pub mod bytes;
pub mod commands;
pub mod completions;
pub(crate) mod directory;
pub mod garbage;
#[cfg(test)]
pub(crate) mod kit;
#[cfg(test)]
mod limits;
mod link;
pub(crate) mod list;
pub mod map;
mod register;
pub(crate) mod salvage;
pub(crate) mod sorted_map;
#[cfg(test)]
mod testing;

pub use blob::BLOB_BYTES_MAX;
pub use bytes::Bytes;
pub use directory::{BUNDLE_FIELDS_MAX, Bundle, Directory, DirectoryPage, NAME_MAX};
pub use list::List;
pub use map::Map;
pub use register::{Integer, Register, Scalar, ShortBytes};
pub use sorted_map::{Range, SortedMap};

use crate::{
    checksum::checksum_bytes_at,
    heap::{HeapError, Tx, View},
    layout::BLOCK_CLASSES,
    mem::{Mem, WORD},
};

/// Bytes of a root.
pub const ROOT_BYTES: u64 = 64;
/// Words of a root.
pub const ROOT_WORDS: usize = 8;

/// Which type a root or a discarded body is of. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum Kind {
    /// One or two words.
    Register = 1,
    /// Bytes.
    Bytes = 2,
    /// A hash map.
    Map = 3,
    /// A list that is also a queue.
    List = 4,
    /// A map in the order of its keys.
    SortedMap = 5,
    /// Several values side by side. No root is of this type: it is that of discarded ones.
    Bundle = 6,
    /// Names, each with a bundle.
    Directory = 7,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        const ALL: [Kind; 7] = [
            Kind::Register,
            Kind::Bytes,
            Kind::Map,
            Kind::List,
            Kind::SortedMap,
            Kind::Bundle,
            Kind::Directory,
        ];
        ALL.into_iter().find(|&kind| kind as u64 == number)
    }
}

/// Why an operation on a persistent value was not made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// The heap could not do it.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// The root is one of another type.
    #[error("the value is of type {found}, not {expected:?}")]
    WrongType {
        /// Number of its type.
        found: u64,
        /// What was asked for.
        expected: Kind,
    },
    /// A key or a value is longer than it can be.
    #[error("{bytes} bytes; at most {max} fit")]
    TooLarge {
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        max: u64,
    },
    /// The completion table does not take the call.
    #[error(transparent)]
    Completion(completions::CompletionError),
    /// The command ring does not do it.
    #[error(transparent)]
    Command(commands::CommandError),
    /// A name is empty, or longer than it can be.
    #[error("a name of {bytes} bytes; it must have 1 to {NAME_MAX}")]
    BadName {
        /// How long it is.
        bytes: usize,
    },
    /// A bundle cannot have so many values.
    #[error("a bundle of {count} values; it must have 1 to {BUNDLE_FIELDS_MAX}")]
    BadCount {
        /// How many were asked for.
        count: u32,
    },
    /// There is nothing at that position.
    #[error("position {position} of a value of {len}")]
    OutOfBounds {
        /// Which position.
        position: u64,
        /// How long the value is.
        len: u64,
    },
}

/// A run of memory that belongs to a value: offset, and the bytes that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owned {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What every persistent type can do, besides its own methods.
pub trait Persistent {
    /// Its number.
    const KIND: Kind;

    /// Visits each block below a root, for checks. It reads hostile bytes: it ends, and gives an error, whatever stands
    /// there.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] where something cannot be.
    fn visit<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError>;

    /// Makes the value empty, and its root one of zeros. Whatever is large goes to the shard's garbage list.
    ///
    /// # Errors
    /// Those of the heap.
    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError>;
}

/// Checks that a root is of a type, or is empty. Says whether it is empty.
pub(crate) fn is_fresh<V: View>(view: &V, root: u64, kind: Kind) -> Result<bool, TypeError> {
    match view.word(root) {
        0 => Ok(true),
        found if found & 0xffff == kind as u64 => Ok(false),
        found => Err(TypeError::WrongType { found: found & 0xffff, expected: kind }),
    }
}

/// Visits each block below a root of any type.
///
/// # Errors
/// As [`Persistent::visit`].
pub fn visit_root<V: View>(view: &V, root: u64, visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
    match root_kind(view, root)? {
        None | Some(Kind::Bundle) => Ok(()),
        Some(Kind::List) => List::visit(view, root, visit),
        Some(Kind::SortedMap) => SortedMap::visit(view, root, visit),
        Some(Kind::Register) => Register::<u64>::visit(view, root, visit),
        Some(Kind::Bytes) => Bytes::visit(view, root, visit),
        Some(Kind::Map) => Map::visit(view, root, visit),
        Some(Kind::Directory) => Directory::visit(view, root, visit),
    }
}

/// Which type the value at a root is of; `None` if nothing was ever stored there. Never [`Kind::Bundle`].
///
/// # Errors
/// [`HeapError::Corrupt`] if it cannot be one.
pub fn root_kind<V: View>(view: &V, root: u64) -> Result<Option<Kind>, TypeError> {
    match view.word(root) {
        0 => Ok(None),
        head => match Kind::from_number(head & 0xffff) {
            None | Some(Kind::Bundle) => Err(HeapError::Corrupt { offset: root }.into()),
            kind => Ok(kind),
        },
    }
}

/// Makes the value at a root of any type empty, and the root one of zeros. Whatever is large goes to the shard's garbage list.
///
/// # Errors
/// As [`Persistent::discard`]; [`HeapError::Corrupt`] if the root is of no type.
pub fn discard_root<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
    match root_kind(tx, root)? {
        None | Some(Kind::Bundle) => Ok(()),
        Some(Kind::Register) => Register::<u64>::discard(tx, root),
        Some(Kind::Bytes) => Bytes::discard(tx, root),
        Some(Kind::Map) => Map::discard(tx, root),
        Some(Kind::List) => List::discard(tx, root),
        Some(Kind::SortedMap) => SortedMap::discard(tx, root),
        Some(Kind::Directory) => Directory::discard(tx, root),
    }
}

/// Where an error says that the damage is; `otherwise` if it does not say.
pub(crate) fn place(error: &TypeError, otherwise: u64) -> u64 {
    match error {
        TypeError::Heap(HeapError::Corrupt { offset }) => *offset,
        _ => otherwise,
    }
}

/// CRC32C of contents that stand at an offset, seeded so that those of another region or place do not pass.
pub(crate) fn content_crc<V: View>(view: &V, at: u64, bytes: &[u8]) -> u32 {
    checksum_bytes_at(view.heap().seed(), at, bytes)
}

/// Bytes of a page of buckets and of an extent: what is changed at once in something large. Pages of 4 KiB, less in regions whose
/// chunks hold no such blocks.
pub(crate) fn unit_bytes<V: View>(view: &V) -> u64 {
    u64::from(view.heap().layout().geometry().chunk_bytes / 8).min(4096)
}

/// Writes a whole root of zeros.
pub(crate) fn clear_root<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
    for i in 0..ROOT_WORDS as u64 {
        if tx.word(root + i * WORD) != 0 {
            tx.write(root + i * WORD, 0)?;
        }
    }
    Ok(())
}

/// Bytes of the largest block of which several share a chunk.
pub(crate) fn block_bytes_max<V: View>(view: &V) -> u64 {
    BLOCK_CLASSES[view.heap().layout().classes - 1].into()
}

/// The word of a link to a block, for tests that forge one.
#[cfg(test)]
pub(crate) fn testing_link(block: u64) -> u64 {
    link::Link::Block(block).encode()
}
