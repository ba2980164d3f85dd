//! [`IdGenerator`] and [`RateLimiter`].

use super::{handle, millis};
use crate::mode::Mode;
use abide_schema::types::{id_generator, rate_limiter};
use std::time::Duration;

handle! {
    /// Numbers that are given out once each, from 0 unless created with another start.
    pub struct IdGenerator of id_generator, arguments;
}

impl<M: Mode> IdGenerator<M> {
    /// A number that nobody got before, and nobody gets again. `OutOfBounds` after the last of 64 bits.
    pub fn next(&self) -> M::Output<u64> {
        self.object.call(|| Ok(id_generator::Next {}), Ok)
    }

    /// The first of `n` such numbers, one behind the other, all of which are the caller's.
    pub fn next_range(&self, n: u64) -> M::Output<u64> {
        self.object.call(|| Ok(id_generator::NextRange { n }), Ok)
    }
}

handle! {
    /// A token bucket: permits come in evenly, so many in each period, and up to `burst` of them gather.
    ///
    /// ```no_run
    /// # fn call_the_api() {}
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let store = abide_client::Store::current()?;
    /// let rate = store.rate_limiter("api", 100, Duration::from_secs(60), 10); // for all who call the API together
    /// rate.acquire(1)?;
    /// call_the_api();
    /// # Ok(())
    /// # }
    /// ```
    pub struct RateLimiter of rate_limiter, arguments;
}

impl<M: Mode> RateLimiter<M> {
    /// Takes `n` permits if they are there and nobody waits. Says whether it did.
    pub fn try_acquire(&self, n: u64) -> M::Output<bool> {
        self.object.call(|| Ok(rate_limiter::TryAcquire { n }), Ok)
    }

    /// Takes `n` permits, waiting for them behind those who asked before. `BadArgument` if more than ever gather.
    pub fn acquire(&self, n: u64) -> M::Output<()> {
        self.object.call(|| Ok(rate_limiter::Acquire { n, timeout_ms: None }), Ok)
    }

    /// As [`acquire`](Self::acquire), waiting for so long at most. `TimedOut` at once if the permits cannot come in time, and
    /// nothing was taken.
    pub fn acquire_timeout(&self, n: u64, timeout: Duration) -> M::Output<()> {
        self.object.call(|| Ok(rate_limiter::Acquire { n, timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// Changes the rate: `permits` in each `period`. What has gathered stays, up to the new `burst`.
    pub fn set_rate(&self, permits: u64, period: Duration, burst: u64) -> M::Output<()> {
        let period_ms = millis(period);
        self.object.call(|| Ok(rate_limiter::SetRate { permits, period_ms, burst }), Ok)
    }

    /// How many permits are there.
    pub fn available(&self) -> M::Output<u64> {
        self.object.call(|| Ok(rate_limiter::Available {}), Ok)
    }
}
