//! Elections.

use super::sizes::check_text;
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Answers, Cell, Fields, Number, Queue},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Leader, Wait, types::election};
use serde::{Deserialize, Serialize};

/// A leader, one at a time: see [`election`].
///
/// Invariants:
/// - nobody campaigns while nobody leads;
/// - all that observe know who leads now;
/// - the shard tells of the end of exactly the leader's session.
#[derive(Debug)]
pub struct Election {
    last_token: Number<u64>,
    leading: Cell<Leading>,
    /// Who waits to lead, and as what.
    campaigns: Queue<String>,
    observers: Queue<()>,
}

/// Who leads.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Leading {
    session: SessionId,
    candidate: String,
    token: u64,
}

impl Leading {
    fn shown(self) -> Leader {
        Leader { session: self.session.to_string(), candidate: self.candidate, token: self.token }
    }
}

impl SharedObject for Election {
    type Type = election::Type;

    const FIELDS: u32 = 4;

    fn at(fields: Fields) -> Self {
        Election {
            last_token: Number::at(fields, 0),
            leading: Cell::at(fields, 1),
            campaigns: Queue::at(fields, 2),
            observers: Queue::at(fields, 3),
        }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        election::Creation {}: election::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::election);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.campaigns.remove(context, waiter)?.is_none() {
            self.observers.remove(context, waiter)?;
        }
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        match self.leading.get(context)? {
            Some(leading) if leading.session == session => self.hand_over(context, session),
            _ => Ok(()),
        }
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let leading = self.leading.get(context)?.into_iter();
        let shown = leading.map(|Leading { session, candidate, .. }| BlockedBy {
            session: session.to_string(),
            owner: None,
            what: format!("the leadership, as {candidate:?}"),
        });
        Ok(shown.collect())
    }
}

impl Election {
    /// Has a session lead from now on, and tells those who observe.
    fn elect(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        candidate: String,
    ) -> Result<u64, CallError> {
        let token = self.last_token.update(context, |token| token + 1)? + 1;
        let leading = Leading { session, candidate, token };
        self.leading.set(context, Some(&leading))?;
        context.hold(session)?;
        self.observers.wake_all(context, Answers::same(&Some(leading.shown()))?)?;
        Ok(token)
    }

    /// The leader leads no more: the next one does, if somebody campaigns.
    fn hand_over(&self, context: &mut Context<'_, '_>, former: SessionId) -> Result<(), CallError> {
        context.unhold(former)?;
        let Some((waiter, candidate)) = self.campaigns.pop_first(context)? else {
            self.leading.set(context, None)?;
            return self.observers.wake_all(context, Answers::same(&None::<Leader>)?);
        };
        let session = context.session_of(waiter)?;
        let token = self.elect(context, session, candidate)?;
        context.wake(waiter, Ok(&token))
    }
}

impl election::Methods<Context<'_, '_>> for Election {
    fn campaign(
        &mut self,
        context: &mut Context<'_, '_>,
        candidate: String,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        check_text(&candidate)?;
        let session = context.session();
        match self.leading.get(context)? {
            None => self.elect(context, session, candidate).map(Wait::Done),
            Some(leading) if leading.session == session => Ok(Wait::Done(leading.token)),
            Some(_) => self.campaigns.wait(context, &candidate, timeout_ms),
        }
    }

    fn resign(&mut self, context: &mut Context<'_, '_>, token: Option<u64>) -> Result<bool, CallError> {
        let session = context.session();
        let leading = self.leading.get(context)?.filter(|leading| leading.session == session);
        let leads = leading.is_some_and(|leading| token.is_none_or(|token| token == leading.token));
        if leads {
            self.hand_over(context, session)?;
        }
        Ok(leads)
    }

    fn leader(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Leader>, CallError> {
        Ok(self.leading.get(context)?.map(Leading::shown))
    }

    fn observe(
        &mut self,
        context: &mut Context<'_, '_>,
        token: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<Option<Leader>>, CallError> {
        let leading = self.leading.get(context)?;
        if leading.as_ref().map_or(0, |leading| leading.token) != token {
            return Ok(Wait::Done(leading.map(Leading::shown)));
        }
        self.observers.wait(context, &(), timeout_ms)
    }
}
