//! Rate limiters.

use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Cell, Fields, Queue, damaged},
};
use abide_net::CallError;
use abide_schema::{Wait, types::rate_limiter};
use bucket::Bucket;

mod bucket;

/// A token bucket: see [`rate_limiter`].
///
/// Nothing goes to waste while somebody waits: what the bucket has beyond `burst` only goes once nobody does. So it makes no
/// difference how late the shard looks: the same calls are let in, and the same is left.
///
/// Invariants, once the alarms for now have been rung:
/// - the first in the queue waits for permits that are not there, and the alarm is set to when they are;
/// - the bucket knows the sum of what the queue waits for.
#[derive(Debug)]
pub struct RateLimiter {
    bucket: Cell<Bucket>,
    /// Who waits, and for how many permits.
    queue: Queue<u64>,
}

impl SharedObject for RateLimiter {
    type Type = rate_limiter::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        RateLimiter { bucket: Cell::at(fields, 0), queue: Queue::at(fields, 1) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        rate_limiter::Creation { permits, period_ms, burst }: rate_limiter::Creation,
    ) -> Result<(), CallError> {
        let bucket = Bucket::full(permits, period_ms, burst, context.now_us())?;
        self.bucket.set(context, Some(&bucket))
    }

    calls!(abide_schema::types::rate_limiter);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        why: Gone,
    ) -> Result<Leaves, CallError> {
        let mut bucket = self.bucket(context)?;
        let all_are_in = self.let_in(context, &mut bucket)?;
        if let Some(permits) = self.queue.get(context, waiter)? {
            if !all_are_in && why == Gone::TimedOut && self.is_enough_for(context, &bucket, waiter)? {
                // Its permits came in time. It is let in with the next part.
                self.bucket.set(context, Some(&bucket))?;
                return Ok(Leaves::Later);
            }
            self.queue.remove(context, waiter)?;
            bucket.want_less(permits);
            // It may have been the first, and have kept those out that want less.
            self.let_in(context, &mut bucket)?;
        }
        self.bucket.set(context, Some(&bucket))?;
        Ok(Leaves::Now)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        let mut bucket = self.bucket(context)?;
        self.let_in(context, &mut bucket)?;
        self.bucket.set(context, Some(&bucket))
    }
}

/// Waiting calls that are let in by one call at most; an alarm lets in the others.
const LET_IN_MAX: u32 = 128;

impl RateLimiter {
    fn bucket(&self, context: &Context<'_, '_>) -> Result<Bucket, CallError> {
        let bucket = self.bucket.get(context)?.filter(Bucket::is_sound);
        let mut bucket = bucket.ok_or_else(|| damaged("a rate limiter"))?;
        bucket.look_at_clock(context.now_us());
        Ok(bucket)
    }

    /// Lets in from the front of the queue all whose permits are there by now, and sets the alarm for the next. Says whether these
    /// were all.
    fn let_in(&self, context: &mut Context<'_, '_>, bucket: &mut Bucket) -> Result<bool, CallError> {
        bucket.fill(context.now_us());
        for _ in 0..LET_IN_MAX {
            let Some((waiter, permits)) = self.queue.first(context)? else {
                bucket.spill();
                context.set_alarm(None);
                return Ok(true);
            };
            if !bucket.has(permits.into()) {
                context.set_alarm(Some(bucket.due_us(permits.into())));
                return Ok(true);
            }
            bucket.take(permits);
            bucket.want_less(permits);
            self.queue.remove(context, waiter)?;
            context.wake(waiter, Ok(&()))?;
        }
        // More than one block may answer: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(false)
    }

    /// Whether there are permits for a waiting call and all before it.
    fn is_enough_for(
        &self,
        context: &Context<'_, '_>,
        bucket: &Bucket,
        waiter: WaiterId,
    ) -> Result<bool, CallError> {
        let mut wanted = 0;
        self.queue.for_each(context, |id, permits| {
            wanted += u128::from(permits);
            Ok(id != waiter)
        })?;
        Ok(bucket.has(wanted))
    }

    /// The bucket as it is now.
    fn look(&self, context: &Context<'_, '_>) -> Result<Bucket, CallError> {
        let mut bucket = self.bucket(context)?;
        bucket.fill(context.now_us());
        // Who waits may want more than usually gathers.
        if self.queue.is_empty(context)? {
            bucket.spill();
        }
        Ok(bucket)
    }
}

impl rate_limiter::Methods<Context<'_, '_>> for RateLimiter {
    fn try_acquire(&mut self, context: &mut Context<'_, '_>, n: u64) -> Result<bool, CallError> {
        let mut bucket = self.look(context)?;
        let takes = self.queue.is_empty(context)? && bucket.has(n.into());
        if takes {
            bucket.take(n);
            self.bucket.set(context, Some(&bucket))?;
        }
        Ok(takes)
    }

    fn acquire(
        &mut self,
        context: &mut Context<'_, '_>,
        n: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        let mut bucket = self.bucket(context)?;
        if n > bucket.burst() {
            return Err(CallError::bad_argument(format!("{n} permits; at most {} gather", bucket.burst())));
        }
        self.let_in(context, &mut bucket)?;
        let is_first = self.queue.is_empty(context)?;
        if is_first && bucket.has(n.into()) {
            bucket.take(n);
            self.bucket.set(context, Some(&bucket))?;
            return Ok(Wait::Done(()));
        }
        bucket.want_more(n);
        let due_us = bucket.due_us(bucket.wanted());
        let deadline_us = timeout_ms.map(|ms| context.now_us().saturating_add(ms.saturating_mul(1_000)));
        if deadline_us.is_some_and(|deadline_us| due_us > deadline_us) {
            return Err(CallError::TimedOut);
        }
        if is_first {
            context.set_alarm(Some(due_us));
        }
        self.bucket.set(context, Some(&bucket))?;
        self.queue.wait(context, &n, timeout_ms)
    }

    fn set_rate(
        &mut self,
        context: &mut Context<'_, '_>,
        permits: u64,
        period_ms: u64,
        burst: u64,
    ) -> Result<(), CallError> {
        let mut bucket = self.bucket(context)?;
        // What has come in until now came at the old rate, and lets in whom it lets in.
        self.let_in(context, &mut bucket)?;
        bucket.set_rate(permits, period_ms, burst)?;
        self.let_in(context, &mut bucket)?;
        self.bucket.set(context, Some(&bucket))
    }

    fn available(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.look(context)?.permits_there())
    }
}
