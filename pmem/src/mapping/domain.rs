//! What a region's memory survives: what the caller asks for, and how this file can give it.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::cpu::CpuFeatures;
use super::io::Io;
use super::nd;

/// The promise that the caller needs. Never weakened: where a file cannot give it, opening fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Nothing survives the process.
    Volatile,
    /// What was stored survives the end of the process at any instruction, by whatever kills it, but no crash of the
    /// machine. An orderly close survives that too.
    ProcessCrash,
    /// What was acknowledged survives the loss of power.
    PowerFail,
}

/// How the promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// [`Persistence::Volatile`]: memory of the process. Flush and fence do nothing.
    Volatile,
    /// [`Persistence::ProcessCrash`]: pages of the page cache. Flush and fence cost nothing; the processor keeps the order in
    /// which stores become visible, and what is visible is in the page cache.
    ProcessCrash,
    /// [`Persistence::PowerFail`] on persistent memory: flush writes lines back, fence waits for them. What
    /// reached the memory controller survives.
    Dax,
    /// [`Persistence::PowerFail`] on persistent memory of a machine that saves its caches too: flush does nothing, fence waits
    /// for the store buffer.
    Eadr,
    /// [`Persistence::PowerFail`] on an ordinary file: flush appends lines to a log, fence waits until the log is durable.
    File,
}

impl Domain {
    /// The promise that it keeps.
    #[must_use]
    pub fn persistence(self) -> Persistence {
        match self {
            Domain::Volatile => Persistence::Volatile,
            Domain::ProcessCrash => Persistence::ProcessCrash,
            Domain::Dax | Domain::Eadr | Domain::File => Persistence::PowerFail,
        }
    }

    /// Whether the file is changed only by the kernel's page cache, whose order of writing nobody knows, so that the
    /// file cannot be trusted after the machine lost its power while the region was open.
    #[must_use]
    pub fn is_page_cache(self) -> bool {
        self == Domain::ProcessCrash
    }
}

/// Why a file cannot keep the promise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// The file system is known, and cannot keep it.
    #[error("{file_system} cannot keep the promise of {asked:?}: {reason}")]
    Unsuitable {
        /// Its name.
        file_system: &'static str,
        /// What was asked for.
        asked: Persistence,
        /// Why not.
        reason: &'static str,
    },
    /// The file system is not one of which we know what it does to mapped files.
    #[error("unknown file system (magic {magic:#x}): nothing is known of its mapped files; it can be forced")]
    UnknownFileSystem {
        /// Its number in `statfs`.
        magic: u64,
    },
    /// The system could not be asked.
    #[error("cannot find out what the file survives")]
    Io(#[from] std::io::Error),
}

/// What is asked of a file.
#[derive(Debug, Clone)]
pub struct DomainRequest {
    /// The promise.
    pub persistence: Persistence,
    /// Takes any file system. Whoever sets it vouches for it: that a mapped file's blocks stay allocated, that
    /// one machine alone writes it and, for [`Persistence::PowerFail`], that `fdatasync` reaches the media.
    pub force_file_system: bool,
    /// Where `sysfs` is mounted. Another folder in tests.
    pub sysfs: PathBuf,
}

impl DomainRequest {
    /// Asks for the promise, with no force.
    #[must_use]
    pub fn new(persistence: Persistence) -> Self {
        Self { persistence, force_file_system: false, sysfs: PathBuf::from("/sys") }
    }

    /// Whether the file system can keep the promise at all. Asked of a folder too, before anything is made in it.
    pub fn admit(&self, io: &Io, file: BorrowedFd<'_>) -> Result<(), DomainError> {
        if self.persistence == Persistence::Volatile || self.force_file_system {
            return Ok(());
        }
        let magic = io.file_system(file).map_err(std::io::Error::from)?;
        FileSystem::of(magic)?.admit(self.persistence)
    }

    /// How this file keeps the promise. It must be open for writing and hold at least one page.
    pub fn find(&self, io: &Io, file: BorrowedFd<'_>) -> Result<Domain, DomainError> {
        self.admit(io, file)?;
        match self.persistence {
            Persistence::Volatile => Ok(Domain::Volatile),
            Persistence::ProcessCrash => Ok(Domain::ProcessCrash),
            Persistence::PowerFail => {
                let writes_back = CpuFeatures::of_this_cpu().best().is_some();
                if !writes_back || !io.can_map_sync(file).map_err(std::io::Error::from)? {
                    return Ok(Domain::File);
                }
                let device = io.stat(file).map_err(std::io::Error::from)?.device;
                Ok(self.dax_or_eadr(device))
            }
        }
    }

