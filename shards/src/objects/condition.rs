//! Conditions.

use super::{
    held::PART,
    lock::{Asks, LOCK_FIELDS, Lock, Notified, Reason},
};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, ConditionWait, Holder, Wait, types::condition};

/// A lock with a condition: see [`condition`].
///
/// Invariant: a call that waits is either in `waiting` (to be notified) or in the lock's queue (for the lock).
///
/// Who is notified moves from one to the other, to the place of its asking: it has the lock before those who asked for it since it began
/// to wait.
#[derive(Debug)]
pub struct Condition {
    lock: Lock,
    /// Who waits to be notified, and how often it is to have the lock after that.
    waiting: Queue<LetGo>,
    /// Those that wait up to this one are notified: more were at once than one block moves. Nobody is left of them once it is 0.
    notified_up_to: Number<u64>,
}

/// What an owner let go.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct LetGo {
    owner: u64,
    holds: u32,
}

impl LetGo {
    /// How it asks for the lock again.
    fn asks(self, notified: Notified) -> Asks {
        Asks { owner: self.owner, holds: self.holds, reason: Reason::Waited { notified } }
    }
}

impl SharedObject for Condition {
    type Type = condition::Type;

    const FIELDS: u32 = LOCK_FIELDS + 2;

    fn at(fields: Fields) -> Self {
        Condition {
            lock: Lock::at(fields, 0),
            waiting: Queue::at(fields, LOCK_FIELDS),
            notified_up_to: Number::at(fields, LOCK_FIELDS + 1),
        }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        condition::Creation {}: condition::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::condition);

    /// A time-out ends the wait to be notified, not the one for the lock. All else ends both.
    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        why: Gone,
    ) -> Result<Leaves, CallError> {
        if let Some(let_go) = self.waiting.remove(context, waiter)? {
            if why != Gone::TimedOut {
                return Ok(Leaves::Now);
            }
            let is_notified = waiter.0 <= self.notified_up_to.get(context)?;
            let notified = if is_notified { Notified::WithAll } else { Notified::No };
            self.lock.ask_for(context, waiter, let_go.asks(notified))?;
            return Ok(Leaves::Later);
        }
        let reason = self.lock.queue.get(context, waiter)?.map(|asks| asks.reason);
        if why == Gone::TimedOut && matches!(reason, Some(Reason::Waited { .. })) {
            return Ok(Leaves::Later);
        }
        self.lock.queue.remove(context, waiter)?;
        if reason == Some(Reason::Waited { notified: Notified::Alone }) {
            // It has not seen what it was notified of.
            self.notify_next(context)?;
        }
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        self.lock.session_ended(context, session)
    }

    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.notify_part(context)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        self.lock.holders(context)
    }
}

impl Condition {
    fn check_mine(&self, context: &Context<'_, '_>, owner: u64) -> Result<u32, CallError> {
        match self.lock.is_mine(context, owner)? {
            Some(owned) => Ok(owned.holds),
            None => Err(CallError::denied("the owner does not hold the lock")),
        }
    }

    /// Notifies who has waited longest. Says whether somebody did.
    fn notify_next(&self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        let Some((waiter, let_go)) = self.waiting.pop_first(context)? else { return Ok(false) };
        self.lock.ask_for(context, waiter, let_go.asks(Notified::Alone))?;
        Ok(true)
    }

    /// Moves some of those that were notified together to the lock's queue.
    fn notify_part(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        let up_to = self.notified_up_to.get(context)?;
        for _ in 0..PART {
            match self.waiting.first(context)? {
                Some((waiter, let_go)) if waiter.0 <= up_to => {
                    self.waiting.remove(context, waiter)?;
                    self.lock.ask_for(context, waiter, let_go.asks(Notified::WithAll))?;
                }
                _ => return self.notified_up_to.set(context, 0),
            }
        }
        // One block may not move all of them: the shard asks again at once, before any other event.
        context.set_alarm(Some(0));
        Ok(())
    }
}

impl condition::Methods<Context<'_, '_>> for Condition {
    fn lock(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        self.lock.lock(context, owner, timeout_ms)
    }

    fn try_lock(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<Option<u64>, CallError> {
        self.lock.try_take(context, owner)
    }

    fn unlock(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        token: Option<u64>,
    ) -> Result<(), CallError> {
        self.lock.unlock(context, owner, token)
    }

    fn wait(
        &mut self,
        context: &mut Context<'_, '_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<ConditionWait>, CallError> {
        let holds = self.check_mine(context, owner)?;
        if self.waiting.is_empty(context)? {
            // A store that is opened again may give ids anew that nobody has any more.
            self.notified_up_to.set(context, 0)?;
        }
        let waits = self.waiting.wait_as(context, owner, &LetGo { owner, holds }, timeout_ms)?;
        self.lock.hand_over(context)?;
        Ok(waits)
    }

    fn notify_one(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<bool, CallError> {
        self.check_mine(context, owner)?;
        self.notify_next(context)
    }

    fn notify_all(&mut self, context: &mut Context<'_, '_>, owner: u64) -> Result<u64, CallError> {
        self.check_mine(context, owner)?;
        let waiting = self.waiting.len(context)?;
        if let Some((last, _)) = self.waiting.last(context)? {
            self.notified_up_to.set(context, last.0)?;
            self.notify_part(context)?;
        }
        Ok(waiting)
    }

    fn waiting(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.waiting.len(context)
    }

    fn holder(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Holder>, CallError> {
        self.lock.holder(context)
    }
}
