//! Read-write locks.

use super::held::{HOLDERS_SHOWN_MAX, PART, by_session};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Cell, Fields, Number, Queue, Tree, damaged},
};
use abide_net::{CallError, codec};
use abide_schema::{BlockedBy, Holder, Wait, types::rw_lock};
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// A lock of many readers or one writer: see [`rw_lock`].
///
/// Invariants:
/// - while somebody writes, nobody else reads;
/// - the first in the queue could not have the lock now (else it would have it);
/// - `held` has, for each session, how many readings and writings it has, nested ones not counted;
/// - the shard tells of the end of exactly the sessions in `held`.
#[derive(Debug)]
pub struct RwLock {
    last_token: Number<u64>,
    writing: Cell<Writing>,
    /// Readings by session and owner.
    readings: Tree,
    /// Readings and writings by session.
    held: Tree,
    queue: Queue<Asks>,
}

/// Who writes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Writing {
    session: SessionId,
    owner: u64,
    token: u64,
    /// How often the owner has locked it for writing, at least once.
    holds: u32,
}

/// What is kept of an owner that reads.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Reading {
    token: u64,
    /// How often the owner has locked it for reading, at least once.
    holds: u32,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Asks {
    owner: u64,
    writes: bool,
}

const KEY_BYTES: usize = 24;

fn key_of(session: SessionId, owner: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..16].copy_from_slice(&session.0.to_be_bytes());
    key[16..].copy_from_slice(&owner.to_be_bytes());
    key
}

fn parse(key: &[u8], reading: &[u8]) -> Result<(SessionId, u64, Reading), CallError> {
    let parts = key.split_first_chunk::<16>().zip(key.last_chunk::<8>());
    let Some(((session, _), owner)) = parts.filter(|_| key.len() == KEY_BYTES) else {
        return Err(damaged("who reads"));
    };
    let session = SessionId(u128::from_be_bytes(*session));
    Ok((session, u64::from_be_bytes(*owner), decode(reading)?))
}

fn decode(reading: &[u8]) -> Result<Reading, CallError> {
    codec::decode_own(reading).map_err(|_| damaged("who reads"))
}

fn once_more(holds: u32) -> Result<u32, CallError> {
    holds.checked_add(1).ok_or_else(|| CallError::denied("the owner has locked it too often"))
}

impl SharedObject for RwLock {
    type Type = rw_lock::Type;

    const FIELDS: u32 = 5;

    fn at(fields: Fields) -> Self {
        RwLock {
            last_token: Number::at(fields, 0),
            writing: Cell::at(fields, 1),
            readings: Tree::at(fields, 2),
            held: Tree::at(fields, 3),
            queue: Queue::at(fields, 4),
        }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        rw_lock::Creation {}: rw_lock::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::rw_lock);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.queue.remove(context, waiter)?;
        // It may have been the first, and have kept those out that read.
        self.let_in(context)?;
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        if self.writing.get(context)?.is_some_and(|writing| writing.session == session) {
            self.writing.set(context, None)?;
        }
        let (first, last) = (key_of(session, 0), key_of(session, u64::MAX));
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        let mut keys = Vec::new();
        let mut more = false;
        self.readings.for_each(context, range, |key, _| {
            more = keys.len() == PART as usize;
            if !more {
                keys.push(key.to_vec());
            }
            Ok(!more)
        })?;
        for key in &keys {
            self.readings.remove(context, key)?;
        }
        if more {
            context.hold_more();
        } else {
            by_session::take(&self.held, context, session)?;
        }
        self.let_in(context)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.let_in(context)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let mut holders = Vec::new();
        self.for_each_holder(context, |session, owner, is_writer, _| {
            let what = if is_writer { "the lock, for writing" } else { "the lock, for reading" };
            let session = session.to_string();
            holders.push(BlockedBy { session, owner: Some(owner), what: what.to_owned() });
            holders.len() < HOLDERS_SHOWN_MAX
        })?;
        Ok(holders)
    }
}

