//! Exclusive use of a region: a lock on its file, and a list of what this process has open.
//!
//! The lock alone keeps others out, of this process too. The list is there to say so without asking the kernel, and
//! because a copy of a file is another file with another lock: two regions of one uuid in a process would
//! take each other's checksums for their own.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{major, minor};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use super::error::{InUse, OpenError};
use crate::mapping::io::{FileStat, Io, LockOperation};

/// How a file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// By this process alone.
    Exclusive,
    /// By any number of readers.
    Shared,
}

#[derive(Debug)]
struct Entry {
    device: u64,
    inode: u64,
    how: Use,
    /// Of a region that is open for writing, once its superblock was read.
    uuid: Option<[u8; 16]>,
}

static OPEN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The right to use a file. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    io: Io,
    file: Arc<OwnedFd>,
    stat: FileStat,
    how: Use,
    /// A forked child shares the open file, so by unlocking it would unlock its parent's.
    process: Pid,
}

impl Lock {
    /// Takes the lock, or says who has it. Does not wait.
    pub(super) fn take(io: &Io, file: &Arc<OwnedFd>, how: Use) -> Result<Self, OpenError> {
        let stat = io.stat(file.as_fd()).map_err(OpenError::io("stat the region's file"))?;
        let mut open = list();
        let same = |entry: &&Entry| (entry.device, entry.inode) == (stat.device, stat.inode);
        if open.iter().filter(same).any(|entry| how == Use::Exclusive || entry.how == Use::Exclusive) {
            return Err(InUse { pid: Some(std::process::id()) }.into());
        }
        let operation = match how {
            Use::Exclusive => LockOperation::Exclusive,
            Use::Shared => LockOperation::Shared,
        };
        match io.lock(file.as_fd(), operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(InUse { pid: holder(&stat) }.into()),
            Err(errno) => return Err(OpenError::io("lock the region's file")(errno)),
        }
        open.push(Entry { device: stat.device, inode: stat.inode, how, uuid: None });
        Ok(Self { io: io.clone(), file: Arc::clone(file), stat, how, process: getpid() })
    }

    /// Says which region the file holds. Refused if another file open for writing here holds the same one.
    pub(super) fn name(&self, uuid: [u8; 16]) -> Result<(), OpenError> {
        let mut open = list();
        if open.iter().any(|entry| entry.uuid == Some(uuid) && !self.is_of(entry)) {
            return Err(OpenError::CopyIsOpen);
        }
        if let Some(own) = open.iter_mut().find(|entry| self.is_of(entry)) {
            own.uuid = Some(uuid);
        }
        Ok(())
    }

    fn is_of(&self, entry: &Entry) -> bool {
        (entry.device, entry.inode, entry.how) == (self.stat.device, self.stat.inode, self.how)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if getpid() != self.process {
            return;
        }
        let mut open = list();
        // Not by closing alone: a child that was forked meanwhile may hold the file open for long.
        if let Err(errno) = self.io.lock(self.file.as_fd(), LockOperation::Unlock) {
            tracing::warn!(error = %errno, "cannot unlock the region's file; closing it will");
        }
        if let Some(own) = open.iter().position(|entry| self.is_of(entry)) {
            open.swap_remove(own);
        }
    }
}

fn list() -> MutexGuard<'static, Vec<Entry>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process that holds a lock of the file, if the kernel tells.
fn holder(stat: &FileStat) -> Option<u32> {
    find_holder(&std::fs::read_to_string("/proc/locks").ok()?, stat)
}

fn find_holder(locks: &str, stat: &FileStat) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{}", major(stat.device), minor(stat.device), stat.inode);
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        // FLOCK ADVISORY WRITE pid file start end. A line of one that waits has an arrow first.
        (words.next()? == "FLOCK").then_some(())?;
        let pid = words.nth(2)?.parse().ok().filter(|pid| *pid != 0)?;
        (words.next()? == file).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_among_all_locks() {
        let stat =
            FileStat { device: rustix::fs::makedev(0xfe, 0), inode: 77, len: 0, regular: true, named: true };
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:00:770 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:00:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 13 fe:00:77 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 14 fe:00:77 0 EOF\n\nnonsense";
        assert_eq!(find_holder(locks, &stat), Some(13));
        assert_eq!(find_holder("", &stat), None);
    }
}
