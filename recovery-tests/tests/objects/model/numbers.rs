//! Numbers that are given out.

use super::{CallId, Gone, Model, Moment, Session, calls};
use abide_net::CallError;
use abide_schema::{
    Wait,
    types::{id_generator, rate_limiter},
};
use std::collections::BTreeMap;

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone)]
pub(super) struct IdGenerator {
    /// In more bits than the numbers have.
    next: u128,
}

impl Model for IdGenerator {
    calls!(id_generator);

    fn create(creation: id_generator::Creation, _: u64) -> Made<Self> {
        Ok(IdGenerator { next: creation.start.into() })
    }
}

impl id_generator::Methods<Moment> for IdGenerator {
    fn next(&mut self, moment: &mut Moment) -> Made<u64> {
        self.next_range(moment, 1)
    }

    fn next_range(&mut self, _: &mut Moment, n: u64) -> Made<u64> {
        let after = self.next + u128::from(n);
        if after > 1 << 64 {
            return Err(CallError::OutOfBounds { len: ((1 << 64) - self.next) as u64 });
        }
        let first = self.next as u64;
        self.next = after;
        Ok(first)
    }
}

/// A token bucket, in exact arithmetic: `level` counts in parts of a permit, of which `period_us` make one, so that `permits`
/// parts come in each microsecond. What is more than `burst` is lost only while nobody waits: who waits may want more than gathers
/// by now, after the rate was changed.
#[derive(Debug, Clone)]
pub(super) struct RateLimiter {
    permits: u128,
    period_us: u128,
    burst: u128,
    level: u128,
    at_us: u64,
    waiting: BTreeMap<CallId, u128>,
}

impl Model for RateLimiter {
    calls!(rate_limiter);

    fn create(creation: rate_limiter::Creation, now_us: u64) -> Made<Self> {
        let rate_limiter::Creation { permits, period_ms, burst } = creation;
        if permits == 0 || period_ms == 0 || burst == 0 {
            return Err(CallError::bad_argument(""));
        }
        let (permits, period_us, burst) = (permits.into(), u128::from(period_ms) * 1_000, burst.into());
        let level = burst * period_us;
        Ok(RateLimiter { permits, period_us, burst, level, at_us: now_us, waiting: BTreeMap::new() })
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(&call);
        self.let_in(moment);
        true
    }

    fn due_us(&self) -> Option<u64> {
        let (_, wanted) = self.waiting.first_key_value()?;
        self.when(*wanted)
    }

    fn due(&mut self, moment: &mut Moment) {
        self.let_in(moment);
    }
}

impl RateLimiter {
    fn fill(&mut self, now_us: u64) {
        let came = u128::from(now_us - self.at_us) * self.permits;
        self.level += came;
        self.at_us = now_us;
        self.spill();
    }

    fn spill(&mut self) {
        if self.waiting.is_empty() {
            self.level = self.level.min(self.burst * self.period_us);
        }
    }

    /// When so many permits will have come.
    fn when(&self, wanted: u128) -> Option<u64> {
        let missing = (wanted * self.period_us).saturating_sub(self.level);
        u64::try_from(u128::from(self.at_us) + missing.div_ceil(self.permits)).ok()
    }

    fn let_in(&mut self, moment: &mut Moment) {
        self.fill(moment.now_us);
        while let Some((&call, &wanted)) = self.waiting.first_key_value()
            && wanted * self.period_us <= self.level
        {
            self.waiting.pop_first();
            self.level -= wanted * self.period_us;
            moment.answer(call, Ok(&()));
        }
        self.spill();
    }
}

impl rate_limiter::Methods<Moment> for RateLimiter {
    fn try_acquire(&mut self, moment: &mut Moment, n: u64) -> Made<bool> {
        self.fill(moment.now_us);
        let wanted = u128::from(n) * self.period_us;
        if !self.waiting.is_empty() || wanted > self.level {
            return Ok(false);
        }
        self.level -= wanted;
        Ok(true)
    }

    fn acquire(&mut self, moment: &mut Moment, n: u64, timeout_ms: Option<u64>) -> Made<Wait<()>> {
        if u128::from(n) > self.burst {
            return Err(CallError::bad_argument(""));
        }
        if self.try_acquire(moment, n)? {
            return Ok(Wait::Done(()));
        }
        let ahead: u128 = self.waiting.values().sum();
        let deadline_us = timeout_ms.map(|ms| moment.now_us.saturating_add(ms.saturating_mul(1_000)));
        let in_time = match (self.when(ahead + u128::from(n)), deadline_us) {
            (Some(comes_us), Some(deadline_us)) => comes_us <= deadline_us,
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !in_time {
            return Err(CallError::TimedOut);
        }
        self.waiting.insert(moment.call(), n.into());
        Ok(moment.wait(timeout_ms))
    }

    fn set_rate(&mut self, moment: &mut Moment, permits: u64, period_ms: u64, burst: u64) -> Made<()> {
        if permits == 0 || period_ms == 0 || burst == 0 {
            return Err(CallError::bad_argument(""));
        }
        self.fill(moment.now_us);
        let period_us = u128::from(period_ms) * 1_000;
        self.level = self.level * period_us / self.period_us;
        (self.permits, self.period_us, self.burst) = (permits.into(), period_us, burst.into());
        self.let_in(moment);
        // "Up to the new burst", whoever waits.
        self.level = self.level.min(self.burst * self.period_us);
        self.let_in(moment);
        Ok(())
    }

    fn available(&mut self, moment: &mut Moment) -> Made<u64> {
        self.fill(moment.now_us);
        Ok((self.level / self.period_us) as u64)
    }
}
