//! Queues of values with priorities.

use super::{
    order::{integer_to_word, word_to_integer},
    sizes::check_value,
};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Fields, Number, Pair, Queue, Tree, damaged},
};
use abide_net::{CallError, Value};
use abide_schema::{Wait, types::priority_queue};

/// A queue of values with priorities: see [`priority_queue`].
///
/// Invariant: a call waits only if there is no value.
#[derive(Debug)]
pub struct PriorityQueue {
    /// By priority, and then by how many were pushed before.
    values: Tree,
    pushed: Number<u64>,
    takers: Queue<()>,
}

impl SharedObject for PriorityQueue {
    type Type = priority_queue::Type;

    const FIELDS: u32 = 3;

    fn at(fields: Fields) -> Self {
        PriorityQueue {
            values: Tree::at(fields, 0),
            pushed: Number::at(fields, 1),
            takers: Queue::at(fields, 2),
        }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        priority_queue::Creation {}: priority_queue::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::priority_queue);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.takers.remove(context, waiter)?;
        Ok(Leaves::Now)
    }
}

/// A key in the order of leaving.
fn key_of(priority: i64, pushed: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&integer_to_word(priority).to_be_bytes());
    key[8..].copy_from_slice(&pushed.to_be_bytes());
    key
}

fn entry_of(pair: Option<Pair>) -> Result<Option<(i64, Value)>, CallError> {
    let Some((key, value)) = pair else { return Ok(None) };
    let priority = key.first_chunk().ok_or_else(|| damaged("a priority"))?;
    Ok(Some((word_to_integer(u64::from_be_bytes(*priority)), Value::from_bytes(&value)?)))
}

impl priority_queue::Methods<Context<'_, '_>> for PriorityQueue {
    fn push(&mut self, context: &mut Context<'_, '_>, priority: i64, value: Value) -> Result<(), CallError> {
        check_value(&value)?;
        if let Some((taker, ())) = self.takers.pop_first(context)? {
            return context.wake(taker, Ok(&(priority, value)));
        }
        let pushed = self.pushed.update(context, |pushed| pushed.wrapping_add(1))?;
        self.values.insert(context, &key_of(priority, pushed), value.as_bytes()).map(drop)
    }

    fn pop(&mut self, context: &mut Context<'_, '_>) -> Result<Option<(i64, Value)>, CallError> {
        entry_of(self.values.pop_first(context)?)
    }

    fn take(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<(i64, Value)>, CallError> {
        match self.pop(context)? {
            Some(first) => Ok(Wait::Done(first)),
            None => self.takers.wait(context, &(), timeout_ms),
        }
    }

    fn peek(&mut self, context: &mut Context<'_, '_>) -> Result<Option<(i64, Value)>, CallError> {
        entry_of(self.values.first(context)?)
    }

    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.values.len(context)
    }

    fn is_empty(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.values.is_empty(context)
    }

    fn clear(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.values.clear(context)
    }
}
