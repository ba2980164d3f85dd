//! Semaphores.

use crate::{
    Context, Object, SharedObject, calls_and_state,
    shard::{Gone, SessionId, WaiterId},
};
use abide_net::CallError;
use abide_schema::{Wait, types::semaphore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Permits, given out in the order of asking: see [`semaphore`].
///
/// Invariants:
/// - the first in the queue wants more than there is (else it would have been let in);
/// - `held_total` is the sum of `held`, whose entries are above 0, and at most `total`;
/// - the shard tells of the end of exactly the sessions in `held`;
/// - an unowned semaphore records no holders: what was taken is gone from `total`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Semaphore {
    unowned: bool,
    /// The permits that are there and those that sessions hold: what is there when all sessions have ended.
    total: u64,
    #[serde(skip)]
    held: BTreeMap<SessionId, u64>,
    #[serde(skip)]
    held_total: u64,
    /// Who waits, and for how many permits.
    #[serde(skip)]
    queue: BTreeMap<WaiterId, u64>,
}

impl SharedObject for Semaphore {
    type Type = semaphore::Type;

    fn create(semaphore::Creation { permits, unowned }: semaphore::Creation) -> Result<Self, CallError> {
        let (held, queue) = (BTreeMap::new(), BTreeMap::new());
        Ok(Semaphore { unowned, total: permits, held, held_total: 0, queue })
    }
}

impl Object for Semaphore {
    calls_and_state!(abide_schema::types::semaphore);

    fn bytes(&self) -> usize {
        size_of::<Self>() + super::sizes::memory_of_map(&self.queue) + super::sizes::memory_of_map(&self.held)
    }

    fn waiter_gone(&mut self, context: &mut Context<'_>, waiter: WaiterId, _: Gone) {
        self.queue.remove(&waiter);
        // It may have been the first, and have kept those out that want less.
        self.let_in(context);
    }

    fn session_ended(&mut self, context: &mut Context<'_>, session: SessionId) {
        self.held_total -= self.held.remove(&session).unwrap_or(0);
        self.let_in(context);
    }
}

impl Semaphore {
    fn there(&self) -> u64 {
        self.total - self.held_total
    }

    /// Gives permits, which are there, to a session.
    fn give(&mut self, context: &mut Context<'_>, session: SessionId, permits: u64) {
        if self.unowned {
            self.total -= permits;
        } else if permits > 0 {
            self.held_total += permits;
            *self.held.entry(session).or_insert(0) += permits;
            context.hold(session);
        }
    }

    /// Lets in from the front of the queue as many as there are permits for.
    fn let_in(&mut self, context: &mut Context<'_>) {
        while let Some(first) = self.queue.first_entry()
            && *first.get() <= self.total - self.held_total
        {
            let (waiter, permits) = first.remove_entry();
            self.give(context, context.session_of(waiter), permits);
            context.wake(waiter, Ok(()));
        }
    }

    /// Takes permits for the caller if they are there and nobody waits.
    fn try_take(&mut self, context: &mut Context<'_>, permits: u64) -> bool {
        let takes = self.queue.is_empty() && permits <= self.there();
        if takes {
            self.give(context, context.session(), permits);
        }
        takes
    }
}

impl semaphore::Methods<Context<'_>> for Semaphore {
    fn acquire(
        &mut self,
        context: &mut Context<'_>,
        n: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<()>, CallError> {
        if self.try_take(context, n) {
            return Ok(Wait::Done(()));
        }
        self.queue.insert(context.wait(timeout_ms), n);
        Ok(Wait::Waiting)
    }

    fn try_acquire(&mut self, context: &mut Context<'_>, n: u64) -> Result<bool, CallError> {
        Ok(self.try_take(context, n))
    }

    fn release(&mut self, context: &mut Context<'_>, n: u64) -> Result<(), CallError> {
        if self.unowned {
            let total = self.total.checked_add(n);
            self.total =
                total.ok_or_else(|| CallError::bad_argument("more permits than 64 bits can count"))?;
        } else {
            let session = context.session();
            let holds = self.held.get(&session).copied().unwrap_or(0);
            let Some(left) = holds.checked_sub(n) else {
                return Err(CallError::denied(format!("the session holds {holds} permits, not {n}")));
            };
            self.held_total -= n;
            if left > 0 {
                self.held.insert(session, left);
            } else if self.held.remove(&session).is_some() {
                context.unhold(session);
            }
        }
        self.let_in(context);
        Ok(())
    }

    fn available(&mut self, _: &mut Context<'_>) -> Result<u64, CallError> {
        Ok(self.there())
    }

    fn drain(&mut self, context: &mut Context<'_>) -> Result<u64, CallError> {
        let permits = self.there();
        self.give(context, context.session(), permits);
        Ok(permits)
    }
}
