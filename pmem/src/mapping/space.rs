//! A reserved range of addresses into which memory is mapped from its start on, so that a region can grow without moving.
//!
//! Access rules of the unsafe blocks: the reserved range belongs to its [`Space`] alone from [`Space::reserve`] until its
//! drop. Memory is only ever mapped behind what is mapped already, so no address that anyone was given is mapped over.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use super::io::Io;

/// Start of every reserved range: a multiple of the largest page that a DAX file system or tmpfs may use here.
const ALIGN: usize = 2 << 20;

/// Lengths and file offsets are multiples of this. A kernel with larger pages refuses others itself.
pub const PAGE: u64 = 4096;

/// How memory is mapped into a [`Space`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backing {
    /// Memory of its own, all zeros.
    Anonymous,
    /// The file itself, through the page cache.
    Shared,
    /// The file itself, and storing is all that makes a word durable (`MAP_SYNC`).
    Dax,
    /// The file itself; storing is a fault.
    ReadOnly,
    /// A copy of the file that takes a page when it is first stored to.
    Private,
}

/// The range. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct Space {
    base: *mut u8,
    /// Bytes from `base` on that are certainly this space's.
    owned: usize,
    /// Bytes from `base` on that are mapped.
    mapped: usize,
    /// The process that made it. A forked child has none of the mappings (`MADV_DONTFORK`) and may have mapped
    /// others there, so it must not unmap.
    process: rustix::process::Pid,
}

// SAFETY: the range belongs to the space and not to a thread; `&Space` gives no access to its memory.
unsafe impl Send for Space {}
// SAFETY: as above.
unsafe impl Sync for Space {}

impl Space {
    /// Reserves `want` bytes of addresses; if the process may not have so many, half of that, and so on down to `least`.
    pub(super) fn reserve(io: &Io, want: u64, least: u64) -> Result<Self, Errno> {
        let least = round_up(least).ok_or(Errno::NOMEM)?;
        let mut bytes = round_up(want).ok_or(Errno::NOMEM)?.max(least);
        let raw = loop {
            match io.reserve(bytes + ALIGN) {
                Ok(raw) => break raw,
                Err(Errno::NOMEM) if bytes > least => bytes = (bytes / 2 / ALIGN * ALIGN).max(least),
                Err(errno) => return Err(errno),
            }
        };
        let head = raw.align_offset(ALIGN);
        let base = raw.wrapping_add(head);
        // SAFETY: both pieces are of the range that was just reserved, outside of what `base .. base + bytes` keeps; nobody
        // knows of them. Should the kernel refuse to split the range, they stay reserved, which harms nobody.
        unsafe {
            if head > 0 {
                let _ = mm::munmap(raw.cast(), head);
            }
            if head < ALIGN {
                let _ = mm::munmap(base.wrapping_add(bytes).cast(), ALIGN - head);
            }
        }
        Ok(Self { base, owned: bytes, mapped: 0, process: rustix::process::getpid() })
    }

    /// The first address.
    pub(super) fn base(&self) -> *mut u8 {
        self.base
    }

    /// Whether the mappings exist here: not in a forked child of the process that made them.
    pub(super) fn is_of_this_process(&self) -> bool {
        rustix::process::getpid() == self.process
    }

    /// Bytes that can be mapped in all.
    pub(super) fn capacity(&self) -> u64 {
        self.owned as u64
    }

    /// Maps on from what is mapped already up to `to`, a multiple of the page size not beyond the capacity.
    pub(super) fn extend(
        &mut self,
        io: &Io,
        to: u64,
        backing: Backing,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        assert!(to.is_multiple_of(PAGE) && to <= self.capacity(), "{to} of {} bytes", self.owned);
        let to = to as usize;
        assert!(to > self.mapped, "{to} bytes behind {}", self.mapped);
        let at = self.base.wrapping_add(self.mapped);
        let bytes = to - self.mapped;
        let (protection, flags) = match backing {
            Backing::Anonymous => {
                (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE)
            }
            Backing::Shared => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
            Backing::Dax => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED_VALIDATE | MapFlags::SYNC),
            Backing::ReadOnly => (ProtFlags::READ, MapFlags::SHARED),
            Backing::Private => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE),
        };
        assert_eq!(file.is_some(), backing != Backing::Anonymous, "{backing:?}");
        let source = file.map(|file| (file, self.mapped as u64));
        // SAFETY: `mapped .. to` lies in the owned range (asserted) and nothing refers behind `mapped`.
        if let Err((asked, errno)) = unsafe { io.map(at, bytes, protection, flags, source) } {
            if asked {
                self.close_hole();
            }
            return Err(errno);
        }
        self.mapped = to;
        // SAFETY: the range was just mapped. A child that stored through a shared map would be a second writer.
        unsafe { mm::madvise(at.cast(), bytes, Advice::LinuxDontFork) }
    }

    /// After a failed fixed mapping: kernels before 6.12 may have removed the reservation behind `mapped`. Takes it again, or, if
    /// it may be someone else's by now, never touches it any more.
    fn close_hole(&mut self) {
        let at = self.base.wrapping_add(self.mapped);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: FIXED_NOREPLACE replaces no mapping. (A kernel that does not know it may choose another place.)
        let got =
            unsafe { mm::mmap_anonymous(at.cast(), self.owned - self.mapped, ProtFlags::empty(), flags) };
        match got {
            Ok(got) if got == at.cast() => {}
            Ok(other) => {
                // SAFETY: the kernel just made this mapping, and nobody knows of it.
                let _ = unsafe { mm::munmap(other, self.owned - self.mapped) };
                self.owned = self.mapped;
            }
            Err(_) => self.owned = self.mapped,
        }
    }

    /// Writes back all that is mapped and waits for it.
    pub(super) fn sync(&self, io: &Io) -> Result<(), Errno> {
        if self.mapped == 0 {
            return Ok(());
        }
        // SAFETY: `base .. base + mapped` is mapped until `self` drops.
        unsafe { io.sync_map(self.base, self.mapped) }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.owned == 0 || !self.is_of_this_process() {
            return;
        }
        // SAFETY: the range is this space's, and whoever was given its addresses borrows the mapping that owns it.
        let unmapped = unsafe { mm::munmap(self.base.cast(), self.owned) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// Up to a multiple of [`ALIGN`], with room for another.
fn round_up(bytes: u64) -> Option<usize> {
    let bytes = usize::try_from(bytes).ok()?.max(1);
    bytes.checked_next_multiple_of(ALIGN).filter(|bytes| *bytes <= isize::MAX as usize - ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_may_have_few_addresses_gets_fewer() {
        // No machine has this many.
        let space = Space::reserve(&Io::new(), 1 << 60, 1 << 20).unwrap();
        assert!(space.capacity() >= 1 << 20 && space.capacity() < 1 << 60, "{}", space.capacity());
        assert_eq!(space.base().align_offset(ALIGN), 0);
        assert!(Space::reserve(&Io::new(), 1 << 20, 1 << 60).is_err());
        assert!(Space::reserve(&Io::new(), u64::MAX, u64::MAX).is_err());
    }
}
