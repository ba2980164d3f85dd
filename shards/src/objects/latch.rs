//! Latches.

use crate::{
    Context, Object, SharedObject, calls_and_state,
    shard::{Gone, WaiterId},
};
use abide_net::CallError;
use abide_schema::{Wait, types::count_down_latch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A count down to 0, and those who wait for it: see [`count_down_latch`].
///
/// Invariant: nobody waits once the count is 0.
#[derive(Debug, Serialize, Deserialize)]
pub struct CountDownLatch {
    count: u64,
    #[serde(skip)]
    waiters: BTreeSet<WaiterId>,
}

impl SharedObject for CountDownLatch {
    type Type = count_down_latch::Type;

    fn create(count_down_latch::Creation { count }: count_down_latch::Creation) -> Result<Self, CallError> {
        Ok(CountDownLatch { count, waiters: BTreeSet::new() })
    }
}

impl Object for CountDownLatch {
    calls_and_state!(abide_schema::types::count_down_latch);

    fn bytes(&self) -> usize {
        size_of::<Self>() + super::sizes::memory_of_set(&self.waiters)
    }

    fn waiter_gone(&mut self, _: &mut Context<'_>, waiter: WaiterId, _: Gone) {
        self.waiters.remove(&waiter);
    }
}

impl count_down_latch::Methods<Context<'_>> for CountDownLatch {
    fn count_down(&mut self, context: &mut Context<'_>, n: u64) -> Result<u64, CallError> {
        self.count = self.count.saturating_sub(n);
        if self.count == 0 {
            for waiter in std::mem::take(&mut self.waiters) {
                context.wake(waiter, Ok(()));
            }
        }
        Ok(self.count)
    }

    fn wait(&mut self, context: &mut Context<'_>, timeout_ms: Option<u64>) -> Result<Wait<()>, CallError> {
        if self.count == 0 {
            return Ok(Wait::Done(()));
        }
        self.waiters.insert(context.wait(timeout_ms));
        Ok(Wait::Waiting)
    }

    fn count(&mut self, _: &mut Context<'_>) -> Result<u64, CallError> {
        Ok(self.count)
    }
}
