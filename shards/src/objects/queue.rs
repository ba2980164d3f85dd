//! Queues of values.

use super::sizes::{AnswerScale, check_value, encoded_bytes};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Cell, Fields, Queue as Calls, Sequence},
};
use abide_net::{CallError, Value};
use abide_schema::{Wait, types::queue};

/// A queue of values, bounded or not: see [`queue`].
///
/// Invariants, once the alarms for now have been rung:
/// - a call waits to take only if there is no value and nobody waits to put one;
/// - a call waits to put only if there is no room.
#[derive(Debug)]
pub struct Queue {
    /// Nothing if it is unbounded.
    capacity: Cell<u64>,
    values: Sequence,
    takers: Calls<()>,
    /// Who waits to put, and what.
    putters: Calls<Value>,
}

impl SharedObject for Queue {
    type Type = queue::Type;

    const FIELDS: u32 = 4;

    fn at(fields: Fields) -> Self {
        Queue {
            capacity: Cell::at(fields, 0),
            values: Sequence::at(fields, 1),
            takers: Calls::at(fields, 2),
            putters: Calls::at(fields, 3),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        queue::Creation { capacity }: queue::Creation,
    ) -> Result<(), CallError> {
        if capacity == Some(0) {
            return Err(CallError::bad_argument("a queue has room for at least one value"));
        }
        self.capacity.set(context, capacity.as_ref())
    }

    calls!(abide_schema::types::queue);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.takers.remove(context, waiter)?.is_none() {
            self.putters.remove(context, waiter)?;
        }
        Ok(Leaves::Now)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.move_in(context)
    }
}

/// Most values that one call drains.
const DRAIN_MAX: u32 = 1_000;

/// Waiting calls whose values move in by one call at most; an alarm moves the others in.
const MOVE_IN_MAX: u32 = 128;

impl Queue {
    fn has_room(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        match self.capacity.get(context)? {
            Some(capacity) => Ok(self.values.len(context)? < capacity),
            None => Ok(true),
        }
    }

    /// Adds a value, or gives it to who waits for one, if there is room and nobody waits to put one. Says whether it did.
    fn try_put(&mut self, context: &mut Context<'_, '_>, value: &Value) -> Result<bool, CallError> {
        if let Some((taker, ())) = self.takers.pop_first(context)? {
            context.wake(taker, Ok(value))?;
            return Ok(true);
        }
        // If others wait there is no room, unless an alarm failed that was to let them in: they are not overtaken then either.
        let puts = self.putters.is_empty(context)? && self.has_room(context)?;
        if puts {
            self.values.push_back(context, value.as_bytes())?;
        }
        Ok(puts)
    }

    fn pop(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        let Some(value) = self.values.pop_front(context)? else { return Ok(None) };
        self.move_in(context)?;
        Value::from_bytes(&value).map(Some)
    }

    /// Moves in what others wait to put, in the order of asking, as far as there is room.
    fn move_in(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        for _ in 0..MOVE_IN_MAX {
            if self.putters.is_empty(context)? || !self.has_room(context)? {
                return Ok(());
            }
            if let Some((putter, value)) = self.putters.pop_first(context)? {
                self.values.push_back(context, value.as_bytes())?;
                context.wake(putter, Ok(&()))?;
            }
        }
        // More than one block may do: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(())
    }
}

impl queue::Methods<Context<'_, '_>> for Queue {
    fn offer(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        check_value(&value)?;
        self.try_put(context, &value)
    }

    fn put(
        &mut self,
        context: &mut Context<'_, '_>,
        value: Value,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        check_value(&value)?;
        if self.try_put(context, &value)? {
            return Ok(Wait::Done(()));
        }
        self.putters.wait(context, &value, timeout_ms)
    }

    fn poll(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        self.pop(context)
    }

    fn take(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<Value>, CallError> {
        match self.pop(context)? {
            Some(value) => Ok(Wait::Done(value)),
            None => self.takers.wait(context, &(), timeout_ms),
        }
    }

    fn peek(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        self.values.front(context)?.map(|value| Value::from_bytes(&value)).transpose()
    }

    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.values.len(context)
    }

    fn is_empty(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.values.is_empty(context)
    }

    fn capacity(&mut self, context: &mut Context<'_, '_>) -> Result<Option<u64>, CallError> {
        self.capacity.get(context)
    }

    fn drain(&mut self, context: &mut Context<'_, '_>, n: u32) -> Result<Vec<Value>, CallError> {
        let n = n.min(DRAIN_MAX) as usize;
        let mut scale = AnswerScale::new(n);
        let mut values = Vec::new();
        while values.len() < n {
            let Some(value) = self.values.front(context)? else { break };
            let value = Value::from_bytes(&value)?;
            if scale.add(encoded_bytes(&value) - 1).is_err() {
                break;
            }
            self.values.pop_front(context)?;
            values.push(value);
        }
        self.move_in(context)?;
        Ok(values)
    }
}
