//! The CPU time of a process, all its threads together, to the nanosecond.
//!
//! `/proc/PID/stat` counts in hundredths of a second, which is too coarse for measurements of half a second.

use std::{io, time::Duration};

/// The clock that shows how much CPU time a process has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(libc::clockid_t);

impl Clock {
    /// The clock of another process.
    pub(super) fn of(process: u32) -> anyhow::Result<Clock> {
        let mut clock = 0;
        // SAFETY: the address is of a variable that lives through the call.
        match unsafe { libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) } {
            0 => Ok(Clock(clock)),
            error => Err(io::Error::from_raw_os_error(error).into()),
        }
    }

    /// The clock of this process.
    pub(super) fn own() -> Clock {
        Clock(libc::CLOCK_PROCESS_CPUTIME_ID)
    }

    /// What it shows. An error means that the process has ended.
    pub(super) fn now(self) -> anyhow::Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the address is of a variable that lives through the call.
        match unsafe { libc::clock_gettime(self.0, &mut time) } {
            0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
            _ => Err(anyhow::Error::from(io::Error::last_os_error()).context("the server has ended")),
        }
    }
}
