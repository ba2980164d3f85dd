//! A lock with one owner, as the mutex and the condition have it.

use crate::{
    Context,
    shard::{SessionId, WaiterId},
    state::{Cell, Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Holder, Wait};
use serde::{Deserialize, Serialize};

/// Fields of a lock.
pub(super) const LOCK_FIELDS: u32 = 3;

/// Who has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owned {
    pub(super) session: SessionId,
    pub(super) owner: u64,
    /// How often the owner has locked it, at least once.
    pub(super) holds: u32,
}

/// Somebody who waits for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asks {
    pub(super) owner: u64,
    /// How often it will have locked the lock when it gets it.
    pub(super) holds: u32,
    /// What it gets besides the lock.
    pub(super) reason: Reason,
}

/// Why somebody waits for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reason {
    /// It locks, and is answered with the token.
    Locks,
    /// It waited for a condition, and is answered with the token and with whether it was notified.
    Waited { notified: Notified },
}

/// Whether, and with how many others, somebody was notified who waited for a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notified {
    /// Its time-out passed.
    No,
    /// It alone. Should it leave before it gets the lock, the next that waits is notified in its place.
    Alone,
    /// With all that waited.
    WithAll,
}

/// A lock, reentrant, which changes hands in the order of asking and comes with a greater token each time.
///
/// Invariants: nobody waits while nobody has it; the shard tells of the end of exactly the holder's session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lock {
    last_token: Number<u64>,
    owned: Cell<Owned>,
    /// Who waits. An owner that asks twice before it gets the lock once gets it twice, one time after the other.
    pub(super) queue: Queue<Asks>,
}

impl Lock {
    /// The lock in these fields, from this number on.
    pub(super) fn at(fields: Fields, first: u32) -> Lock {
        Lock {
            last_token: Number::at(fields, first),
            owned: Cell::at(fields, first + 1),
            queue: Queue::at(fields, first + 2),
        }
    }

    pub(super) fn owned(&self, context: &Context<'_, '_>) -> Result<Option<Owned>, CallError> {
        self.owned.get(context)
    }

    /// The token of the last locking.
    pub(super) fn token(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.last_token.get(context)
    }

    /// Whether the caller has it, as this owner.
    pub(super) fn is_mine(&self, context: &Context<'_, '_>, owner: u64) -> Result<Option<Owned>, CallError> {
        let owned = self.owned(context)?;
        Ok(owned.filter(|owned| (owned.session, owned.owner) == (context.session(), owner)))
    }

    /// Gives the lock to somebody who has not got it.
    fn give(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        owner: u64,
        holds: u32,
    ) -> Result<u64, CallError> {
        self.owned.set(context, Some(&Owned { session, owner, holds }))?;
        context.hold(session)?;
        Ok(self.last_token.update(context, |token| token + 1)? + 1)
    }

    /// Locks for the caller if it has the lock already or nobody has.
    pub(super) fn try_take(
        &self,
        context: &mut Context<'_, '_>,
        owner: u64,
    ) -> Result<Option<u64>, CallError> {
        let session = context.session();
        match self.owned(context)? {
            None => self.give(context, session, owner, 1).map(Some),
            Some(owned) if (owned.session, owned.owner) == (session, owner) => {
                let holds = owned.holds.checked_add(1);
                let holds = holds.ok_or_else(|| CallError::denied("the owner has locked it too often"))?;
                self.owned.set(context, Some(&Owned { holds, ..owned }))?;
                self.token(context).map(Some)
            }
            Some(_) => Ok(None),
        }
    }

    /// Locks for the caller, behind those who asked before.
    pub(super) fn lock(
        &self,
        context: &mut Context<'_, '_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        if let Some(token) = self.try_take(context, owner)? {
            return Ok(Wait::Done(token));
        }
        let asks = Asks { owner, holds: 1, reason: Reason::Locks };
        self.queue.wait_as(context, owner, &asks, timeout_ms)
    }

    /// Unlocks once for the caller.
    pub(super) fn unlock(
        &self,
        context: &mut Context<'_, '_>,
        owner: u64,
        token: Option<u64>,
    ) -> Result<(), CallError> {
        let last_token = self.token(context)?;
        if token.is_some_and(|token| token != last_token) {
            return Err(CallError::denied("the lock has changed hands since"));
        }
        let Some(owned) = self.is_mine(context, owner)? else {
            return Err(CallError::denied("the owner does not hold the lock"));
        };
        if owned.holds > 1 {
            return self.owned.set(context, Some(&Owned { holds: owned.holds - 1, ..owned }));
        }
        self.hand_over(context)
    }

    /// The holder holds it no more: the next one does, if somebody waits.
    pub(super) fn hand_over(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        if let Some(owned) = self.owned(context)? {
            self.owned.set(context, None)?;
            context.unhold(owned.session)?;
        }
        let Some((waiter, asks)) = self.queue.pop_first(context)? else { return Ok(()) };
        self.give_to(context, waiter, asks)
    }

    fn give_to(&self, context: &mut Context<'_, '_>, waiter: WaiterId, asks: Asks) -> Result<(), CallError> {
        let session = context.session_of(waiter)?;
        let token = self.give(context, session, asks.owner, asks.holds)?;
        match asks.reason {
            Reason::Locks => context.wake(waiter, Ok(&token)),
            Reason::Waited { notified } => {
                let notified = notified != Notified::No;
                context.wake(waiter, Ok(&abide_schema::ConditionWait { token, notified }))
            }
        }
    }

    /// Has a waiting call get the lock, at once or in the place of its asking.
    pub(super) fn ask_for(
        &self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        asks: Asks,
    ) -> Result<(), CallError> {
        if self.owned(context)?.is_none() {
            return self.give_to(context, waiter, asks);
        }
        self.queue.set(context, waiter, &asks)
    }

    /// Whatever the session has of the lock goes to the next.
    pub(super) fn session_ended(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
    ) -> Result<(), CallError> {
        match self.owned(context)? {
            Some(owned) if owned.session == session => self.hand_over(context),
            _ => Ok(()),
        }
    }

    /// Who has it.
    pub(super) fn holder(&self, context: &Context<'_, '_>) -> Result<Option<Holder>, CallError> {
        let token = self.token(context)?;
        Ok(self.owned(context)?.map(|owned| Holder {
            session: owned.session.to_string(),
            owner: owned.owner,
            token,
            holds: owned.holds,
        }))
    }

    /// Who has it, for whoever asks who waits for whom.
    pub(super) fn holders(&self, context: &Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let owned = self.owned(context)?.into_iter();
        let shown = owned.map(|owned| BlockedBy {
            session: owned.session.to_string(),
            owner: Some(owned.owner),
            what: "the lock".to_owned(),
        });
        Ok(shown.collect())
    }
}
