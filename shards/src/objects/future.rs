//! Futures.

use super::sizes::{check_len, check_value, memory_of, memory_of_set};
use crate::{
    Context, Object, SharedObject, calls_and_state,
    shard::{Gone, WaiterId},
};
use abide_net::{CallError, Value};
use abide_schema::{FutureState, Wait, types::future};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A result that comes later: see [`future`].
///
/// Invariant: nobody waits once it is complete.
#[derive(Debug, Serialize, Deserialize)]
pub struct Future {
    state: Option<FutureState>,
    #[serde(skip)]
    waiters: BTreeSet<WaiterId>,
}

impl SharedObject for Future {
    type Type = future::Type;

    fn create(future::Creation {}: future::Creation) -> Result<Self, CallError> {
        Ok(Future { state: None, waiters: BTreeSet::new() })
    }
}

impl Object for Future {
    calls_and_state!(abide_schema::types::future);

    fn bytes(&self) -> usize {
        let content = match &self.state {
            Some(FutureState::Value(value)) => memory_of(value),
            Some(FutureState::Error(message)) => message.len(),
            Some(FutureState::Cancelled) | None => 0,
        };
        size_of::<Self>() + content + memory_of_set(&self.waiters)
    }

    fn waiter_gone(&mut self, _: &mut Context<'_>, waiter: WaiterId, _: Gone) {
        self.waiters.remove(&waiter);
    }
}

impl Future {
    /// Completes it, unless it is complete. Says whether it was not.
    fn complete(&mut self, context: &mut Context<'_>, state: FutureState) -> bool {
        if self.state.is_some() {
            return false;
        }
        let state = self.state.insert(state);
        for waiter in std::mem::take(&mut self.waiters) {
            context.wake(waiter, Ok(&*state));
        }
        true
    }
}

impl future::Methods<Context<'_>> for Future {
    fn set(&mut self, context: &mut Context<'_>, value: Value) -> Result<bool, CallError> {
        check_value(&value)?;
        Ok(self.complete(context, FutureState::Value(value)))
    }

    fn set_error(&mut self, context: &mut Context<'_>, message: String) -> Result<bool, CallError> {
        check_len(message.len())?;
        Ok(self.complete(context, FutureState::Error(message)))
    }

    fn get(
        &mut self,
        context: &mut Context<'_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<FutureState>, CallError> {
        if let Some(state) = &self.state {
            return Ok(Wait::Done(state.clone()));
        }
        self.waiters.insert(context.wait(timeout_ms));
        Ok(Wait::Waiting)
    }

    fn is_done(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.state.is_some())
    }

    fn cancel(&mut self, context: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.complete(context, FutureState::Cancelled))
    }
}
