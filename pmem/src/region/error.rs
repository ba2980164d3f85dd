//! Why a region could not be created, opened, grown or closed.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::heap::{HeapError, HeapOpenError};
use crate::layout::{StateError, SuperblockError};
use crate::line_log::LogError;
use crate::mapping::{DomainError, MapError};
use crate::mem::MediaError;

/// Someone else uses the region. Trying later can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the region is in use{}", .pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
pub struct InUse {
    /// By which process, if that is known; it may be this one.
    pub pid: Option<u32>,
}

/// Why a region was not created. Then there is no file of its name, unless there was one before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is a file of that name. It was not touched.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The path names no file that could be made.
    #[error("{} is no name for a file", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
    },
    /// A region must be larger for the tables of its geometry, or smaller for this machine's addresses.
    #[error("a region of {bytes} bytes: its geometry needs {least}")]
    TooSmall {
        /// What was asked for.
        bytes: u64,
        /// The least that the geometry needs.
        least: u64,
    },
    /// The disk, or the user's share of it, has no room.
    #[error("no room for {bytes} bytes")]
    NoSpace {
        /// What was asked for.
        bytes: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// Files of this folder cannot keep the promise that was asked for.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The new file could not be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The new region could not be written.
    #[error("cannot write the new region")]
    Format(#[source] HeapOpenError),
    /// The new region could not be opened.
    #[error("cannot open the new region")]
    Open(#[source] Box<OpenError>),
    /// A system call failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a region was not opened. Its file was not changed, unless the recovery of a crash had begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file of that name.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// Not a file but a folder, a device or the like.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Someone else has it open.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// This process has another file open that holds the same region: one is a copy of the other.
    #[error("another copy of this region is open in this process")]
    CopyIsOpen,
    /// The file is shorter than the region; or so short that it never was one.
    #[error("the file has {have} bytes, the region {need}")]
    Truncated {
        /// Bytes of the file.
        have: u64,
        /// Bytes that the region has, or that the smallest one would have.
        need: u64,
    },
    /// What the file begins with is no region, or none that this version can use.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// Neither state slot can be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The machine stopped, and not only the process, while the region was open with
    /// [`ProcessCrash`](crate::Persistence::ProcessCrash): of its pages any may have reached the disk and any not. Restore
    /// it from a replica, or salvage what can be read.
    #[error("the machine stopped while the region was open, and the region was not asked to survive that")]
    UncleanPowerLoss,
    /// The file, its file system or the region's format allows reading only.
    #[error("the region can only be opened for reading: {why}")]
    ReadOnly {
        /// What forbids writing.
        why: &'static str,
    },
    /// [`Volatile`](crate::Persistence::Volatile) was asked for, which a file cannot be; see
    /// [`Region::volatile`](super::Region::volatile).
    #[error("a region in a file is never volatile")]
    Volatile,
    /// The file cannot keep the promise that was asked for.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The file could not be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// What the file holds cannot be used.
    #[error(transparent)]
    Heap(#[from] HeapOpenError),
    /// What a crash has left could not be brought into place.
    #[error("cannot recover the region")]
    Recover(#[source] HeapError),
    /// The region's log cannot be used, and the region needs it.
    #[error("cannot use the region's log")]
    Log(#[from] LogError),
    /// The region needs a log, and it cannot be made.
    #[error("cannot make the region's log")]
    MakeLog(#[source] Box<CreateError>),
    /// What was stored could not be made durable.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A system call failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a region did not grow. It can be used as before, unless it says that the media failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrowError {
    /// The disk, or the user's share of it, has no room.
    #[error("no room to grow to {bytes} bytes")]
    NoSpace {
        /// What was asked for.
        bytes: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The new part could not be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The new part could not be made known.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// The file could not be made durable. The region accepts nothing any more.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A system call failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a region was not closed in order. Opening it will recover it as after a crash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The last changes could not be brought into place.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// The file could not be made durable.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// What the log holds could not be brought into the file, or the file does not say that it was closed.
    #[error("cannot bring the region's log into its file")]
    Log(#[source] Box<OpenError>),
    /// The process was forked, and this is the child. The region is its parent's.
    #[error("the region belongs to the parent process")]
    NotOurs,
}

/// Whether the kernel said that there is no room.
pub(super) fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
}

impl OpenError {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Io { doing, source: errno.into() }
    }
}

impl CreateError {
    pub(crate) fn io(doing: &'static str, bytes: u64) -> impl FnOnce(Errno) -> Self {
        move |errno| {
            let source = errno.into();
            if is_full(errno) { Self::NoSpace { bytes, source } } else { Self::Io { doing, source } }
        }
    }
}

impl CreateError {
    pub(super) fn of_log(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(errno) => Self::io("write the log", 0)(Errno::from_raw_os_error(errno)),
            None => Self::Io { doing: "write the log", source },
        }
    }
}

impl From<OpenError> for CreateError {
    fn from(error: OpenError) -> Self {
        Self::Open(Box::new(error))
    }
}
