//! Where objects live: a shard's part of a heap, and how it gets room.

use super::{
    names::{ObjectRef, name_of},
    nearby::Nearby,
    records::{BOOK_FIELDS, BOOKS_NAME, Books},
};
use crate::state::{Block, Fields, refuse};
use abide_net::CallError;
use abide_pmem::{
    Mapping, Region, Tx, View, Writer,
    heap::HeapError,
    region::GrowError,
    types::{Bundle, Directory, Kind, garbage},
};
use std::sync::Arc;

/// A shard's place in a region.
#[derive(Debug, Clone)]
pub struct Home {
    /// The region, which other shards may share.
    pub region: Arc<Region>,
    /// Which of its shards.
    pub shard: u32,
    /// How far the region may grow, in bytes.
    pub bytes_max: u64,
}

/// By how much a region grows at least, in bytes.
const GROWTH_BYTES_MIN: u64 = 16 << 20;

/// Blocks of garbage that are freed after a call: as many as a call of the usual kind makes.
const GARBAGE_BLOCKS: u32 = 32;

/// A heap that objects of one kind live in.
#[derive(Debug)]
pub(super) struct Space {
    home: Home,
    pub(super) persistent: bool,
    pub(super) directory: Directory,
    pub(super) books: Books,
    /// The time of the first expiry, or one before it.
    pub(super) next_expiry_us: Option<u64>,
    /// Blocks have run since the last commit.
    pub(super) is_dirty: bool,
    /// Objects that were called lately.
    pub(super) nearby: Nearby,
    name: Vec<u8>,
}

