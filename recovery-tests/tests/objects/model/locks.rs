//! Locks.

use super::{CallId, Gone, Hints, Model, Moment, Session, calls};
use abide_net::CallError;
use abide_schema::{
    ConditionWait, Holder, Wait,
    types::{condition, mutex, rw_lock},
};
use std::collections::BTreeMap;

type Made<T> = Result<T, CallError>;

/// Somebody in the world.
type Owner = (Session, u64);

/// The name of a session as objects show it; a run translates it.
fn holder((session, owner): Owner, token: u64, holds: u32) -> Holder {
    Holder { session: format!("{:032x}", u128::from(session)), owner, token, holds }
}

/// Somebody who waits for a lock.
#[derive(Debug, Clone, Copy)]
struct Asks {
    owner: Owner,
    holds: u32,
    /// For one that waited for a condition: whether it was notified.
    waited: Option<bool>,
    /// It was notified alone: should it leave before it has the lock, the next is notified in its stead.
    alone: bool,
}

/// A lock with one owner at a time.
#[derive(Debug, Clone, Default)]
struct Lock {
    token: u64,
    held: Option<(Owner, u32)>,
    queue: BTreeMap<CallId, Asks>,
}

impl Lock {
    fn try_lock(&mut self, owner: Owner) -> Option<u64> {
        match &mut self.held {
            Some((holder, holds)) if *holder == owner => *holds += 1,
            Some(_) => return None,
            None => self.give(owner, 1),
        }
        Some(self.token)
    }

    fn give(&mut self, owner: Owner, holds: u32) {
        self.token += 1;
        self.held = Some((owner, holds));
    }

    fn lock(&mut self, moment: &mut Moment, owner: u64, timeout_ms: Option<u64>) -> Wait<u64> {
        let owner = (moment.session(), owner);
        match self.try_lock(owner) {
            Some(token) => Wait::Done(token),
            None => {
                self.queue.insert(moment.call(), Asks { owner, holds: 1, waited: None, alone: false });
                moment.wait(timeout_ms)
            }
        }
    }

    fn is_held_by(&self, owner: Owner) -> bool {
        self.held.is_some_and(|(holder, _)| holder == owner)
    }

    fn unlock(&mut self, moment: &mut Moment, owner: u64, token: Option<u64>) -> Made<()> {
        let is_other = token.is_some_and(|token| token != self.token);
        match &mut self.held {
            Some((holder, holds)) if *holder == (moment.session(), owner) && !is_other => {
                *holds -= 1;
                if *holds == 0 {
                    self.let_go(moment);
                }
                Ok(())
            }
            _ => Err(CallError::denied("")),
        }
    }

    /// Nobody holds it any more, unless somebody waits.
    fn let_go(&mut self, moment: &mut Moment) {
        self.held = None;
        self.hand_over(moment);
    }

    fn hand_over(&mut self, moment: &mut Moment) {
        if self.held.is_some() {
            return;
        }
        let Some((call, Asks { owner, holds, waited, .. })) = self.queue.pop_first() else { return };
        self.give(owner, holds);
        match waited {
            None => moment.answer(call, Ok(&self.token)),
            Some(notified) => moment.answer(call, Ok(&ConditionWait { token: self.token, notified })),
        }
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        if self.held.is_some_and(|((holder, _), _)| holder == session) {
            self.let_go(moment);
        }
    }

    fn holder(&self) -> Option<Holder> {
        self.held.map(|(owner, holds)| holder(owner, self.token, holds))
    }

