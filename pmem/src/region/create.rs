//! Making a region's file, such that under its name there is never a half-made one.
//!
//! ```text
//! open a file without a name     gone when this process ends
//! lock it                        so that nobody can take the region between its birth and our opening it
//! allocate all of it             a full disk shows here, and not as a signal when a page is stored to
//! write everything but the first word of the superblock
//! sync
//! write that word
//! sync
//! link it to its name            fails if the name is taken
//! sync the folder
//! ```
//!
//! Some file systems have no files without a name. There it is made under `.NAME.RANDOM.tmp`, which a kill leaves behind;
//! until its first word is written it is no region.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::CreateError;
use super::lock::{Lock, Use};
use super::log;
use super::options::RegionOptions;
use crate::heap::Heap;
use crate::layout::Identity;
use crate::mapping::io::Io;
use crate::mapping::{Domain, MapError, Mapping, PAGE};

/// Makes a region of this length, and locks it.
pub(super) fn create(
    place: &Place<'_>,
    bytes: u64,
    identity: Identity,
    options: &RegionOptions,
) -> Result<(Arc<OwnedFd>, Lock), CreateError> {
    let layout = options.geometry.layout().map_err(|error| CreateError::Format(error.into()))?;
    if !bytes.is_multiple_of(PAGE) {
        return Err(MapError::BadLength { len: bytes }.into());
    }
    if bytes < layout.bytes_min() {
        return Err(CreateError::TooSmall { bytes, least: layout.bytes_min() });
    }
    // Asked before anything is made; the file itself is asked again.
    options.domain_request().admit(&options.io, place.folder.as_fd())?;
    place.make(|file| fill(place, file, bytes, identity, options))
}

/// Writes a region into a new file.
fn fill(
    place: &Place<'_>,
    file: &Arc<OwnedFd>,
    bytes: u64,
    identity: Identity,
    options: &RegionOptions,
) -> Result<Lock, CreateError> {
    let io = &options.io;
    let lock = Lock::take(io, file, Use::Exclusive)?;
    io.allocate(file.as_fd(), 0, bytes).map_err(CreateError::io("allocate the region's file", bytes))?;
    if options.domain_request().find(io, file.as_fd())? == Domain::File {
        // A log without a region may be all that is left of something: it is not for us to replace it.
        let log = log::path_of(place.path);
        Place::find(io, &log)?.expect_free()?;
    }
    // Whatever the domain will be, nobody relies on this file before its sync; so it is written as an ordinary one.
    let mapping = Mapping::shared(Arc::clone(file), bytes, Domain::ProcessCrash, &options.map_options())?;
    let sync = || mapping.sync().map_err(|error| CreateError::Format(error.into()));
    Heap::format(&mapping, identity, options.geometry).map_err(CreateError::Format)?;
    sync()?;
    Heap::finish_format(&mapping).map_err(CreateError::Format)?;
    sync()?;
    Ok(lock)
}

/// Where a file is to be made.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    path: &'a Path,
    folder: OwnedFd,
    name: &'a OsStr,
    io: &'a Io,
}

impl<'a> Place<'a> {
    pub(crate) fn find(io: &'a Io, path: &'a Path) -> Result<Self, CreateError> {
        let name = path.file_name().ok_or_else(|| CreateError::BadPath { path: path.to_owned() })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = io
            .open(parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map_err(CreateError::io("open the folder", 0))?;
        Ok(Self { path, folder, name, io })
    }

    /// Refuses a name that is taken. Linking would refuse it too, but only when all the work is done.
    pub(crate) fn expect_free(&self) -> Result<(), CreateError> {
        match self.io.stat_at(self.folder.as_fd(), self.name) {
            Err(Errno::NOENT) => Ok(()),
            Ok(_) => Err(self.taken()),
            Err(errno) => Err(CreateError::io("look for the file's name", 0)(errno)),
        }
    }

    /// Makes a file there, with what `fill` writes into it and syncs. Then the file has its name, durably; or there is
    /// an error and no file.
    pub(super) fn make<T>(
        &self,
        fill: impl FnOnce(&Arc<OwnedFd>) -> Result<T, CreateError>,
    ) -> Result<(Arc<OwnedFd>, T), CreateError> {
        self.expect_free()?;
        let (file, temporary) = self.open_new()?;
        let made = fill(&file).and_then(|filled| {
            self.link(&file)?;
            Ok(filled)
        });
        // What lies under the temporary name has its own by now, or is to go.
        if let Some(temporary) = temporary
            && let Err(errno) = self.io.unlink(self.folder.as_fd(), &temporary)
        {
            tracing::warn!(error = %errno, "cannot remove a temporary name");
        }
        let filled = made?;
        self.settle()?;
        Ok((file, filled))
    }

    /// Gives the name, durably, to a file in the same file system that is whole and durable; or there is an error, and the
    /// name is free.
    pub(crate) fn give_to(&self, file: &OwnedFd) -> Result<(), CreateError> {
        self.link(file)?;
        self.settle()
    }

    /// Makes the name durable that the file was just given, or takes it away again.
    fn settle(&self) -> Result<(), CreateError> {
        self.io.sync(self.folder.as_fd()).map_err(|errno| {
            self.remove();
            CreateError::io("make the file's name durable", 0)(errno)
        })
    }

    /// Takes the name away again, after whatever was to follow has failed. A file that remains is whole.
    pub(super) fn remove(&self) {
        let removed = self.io.unlink(self.folder.as_fd(), self.name);
        match removed.and_then(|()| self.io.sync(self.folder.as_fd())) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => tracing::warn!(error = %errno, path = %self.path.display(), "cannot remove"),
        }
    }

    /// A new, empty file, and the name that it has for now if it must have one.
    fn open_new(&self) -> Result<(Arc<OwnedFd>, Option<OsString>), CreateError> {
        let mode = Mode::RUSR | Mode::WUSR;
        match self.io.open_unnamed(self.folder.as_fd(), mode) {
            Ok(file) => return Ok((Arc::new(file), None)),
            // Unknown to the file system, or (the last two) to the kernel.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
            Err(errno) => return Err(CreateError::io("make a file", 0)(errno)),
        }
        let random =
            super::random_word().map_err(|source| CreateError::Io { doing: "get random bytes", source })?;
        let mut temporary = OsString::from(".");
        temporary.push(self.name);
        temporary.push(format!(".{random:016x}.tmp"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self
            .io
            .open_at(self.folder.as_fd(), &temporary, flags, mode)
            .map_err(CreateError::io("make a file", 0))?;
        Ok((Arc::new(file), Some(temporary)))
    }

    fn link(&self, file: &OwnedFd) -> Result<(), CreateError> {
        match self.io.link(file.as_fd(), self.folder.as_fd(), self.name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.taken()),
            Err(errno) => Err(CreateError::io("name the file", 0)(errno)),
        }
    }

    fn taken(&self) -> CreateError {
        CreateError::Exists { path: self.path.to_owned() }
    }
}