impl RwLock {
    fn next_token(&self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.last_token.update(context, |token| token + 1)? + 1)
    }

    /// Notes that a session has one reading or writing more.
    fn hold_one(&self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        let held = by_session::get(&self.held, context, session)?;
        by_session::set(&self.held, context, session, held + 1)?;
        if held == 0 { context.hold(session) } else { Ok(()) }
    }

    /// Notes that a session has one less.
    fn let_go_one(&self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        let held = by_session::get(&self.held, context, session)?;
        let left = held.checked_sub(1).ok_or_else(|| damaged("what a session holds"))?;
        by_session::set(&self.held, context, session, left)?;
        if left == 0 { context.unhold(session) } else { Ok(()) }
    }

    fn writing_of(
        &self,
        context: &Context<'_, '_>,
        session: SessionId,
        owner: u64,
    ) -> Result<Option<Writing>, CallError> {
        let writing = self.writing.get(context)?;
        Ok(writing.filter(|writing| (writing.session, writing.owner) == (session, owner)))
    }

    fn reading_of(
        &self,
        context: &Context<'_, '_>,
        session: SessionId,
        owner: u64,
    ) -> Result<Option<Reading>, CallError> {
        self.readings.get(context, &key_of(session, owner))?.map(|reading| decode(&reading)).transpose()
    }

    fn set_reading(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        owner: u64,
        reading: Reading,
    ) -> Result<(), CallError> {
        self.readings.insert(context, &key_of(session, owner), &codec::encode(&reading)?).map(drop)
    }

    /// Locks for reading if that can be. Who has nothing yet must have its `turn`.
    fn try_to_read(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        owner: u64,
        turn: bool,
    ) -> Result<Option<u64>, CallError> {
        if let Some(Reading { token, holds }) = self.reading_of(context, session, owner)? {
            let holds = once_more(holds)?;
            self.set_reading(context, session, owner, Reading { token, holds })?;
            return Ok(Some(token));
        }
        let may = match self.writing.get(context)? {
            Some(writing) => (writing.session, writing.owner) == (session, owner),
            None => turn,
        };
        if !may {
            return Ok(None);
        }
        let token = self.next_token(context)?;
        self.set_reading(context, session, owner, Reading { token, holds: 1 })?;
        self.hold_one(context, session)?;
        Ok(Some(token))
    }

    /// Locks for writing if that can be. Who does not write yet must have its `turn`.
    fn try_to_write(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        owner: u64,
        turn: bool,
    ) -> Result<Option<u64>, CallError> {
        match self.writing.get(context)? {
            Some(writing) if (writing.session, writing.owner) == (session, owner) => {
                let holds = once_more(writing.holds)?;
                self.writing.set(context, Some(&Writing { holds, ..writing }))?;
                return Ok(Some(writing.token));
            }
            Some(_) => return Ok(None),
            None => {}
        }
        let others = match self.readings.len(context)? {
            0 => false,
            1 => self.reading_of(context, session, owner)?.is_none(),
            _ => true,
        };
        if others || !turn {
            return Ok(None);
        }
        let token = self.next_token(context)?;
        self.writing.set(context, Some(&Writing { session, owner, token, holds: 1 }))?;
        self.hold_one(context, session)?;
        Ok(Some(token))
    }

    /// Lets in from the front of the queue as many as can have the lock together.
    fn let_in(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        for _ in 0..PART {
            let Some((waiter, Asks { owner, writes })) = self.queue.first(context)? else { return Ok(()) };
            let session = context.session_of(waiter)?;
            let token = if writes {
                self.try_to_write(context, session, owner, true)?
            } else {
                self.try_to_read(context, session, owner, true)?
            };
            let Some(token) = token else { return Ok(()) };
            self.queue.remove(context, waiter)?;
            context.wake(waiter, Ok(&token))?;
        }
        // One block may not answer all of them: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(())
    }

    /// The writer writes no more.
    fn end_writing(&self, context: &mut Context<'_, '_>, writing: Writing) -> Result<(), CallError> {
        self.writing.set(context, None)?;
        self.let_go_one(context, writing.session)?;
        self.let_in(context)
    }

    /// Gives `each` the writer and the readers (session, owner, whether it writes, the token and how often it has the lock), until it
    /// has enough (`false`).
    fn for_each_holder(
        &self,
        context: &Context<'_, '_>,
        mut each: impl FnMut(SessionId, u64, bool, Reading) -> bool,
    ) -> Result<(), CallError> {
        if let Some(Writing { session, owner, token, holds }) = self.writing.get(context)? {
            each(session, owner, true, Reading { token, holds });
        }
        self.readings.for_each(context, .., |key, reading| {
            let (session, owner, reading) = parse(key, reading)?;
            Ok(each(session, owner, false, reading))
        })
    }
}

