//! What the operating system lets a node do: limits and processors.

use super::StartError;
use std::io;

/// Locked memory that glommio asks for before it makes an executor.
const LOCKED_BYTES_MIN: u64 = 512 << 10;

/// The processors that this process may run on.
pub(super) fn allowed_processors() -> Vec<usize> {
    // SAFETY: a zeroed cpu_set_t is an empty set, and the call writes at most the size that it is given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: the index is below the number of bits of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Refuses, in words that say what to set, where a node could not run.
pub(super) fn check() -> Result<(), StartError> {
    let limit = limit(libc::RLIMIT_MEMLOCK).rlim_cur;
    if limit < LOCKED_BYTES_MIN {
        return Err(StartError::LockedMemory { limit_kib: limit >> 10, needed_kib: LOCKED_BYTES_MIN >> 10 });
    }
    // Whether io_uring is allowed is best asked by using it.
    match io_uring::IoUring::new(8) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => StartError::Forbidden(error),
            Some(libc::ENOMEM) => StartError::LockedMemory {
                limit_kib: limit >> 10,
                needed_kib: (limit >> 10).saturating_mul(2),
            },
            _ => StartError::Config(format!("io_uring cannot be used: {error}")),
        }),
    }
}

/// Allows this process as many open files, and so connections, as its hard limit does.
pub(super) fn raise_open_files() -> io::Result<()> {
    let mut limit = limit(libc::RLIMIT_NOFILE);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads the struct that it is given.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn limit(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes the struct that it is given. It fails only for a resource that does not exist.
    unsafe { libc::getrlimit(resource, &mut limit) };
    limit
}
