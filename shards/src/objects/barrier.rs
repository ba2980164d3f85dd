//! Barriers.

use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{Wait, types::cyclic_barrier};

/// Parties that meet again and again: see [`cyclic_barrier`].
///
/// Invariant: fewer than `parties` wait, all of one generation, and none while it is broken.
///
/// No party leaves a generation without breaking it, so the rank of a waiter's id is its rank of arrival,
/// and no index has to be kept.
#[derive(Debug)]
pub struct CyclicBarrier {
    parties: Number<u32>,
    broken: Number<bool>,
    waiters: Queue<()>,
}

impl SharedObject for CyclicBarrier {
    type Type = cyclic_barrier::Type;

    const FIELDS: u32 = 3;

    fn at(fields: Fields) -> Self {
        CyclicBarrier {
            parties: Number::at(fields, 0),
            broken: Number::at(fields, 1),
            waiters: Queue::at(fields, 2),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        cyclic_barrier::Creation { parties }: cyclic_barrier::Creation,
    ) -> Result<(), CallError> {
        if parties == 0 {
            return Err(CallError::bad_argument("a barrier has at least one party"));
        }
        self.parties.set(context, parties)
    }

    calls!(abide_schema::types::cyclic_barrier);

    /// A party that timed out, was cancelled or died will not come back to the generation that it arrived in.
    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.waiters.remove(context, waiter)?.is_some() {
            self.broken.set(context, true)?;
            self.waiters.wake_all(context, Answers::error(CallError::Broken))?;
        }
        Ok(Leaves::Now)
    }
}

impl cyclic_barrier::Methods<Context<'_, '_>> for CyclicBarrier {
    fn wait(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u32>, CallError> {
        if self.broken.get(context)? {
            return Err(CallError::Broken);
        }
        let parties = self.parties.get(context)?;
        if self.waiters.len(context)? + 1 < u64::from(parties) {
            return self.waiters.wait(context, &(), timeout_ms);
        }
        // The last one: all others leave in the order in which they arrived, and a new generation begins.
        self.waiters.wake_all(context, Answers::Descending(parties - 1))?;
        Ok(Wait::Done(0))
    }

    fn waiting(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        Ok(self.waiters.len(context)? as u32)
    }

    fn parties(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        self.parties.get(context)
    }

    fn reset(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.broken.set(context, false)?;
        self.waiters.wake_all(context, Answers::error(CallError::Broken))
    }

    fn is_broken(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.broken.get(context)
    }
}
