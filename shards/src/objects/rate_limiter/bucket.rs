//! The arithmetic of a token bucket, in whole numbers.
//!
//! What is in a bucket is counted in parts of a permit: as many to a permit as its period has microseconds. So each microsecond
//! brings as many parts as the period brings permits, and nothing is ever rounded, except when the rate changes.

use abide_net::CallError;
use serde::{Deserialize, Serialize};

/// Longest period, in milliseconds: some 34 years. Keeps what a full bucket holds within 128 bits.
const PERIOD_MS_MAX: u64 = 1 << 40;

/// A token bucket.
///
/// Invariants: the rate is one that [`check_rate`] allows; `wanted` is the sum of what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// How many permits come in a period.
    permits: u64,
    period_us: u64,
    burst: u64,
    /// What is there at `at_us`, in parts.
    level: u128,
    at_us: u64,
    wanted: u128,
}

fn check_rate(permits: u64, period_ms: u64, burst: u64) -> Result<(), CallError> {
    if permits == 0 || burst == 0 {
        return Err(CallError::bad_argument("at least one permit comes in a period, and can be there"));
    }
    if !(1..=PERIOD_MS_MAX).contains(&period_ms) {
        return Err(CallError::bad_argument(format!("a period has 1 to {PERIOD_MS_MAX} milliseconds")));
    }
    Ok(())
}

impl Bucket {
    /// A full one.
    pub(super) fn full(permits: u64, period_ms: u64, burst: u64, now_us: u64) -> Result<Bucket, CallError> {
        check_rate(permits, period_ms, burst)?;
        let mut bucket =
            Bucket { permits, period_us: period_ms * 1_000, burst, level: 0, at_us: now_us, wanted: 0 };
        bucket.level = bucket.parts(burst.into());
        Ok(bucket)
    }

    /// Whether stored bytes have given one that can be.
    pub(super) fn is_sound(&self) -> bool {
        check_rate(self.permits, self.period_us / 1_000, self.burst).is_ok()
            && self.period_us.is_multiple_of(1_000)
    }

    /// How many permits there can be.
    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// How many permits are waited for.
    pub(super) fn wanted(&self) -> u128 {
        self.wanted
    }

    pub(super) fn want_more(&mut self, permits: u64) {
        self.wanted = self.wanted.saturating_add(permits.into());
    }

    pub(super) fn want_less(&mut self, permits: u64) {
        self.wanted = self.wanted.saturating_sub(permits.into());
    }

    fn parts(&self, permits: u128) -> u128 {
        permits.saturating_mul(self.period_us.into())
    }

    /// A clock that stands before the time of the last change was set back, while the store was closed: time goes on from there.
    pub(super) fn look_at_clock(&mut self, now_us: u64) {
        self.at_us = self.at_us.min(now_us);
    }

    /// Lets come in what comes until then.
    pub(super) fn fill(&mut self, until_us: u64) {
        let elapsed_us = until_us.saturating_sub(self.at_us);
        self.level = self.level.saturating_add(u128::from(elapsed_us) * u128::from(self.permits));
        self.at_us = self.at_us.max(until_us);
    }

    /// What is more than `burst` goes.
    pub(super) fn spill(&mut self) {
        self.level = self.level.min(self.parts(self.burst.into()));
    }

    /// Whether so many permits are there.
    pub(super) fn has(&self, permits: u128) -> bool {
        self.parts(permits) <= self.level
    }

    /// Takes permits, which are there.
    pub(super) fn take(&mut self, permits: u64) {
        self.level = self.level.saturating_sub(self.parts(permits.into()));
    }

    /// How many whole permits are there.
    pub(super) fn permits_there(&self) -> u64 {
        u64::try_from(self.level / u128::from(self.period_us)).unwrap_or(u64::MAX)
    }

    /// When so many permits are there, if none is taken and none goes before.
    pub(super) fn due_us(&self, permits: u128) -> u64 {
        let missing = self.parts(permits).saturating_sub(self.level);
        let us = missing.div_ceil(self.permits.into());
        u64::try_from(us).map_or(u64::MAX, |us| self.at_us.saturating_add(us))
    }

