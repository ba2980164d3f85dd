//! The new region, while it is filled.

use super::SalvageError;
use crate::{
    Geometry, HeapError, Mapping, Region, RegionOptions, Tx,
    index::IndexError,
    mapping::{PAGE, io::Io},
    region::{CreateError, Place, log_path},
    types::TypeError,
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Slots of rings are at least as large, so that trees of any height can be changed.
const RING_SLOT_BYTES_MIN: u32 = 4096;

/// A region that gets its name when it is whole. Until then it is `NAME.unfinished`, which is removed if it is not to be.
#[derive(Debug)]
pub(super) struct Target {
    /// `None` once it is closed.
    region: Option<Region>,
    path: PathBuf,
    unfinished: PathBuf,
    io: Io,
}

impl Target {
    /// Makes a region with room for as much as one of `bytes` bytes has. It grows if that is not enough.
    pub(super) fn create(
        path: &Path,
        bytes: u64,
        geometry: Geometry,
        options: &RegionOptions,
    ) -> Result<Self, SalvageError> {
        expect_free(&options.io, path).map_err(taken_or(SalvageError::Create))?;
        let mut name = path.file_name().expect("a place has a name").to_owned();
        name.push(".unfinished");
        let unfinished = path.with_file_name(name);
        let slot = geometry.ring_slot_bytes.max(RING_SLOT_BYTES_MIN);
        let geometry = Geometry { ring_slot_bytes: slot, ..geometry };
        let least = geometry.layout().map_err(|error| CreateError::Format(error.into()));
        let bytes = bytes.max(least.map_err(SalvageError::Create)?.bytes_min()).next_multiple_of(PAGE);
        let options = RegionOptions { geometry, ..options.clone() };
        let created = Region::create(&unfinished, bytes, &options);
        let region = created.map_err(taken_or(SalvageError::Create))?;
        Ok(Self { region: Some(region), path: path.to_owned(), unfinished, io: options.io })
    }

    fn region(&self) -> &Region {
        self.region.as_ref().expect("it is open until it is published")
    }

    /// Creates a name. Gives the root.
    pub(super) fn name(&self, type_number: u16, name: &[u8], shard: u32) -> Result<u64, SalvageError> {
        loop {
            match self.region().heap().index().create(type_number, name, shard) {
                Ok(entry) => return Ok(entry.root),
                Err(IndexError::Heap(HeapError::NoSpace)) => self.grow()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Runs a failure-atomic block, again in a larger region if this one is full.
    pub(super) fn run<E>(
        &self,
        shard: u32,
        mut block: impl FnMut(&mut Tx<'_, Mapping>) -> Result<(), E>,
    ) -> Result<(), SalvageError>
    where
        E: From<HeapError> + Into<TypeError>,
    {
        loop {
            match self.region().heap().atomically(shard, &mut block).map_err(Into::into) {
                Ok(()) => return Ok(()),
                Err(TypeError::Heap(HeapError::NoSpace)) => self.grow()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Half as large again.
    fn grow(&self) -> Result<(), SalvageError> {
        let bytes = self.region().bytes();
        Ok(self.region().grow((bytes + bytes / 2).next_multiple_of(PAGE))?)
    }

    /// Makes the region durable and gives it its name.
    pub(super) fn publish(mut self) -> Result<(), SalvageError> {
        if let Some(region) = self.region.take() {
            region.close()?;
        }
        let io = &self.io;
        let open = io.open(&self.unfinished, OFlags::RDONLY, Mode::empty());
        let file = open.map_err(|errno| SalvageError::Publish(CreateError::io("open it again", 0)(errno)))?;
        // The temporary name goes when this is dropped; that it may come back with a crash harms nobody.
        Place::find(io, &self.path)
            .and_then(|place| place.give_to(&file))
            .map_err(taken_or(SalvageError::Publish))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.region.take());
        if let Err(error) = fs::remove_file(&self.unfinished) {
            tracing::warn!(%error, path = %self.unfinished.display(), "cannot remove");
        }
    }
}

/// What is taken already is told as that.
fn taken_or(other: fn(CreateError) -> SalvageError) -> impl Fn(CreateError) -> SalvageError {
    move |error| match error {
        CreateError::Exists { path } => SalvageError::Exists { path },
        error => other(error),
    }
}

fn expect_free(io: &Io, path: &Path) -> Result<(), CreateError> {
    Place::find(io, path)?.expect_free()?;
    // A log that is left of another region would not fit this one, and would be needed by that.
    Place::find(io, &log_path(path))?.expect_free()
}
