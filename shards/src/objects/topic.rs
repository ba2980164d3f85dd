//! Logs of values that readers follow.

use super::sizes::{self, AnswerScale, check_value, encoded_bytes};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, Fields, Number, Queue, Sequence, Tree, damaged},
};
use abide_net::{CallError, Value};
use abide_schema::{TopicPage, Wait, types::topic};

/// A log of values that readers follow: see [`topic`].
///
/// Invariants, once the alarms for now have been rung:
/// - `subscribers` wait for the value at the next position, which is all that they will get: so all get the same answer;
/// - `ahead` wait for a value at a later position, or (if they asked for it when it was later) at the next one;
/// - `by_cursor` has for each of `ahead` its position and its id.
#[derive(Debug)]
pub struct Topic {
    retain: Number<u64>,
    /// The position of the first value that is kept.
    first: Number<u64>,
    values: Sequence,
    subscribers: Queue<()>,
    ahead: Queue<u64>,
    by_cursor: Tree,
}

impl SharedObject for Topic {
    type Type = topic::Type;

    const FIELDS: u32 = 6;

    fn at(fields: Fields) -> Self {
        Topic {
            retain: Number::at(fields, 0),
            first: Number::at(fields, 1),
            values: Sequence::at(fields, 2),
            subscribers: Queue::at(fields, 3),
            ahead: Queue::at(fields, 4),
            by_cursor: Tree::at(fields, 5),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        topic::Creation { retain }: topic::Creation,
    ) -> Result<(), CallError> {
        if retain == 0 {
            return Err(CallError::bad_argument("a topic keeps at least one value"));
        }
        self.retain.set(context, retain)
    }

    calls!(abide_schema::types::topic);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.subscribers.remove(context, waiter)?.is_none()
            && let Some(cursor) = self.ahead.remove(context, waiter)?
        {
            self.by_cursor.remove(context, &ahead_key(cursor, waiter))?;
        }
        Ok(Leaves::Now)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.wake_ahead(context)
    }
}

/// Subscribers with a position of their own that are answered by one call at most; an alarm answers the others.
const WAKE_MAX: u32 = 128;

/// Most bytes of their answers: the value may be large.
const WAKE_BYTES_MAX: usize = 4 << 20;

/// Longest encoding of a position in front of a value.
const POSITION_BYTES_MAX: usize = 9;

fn ahead_key(cursor: u64, waiter: WaiterId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&cursor.to_be_bytes());
    key[8..].copy_from_slice(&waiter.to_key());
    key
}

fn weight(value: &Value) -> usize {
    POSITION_BYTES_MAX + encoded_bytes(value) - 1
}

impl Topic {
    fn next(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.first.get(context)?.saturating_add(self.values.len(context)?))
    }

    /// A page from a cursor on, at which or behind which there is a value.
    fn page(&self, context: &Context<'_, '_>, cursor: u64, limit: u32) -> Result<TopicPage, CallError> {
        let first = self.first.get(context)?;
        let start = cursor.max(first);
        let mut page = sizes::Gathering::new(limit);
        self.values.for_each(context, start - first, |index, value| {
            let value = Value::from_bytes(value)?;
            let bytes = weight(&value);
            Ok(page.take((first + index, value), bytes))
        })?;
        let entries = page.finish(|_| ()).entries;
        Ok(TopicPage { next: start + entries.len() as u64, missed: start - cursor, entries })
    }

    /// Answers those of `ahead` whose position has come.
    fn wake_ahead(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        let next = self.next(context)?;
        let mut bytes = 0;
        for _ in 0..WAKE_MAX {
            let Some((key, _)) = self.by_cursor.first(context)? else { return Ok(()) };
            let (cursor, waiter) = key.split_first_chunk().ok_or_else(|| damaged("a topic's readers"))?;
            let cursor = u64::from_be_bytes(*cursor);
            if cursor >= next {
                return Ok(());
            }
            let waiter = WaiterId::from_key(waiter)?;
            let page = self.page(context, cursor, 1)?;
            bytes += page.entries.iter().map(|(_, value)| weight(value)).sum::<usize>();
            self.by_cursor.remove(context, &key)?;
            self.ahead.remove(context, waiter)?;
            context.wake(waiter, Ok(&page))?;
            if bytes > WAKE_BYTES_MAX {
                break;
            }
        }
        // More than one block may answer: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(())
    }
}

impl topic::Methods<Context<'_, '_>> for Topic {
    fn publish(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<u64, CallError> {
        check_value(&value)?;
        let position = self.next(context)?;
        self.values.push_back(context, value.as_bytes())?;
        if self.values.len(context)? > self.retain.get(context)? {
            self.values.pop_front(context)?;
            self.first.update(context, |first| first.saturating_add(1))?;
        }
        if !self.subscribers.is_empty(context)? {
            let page = TopicPage { entries: vec![(position, value)], next: position + 1, missed: 0 };
            self.subscribers.wake_all(context, Answers::same(&page)?)?;
        }
        self.wake_ahead(context)?;
        Ok(position)
    }

    fn subscribe(
        &mut self,
        context: &mut Context<'_, '_>,
        cursor: u64,
        limit: u32,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<TopicPage>, CallError> {
        let next = self.next(context)?;
        if cursor < next {
            return self.page(context, cursor, limit).map(Wait::Done);
        }
        if cursor == next {
            return self.subscribers.wait(context, &(), timeout_ms);
        }
        let id = context.begin_wait(timeout_ms, None)?;
        self.ahead.set(context, id, &cursor)?;
        self.by_cursor.insert(context, &ahead_key(cursor, id), &[])?;
        Ok(Wait::Waiting)
    }

    fn last(&mut self, context: &mut Context<'_, '_>, n: u32) -> Result<Vec<(u64, Value)>, CallError> {
        let (first, len) = (self.first.get(context)?, self.values.len(context)?);
        let count = len.min(n.into());
        let mut scale = AnswerScale::new(count as usize);
        let mut entries = Vec::new();
        if count > 0 {
            self.values.for_each(context, len - count, |index, value| {
                let value = Value::from_bytes(value)?;
                scale.add(weight(&value))?;
                entries.push((first + index, value));
                Ok(true)
            })?;
        }
        Ok(entries)
    }

    fn next_position(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.next(context)
    }

    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.values.len(context)
    }
}
