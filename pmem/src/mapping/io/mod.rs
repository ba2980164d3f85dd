//! Every system call on a region's files, in one place.
//!
//! Each is repeated when a signal interrupts it; those that move bytes move all of them. A test can make any of them
//! fail ([`Faults`]).
//!
//! Access rules of the unsafe blocks: `map`, `reserve` and `sync_map` only pass on
//! what their callers promise; no address is dereferenced here.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, MsyncFlags, ProtFlags};

use super::faults::{Call, Faults};

/// Zeros for file systems that cannot allocate.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Makes system calls, or the faults that a test asked for.
#[derive(Debug, Clone, Default)]
pub struct Io {
    faults: Option<Arc<Faults>>,
}

/// What identifies an open file, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// The device, as the kernel numbers it.
    pub device: u64,
    /// The inode on the device.
    pub inode: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub regular: bool,
    /// Whether it has a name.
    pub named: bool,
}

impl Io {
    /// Makes every call as asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Meets the faults that a test plans. For tests.
    #[must_use]
    pub fn with_faults(faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults) }
    }

    /// Makes one call, again after each interruption. The argument is how many bytes it may transfer.
    fn call<T>(&self, call: Call, mut make: impl FnMut(usize) -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            let limit = match &self.faults {
                None => Ok(usize::MAX),
                Some(faults) => faults.before(call),
            };
            match limit.and_then(&mut make) {
                Err(Errno::INTR) => {}
                done => return done,
            }
        }
    }

    /// Opens a file. A pipe or a device does not make it wait.
    pub fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.call(Call::Open, |_| fs::open(path, flags, mode))
    }

    /// Opens a file in an open folder.
    pub fn open_at(
        &self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.call(Call::Open, |_| fs::openat(folder, name, flags, mode))
    }

    /// Makes a file without a name on the folder's file system. It is gone when the last descriptor is, unless
    /// [`link`](Self::link) names it.
    pub fn open_unnamed(&self, folder: BorrowedFd<'_>, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        self.call(Call::OpenUnnamed, |_| fs::openat(folder, ".", flags, mode))
    }

    /// What file it is and how long.
    pub fn stat(&self, file: BorrowedFd<'_>) -> Result<FileStat, Errno> {
        self.call(Call::Stat, |_| fs::fstat(file)).map(|stat| file_stat(&stat))
    }

    /// What a name in a folder stands for now; symbolic links are followed.
    pub fn stat_at(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<FileStat, Errno> {
        self.call(Call::Stat, |_| fs::statat(folder, name, AtFlags::empty())).map(|stat| file_stat(&stat))
    }

    /// The magic number of the file system.
    pub fn file_system(&self, file: BorrowedFd<'_>) -> Result<u64, Errno> {
        // The kernel's field is signed on some machines; all magics fit into 32 bits.
        self.call(Call::StatFileSystem, |_| fs::fstatfs(file)).map(|stat| u64::from(stat.f_type as u32))
    }

    /// Takes the whole file's lock, or gives it back. Never waits: `WOULDBLOCK` says that someone else holds it.
    ///
    /// `flock` and not a lock of `fcntl`'s: it belongs to the open file description, so a second open by the
    /// same process is refused too, and `/proc/locks` names its holder.
    pub fn lock(&self, file: BorrowedFd<'_>, operation: LockOperation) -> Result<(), Errno> {
        let operation = match operation {
            LockOperation::Exclusive => FlockOperation::NonBlockingLockExclusive,
            LockOperation::Shared => FlockOperation::NonBlockingLockShared,
            LockOperation::Unlock => FlockOperation::NonBlockingUnlock,
        };
        self.call(Call::Lock, |_| fs::flock(file, operation))
    }

    /// Gives the range its blocks, so that a store into a map of it can never find the disk full, and makes the file
    /// reach to its end.
    ///
    /// Where the file system cannot allocate, zeros are written behind the file's present end. (The C library would
    /// instead write one byte into each block of the range, also where data stands that another process writes.)
    pub fn allocate(&self, file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
        let allocated =
            self.call(Call::Allocate, |_| fs::fallocate(file, FallocateFlags::empty(), offset, len));
        match allocated {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
                let mut at = self.stat(file)?.len;
                while at < end {
                    let bytes = (end - at).min(ZEROS.len() as u64) as usize;
                    self.write_all(file, at, &ZEROS[..bytes])?;
                    at += bytes as u64;
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Writes some of the bytes at the position. Gives how many.
    pub fn write(&self, file: BorrowedFd<'_>, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(Call::Write, |limit| rustix::io::pwrite(file, &bytes[..bytes.len().min(limit)], offset))
    }

    /// Reads some bytes from the position on. Gives how many; none only where the file ends.
    pub fn read(&self, file: BorrowedFd<'_>, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        self.call(Call::Read, |limit| {
            let end = out.len().min(limit);
            rustix::io::pread(file, &mut out[..end], offset)
        })
    }

    /// Writes all the bytes at the position.
    pub fn write_all(&self, file: BorrowedFd<'_>, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let written = self.write(file, offset, bytes)?;
            if written == 0 {
                // A regular file takes at least one byte or says why not; going on could go on for ever.
                return Err(Errno::IO);
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    /// Fills `out` from the position on. Gives how many bytes there were: fewer only where the file ends.
    pub fn read_up_to(&self, file: BorrowedFd<'_>, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < out.len() {
            let read = self.read(file, offset + done as u64, &mut out[done..])?;
            if read == 0 {
                break;
            }
            done += read;
        }
        Ok(done)
    }

    /// Sets the file's length.
    pub fn truncate(&self, file: BorrowedFd<'_>, len: u64) -> Result<(), Errno> {
        self.call(Call::Truncate, |_| fs::ftruncate(file, len))
    }

    /// Makes the file durable, its length and blocks too. After a failure nothing may be tried again: the kernel has
    /// marked the pages clean that it could not write.
    pub fn sync(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call(Call::Sync, |_| fs::fsync(file))
    }

    /// Makes the file's data durable, and its length if it grew. After a failure: as with [`sync`](Self::sync).
    pub fn sync_data(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.call(Call::SyncData, |_| fs::fdatasync(file))
    }

    /// Gives the open file a name. Fails with `EXIST` if the name is taken, and never replaces.
    pub fn link(&self, file: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.call(Call::Link, |_| {
            match fs::linkat(fs::CWD, open.as_str(), folder, name, AtFlags::SYMLINK_FOLLOW) {
                // No /proc. By descriptor it works with a capability, and on new kernels without.
                Err(Errno::NOENT) => fs::linkat(file, "", folder, name, AtFlags::EMPTY_PATH),
                other => other,
            }
        })
    }

    /// Takes a name away.
    pub fn unlink(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        self.call(Call::Unlink, |_| fs::unlinkat(folder, name, AtFlags::empty()))
    }

    /// Reserves addresses that nothing can be loaded from.
    pub(super) fn reserve(&self, bytes: usize) -> Result<*mut u8, Errno> {
        self.call(Call::Reserve, |_| {
            // SAFETY: the kernel chooses the addresses, so no mapping of anyone is replaced.
            let base = unsafe {
                mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::empty(),
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                )
            };
            base.map(|base| base.cast())
        })
    }

    /// Maps `source` over `at .. at + bytes`. `Err(true, _)` says that the kernel was asked, and may have removed what was
    /// mapped there before.
    ///
    /// # Safety
    /// The range must be the caller's own, and nothing may refer into it.
    pub(super) unsafe fn map(
        &self,
        at: *mut u8,
        bytes: usize,
        protection: ProtFlags,
        flags: MapFlags,
        source: Option<(BorrowedFd<'_>, u64)>,
    ) -> Result<(), (bool, Errno)> {
        let mut asked = false;
        let flags = flags | MapFlags::FIXED;
        self.call(Call::Map, |_| {
            asked = true;
            // SAFETY: the caller owns the range, and nothing refers into it.
            let mapped = unsafe {
                match source {
                    Some((file, offset)) => mm::mmap(at.cast(), bytes, protection, flags, file, offset),
                    None => mm::mmap_anonymous(at.cast(), bytes, protection, flags),
                }
            };
            mapped.map(|got| assert!(got == at.cast(), "a fixed mapping went elsewhere"))
        })
        .map_err(|errno| (asked, errno))
    }

    /// Whether a page of the file can be mapped so that storing is all that makes it durable (`MAP_SYNC`).
    pub fn can_map_sync(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        const PROBE: usize = 4096;
        let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
        let mapped = self.call(Call::Map, |_| {
            // SAFETY: the kernel chooses the addresses, so no mapping of anyone is replaced.
            unsafe {
                mm::mmap(std::ptr::null_mut(), PROBE, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0)
            }
        });
        match mapped {
            Ok(page) => {
                // SAFETY: this is the page that was just mapped; nobody else knows of it.
                unsafe { mm::munmap(page, PROBE)? };
                Ok(true)
            }
            // Kernels before 4.15 do not know the flags at all.
            Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes the pages of a mapped range back and waits for it.
    ///
    /// # Safety
    /// The range must be mapped.
    pub(super) unsafe fn sync_map(&self, at: *mut u8, bytes: usize) -> Result<(), Errno> {
        // SAFETY: the caller says that it is mapped, and no byte that Rust can observe changes.
        self.call(Call::SyncMap, |_| unsafe { mm::msync(at.cast(), bytes, MsyncFlags::SYNC) })
    }
}

/// What [`Io::lock`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOperation {
    /// Nobody else holds any lock of the file.
    Exclusive,
    /// Nobody holds an exclusive lock of the file.
    Shared,
    /// Gives the lock back.
    Unlock,
}

fn file_stat(stat: &fs::Stat) -> FileStat {
    FileStat {
        device: stat.st_dev,
        inode: stat.st_ino,
        // No regular file has a negative length.
        len: u64::try_from(stat.st_size).unwrap_or(0),
        regular: fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::RegularFile,
        named: stat.st_nlink > 0,
    }
}

/// Lends the descriptor of an owned file.
pub(crate) fn borrow(file: &OwnedFd) -> BorrowedFd<'_> {
    file.as_fd()
}

#[cfg(test)]
mod tests;
