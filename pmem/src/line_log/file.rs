//! Real files.

use super::{LogError, LogKey, Options, Storage, format};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// An open file, by the system calls of the same names.
#[derive(Debug)]
pub struct FileStorage {
    fd: OwnedFd,
}

impl FileStorage {
    /// Opens a file to read and write: each call another file description, which [`Storage`] asks for. A file
    /// that is not there is [`LogError::Missing`].
    pub fn open(path: &Path) -> Result<FileStorage, LogError> {
        match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(FileStorage { fd }),
            Err(Errno::NOENT) => Err(LogError::Missing),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Makes an empty log at `path`, durable with its name. A log that stands there is replaced, so call this only while
    /// the region that it would belong to has no name yet, or is held and holds all that its old log has.
    pub fn create_log(path: &Path, key: &LogKey, options: &Options) -> Result<FileStorage, LogError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".tmp");
        let unfinished = PathBuf::from(unfinished);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&unfinished, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
        let log = FileStorage { fd };
        let finish = || {
            format(&log, key, options)?;
            rustix::fs::rename(&unfinished, path).map_err(io::Error::from)?;
            let folder = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let folder =
                rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            folder.and_then(rustix::fs::fsync).map_err(io::Error::from)?;
            Ok(())
        };
        let finished: Result<(), LogError> = finish();
        if finished.is_err() {
            // What is left of it would only take space. That it could not be removed is not what went wrong.
            let _ = rustix::fs::unlink(&unfinished);
        }
        finished.map(|()| log)
    }

    /// Where the log of a region stands: beside it, under its name with `.log` added.
    #[must_use]
    pub fn log_path(region: &Path) -> PathBuf {
        let mut path = OsString::from(region);
        path.push(".log");
        PathBuf::from(path)
    }
}

impl Storage for FileStorage {
    fn pread(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.fd, out, offset)?)
    }

    fn pwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.fd, bytes, offset)?)
    }

    fn fdatasync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn len(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.fd)?;
        Ok(u64::try_from(stat.st_size).expect("a length is not negative"))
    }
}
