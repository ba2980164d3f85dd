//! Phasers.

use super::held::HOLDERS_SHOWN_MAX;
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Answers, Fields, Number, Queue, Tree, damaged},
};
use abide_net::{CallError, codec};
use abide_schema::{BlockedBy, Wait, types::phaser};
use serde::{Deserialize, Serialize};

/// A barrier whose parties come and go: see [`phaser`].
///
/// Invariants:
/// - at rest fewer have arrived than are registered, or none are registered and none have arrived;
/// - `registered` is the sum of the parties in `sessions` and of those that belong to nobody;
/// - all that wait do so for the end of the phase that is now, and nobody does once the phaser is over;
/// - the shard tells of the end of exactly the sessions in `sessions`.
#[derive(Debug)]
pub struct Phaser {
    phase: Number<u64>,
    registered: Number<u32>,
    arrived: Number<u32>,
    terminated: Number<bool>,
    /// How many parties belong to nobody.
    unowned: Number<u32>,
    /// Parties by session.
    sessions: Tree,
    waiters: Queue<()>,
}

/// The parties of one session: one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Parties {
    registered: u32,
    /// How many of them arrived in the phase `phase`, which may be over.
    arrived: u32,
    phase: u64,
}

/// Sessions that are looked at for one that keeps others waiting.
const LOOKED_AT_MAX: usize = 10_000;

fn decode(parties: &[u8]) -> Result<Parties, CallError> {
    codec::decode_own(parties).map_err(|_| damaged("the parties of a session"))
}

impl Parties {
    fn arrived_in(self, phase: u64) -> u32 {
        if self.phase == phase { self.arrived } else { 0 }
    }
}

impl SharedObject for Phaser {
    type Type = phaser::Type;

    const FIELDS: u32 = 7;

    fn at(fields: Fields) -> Self {
        Phaser {
            phase: Number::at(fields, 0),
            registered: Number::at(fields, 1),
            arrived: Number::at(fields, 2),
            terminated: Number::at(fields, 3),
            unowned: Number::at(fields, 4),
            sessions: Tree::at(fields, 5),
            waiters: Queue::at(fields, 6),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        phaser::Creation { parties }: phaser::Creation,
    ) -> Result<(), CallError> {
        self.registered.set(context, parties)?;
        self.unowned.set(context, parties)
    }

    calls!(abide_schema::types::phaser);

    /// A party that waits no more has arrived all the same.
    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.waiters.remove(context, waiter)?;
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        let Some(parties) = self.parties_of(context, session)? else { return Ok(()) };
        self.sessions.remove(context, &session.0.to_be_bytes())?;
        let arrived = parties.arrived_in(self.phase.get(context)?);
        self.arrived.update(context, |there| there.saturating_sub(arrived))?;
        self.registered.update(context, |there| there.saturating_sub(parties.registered))?;
        self.settle(context).map(drop)
    }

    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let phase = self.phase.get(context)?;
        let mut holders = Vec::new();
        let mut looked_at = 0;
        self.sessions.for_each(context, .., |session, parties| {
            let parties = decode(parties)?;
            let session = session.try_into().map_err(|_| damaged("the parties of a session"))?;
            let missing = parties.registered.saturating_sub(parties.arrived_in(phase));
            if missing > 0 {
                let session = SessionId(u128::from_be_bytes(session)).to_string();
                let what = format!("{missing} parties that have not arrived");
                holders.push(BlockedBy { session, owner: None, what });
            }
            looked_at += 1;
            Ok(holders.len() < HOLDERS_SHOWN_MAX && looked_at < LOOKED_AT_MAX)
        })?;
        Ok(holders)
    }
}

impl Phaser {
    fn parties_of(
        &self,
        context: &Context<'_, '_>,
        session: SessionId,
    ) -> Result<Option<Parties>, CallError> {
        let parties = self.sessions.get(context, &session.0.to_be_bytes())?;
        parties.map(|parties| decode(&parties)).transpose()
    }

    fn set_parties(
        &self,
        context: &mut Context<'_, '_>,
        session: SessionId,
        parties: Parties,
    ) -> Result<(), CallError> {
        let key = session.0.to_be_bytes();
        self.sessions.insert(context, &key, &codec::encode(&parties)?).map(drop)
    }

    fn check_not_over(&self, context: &Context<'_, '_>) -> Result<(), CallError> {
        if self.terminated.get(context)? { Err(is_over()) } else { Ok(()) }
    }