impl rw_lock::Methods<Context<'_, '_>> for RwLock {
    fn read(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        match self.try_read(context, owner)? {
            Some(token) => Ok(Wait::Done(token)),
            None => self.queue.wait_as(context, owner, &Asks { owner, writes: false }, timeout_ms),
        }
    }

    fn write(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        let session = context.session();
        let is_mine = self.writing_of(context, session, owner)?.is_some();
        if !is_mine && self.reading_of(context, session, owner)?.is_some() {
            return Err(CallError::denied("the owner reads, and would wait for itself"));
        }
        match self.try_write(context, owner)? {
            Some(token) => Ok(Wait::Done(token)),
            None => self.queue.wait_as(context, owner, &Asks { owner, writes: true }, timeout_ms),
        }
    }

    fn try_read(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<Option<u64>, CallError> {
        let turn = self.queue.is_empty(context)?;
        let session = context.session();
        self.try_to_read(context, session, owner, turn)
    }

    fn try_write(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<Option<u64>, CallError> {
        let turn = self.queue.is_empty(context)?;
        let session = context.session();
        self.try_to_write(context, session, owner, turn)
    }

    fn unlock_read(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<(), CallError> {
        let session = context.session();
        let Some(Reading { token, holds }) = self.reading_of(context, session, owner)? else {
            return Err(CallError::denied("the owner does not read"));
        };
        if holds > 1 {
            return self.set_reading(context, session, owner, Reading { token, holds: holds - 1 });
        }
        self.readings.remove(context, &key_of(session, owner))?;
        self.let_go_one(context, session)?;
        self.let_in(context)
    }

    fn unlock_write(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        token: Option<u64>,
    ) -> Result<(), CallError> {
        let session = context.session();
        let Some(writing) = self.writing_of(context, session, owner)? else {
            return Err(CallError::denied("the owner does not write"));
        };
        if token.is_some_and(|token| token != writing.token) {
            return Err(CallError::denied("the lock has changed hands since"));
        }
        if writing.holds > 1 {
            return self.writing.set(context, Some(&Writing { holds: writing.holds - 1, ..writing }));
        }
        self.end_writing(context, writing)
    }

    fn downgrade(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<u64, CallError> {
        let session = context.session();
        let Some(writing) = self.writing_of(context, session, owner)? else {
            return Err(CallError::denied("the owner does not write"));
        };
        if writing.holds > 1 {
            return Err(CallError::denied("the owner has locked it for writing more than once"));
        }
        let token = self.try_to_read(context, session, owner, true)?;
        let token = token.expect("who writes may read");
        self.end_writing(context, writing)?;
        Ok(token)
    }

    fn is_write_locked(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        Ok(self.writing.get(context)?.is_some())
    }

    fn readers(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.readings.len(context)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<Holder>, CallError> {
        let mut holders = Vec::new();
        self.for_each_holder(context, |session, owner, _, Reading { token, holds }| {
            holders.push(Holder { session: session.to_string(), owner, token, holds });
            holders.len() < HOLDERS_SHOWN_MAX
        })?;
        Ok(holders)
    }
}
