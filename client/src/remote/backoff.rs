//! Pauses between attempts, and the end of patience.

use std::time::{Duration, Instant};

/// Pause after the first attempt that failed. A connection that was cut is usually back at once.
const FIRST: Duration = Duration::from_millis(10);

/// Longest pause: how late a client notices that its node is back.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double from [`FIRST`] to [`LONGEST`]. Each is shortened at random by up to a half, so that
/// clients which lost the same node do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        longest.mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

/// Until when a call is tried.
///
/// Only time that is spent on trying counts. A call that waits for hours on a connection that works, and then
/// loses it, has all its patience left; but a node that takes connections and drops them at once uses it up.
#[derive(Debug)]
pub(crate) struct Patience {
    ends: Instant,
}

impl Patience {
    pub(crate) fn new(now: Instant, retry_for: Duration) -> Patience {
        Patience { ends: now + retry_for }
    }

    /// When the call is given up.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    /// The call has waited for so long on a connection that worked.
    pub(crate) fn waited(&mut self, duration: Duration) {
        self.ends += duration;
    }

    /// The pause if there is time for it and for another attempt.
    pub(crate) fn permits(&self, now: Instant, pause: Duration) -> Option<Duration> {
        (now + pause < self.ends).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_differ_between_clients() {
        let mut backoff = Backoff::new();
        for expected_ms in [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
            let (pause, longest) = (backoff.pause(), Duration::from_millis(expected_ms));
            assert!(pause <= longest && pause >= longest / 2, "{pause:?}, expected about {longest:?}");
        }
        let pauses: std::collections::BTreeSet<_> = (0..50).map(|_| Backoff::new().pause()).collect();
        assert!(pauses.len() > 25, "only {} different pauses among 50 clients", pauses.len());
    }

    #[test]
    fn patience_ends_and_waiting_does_not_use_it_up() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut patience = Patience::new(now, 3 * second);
        assert_eq!(patience.permits(now, second), Some(second));
        assert_eq!(patience.permits(now + 2 * second, second), None);
        patience.waited(3600 * second);
        assert_eq!(patience.permits(now + 3602 * second, second / 2), Some(second / 2));
        assert_eq!(patience.permits(now + 3602 * second, second), None);
    }
}
