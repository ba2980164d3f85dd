//! Counts how often the process asks a file system to make data durable, whoever asks: Rust's library, LMDB's C, or
//! a shared library.
//!
//! Access rules: the functions here take the place of libc's of the same names, for a program's own definition comes
//! first when symbols are resolved. They pass their arguments to the kernel unchanged and touch nothing but a counter.
//!
//! Not counted are writes through files opened with `O_DSYNC`: LMDB writes its meta page so, once a commit.

use libc::{c_int, c_long, c_uint, c_void, off64_t, size_t};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SYNCS: AtomicU64 = AtomicU64::new(0);

/// How often so far.
pub(crate) fn count() -> u64 {
    SYNCS.load(Relaxed)
}

fn counted(result: c_long) -> c_int {
    SYNCS.fetch_add(1, Relaxed);
    result as c_int
}

// SAFETY (of the name): the same contract as libc's.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(file: c_int) -> c_int {
    // SAFETY: takes no address; the kernel checks the descriptor.
    counted(unsafe { libc::syscall(libc::SYS_fdatasync, file) })
}

// SAFETY (of the name): the same contract as libc's.
#[unsafe(no_mangle)]
extern "C" fn fsync(file: c_int) -> c_int {
    // SAFETY: takes no address; the kernel checks the descriptor.
    counted(unsafe { libc::syscall(libc::SYS_fsync, file) })
}

// SAFETY (of the name): the same contract as libc's.
#[unsafe(no_mangle)]
extern "C" fn msync(address: *mut c_void, length: size_t, flags: c_int) -> c_int {
    // SAFETY: the kernel checks the range, and reads the pages of it alone.
    counted(unsafe { libc::syscall(libc::SYS_msync, address, length, flags) })
}

// SAFETY (of the name): the same contract as libc's.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(file: c_int, offset: off64_t, length: off64_t, flags: c_uint) -> c_int {
    // SAFETY: takes no address; the kernel checks the descriptor and the range.
    counted(unsafe { libc::syscall(libc::SYS_sync_file_range, file, offset, length, flags) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_of_rusts_library_is_counted() {
        let file = tempfile::tempfile().unwrap();
        let before = count();
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        assert!(count() >= before + 2);
    }
}
