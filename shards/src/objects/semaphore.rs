//! Semaphores.

use super::held::by_session;
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Fields, Number, Queue, Tree},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Wait, types::semaphore};

/// Permits, given out in the order of asking: see [`semaphore`].
///
/// Invariants:
/// - the first in the queue wants more than there is (else it would have been let in);
/// - `held_total` is the sum of `held`, whose entries are above 0, and at most `total`;
/// - the shard tells of the end of exactly the sessions in `held`;
/// - an unowned semaphore records no holders: what was taken is gone from `total`.
#[derive(Debug)]
pub struct Semaphore {
    unowned: Number<bool>,
    /// The permits that are there and those that sessions hold: what is there when all sessions have ended.
    total: Number<u64>,
    held_total: Number<u64>,
    /// Permits by session.
    held: Tree,
    /// Who waits, and for how many permits.
    queue: Queue<u64>,
}

impl SharedObject for Semaphore {
    type Type = semaphore::Type;

    const FIELDS: u32 = 5;

    fn at(fields: Fields) -> Self {
        Semaphore {
            unowned: Number::at(fields, 0),
            total: Number::at(fields, 1),
            held_total: Number::at(fields, 2),
            held: Tree::at(fields, 3),
            queue: Queue::at(fields, 4),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        semaphore::Creation { permits, unowned }: semaphore::Creation,
    ) -> Result<(), CallError> {
        self.unowned.set(context, unowned)?;
        self.total.set(context, permits)
    }

    calls!(abide_schema::types::semaphore);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.queue.remove(context, waiter)?;
        // It may have been the first, and have kept those out that want less.
        self.let_in(context)?;
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        let held = by_session::take(&self.held, context, session)?;
        self.held_total.update(context, |total| total - held)?;
        self.let_in(context)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.let_in(context)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let mut holders = Vec::new();
        by_session::for_each(&self.held, context, |session, permits| {
            let what = format!("{permits} permits");
            holders.push(BlockedBy { session: session.to_string(), owner: None, what });
            Ok(holders.len() < super::held::HOLDERS_SHOWN_MAX)
        })?;
        Ok(holders)
    }
}

/// Waiting calls that are let in by one call at most; an alarm lets in the others.
const LET_IN_MAX: u32 = 128;

impl Semaphore {
    fn there(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.total.get(context)? - self.held_total.get(context)?)
    }

    /// Gives permits, which are there, to a session.
    fn give(
        &mut self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        permits: u64,
    ) -> Result<(), CallError> {
        if self.unowned.get(context)? {
            self.total.update(context, |total| total - permits)?;
        } else if permits > 0 {
            self.held_total.update(context, |total| total + permits)?;
            let holds = by_session::get(&self.held, context, session)?;
            by_session::set(&self.held, context, session, holds + permits)?;
            if holds == 0 {
                context.hold(session)?;
            }
        }
        Ok(())
    }

    /// Lets in from the front of the queue as many as there are permits for.
    fn let_in(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        for _ in 0..LET_IN_MAX {
            let Some((waiter, permits)) = self.queue.first(context)? else { return Ok(()) };
            if permits > self.there(context)? {
                return Ok(());
            }
            self.queue.remove(context, waiter)?;
            let session = context.session_of(waiter)?;
            self.give(context, session, permits)?;
            context.wake(waiter, Ok(&()))?;
        }
        // More than one block may answer: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(())
    }

    /// Takes permits for the caller if they are there and nobody waits.
    fn try_take(&mut self, context: &mut Context<'_, '_>, permits: u64) -> Result<bool, CallError> {
        let takes = self.queue.is_empty(context)? && permits <= self.there(context)?;
        if takes {
            let session = context.session();
            self.give(context, session, permits)?;
        }
        Ok(takes)
    }
}

impl semaphore::Methods<Context<'_, '_>> for Semaphore {
    fn acquire(
        &mut self,
        context: &mut Context<'_, '_>,
        n: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        if self.try_take(context, n)? {
            return Ok(Wait::Done(()));
        }
        self.queue.wait(context, &n, timeout_ms)
    }

    fn try_acquire(&mut self, context: &mut Context<'_, '_>, n: u64) -> Result<bool, CallError> {
        self.try_take(context, n)
    }

    fn release(&mut self, context: &mut Context<'_, '_>, n: u64) -> Result<(), CallError> {
        if self.unowned.get(context)? {
            let total = self.total.get(context)?.checked_add(n);
            let total =
                total.ok_or_else(|| CallError::bad_argument("more permits than 64 bits can count"))?;
            self.total.set(context, total)?;
        } else {
            let session = context.session();
            let holds = by_session::get(&self.held, context, session)?;
            let Some(left) = holds.checked_sub(n) else {
                return Err(CallError::denied(format!("the session holds {holds} permits, not {n}")));
            };
            self.held_total.update(context, |total| total - n)?;
            by_session::set(&self.held, context, session, left)?;
            if left == 0 && holds > 0 {
                context.unhold(session)?;
            }
        }
        self.let_in(context)
    }

    fn available(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.there(context)
    }

    fn drain(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        let permits = self.there(context)?;
        let session = context.session();
        self.give(context, session, permits)?;
        Ok(permits)
    }
}
