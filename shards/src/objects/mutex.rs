//! Mutexes.

use crate::{
    Context, Object, SharedObject, calls_and_state,
    shard::{Gone, SessionId, WaiterId},
};
use abide_net::CallError;
use abide_schema::{Holder, Wait, types::mutex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A lock with one owner: see [`mutex`].
///
/// Invariants: nobody waits while nobody holds it; the shard tells of the end of exactly the holder's
/// session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mutex {
    /// The fencing token of the last lock. The next one's is greater, also after the store was closed.
    last_token: u64,
    #[serde(skip)]
    lock: Option<Lock>,
    /// Who waits, and as which owner within its session. An owner that asks twice before it gets the lock
    /// once gets it twice, one time after the other.
    #[serde(skip)]
    queue: BTreeMap<WaiterId, u64>,
}

/// The lock, while somebody holds it.
#[derive(Debug)]
struct Lock {
    session: SessionId,
    owner: u64,
    /// How often the owner has locked it, at least once.
    holds: u32,
}

impl SharedObject for Mutex {
    type Type = mutex::Type;

    fn create(mutex::Creation {}: mutex::Creation) -> Result<Self, CallError> {
        Ok(Mutex { last_token: 0, lock: None, queue: BTreeMap::new() })
    }
}

impl Object for Mutex {
    calls_and_state!(abide_schema::types::mutex);

    fn bytes(&self) -> usize {
        size_of::<Self>() + super::sizes::memory_of_map(&self.queue)
    }

    fn waiter_gone(&mut self, _: &mut Context<'_>, waiter: WaiterId, _: Gone) {
        self.queue.remove(&waiter);
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: SessionId) {
        if self.lock.as_ref().is_some_and(|lock| lock.session == session) {
            self.hand_over(context);
        }
    }
}

impl Mutex {
    /// Gives the lock to an owner for the first time.
    fn give(&mut self, context: &mut Context<'_>, session: SessionId, owner: u64) -> u64 {
        self.last_token += 1;
        self.lock = Some(Lock { session, owner, holds: 1 });
        context.hold(session);
        self.last_token
    }

    /// Locks for the caller if it has the lock already or nobody has.
    fn try_take(&mut self, context: &mut Context<'_>, owner: u64) -> Result<Option<u64>, CallError> {
        let session = context.session();
        match &mut self.lock {
            None => Ok(Some(self.give(context, session, owner))),
            Some(lock) if (lock.session, lock.owner) == (session, owner) => {
                let holds = lock.holds.checked_add(1);
                lock.holds = holds.ok_or_else(|| CallError::denied("the owner has locked it too often"))?;
                Ok(Some(self.last_token))
            }
            Some(_) => Ok(None),
        }
    }

    /// The holder holds it no more: the next one does, if somebody waits.
    fn hand_over(&mut self, context: &mut Context<'_>) {
        if let Some(lock) = self.lock.take() {
            context.unhold(lock.session);
        }
        if let Some((waiter, owner)) = self.queue.pop_first() {
            let token = self.give(context, context.session_of(waiter), owner);
            context.wake(waiter, Ok(token));
        }
    }
}

impl mutex::Methods<Context<'_>> for Mutex {
    fn lock(
        &mut self,
        context: &mut Context<'_>,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        if let Some(token) = self.try_take(context, owner)? {
            return Ok(Wait::Done(token));
        }
        self.queue.insert(context.wait(timeout_ms), owner);
        Ok(Wait::Waiting)
    }

    fn try_lock(&mut self, context: &mut Context<'_>, owner: u64) -> Result<Option<u64>, CallError> {
        self.try_take(context, owner)
    }

    fn unlock(&mut self, context: &mut Context<'_>, owner: u64, token: Option<u64>) -> Result<(), CallError> {
        if token.is_some_and(|token| token != self.last_token) {
            return Err(CallError::denied("the lock has changed hands since"));
        }
        let caller = (context.session(), owner);
        match &mut self.lock {
            Some(lock) if (lock.session, lock.owner) == caller => {
                lock.holds -= 1;
                if lock.holds == 0 {
                    self.hand_over(context);
                }
                Ok(())
            }
            _ => Err(CallError::denied("the owner does not hold the lock")),
        }
    }

    fn is_locked(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.lock.is_some())
    }

    fn holder(&mut self, _: &mut Context<'_>) -> Result<Option<Holder>, CallError> {
        Ok(self.lock.as_ref().map(|lock| Holder {
            session: format!("{:032x}", lock.session.0),
            owner: lock.owner,
            token: self.last_token,
            holds: lock.holds,
        }))
    }
}