    fn hints(&self) -> Hints {
        let holder = self.held.map(|(owner, _)| owner);
        Hints { numbers: vec![self.token, self.token.saturating_sub(1)], holder, ..Hints::default() }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Mutex(Lock);

impl Model for Mutex {
    calls!(mutex);

    fn create(mutex::Creation {}: mutex::Creation, _: u64) -> Made<Self> {
        Ok(Mutex::default())
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.0.queue.remove(&call);
        true
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        self.0.session_ended(moment, session);
    }

    fn hints(&self) -> Hints {
        self.0.hints()
    }
}

impl mutex::Methods<Moment> for Mutex {
    fn lock(&mut self, moment: &mut Moment, owner: u64, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        Ok(self.0.lock(moment, owner, timeout_ms))
    }

    fn try_lock(&mut self, moment: &mut Moment, owner: u64) -> Made<Option<u64>> {
        Ok(self.0.try_lock((moment.session(), owner)))
    }

    fn unlock(&mut self, moment: &mut Moment, owner: u64, token: Option<u64>) -> Made<()> {
        self.0.unlock(moment, owner, token)
    }

    fn is_locked(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.0.held.is_some())
    }

    fn holder(&mut self, _: &mut Moment) -> Made<Option<Holder>> {
        Ok(self.0.holder())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    lock: Lock,
    /// Who waits to be notified, and how often it had locked.
    waiting: BTreeMap<CallId, (Owner, u32)>,
}

impl Model for Condition {
    calls!(condition);

    fn create(condition::Creation {}: condition::Creation, _: u64) -> Made<Self> {
        Ok(Condition::default())
    }

    /// One whose time is over gets its lock all the same; one that is cancelled, or whose session ended, leaves.
    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, why: Gone) -> bool {
        let waited = self.waiting.remove(&call);
        match (waited, why) {
            (Some((owner, holds)), Gone::TimedOut) => {
                self.lock.queue.insert(call, Asks { owner, holds, waited: Some(false), alone: false });
                self.lock.hand_over(moment);
                false
            }
            (None, Gone::TimedOut)
                if self.lock.queue.get(&call).is_some_and(|asks| asks.waited.is_some()) =>
            {
                false
            }
            _ => {
                // No notification is lost with one that did not see it.
                if self.lock.queue.remove(&call).is_some_and(|asks| asks.alone) {
                    self.notify(true);
                    self.lock.hand_over(moment);
                }
                true
            }
        }
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        self.lock.session_ended(moment, session);
    }

    fn hints(&self) -> Hints {
        self.lock.hints()
    }
}

impl Condition {
    fn check_held(&self, moment: &Moment, owner: u64) -> Made<()> {
        if self.lock.is_held_by((moment.session(), owner)) { Ok(()) } else { Err(CallError::denied("")) }
    }

    fn notify(&mut self, alone: bool) -> bool {
        let Some((call, (owner, holds))) = self.waiting.pop_first() else { return false };
        self.lock.queue.insert(call, Asks { owner, holds, waited: Some(true), alone });
        true
    }
}

impl condition::Methods<Moment> for Condition {
    fn lock(&mut self, moment: &mut Moment, owner: u64, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        Ok(self.lock.lock(moment, owner, timeout_ms))
    }

    fn try_lock(&mut self, moment: &mut Moment, owner: u64) -> Made<Option<u64>> {
        Ok(self.lock.try_lock((moment.session(), owner)))
    }

    fn unlock(&mut self, moment: &mut Moment, owner: u64, token: Option<u64>) -> Made<()> {
        self.lock.unlock(moment, owner, token)
    }

    fn wait(
        &mut self,
        moment: &mut Moment,
        owner: u64,
        timeout_ms: Option<u64>,
    ) -> Made<Wait<ConditionWait>> {
        self.check_held(moment, owner)?;
        let held = self.lock.held.expect("the caller holds it");
        self.waiting.insert(moment.call(), held);
        self.lock.let_go(moment);
        Ok(moment.wait(timeout_ms))
    }

    fn notify_one(&mut self, moment: &mut Moment, owner: u64) -> Made<bool> {
        self.check_held(moment, owner)?;
        Ok(self.notify(true))
    }

    fn notify_all(&mut self, moment: &mut Moment, owner: u64) -> Made<u64> {
        self.check_held(moment, owner)?;
        let mut count = 0;
        while self.notify(false) {
            count += 1;
        }
        Ok(count)
    }

    fn waiting(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.waiting.len() as u64)
    }

    fn holder(&mut self, _: &mut Moment) -> Made<Option<Holder>> {
        Ok(self.lock.holder())
    }
}

/// Somebody who reads or writes.
#[derive(Debug, Clone, Copy)]
struct Held {
    token: u64,
    holds: u32,
}

#[derive(Debug, Clone, Default)]
pub(super) struct RwLock {
    token: u64,
    writer: Option<(Owner, Held)>,
    readers: BTreeMap<Owner, Held>,
    /// Who waits, and whether it wants to write.
    queue: BTreeMap<CallId, (Owner, bool)>,
}

impl Model for RwLock {
    calls!(rw_lock);

    fn create(rw_lock::Creation {}: rw_lock::Creation, _: u64) -> Made<Self> {
        Ok(RwLock::default())
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.queue.remove(&call);
        self.let_in(moment);
        true
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        self.writer = self.writer.filter(|((holder, _), _)| *holder != session);
        self.readers.retain(|(holder, _), _| *holder != session);
        self.let_in(moment);
    }

    fn hints(&self) -> Hints {
        let holder = self.writer.map(|(owner, _)| owner).or(self.readers.keys().next().copied());
        Hints { numbers: vec![self.token, self.token.saturating_sub(1)], holder, ..Hints::default() }
    }
}

impl RwLock {
    fn writes(&self, owner: Owner) -> bool {
        self.writer.is_some_and(|(writer, _)| writer == owner)
    }