    fn dax_or_eadr(&self, device: u64) -> Domain {
        if nd::caches_are_saved(Path::new(&self.sysfs), device) { Domain::Eadr } else { Domain::Dax }
    }
}

/// File systems of which we know what they do to mapped files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    Overlay,
    /// Known, and to be refused.
    Other(&'static str, &'static str),
}

const REMOTE: &str = "another machine may write the file, and its pages are not coherent between machines";
const SERVED: &str = "what becomes of a page is up to another process";

impl FileSystem {
    /// By the number in `statfs`, as in the kernel's `magic.h`.
    fn of(magic: u64) -> Result<Self, DomainError> {
        Ok(match magic {
            // Also of ext2 and ext3, which the same code of the kernel serves.
            0xEF53 => Self::Ext4,
            0x5846_5342 => Self::Xfs,
            0x9123_683E => Self::Btrfs,
            0x0102_1994 => Self::Tmpfs,
            0x794C_7630 => Self::Overlay,
            0x6969 => Self::Other("NFS", REMOTE),
            0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Self::Other("CIFS", REMOTE),
            0x00C3_6400 => Self::Other("Ceph", REMOTE),
            0x6573_5546 => Self::Other("FUSE", SERVED),
            0x0102_1997 => Self::Other("9p", SERVED),
            0x8584_58F6 => Self::Other("ramfs", "it cannot allocate blocks before they are stored to"),
            _ => return Err(DomainError::UnknownFileSystem { magic }),
        })
    }

    /// Whether it can keep the promise.
    fn admit(self, asked: Persistence) -> Result<(), DomainError> {
        let unsuitable = |file_system, reason| Err(DomainError::Unsuitable { file_system, asked, reason });
        match (self, asked) {
            (Self::Other(name, reason), _) => unsuitable(name, reason),
            (Self::Ext4 | Self::Xfs, _) => Ok(()),
            (Self::Btrfs, Persistence::PowerFail) => Ok(()),
            // It writes each page to a new place, so a store into an allocated page can still find the disk full,
            // and that is a SIGBUS. The domain `File` writes by system call, which can report it.
            (Self::Btrfs, _) => unsuitable(
                "btrfs",
                "a store to a mapped page can find the disk full, although the file was allocated",
            ),
            (Self::Tmpfs, Persistence::PowerFail) => {
                unsuitable("tmpfs", "it is memory and ends with the machine")
            }
            (Self::Tmpfs, _) => Ok(()),
            // The root of most containers. An open file's pages are those of the file system below, which a killed
            // process does not harm. But that may be a tmpfs, and a mount with `volatile` ignores every sync; neither
            // can be seen from here.
            (Self::Overlay, Persistence::PowerFail) => {
                unsuitable("overlayfs", "what lies below it, and whether it syncs at all, cannot be seen")
            }
            (Self::Overlay, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683E;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794C_7630;
    const REFUSED: [u64; 6] = [0x6969, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x8584_58F6];

    #[test]
    fn a_file_system_is_never_trusted_with_more_than_it_can_keep() {
        let keeps = |magic, asked| FileSystem::of(magic).unwrap().admit(asked).is_ok();
        for (magic, process_crash, power_fail) in [
            (EXT4, true, true),
            (XFS, true, true),
            (BTRFS, false, true),
            (TMPFS, true, false),
            (OVERLAY, true, false),
        ] {
            assert_eq!(keeps(magic, Persistence::ProcessCrash), process_crash, "{magic:#x}");
            assert_eq!(keeps(magic, Persistence::PowerFail), power_fail, "{magic:#x}");
        }
        for magic in REFUSED {
            assert!(
                !keeps(magic, Persistence::ProcessCrash) && !keeps(magic, Persistence::PowerFail),
                "{magic:#x}"
            );
        }
        assert!(matches!(FileSystem::of(0xABCD), Err(DomainError::UnknownFileSystem { magic: 0xABCD })));
    }
}
