//! Where the index's words stand in the region, read with care: nothing here trusts a byte.
//!
//! The directory of buckets begins with a line of its own, then has a word for each page. A page is a chunk full of
//! buckets. A bucket is two words: the link that a dummy node of a split-ordered list would have, and the bucket's order.
//! Walks enter the list there; a link to a bucket is one that they pass.
//!
//! ```text
//! directory  word 0   binary logarithm of the number of buckets, sealed
//!            word 2   bucket 0: its link; the list's head
//!            word 3            its order
//! line 1 ..  word p   chunk of page p plus one, sealed; zero if there is none
//! bucket     word 0   link; zero if the bucket was never used
//!            word 1   order (high half) | crc32c of the order and of the bucket's offset (low half)
//! ```

use super::{
    link::{Link, unseal},
    node::Node,
};
use crate::{
    checksum::checksum,
    heap::HeapError,
    layout::Layout,
    mem::{LINE, Mem, WORD},
};

/// Bytes of a bucket.
pub(super) const BUCKET_BYTES: u64 = 2 * WORD;
/// Bits of a word 1 of a bucket that are the order. There are at most 2^32 buckets.
const ORDER_BITS: u64 = 0xffff_ffff_0000_0000;

/// The tables of the index in some memory.
pub(crate) struct Tables<'m, M> {
    pub(crate) mem: &'m M,
    pub(crate) layout: &'m Layout,
    pub(crate) seed: u32,
}

impl<M> Clone for Tables<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Tables<'_, M> {}

/// The order of a bucket: that of the first name that can belong to it.
pub(super) fn order_of_bucket(bucket: u32) -> u64 {
    u64::from(bucket).reverse_bits()
}

/// The bucket that this one was split from.
pub(super) fn parent(bucket: u32) -> u32 {
    assert!(bucket != 0, "bucket 0 has no parent");
    bucket & !(1 << bucket.ilog2())
}

impl<'m, M: Mem> Tables<'m, M> {
    /// Offset of the word that says how many buckets there are.
    pub(super) fn size_word(&self) -> u64 {
        self.layout.directory
    }

    /// Offset of bucket 0.
    pub(super) fn first_bucket(&self) -> u64 {
        self.layout.directory + 2 * WORD
    }

    /// Offset of the word of a page.
    pub(super) fn page_word(&self, page: u32) -> u64 {
        self.layout.directory + LINE + u64::from(page) * WORD
    }

    /// Buckets that a page holds.
    pub(super) fn page_buckets(&self) -> u32 {
        self.layout.geometry().chunk_bytes / BUCKET_BYTES as u32
    }

    /// Binary logarithm of the most buckets that there can be.
    pub(super) fn size_bits_max(&self) -> u32 {
        let buckets = u64::from(self.page_buckets()) * u64::from(self.layout.geometry().directory_pages);
        buckets.ilog2().min(32)
    }

    /// Binary logarithm of the number of buckets.
    #[inline]
    pub(super) fn size_bits(&self) -> Result<u32, HeapError> {
        let at = self.size_word();
        match unseal(self.mem.load(at)) {
            Some(bits) if bits <= u64::from(self.size_bits_max()) => Ok(bits as u32),
            _ => Err(HeapError::Corrupt { offset: at }),
        }
    }

    /// The chunk that a word names, if it names one.
    pub(super) fn chunk_in(&self, at: u64) -> Result<Option<u32>, HeapError> {
        let number = unseal(self.mem.load(at)).ok_or(HeapError::Corrupt { offset: at })?;
        self.chunk_number(number).map_err(|()| HeapError::Corrupt { offset: at })
    }

    /// The chunk that a number names: one more than its own.
    pub(super) fn chunk_number(&self, number: u64) -> Result<Option<u32>, ()> {
        let Some(chunk) = number.checked_sub(1) else { return Ok(None) };
        match u32::try_from(chunk) {
            Ok(chunk)
                if chunk < self.layout.chunk_count(self.mem.len()) && self.layout.is_data_chunk(chunk) =>
            {
                Ok(Some(chunk))
            }
            _ => Err(()),
        }
    }

    /// Offset of a bucket, if it has a page.
    #[inline]
    pub(super) fn bucket(&self, bucket: u32) -> Result<Option<u64>, HeapError> {
        if bucket == 0 {
            return Ok(Some(self.first_bucket()));
        }
        let page = self.chunk_in(self.page_word(bucket / self.page_buckets()))?;
        let inside = u64::from(bucket % self.page_buckets()) * BUCKET_BYTES;
        Ok(page.map(|chunk| self.layout.chunk(chunk) + inside))
    }

    /// Offset of a bucket, if it is in the list.
    #[inline]
    pub(super) fn bucket_in_list(&self, bucket: u32) -> Result<Option<u64>, HeapError> {
        let Some(at) = self.bucket(bucket)? else { return Ok(None) };
        let link = self.raw_link(at)?;
        Ok((!link.is_unset() && !link.is_claimed()).then_some(at))
    }

    /// The bucket that names of this order belong to.
    pub(super) fn bucket_of(&self, order: u64) -> Result<u32, HeapError> {
        let mask = (1u64 << self.size_bits()?) - 1;
        Ok((order.reverse_bits() & mask) as u32)
    }

