//! Futures.

use super::sizes::{check_len, check_value};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, Cell, Fields, Queue},
};
use abide_net::{CallError, Value};
use abide_schema::{FutureState, Wait, types::future};

/// A result that comes later: see [`future`].
///
/// Invariant: nobody waits once it is complete.
#[derive(Debug)]
pub struct Future {
    state: Cell<FutureState>,
    waiters: Queue<()>,
}

impl SharedObject for Future {
    type Type = future::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        Future { state: Cell::at(fields, 0), waiters: Queue::at(fields, 1) }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        future::Creation {}: future::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::future);

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

impl Future {
    /// Completes it, unless it is complete. Says whether it was not.
    fn complete(&mut self, context: &mut Context<'_, '_>, state: &FutureState) -> Result<bool, CallError> {
        if self.state.get(context)?.is_some() {
            return Ok(false);
        }
        self.state.set(context, Some(state))?;
        self.waiters.wake_all(context, Answers::same(state)?)?;
        Ok(true)
    }
}

impl future::Methods<Context<'_, '_>> for Future {
    fn set(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        check_value(&value)?;
        self.complete(context, &FutureState::Value(value))
    }

    fn set_error(&mut self, context: &mut Context<'_, '_>, message: String) -> Result<bool, CallError> {
        check_len(message.len())?;
        self.complete(context, &FutureState::Error(message))
    }

    fn get(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<FutureState>, CallError> {
        match self.state.get(context)? {
            Some(state) => Ok(Wait::Done(state)),
            None => self.waiters.wait(context, &(), timeout_ms),
        }
    }

    fn is_done(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        Ok(self.state.get(context)?.is_some())
    }

    fn cancel(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.complete(context, &FutureState::Cancelled)
    }
}