    fn may_read(&self, owner: Owner) -> bool {
        self.writer.is_none() || self.writes(owner)
    }

    fn may_write(&self, owner: Owner) -> bool {
        self.writes(owner) || self.writer.is_none() && self.readers.keys().all(|reader| *reader == owner)
    }

    fn give_reading(&mut self, owner: Owner) -> u64 {
        let token = match self.readers.get(&owner) {
            Some(held) => held.token,
            None => {
                self.token += 1;
                self.token
            }
        };
        let held = self.readers.entry(owner).or_insert(Held { token, holds: 0 });
        held.holds += 1;
        held.token
    }

    fn give_writing(&mut self, owner: Owner) -> u64 {
        match &mut self.writer {
            Some((_, held)) => {
                held.holds += 1;
                held.token
            }
            None => {
                self.token += 1;
                self.writer = Some((owner, Held { token: self.token, holds: 1 }));
                self.token
            }
        }
    }

    /// Lets in from the front of the queue.
    fn let_in(&mut self, moment: &mut Moment) {
        while let Some((&call, &(owner, wants_to_write))) = self.queue.first_key_value() {
            let may = if wants_to_write { self.may_write(owner) } else { self.may_read(owner) };
            if !may {
                return;
            }
            self.queue.pop_first();
            let token = if wants_to_write { self.give_writing(owner) } else { self.give_reading(owner) };
            moment.answer(call, Ok(&token));
        }
    }

    /// Whether an owner that asks has to wait behind others.
    fn is_first(&self, owner: Owner) -> bool {
        self.queue.is_empty() || self.readers.contains_key(&owner) || self.writes(owner)
    }
}

impl rw_lock::Methods<Moment> for RwLock {
    fn read(&mut self, moment: &mut Moment, owner: u64, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        if let Some(token) = self.try_read(moment, owner)? {
            return Ok(Wait::Done(token));
        }
        self.queue.insert(moment.call(), ((moment.session(), owner), false));
        Ok(moment.wait(timeout_ms))
    }

    fn write(&mut self, moment: &mut Moment, owner: u64, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        let who = (moment.session(), owner);
        if self.readers.contains_key(&who) && !self.writes(who) {
            return Err(CallError::denied(""));
        }
        if let Some(token) = self.try_write(moment, owner)? {
            return Ok(Wait::Done(token));
        }
        self.queue.insert(moment.call(), (who, true));
        Ok(moment.wait(timeout_ms))
    }

    fn try_read(&mut self, moment: &mut Moment, owner: u64) -> Made<Option<u64>> {
        let owner = (moment.session(), owner);
        let may = self.may_read(owner) && self.is_first(owner);
        Ok(may.then(|| self.give_reading(owner)))
    }

    fn try_write(&mut self, moment: &mut Moment, owner: u64) -> Made<Option<u64>> {
        let owner = (moment.session(), owner);
        let may = self.may_write(owner) && (self.queue.is_empty() || self.writes(owner));
        Ok(may.then(|| self.give_writing(owner)))
    }

    fn unlock_read(&mut self, moment: &mut Moment, owner: u64) -> Made<()> {
        let owner = (moment.session(), owner);
        let held = self.readers.get_mut(&owner).ok_or_else(|| CallError::denied(""))?;
        held.holds -= 1;
        if held.holds == 0 {
            self.readers.remove(&owner);
        }
        self.let_in(moment);
        Ok(())
    }

    fn unlock_write(&mut self, moment: &mut Moment, owner: u64, token: Option<u64>) -> Made<()> {
        let owner = (moment.session(), owner);
        match &mut self.writer {
            Some((writer, held)) if *writer == owner && token.is_none_or(|token| token == held.token) => {
                held.holds -= 1;
                if held.holds == 0 {
                    self.writer = None;
                }
                self.let_in(moment);
                Ok(())
            }
            _ => Err(CallError::denied("")),
        }
    }

    fn downgrade(&mut self, moment: &mut Moment, owner: u64) -> Made<u64> {
        let owner = (moment.session(), owner);
        match self.writer {
            Some((writer, held)) if writer == owner && held.holds == 1 => {}
            _ => return Err(CallError::denied("")),
        }
        let token = self.give_reading(owner);
        self.writer = None;
        self.let_in(moment);
        Ok(token)
    }

    fn is_write_locked(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.writer.is_some())
    }

    fn readers(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.readers.len() as u64)
    }

    fn holders(&mut self, _: &mut Moment) -> Made<Vec<Holder>> {
        let all = self.writer.iter().map(|(owner, held)| (*owner, *held));
        let all = all.chain(self.readers.iter().map(|(owner, held)| (*owner, *held)));
        Ok(all.map(|(owner, held)| holder(owner, held.token, held.holds)).collect())
    }
}
