//! Exchangers.

use super::sizes::check_value;
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{ByteField, Fields, Queue},
};
use abide_net::{CallError, Value};
use abide_schema::{Wait, types::exchanger};

/// A place where two callers swap values: see [`exchanger`].
///
/// Invariant: at most one waits, and its value is there exactly while it does.
#[derive(Debug)]
pub struct Exchanger {
    offered: ByteField,
    waiters: Queue<()>,
}

impl SharedObject for Exchanger {
    type Type = exchanger::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        Exchanger { offered: ByteField::at(fields, 0), waiters: Queue::at(fields, 1) }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        exchanger::Creation {}: exchanger::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::exchanger);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.waiters.remove(context, waiter)?.is_some() {
            self.offered.set(context, &[])?;
        }
        Ok(Leaves::Now)
    }
}

impl exchanger::Methods<Context<'_, '_>> for Exchanger {
    fn exchange(
        &mut self,
        context: &mut Context<'_, '_>,
        value: Value,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<Value>, CallError> {
        check_value(&value)?;
        let Some((waiter, ())) = self.waiters.pop_first(context)? else {
            self.offered.set(context, value.as_bytes())?;
            return self.waiters.wait(context, &(), timeout_ms);
        };
        let offered = Value::from_bytes(&self.offered.get(context)?)?;
        self.offered.set(context, &[])?;
        context.wake(waiter, Ok(&value))?;
        Ok(Wait::Done(offered))
    }

    fn waiting(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.waiters.len(context)
    }
}
