//! A region that is read, and not written.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::header::Header;
use super::lock::{Lock, Use};
use super::options::RegionOptions;
use super::{NO_BOOT, check_power_loss, log, open_file};
use crate::heap::{Heap, Reader};
use crate::layout::Superblock;
use crate::mapping::{Mapping, PAGE};

/// A region whose file is not changed. It works on a copy of the file that takes a page when it is first stored to, which
/// recovery does if the region was not closed in order.
///
/// It does not matter on which file system it is, whether that is mounted for reading only, or which promise was asked
/// for. On a file system that others can write to the lock may not keep them out.
#[derive(Debug)]
pub struct ReadOnlyRegion {
    heap: Heap<Mapping>,
    // Given back last.
    _lock: Lock,
}

impl ReadOnlyRegion {
    pub(super) fn open(path: &Path, options: &RegionOptions) -> Result<Self, OpenError> {
        let (mapping, lock) = map_copy(path, options)?;
        Ok(Self { heap: Heap::open_read_only(mapping, NO_BOOT)?, _lock: lock })
    }

    /// Reads a shard.
    ///
    /// # Panics
    /// If there is no such shard.
    #[must_use]
    pub fn reader(&self, shard: u32) -> Reader<'_, Mapping> {
        self.heap.reader(shard)
    }

    /// Which region this is, and its sizes.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        self.heap.superblock()
    }

    /// The heap, for whatever reads more than words. It refuses changes with
    /// [`HeapError::ReadOnly`](crate::HeapError::ReadOnly).
    #[must_use]
    pub fn heap(&self) -> &Heap<Mapping> {
        &self.heap
    }
}

/// Locks a region's file and maps a copy of it, with what its log tells. Nothing is recovered yet.
pub(crate) fn map_copy(path: &Path, options: &RegionOptions) -> Result<(Mapping, Lock), OpenError> {
    let io = &options.io;
    let file = open_file(io, path, Use::Shared)?;
    let lock = Lock::take(io, &file, Use::Shared)?;
    let header = Header::read(io, file.as_fd())?;
    if !options.accept_power_loss {
        check_power_loss(&header.state, options)?;
    }
    // All of the file: the log may tell of a region that has grown.
    let bytes = io.stat(file.as_fd()).map_err(OpenError::io("stat the region's file"))?.len / PAGE * PAGE;
    let mapping = Mapping::private_copy(Arc::clone(&file), bytes, &options.map_options())?;
    if log::is_to_be_read(path, &header.state, header.may_be_stale, options) {
        log::replay_into_copy(path, &file, &header, &mapping, options)?;
    }
    Ok((mapping, lock))
}
