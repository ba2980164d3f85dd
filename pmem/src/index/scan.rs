//! Listing names, a page at a time.

use super::{
    Entry, Index, IndexError,
    list::Found,
    node::{Key, Target},
};
use crate::mem::Mem;

/// Nodes that one page looks at, beyond those that it gives.
const LOOKED_AT_MAX: usize = 4096;

/// Where a listing goes on: behind the last name that was looked at. It stays good whatever is created and deleted
/// meanwhile. The default is the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    order: u64,
    type_number: u16,
    name: Vec<u8>,
}

impl Cursor {
    /// The cursor as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.order.to_le_bytes()[..], &self.type_number.to_le_bytes(), &self.name].concat()
    }

    /// Reads a cursor from what [`encode`](Self::encode) gave. Other bytes give some place in the list, or `None`.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (order, rest) = bytes.split_first_chunk()?;
        let (type_number, name) = rest.split_first_chunk()?;
        Some(Self {
            order: u64::from_le_bytes(*order),
            type_number: u16::from_le_bytes(*type_number),
            name: name.to_vec(),
        })
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Names, and their objects.
    pub names: Vec<(Vec<u8>, Entry)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl<M: Mem> Index<'_, M> {
    /// Lists names that begin with `prefix`, in no order that means anything. A name that is there all the time is listed
    /// once; one that is created or deleted meanwhile may be listed or not. A page may be short, or empty, and not
    /// be the last: see [`Page::next`]. Takes out deleted objects that a crash left.
    ///
    /// # Errors
    /// Those of the heap.
    pub fn scan(&self, cursor: &Cursor, prefix: &[u8], limit: usize) -> Result<Page, IndexError> {
        let tables = self.tables();
        let mut cursor = cursor.clone();
        let mut names = Vec::new();
        let mut buried = Vec::new();
        let mut looked_at = 0;
        let next = loop {
            if names.len() >= limit || looked_at >= LOOKED_AT_MAX {
                break Some(cursor);
            }
            looked_at += 1;
            let _guard = self.heap.epochs.pin();
            let key = Key { order: cursor.order, type_number: cursor.type_number, name: &cursor.name };
            let start = tables.start(cursor.order)?;
            let Some(Found::Node(node)) = self.find(start, &Target::Behind(key))?.found else { break None };
            let name = node.name(tables.mem, tables.seed)?;
            if self.is_buried(&node) {
                buried.push((node.type_number, name.clone()));
            } else if name.starts_with(prefix) {
                names.push((name.clone(), Self::entry(&node, false)));
            }
            cursor = Cursor { order: node.order, type_number: node.type_number, name };
        };
        for (type_number, name) in buried {
            self.take_out(type_number, &name)?;
        }
        Ok(Page { names, next })
    }
}
