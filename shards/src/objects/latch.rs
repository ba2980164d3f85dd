//! Latches.

use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{Wait, types::count_down_latch};

/// A count down to 0, and those who wait for it: see [`count_down_latch`].
///
/// Invariant: nobody waits once the count is 0.
#[derive(Debug)]
pub struct CountDownLatch {
    count: Number<u64>,
    waiters: Queue<()>,
}

impl SharedObject for CountDownLatch {
    type Type = count_down_latch::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        CountDownLatch { count: Number::at(fields, 0), waiters: Queue::at(fields, 1) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        count_down_latch::Creation { count }: count_down_latch::Creation,
    ) -> Result<(), CallError> {
        self.count.set(context, count)
    }

    calls!(abide_schema::types::count_down_latch);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.waiters.remove(context, waiter)?;
        Ok(Leaves::Now)
    }
}

impl count_down_latch::Methods<Context<'_, '_>> for CountDownLatch {
    fn count_down(&mut self, context: &mut Context<'_, '_>, n: u64) -> Result<u64, CallError> {
        let left = self.count.update(context, |count| count.saturating_sub(n))?.saturating_sub(n);
        if left == 0 {
            self.waiters.wake_all(context, Answers::same(&())?)?;
        }
        Ok(left)
    }

    fn wait(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        if self.count.get(context)? == 0 {
            return Ok(Wait::Done(()));
        }
        self.waiters.wait(context, &(), timeout_ms)
    }

    fn count(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.count.get(context)
    }
}
