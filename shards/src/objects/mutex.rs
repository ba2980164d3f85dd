//! Mutexes.

use super::lock::{LOCK_FIELDS, Lock};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::Fields,
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Holder, Wait, types::mutex};

/// A lock with one owner: see [`mutex`].
#[derive(Debug)]
pub struct Mutex {
    lock: Lock,
}

impl SharedObject for Mutex {
    type Type = mutex::Type;

    const FIELDS: u32 = LOCK_FIELDS;

    fn at(fields: Fields) -> Self {
        Mutex { lock: Lock::at(fields, 0) }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        mutex::Creation {}: mutex::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::mutex);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.lock.queue.remove(context, waiter)?;
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        self.lock.session_ended(context, session)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        self.lock.holders(context)
    }
}

impl mutex::Methods<Context<'_, '_>> for Mutex {
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

    fn is_locked(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        Ok(self.lock.owned(context)?.is_some())
    }

    fn holder(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Holder>, CallError> {
        self.lock.holder(context)
    }
}
