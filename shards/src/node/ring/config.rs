//! What a ring is opened with, and why opening one can fail.

use std::{io, time::Duration};

/// The bounds of one core's ring. Nothing in a ring grows past what is named here.
///
/// The defaults suit one core of a node with some thousand mostly idle clients; each says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingConfig {
    /// Operations that one system call can hand to the kernel. A turn that has more of them makes a
    /// further call, so this only has to cover the usual turn: one send for each connection that spoke.
    /// Default 1,024.
    pub submission_entries: u32,
    /// Completions that fit before the kernel has to keep the rest aside, which ends multishot
    /// operations and makes them start again. Above `receive_buffer_count` plus one send for each
    /// connection that spoke. Default 4,096 (64 KiB).
    pub completion_entries: u32,
    /// Receive buffers that all connections share; a power of two, at most 32,768. Each message that was
    /// received and not yet recycled holds at least one, so this should exceed the number of connections
    /// that speak in one turn. With none left a connection waits until one is recycled. Default 1,024.
    pub receive_buffer_count: u16,
    /// Bytes of one receive buffer. Larger ones make bulk transfers cheaper (fewer completions), smaller
    /// ones waste less on small messages; memory that was never written costs nothing. Default 16 KiB, so
    /// that a core has 16 MiB of them.
    pub receive_buffer_bytes: u32,
    /// Connections open at once. One more is accepted and closed at once, so that its client learns of
    /// it. Default 8,192, below the usual limit of file descriptors.
    pub connections_max: u32,
    /// Bytes of one send to the kernel. It copies them during the call, so this bounds for how long one
    /// connection's large reply holds up the others. Default 256 KiB (some 50 microseconds).
    pub send_bytes_max: u32,
    /// Once a connection's queued output was larger than this, `RingEvent::SendDrained` tells when it is
    /// gone. Callers should stop to read from such a connection. Default 256 KiB.
    pub backlog_bytes: usize,
    /// Queued output at which a connection is closed as `CloseReason::OutputFull`. A net below the
    /// caller's own limits, not a means of flow control. Default 256 MiB.
    pub output_bytes_max: usize,
    /// Output buffers that stay allocated for reuse once they are empty. Default 64.
    pub spare_output_buffers: usize,
    /// Output buffers larger than this are freed once they are empty. Default 64 KiB.
    pub spare_output_bytes_max: usize,
    /// For how long `Ring::ready` polls before it sleeps. A sleeping core answers some 50 microseconds
    /// later on a virtual machine, a polling one uses its whole CPU meanwhile. Default zero: do not poll.
    pub busy_poll: Duration,
    /// How long a ring that always has something keeps the rest of its executor waiting: its tasks, timers and
    /// wake-ups. Giving it a turn costs some microseconds. Default 1 millisecond.
    pub executor_interval: Duration,
    /// After accepting failed for want of file descriptors or memory, it is tried again when a connection
    /// closed, and after this time. Default 100 milliseconds.
    pub accept_retry: Duration,
    /// A connection that was silent for so long is probed, and given up after three unanswered probes.
    /// Functions vanish without closing their connections. Default 60 seconds.
    pub keepalive_idle: Duration,
    /// A connection that acknowledged nothing of what was sent for so long is given up, as
    /// `CloseReason::Failed` with `ETIMEDOUT`. That includes one that lives but never reads. Default 60
    /// seconds.
    pub unacknowledged_max: Duration,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig {
            submission_entries: 1024,
            completion_entries: 4096,
            receive_buffer_count: 1024,
            receive_buffer_bytes: 16 << 10,
            connections_max: 8192,
            send_bytes_max: 256 << 10,
            backlog_bytes: 256 << 10,
            output_bytes_max: 256 << 20,
            spare_output_buffers: 64,
            spare_output_bytes_max: 64 << 10,
            busy_poll: Duration::ZERO,
            executor_interval: Duration::from_millis(1),
            accept_retry: Duration::from_millis(100),
            keepalive_idle: Duration::from_secs(60),
            unacknowledged_max: Duration::from_secs(60),
        }
    }
}

impl RingConfig {
    /// Refuses what the kernel would refuse, with a better message.
    pub(super) fn check(&self) -> Result<(), RingError> {
        let refuse = |what| Err(RingError::Config { what });
        if !self.receive_buffer_count.is_power_of_two() || self.receive_buffer_count > 1 << 15 {
            return refuse("receive_buffer_count must be a power of two, at most 32768");
        }
        if self.receive_buffer_bytes == 0 || self.send_bytes_max == 0 {
            return refuse("receive_buffer_bytes and send_bytes_max must not be zero");
        }
        if self.submission_entries == 0 || self.completion_entries < self.submission_entries {
            return refuse("completion_entries must be at least submission_entries, and neither zero");
        }
        if self.connections_max == 0 {
            return refuse("connections_max must not be zero");
        }
        if self.keepalive_idle < Duration::from_secs(1) {
            return refuse("keepalive_idle must be a second or more");
        }
        Ok(())
    }
}

/// Why a ring could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// A bound is out of range.
    #[error("ring configuration: {what}")]
    Config {
        /// Which one, and its range.
        what: &'static str,
    },
    /// This process may not use io_uring: a container's seccomp profile or `kernel.io_uring_disabled`
    /// forbids it, or the kernel was built without it. A node cannot run here.
    #[error("io_uring is forbidden here (seccomp profile, kernel.io_uring_disabled)")]
    Forbidden(#[source] io::Error),
    /// The locked-memory limit (`ulimit -l`) or the memory cgroup has no room for the ring.
    #[error("too little lockable memory for the ring: raise RLIMIT_MEMLOCK, or open smaller rings")]
    LockedMemory(#[source] io::Error),
    /// The kernel lacks something that the ring needs: multishot receive, provided buffer rings and
    /// deferred task work are there from Linux 6.1 on.
    #[error("this kernel's io_uring is too old: Linux 6.1 or newer is needed")]
    KernelTooOld(#[source] io::Error),
    /// Anything else that the system refused.
    #[error("{action} failed")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl RingError {
    /// Sorts what io_uring's own calls answer.
    pub(super) fn from_setup(action: &'static str, source: io::Error) -> RingError {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => RingError::Forbidden(source),
            Some(libc::ENOMEM) => RingError::LockedMemory(source),
            Some(libc::EINVAL) => RingError::KernelTooOld(source),
            _ => RingError::System { action, source },
        }
    }
}