    /// Offset of a bucket in the list from which the place of this order is not far.
    #[inline]
    pub(super) fn start(&self, order: u64) -> Result<u64, HeapError> {
        let mut bucket = self.bucket_of(order)?;
        loop {
            match self.bucket_in_list(bucket)? {
                Some(at) => return Ok(at),
                None if bucket == 0 => return Err(HeapError::Corrupt { offset: self.first_bucket() }),
                None => bucket = parent(bucket),
            }
        }
    }

    /// Word 1 of a bucket.
    pub(super) fn order_word(&self, at: u64, order: u64) -> u64 {
        order | u64::from(checksum(self.seed, &[at, order]))
    }

    /// The order of the bucket at an offset that may be anything.
    #[inline]
    pub(super) fn order_of(&self, at: u64) -> Result<u64, HeapError> {
        let end = at.saturating_add(BUCKET_BYTES);
        if at < self.layout.zones || !at.is_multiple_of(BUCKET_BYTES) || end > self.mem.len() {
            return Err(HeapError::Corrupt { offset: at });
        }
        let word = self.mem.load(at + WORD);
        let order = word & ORDER_BITS;
        if word == self.order_word(at, order) { Ok(order) } else { Err(HeapError::Corrupt { offset: at }) }
    }

    /// The link at an offset, unset ones too.
    #[inline]
    pub(super) fn raw_link(&self, at: u64) -> Result<Link, HeapError> {
        Link::from_word(self.mem.load(at)).ok_or(HeapError::Corrupt { offset: at })
    }

    /// The link of something that is in the list.
    #[inline]
    pub(super) fn link(&self, at: u64) -> Result<Link, HeapError> {
        match self.raw_link(at)? {
            link if link.is_unset() => Err(HeapError::Corrupt { offset: at }),
            link => Ok(link),
        }
    }

    #[inline]
    pub(super) fn node(&self, offset: u64) -> Result<Node, HeapError> {
        Node::load(self.mem, self.layout, self.seed, offset)
    }

    /// Writes an empty index into memory that is all zeros. Nothing of it is flushed. Gives what is to be: offset and
    /// length.
    pub(crate) fn format(&self) -> (u64, u64) {
        let at = self.first_bucket();
        self.mem.store(at, Link::NIL.word());
        self.mem.store(at + WORD, self.order_word(at, 0));
        (self.layout.directory, LINE)
    }
}

/// Sees to it that what a walk passes is in order. So every walk ends, whatever the bytes are.
#[derive(Debug, Default)]
pub(super) struct Passed {
    order: u64,
    node: Option<Node>,
}

impl Passed {
    #[inline]
    pub(super) fn bucket(&mut self, at: u64, order: u64) -> Result<(), HeapError> {
        // A bucket stands before all names of its order, and no two buckets are equal.
        if order <= self.order {
            return Err(HeapError::Corrupt { offset: at });
        }
        *self = Self { order, node: None };
        Ok(())
    }

    #[inline]
    pub(super) fn node<M: Mem>(&mut self, tables: Tables<'_, M>, node: &Node) -> Result<(), HeapError> {
        let in_order = match &self.node {
            Some(before) if before.order == node.order => before.precedes(tables.mem, tables.seed, node)?,
            _ => self.order <= node.order,
        };
        if !in_order {
            return Err(HeapError::Corrupt { offset: node.offset });
        }
        *self = Self { order: node.order, node: Some(*node) };
        Ok(())
    }
}

/// What a [`Walk`] comes to.
#[derive(Debug)]
pub(super) enum Item {
    Bucket { at: u64, order: u64 },
    Node { node: Node, onward: Link },
}

/// A walk along the list that changes nothing, for when nobody else does.
pub(super) struct Walk<'m, M> {
    tables: Tables<'m, M>,
    /// Offset of the link that leads to what comes next, and what it says.
    pub(super) from: u64,
    pub(super) link: Link,
    passed: Passed,
}

impl<'m, M: Mem> Walk<'m, M> {
    /// Begins at a bucket that is in the list.
    pub(super) fn new(tables: Tables<'m, M>, start: u64) -> Result<Self, HeapError> {
        Ok(Self { tables, from: start, link: tables.link(start)?, passed: Passed::default() })
    }

    /// What comes next. `from` and `link` then still lead to it; [`pass`](Self::pass) goes on behind it.
    pub(super) fn peek(&mut self) -> Result<Option<Item>, HeapError> {
        if self.link.is_nil() {
            return Ok(None);
        }
        let at = self.link.offset();
        if self.link.leads_to_bucket() {
            let order = self.tables.order_of(at)?;
            self.passed.bucket(at, order)?;
            return Ok(Some(Item::Bucket { at, order }));
        }
        let node = self.tables.node(at)?;
        self.passed.node(self.tables, &node)?;
        Ok(Some(Item::Node { node, onward: self.tables.link(at)? }))
    }

    /// Goes on behind what [`peek`](Self::peek) gave.
    pub(super) fn pass(&mut self) -> Result<(), HeapError> {
        self.from = self.link.offset();
        self.link = self.tables.link(self.from)?;
        Ok(())
    }
}