impl Space {
    /// Opens the space, or makes it in an empty heap.
    pub(super) fn open(home: Home, persistent: bool) -> Result<Space, CallError> {
        let name = format!("objects/{}", home.shard);
        let index = home.region.heap().index();
        let kind = Kind::Directory as u16;
        let unreadable = |error| CallError::Damaged { reason: format!("the name {name}: {error}") };
        let root = match index.get(kind, name.as_bytes()).map_err(unreadable)? {
            Some(entry) => entry.root,
            None => index.create(kind, name.as_bytes(), home.shard).map_err(unreadable)?.root,
        };
        let directory = Directory::at(root);
        let heap = home.region.heap();
        let find = |tx: &mut Tx<'_, Mapping>| -> Result<Option<Bundle>, OpenBlockError> {
            Ok(match directory.find(&*tx, BOOKS_NAME)? {
                Some(books) => Some(books),
                None => directory.create(tx, BOOKS_NAME, BOOK_FIELDS)?,
            })
        };
        let books = heap.atomically(home.shard, find).map_err(|OpenBlockError(error)| refuse(error))?;
        let books = books.expect("it is made where it is not found");
        if books.count() < BOOK_FIELDS {
            return Err(CallError::Damaged {
                reason: "the books of a shard are of another version".to_owned(),
            });
        }
        let books = Books::at(Fields::at(books.root(0), BOOK_FIELDS));
        let mut space = Space {
            home,
            persistent,
            directory,
            books,
            next_expiry_us: None,
            is_dirty: false,
            nearby: Nearby::default(),
            name: Vec::new(),
        };
        space.next_expiry_us = space.first_expiry()?;
        Ok(space)
    }

    /// The heap's writer for this shard.
    pub(super) fn writer(&self) -> Writer<'_, Mapping> {
        self.home.region.heap().writer(self.home.shard)
    }

    /// Runs `read` over the space as the shard left it, committed or not.
    pub(super) fn look<R>(
        &self,
        read: impl FnOnce(&Block<'_>) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let looked = self.writer().run(|tx| Ok::<_, Looked>(read(tx)));
        looked.unwrap_or_else(|Looked(error)| Err(refuse(error)))
    }

    /// The object of a name.
    pub(super) fn find(&mut self, type_id: u16, key: &str) -> Result<Option<ObjectRef>, CallError> {
        if let Some(object) = self.nearby.get(type_id, key) {
            return Ok(Some(object));
        }
        let mut name = std::mem::take(&mut self.name);
        name_of(type_id, key, &mut name);
        let (directory, persistent) = (self.directory, self.persistent);
        let found = self.look(|block| find_in(block, directory, persistent, type_id, &name));
        self.name = name;
        let found = found?;
        if let Some(object) = found {
            self.nearby.put(object, key);
        }
        Ok(found)
    }

    /// The time of the first expiry.
    pub(super) fn first_expiry(&self) -> Result<Option<u64>, CallError> {
        let first = self.look(|block| self.books.expiries.first(block).map_err(refuse))?;
        Ok(first.and_then(|(key, _)| key.first_chunk::<8>().map(|at_us| u64::from_be_bytes(*at_us))))
    }

    /// Commits what has run.
    pub(super) fn commit(&mut self) -> Result<(), HeapError> {
        if std::mem::take(&mut self.is_dirty) {
            self.writer().commit()?;
        }
        Ok(())
    }

    /// Frees a part of what nothing reaches any more.
    pub(super) fn collect(&self, writer: &mut Writer<'_, Mapping>) {
        let collected = writer.run(|tx| {
            if garbage::is_pending(&*tx) { garbage::collect(tx, GARBAGE_BLOCKS) } else { Ok(false) }
        });
        if let Err(error) = collected {
            tracing::warn!(%error, "garbage stays");
        }
    }

    /// Makes room for a block that found none: at first by what can be used again, then by growing. Says whether there
    /// is more room than before.
    pub(super) fn make_room(&self, attempt: u32) -> Result<bool, CallError> {
        let mut writer = self.writer();
        if attempt == 0 {
            while writer.run(|tx| garbage::collect(tx, 4 * GARBAGE_BLOCKS)).map_err(refuse)? {}
            writer.reclaim().map_err(refuse)?;
            return Ok(true);
        }
        drop(writer);
        self.grow()
    }

    fn grow(&self) -> Result<bool, CallError> {
        let region = &self.home.region;
        let bytes = region.bytes();
        let max = self.home.bytes_max / GRAIN * GRAIN;
        let wanted = bytes.saturating_add((bytes / 2).max(GROWTH_BYTES_MIN)).next_multiple_of(GRAIN).min(max);
        if wanted <= bytes {
            return Ok(false);
        }
        match region.grow(wanted) {
            Ok(()) => Ok(true),
            Err(GrowError::NoSpace { .. }) => Ok(false),
            Err(error) => {
                tracing::warn!(%error, wanted, "a region does not grow");
                Ok(false)
            }
        }
    }

    pub(super) fn region_bytes(&self) -> (u64, u64) {
        (self.home.region.bytes(), self.home.bytes_max)
    }

    /// Number of objects: all names but those of the books and of releases.
    pub(super) fn objects(&self) -> Result<u64, CallError> {
        self.look(|block| {
            let releases = self.books.releases.len(block).map_err(refuse)?;
            Ok(self.directory.len(block).map_err(refuse)?.saturating_sub(1 + releases))
        })
    }
}

/// Regions grow by whole pages; this many bytes are whole pages everywhere.
const GRAIN: u64 = 2 << 20;

/// The object of a name in a directory.
pub(super) fn find_in<V: View>(
    view: &V,
    directory: Directory,
    persistent: bool,
    type_id: u16,
    name: &[u8],
) -> Result<Option<ObjectRef>, CallError> {
    let found = directory.find(view, name).map_err(refuse)?;
    Ok(found.map(|bundle| ObjectRef::new(persistent, type_id, bundle)))
}

/// Why a block that only looks fails to run.
struct Looked(abide_pmem::types::TypeError);

impl From<HeapError> for Looked {
    fn from(error: HeapError) -> Self {
        Looked(error.into())
    }
}

/// Why the block that opens a space fails.
struct OpenBlockError(abide_pmem::types::TypeError);

impl<E: Into<abide_pmem::types::TypeError>> From<E> for OpenBlockError {
    fn from(error: E) -> Self {
        OpenBlockError(error.into())
    }
}
