//! Where sessions find each other.

use super::{CallId, Gone, Hints, Model, Moment, Session, calls};
use abide_net::{CallError, Value};
use abide_schema::{
    Leader, Page, Wait,
    types::{election, exchanger, rendezvous},
};
use std::collections::BTreeMap;

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone, Default)]
pub(super) struct Election {
    token: u64,
    leads: Option<(Session, String)>,
    campaigning: BTreeMap<CallId, (Session, String)>,
    /// Who waits for another leader than the one with this token.
    observing: BTreeMap<CallId, u64>,
}

impl Model for Election {
    calls!(election);

    fn create(election::Creation {}: election::Creation, _: u64) -> Made<Self> {
        Ok(Election::default())
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.campaigning.remove(&call);
        self.observing.remove(&call);
        true
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        if self.leads_now(session) {
            self.next(moment);
        }
    }

    fn hints(&self) -> Hints {
        Hints { numbers: vec![self.token, self.token.saturating_sub(1), 0], ..Hints::default() }
    }
}

impl Election {
    fn leads_now(&self, session: Session) -> bool {
        self.leads.as_ref().is_some_and(|(leader, _)| *leader == session)
    }

    fn leader_now(&self) -> Option<Leader> {
        let (session, candidate) = self.leads.clone()?;
        Some(Leader { session: format!("{:032x}", u128::from(session)), candidate, token: self.token })
    }

    fn token_now(&self) -> u64 {
        if self.leads.is_some() { self.token } else { 0 }
    }

    fn elect(&mut self, session: Session, candidate: String) {
        self.token += 1;
        self.leads = Some((session, candidate));
    }

    /// The leader leads no more.
    fn next(&mut self, moment: &mut Moment) {
        self.leads = None;
        if let Some((call, (session, candidate))) = self.campaigning.pop_first() {
            moment.answer(call, Ok(&(self.token + 1)));
            self.elect(session, candidate);
        }
        self.tell(moment);
    }

    fn tell(&mut self, moment: &mut Moment) {
        let (token, leader) = (self.token_now(), self.leader_now());
        for (call, seen) in std::mem::take(&mut self.observing) {
            if seen == token {
                self.observing.insert(call, seen);
            } else {
                moment.answer(call, Ok(&leader));
            }
        }
    }
}

impl election::Methods<Moment> for Election {
    fn campaign(
        &mut self,
        moment: &mut Moment,
        candidate: String,
        timeout_ms: Option<u64>,
    ) -> Made<Wait<u64>> {
        let session = moment.session();
        if self.leads_now(session) {
            return Ok(Wait::Done(self.token));
        }
        if self.leads.is_some() {
            self.campaigning.insert(moment.call(), (session, candidate));
            return Ok(moment.wait(timeout_ms));
        }
        self.elect(session, candidate);
        self.tell(moment);
        Ok(Wait::Done(self.token))
    }

    fn resign(&mut self, moment: &mut Moment, token: Option<u64>) -> Made<bool> {
        if !self.leads_now(moment.session()) || token.is_some_and(|token| token != self.token) {
            return Ok(false);
        }
        self.next(moment);
        Ok(true)
    }

    fn leader(&mut self, _: &mut Moment) -> Made<Option<Leader>> {
        Ok(self.leader_now())
    }

    fn observe(
        &mut self,
        moment: &mut Moment,
        token: u64,
        timeout_ms: Option<u64>,
    ) -> Made<Wait<Option<Leader>>> {
        if self.token_now() != token {
            return Ok(Wait::Done(self.leader_now()));
        }
        self.observing.insert(moment.call(), token);
        Ok(moment.wait(timeout_ms))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Exchanger {
    first: Option<(CallId, Value)>,
}

impl Model for Exchanger {
    calls!(exchanger);

    fn create(exchanger::Creation {}: exchanger::Creation, _: u64) -> Made<Self> {
        Ok(Exchanger::default())
    }

    fn gone(&mut self, _: &mut Moment, _: CallId, _: Session, _: Gone) -> bool {
        self.first = None;
        true
    }
}

impl exchanger::Methods<Moment> for Exchanger {
    fn exchange(&mut self, moment: &mut Moment, value: Value, timeout_ms: Option<u64>) -> Made<Wait<Value>> {
        match self.first.take() {
            Some((other, brought)) => {
                moment.answer(other, Ok(&value));
                Ok(Wait::Done(brought))
            }
            None => {
                self.first = Some((moment.call(), value));
                Ok(moment.wait(timeout_ms))
            }
        }
    }

    fn waiting(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.first.iter().len() as u64)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Rendezvous {
    published: BTreeMap<String, (Session, String)>,
    looking: BTreeMap<CallId, String>,
}

impl Model for Rendezvous {
    calls!(rendezvous);

    fn create(rendezvous::Creation {}: rendezvous::Creation, _: u64) -> Made<Self> {
        Ok(Rendezvous::default())
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.looking.remove(&call);
        true
    }

    fn session_ended(&mut self, _: &mut Moment, session: Session) {
        self.published.retain(|_, (publisher, _)| *publisher != session);
    }
}

impl rendezvous::Methods<Moment> for Rendezvous {
    fn publish(&mut self, moment: &mut Moment, name: String, address: String) -> Made<()> {
        let session = moment.session();
        if self.published.get(&name).is_some_and(|(publisher, _)| *publisher != session) {
            return Err(CallError::denied(""));
        }
        for (call, wanted) in std::mem::take(&mut self.looking) {
            if wanted == name {
                moment.answer(call, Ok(&address));
            } else {
                self.looking.insert(call, wanted);
            }
        }
        self.published.insert(name, (session, address));
        Ok(())
    }

    fn withdraw(&mut self, moment: &mut Moment, name: String) -> Made<bool> {
        let is_mine = self.published.get(&name).is_some_and(|(publisher, _)| *publisher == moment.session());
        if is_mine {
            self.published.remove(&name);
        }
        Ok(is_mine)
    }

    fn lookup(&mut self, moment: &mut Moment, name: String, timeout_ms: Option<u64>) -> Made<Wait<String>> {
        if let Some((_, address)) = self.published.get(&name) {
            return Ok(Wait::Done(address.clone()));
        }
        self.looking.insert(moment.call(), name);
        Ok(moment.wait(timeout_ms))
    }

    fn names(
        &mut self,
        _: &mut Moment,
        after: Option<String>,
        limit: u32,
    ) -> Made<Page<(String, String), String>> {
        let rest: Vec<(String, String)> = self
            .published
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after))
            .map(|(name, (_, address))| (name.clone(), address.clone()))
            .collect();
        let limit = limit as usize;
        let next = (rest.len() > limit).then(|| rest[limit - 1].0.clone());
        Ok(Page { entries: rest.into_iter().take(limit).collect(), next })
    }
}
