//! Events.

use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{Wait, types::event};

/// A flag, and those who wait for it: see [`event`].
///
/// Invariant: nobody waits while it is set.
#[derive(Debug)]
pub struct Event {
    is_set: Number<bool>,
    waiters: Queue<()>,
}

impl SharedObject for Event {
    type Type = event::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        Event { is_set: Number::at(fields, 0), waiters: Queue::at(fields, 1) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        event::Creation { initially_set }: event::Creation,
    ) -> Result<(), CallError> {
        self.is_set.set(context, initially_set)
    }

    calls!(abide_schema::types::event);

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

impl event::Methods<Context<'_, '_>> for Event {
    fn set(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        let was_set = self.is_set.update(context, |_| true)?;
        self.waiters.wake_all(context, Answers::same(&())?)?;
        Ok(!was_set)
    }

    fn clear(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.is_set.update(context, |_| false)
    }

    fn wait(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        if self.is_set.get(context)? {
            return Ok(Wait::Done(()));
        }
        self.waiters.wait(context, &(), timeout_ms)
    }

    fn is_set(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.is_set.get(context)
    }
}