    /// Changes the rate. What is there stays, up to the new `burst`; less than a part of a permit may go.
    pub(super) fn set_rate(&mut self, permits: u64, period_ms: u64, burst: u64) -> Result<(), CallError> {
        check_rate(permits, period_ms, burst)?;
        let (before, after) = (u128::from(self.period_us), u128::from(period_ms) * 1_000);
        let (whole, rest) = (self.level / before, self.level % before);
        (self.permits, self.period_us, self.burst) = (permits, period_ms * 1_000, burst);
        self.level = self.parts(whole).saturating_add(rest * after / before);
        self.spill();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: u64 = 86_400_000_000;

    #[test]
    fn a_third_of_a_permit_a_millisecond_is_exactly_a_third_also_in_many_small_steps() {
        let mut bucket = Bucket::full(1, 3, 1_000_000_000, 0).unwrap();
        bucket.take(1_000_000_000);
        // Steps that fall in the middle of everything.
        (0..DAY_US).step_by(7_777_777).for_each(|us| bucket.fill(us));
        bucket.fill(DAY_US);
        assert_eq!(bucket.permits_there(), DAY_US / 3_000);
        assert_eq!(bucket.due_us(u128::from(DAY_US / 3_000) + 1), DAY_US + 3_000);
    }

    #[test]
    fn permits_are_there_when_they_are_due_and_not_a_microsecond_before() {
        for (permits, period_ms, wanted) in
            [(1, 1, 1), (3, 1, 2), (7, 1_000, 3), (1_000_003, 1, 999), (u64::MAX, 1, u64::MAX)]
        {
            let mut bucket = Bucket::full(permits, period_ms, u64::MAX, 5).unwrap();
            bucket.take(u64::MAX);
            let due_us = bucket.due_us(wanted.into());
            bucket.fill(due_us - 1);
            assert!(!bucket.has(wanted.into()), "{permits} in {period_ms}");
            bucket.fill(due_us);
            assert!(bucket.has(wanted.into()), "{permits} in {period_ms}");
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut bucket = Bucket::full(u64::MAX, PERIOD_MS_MAX, u64::MAX, 0).unwrap();
        bucket.fill(u64::MAX);
        bucket.spill();
        assert_eq!(bucket.permits_there(), u64::MAX);
        bucket.set_rate(1, 1, u64::MAX).unwrap();
        assert_eq!(bucket.permits_there(), u64::MAX);
        bucket.set_rate(1, PERIOD_MS_MAX, u64::MAX).unwrap();
        assert_eq!(bucket.permits_there(), u64::MAX);
        assert_eq!(bucket.due_us(u128::MAX), u64::MAX);
    }

    #[test]
    fn a_new_rate_keeps_parts_of_permits_too() {
        let mut bucket = Bucket::full(2, 10, 8, 0).unwrap();
        bucket.take(8);
        bucket.fill(17_500);
        assert_eq!(bucket.permits_there(), 3);
        bucket.set_rate(1, 7, 8).unwrap();
        assert_eq!(bucket.due_us(4), 17_500 + 3_500);
        bucket.set_rate(1, 1, 2).unwrap();
        assert_eq!(bucket.permits_there(), 2);
        for (permits, period_ms, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, PERIOD_MS_MAX + 1, 1)] {
            assert!(bucket.set_rate(permits, period_ms, burst).is_err());
        }
        assert_eq!(bucket.due_us(3), 17_500 + 1_000);
    }

    #[test]
    fn a_clock_that_was_set_back_neither_stops_the_bucket_nor_fills_it() {
        let mut bucket = Bucket::full(1, 1, 5, 1_000_000).unwrap();
        bucket.take(5);
        bucket.look_at_clock(400_000);
        bucket.fill(400_000);
        assert_eq!(bucket.permits_there(), 0);
        bucket.fill(402_000);
        assert_eq!(bucket.permits_there(), 2);
    }
}
