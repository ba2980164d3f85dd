//! The time that executors hand to shards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 that never go back: the wall clock at the start, and a monotonic one from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_us: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_us: since_1970.as_micros() as u64 }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.started_us + self.started.elapsed().as_micros() as u64
    }

    pub(crate) fn started_us(&self) -> u64 {
        self.started_us
    }

    /// The moment at which [`Clock::now_us`] reaches a time, or nothing if that is out of reach.
    pub(crate) fn instant(&self, at_us: u64) -> Option<Instant> {
        self.started.checked_add(Duration::from_micros(at_us.saturating_sub(self.started_us)))
    }
}