    /// One party arrives, as far as is known one of the caller's own. Says in which phase, and whether that ended it.
    fn arrive_one(&self, context: &mut Context<'_, '_>) -> Result<(u64, bool), CallError> {
        self.check_not_over(context)?;
        if self.registered.get(context)? == 0 {
            return Err(CallError::denied("the phaser has no parties"));
        }
        let phase = self.phase.get(context)?;
        let session = context.session();
        if let Some(parties) = self.parties_of(context, session)? {
            let arrived = (parties.arrived_in(phase) + 1).min(parties.registered);
            self.set_parties(context, session, Parties { arrived, phase, ..parties })?;
        }
        self.arrived.update(context, |arrived| arrived + 1)?;
        let ended = self.settle(context)?;
        Ok((phase, ended))
    }

    /// Ends the phase if all have arrived, and the phaser if nobody is left. Says whether it did. Only after a party arrived or left.
    fn settle(&self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        let registered = self.registered.get(context)?;
        if registered == 0 {
            self.terminated.set(context, true)?;
            self.arrived.set(context, 0)?;
            self.waiters.wake_all(context, Answers::error(is_over()))?;
            return Ok(true);
        }
        if self.arrived.get(context)? < registered {
            return Ok(false);
        }
        self.arrived.set(context, 0)?;
        let phase = self.phase.update(context, |phase| phase + 1)? + 1;
        self.waiters.wake_all(context, Answers::same(&phase)?)?;
        Ok(true)
    }
}

fn is_over() -> CallError {
    CallError::denied("the phaser is over: its last party has left")
}

impl phaser::Methods<Context<'_, '_>> for Phaser {
    fn register(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.bulk_register(context, 1)
    }

    fn bulk_register(&mut self, context: &mut Context<'_, '_>, n: u32) -> Result<u64, CallError> {
        self.check_not_over(context)?;
        let phase = self.phase.get(context)?;
        if n == 0 {
            return Ok(phase);
        }
        let registered = self.registered.get(context)?.checked_add(n);
        let registered =
            registered.ok_or_else(|| CallError::bad_argument("more parties than 32 bits can count"))?;
        self.registered.set(context, registered)?;
        let session = context.session();
        let parties = match self.parties_of(context, session)? {
            Some(parties) => Parties { registered: parties.registered + n, ..parties },
            None => {
                context.hold(session)?;
                Parties { registered: n, arrived: 0, phase }
            }
        };
        self.set_parties(context, session, parties)?;
        Ok(phase)
    }

    fn arrive(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.arrive_one(context)?.0)
    }

    fn arrive_and_wait(
        &mut self,
        context: &mut Context<'_, '_>,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        match self.arrive_one(context)? {
            (phase, true) => Ok(Wait::Done(phase + 1)),
            (_, false) => self.waiters.wait(context, &(), timeout_ms),
        }
    }

    fn arrive_and_deregister(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.check_not_over(context)?;
        let phase = self.phase.get(context)?;
        let session = context.session();
        match self.parties_of(context, session)? {
            Some(Parties { registered: 1, .. }) => {
                self.sessions.remove(context, &session.0.to_be_bytes())?;
                context.unhold(session)?;
            }
            Some(parties) => {
                let registered = parties.registered.saturating_sub(1);
                let arrived = parties.arrived_in(phase).min(registered);
                self.set_parties(context, session, Parties { registered, arrived, phase })?;
            }
            None => {
                let Some(unowned) = self.unowned.get(context)?.checked_sub(1) else {
                    return Err(CallError::denied("all parties belong to other sessions"));
                };
                self.unowned.set(context, unowned)?;
            }
        }
        // It neither counts among those that have arrived nor among those that are waited for.
        self.registered.update(context, |registered| registered.saturating_sub(1))?;
        self.settle(context)?;
        Ok(phase)
    }

    fn await_phase(
        &mut self,
        context: &mut Context<'_, '_>,
        phase: u64,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<u64>, CallError> {
        let now = self.phase.get(context)?;
        if now != phase {
            return Ok(Wait::Done(now));
        }
        self.check_not_over(context)?;
        self.waiters.wait(context, &(), timeout_ms)
    }

    fn phase(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.phase.get(context)
    }

    fn registered(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        self.registered.get(context)
    }

    fn arrived(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        self.arrived.get(context)
    }

    fn is_terminated(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.terminated.get(context)
    }
}
