//! What callers wait for: a count, permits, a result, a flag.

use super::{CallId, Gone, Model, Moment, Session, calls};
use abide_net::{CallError, Value};
use abide_schema::{
    FutureState, Wait,
    types::{count_down_latch, event, future, semaphore},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

type Made<T> = Result<T, CallError>;

/// Calls that wait for the same thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(BTreeSet<CallId>);

impl Crowd {
    pub(super) fn wait<T>(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Wait<T> {
        self.0.insert(moment.call());
        moment.wait(timeout_ms)
    }

    pub(super) fn remove(&mut self, call: CallId) -> bool {
        self.0.remove(&call)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn release<T: Serialize>(&mut self, moment: &mut Moment, result: Result<&T, CallError>) {
        for call in std::mem::take(&mut self.0) {
            moment.answer(call, result.clone());
        }
    }

    /// Releases all, the longest first, with a number each.
    pub(super) fn release_numbered(&mut self, moment: &mut Moment, number: impl Fn(usize) -> u32) {
        for (rank, call) in std::mem::take(&mut self.0).into_iter().enumerate() {
            moment.answer(call, Ok(&number(rank)));
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct CountDownLatch {
    count: u64,
    waiting: Crowd,
}

impl Model for CountDownLatch {
    calls!(count_down_latch);

    fn create(creation: count_down_latch::Creation, _: u64) -> Made<Self> {
        Ok(CountDownLatch { count: creation.count, waiting: Crowd::default() })
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(call)
    }
}

impl count_down_latch::Methods<Moment> for CountDownLatch {
    fn count_down(&mut self, moment: &mut Moment, n: u64) -> Made<u64> {
        self.count -= n.min(self.count);
        if self.count == 0 {
            self.waiting.release(moment, Ok(&()));
        }
        Ok(self.count)
    }

    fn wait(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<()>> {
        if self.count == 0 { Ok(Wait::Done(())) } else { Ok(self.waiting.wait(moment, timeout_ms)) }
    }

    fn count(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.count)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Semaphore {
    available: u64,
    /// By session; nothing for one without owners.
    held: Option<BTreeMap<Session, u64>>,
    waiting: BTreeMap<CallId, (Session, u64)>,
}

impl Model for Semaphore {
    calls!(semaphore);

    fn create(creation: semaphore::Creation, _: u64) -> Made<Self> {
        let semaphore::Creation { permits, unowned } = creation;
        let held = (!unowned).then(BTreeMap::new);
        Ok(Semaphore { available: permits, held, waiting: BTreeMap::new() })
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(&call);
        self.let_in(moment);
        true
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        let held = self.held.as_mut().and_then(|held| held.remove(&session));
        self.available += held.unwrap_or(0);
        self.let_in(moment);
    }
}

impl Semaphore {
    fn give(&mut self, session: Session, n: u64) {
        self.available -= n;
        if let Some(held) = &mut self.held {
            *held.entry(session).or_default() += n;
        }
    }

    fn let_in(&mut self, moment: &mut Moment) {
        while let Some((&call, &(session, n))) = self.waiting.first_key_value()
            && n <= self.available
        {
            self.waiting.pop_first();
            self.give(session, n);
            moment.answer(call, Ok(&()));
        }
    }
}

impl semaphore::Methods<Moment> for Semaphore {
    fn acquire(&mut self, moment: &mut Moment, n: u64, timeout_ms: Option<u64>) -> Made<Wait<()>> {
        if self.try_acquire(moment, n)? {
            return Ok(Wait::Done(()));
        }
        self.waiting.insert(moment.call(), (moment.session(), n));
        Ok(moment.wait(timeout_ms))
    }

    fn try_acquire(&mut self, moment: &mut Moment, n: u64) -> Made<bool> {
        let may = self.waiting.is_empty() && n <= self.available;
        if may {
            self.give(moment.session(), n);
        }
        Ok(may)
    }

    fn release(&mut self, moment: &mut Moment, n: u64) -> Made<()> {
        if let Some(held) = &mut self.held {
            let mine = held.entry(moment.session()).or_default();
            *mine = mine.checked_sub(n).ok_or_else(|| CallError::denied(""))?;
        }
        self.available += n;
        self.let_in(moment);
        Ok(())
    }

    fn available(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.available)
    }

    fn drain(&mut self, moment: &mut Moment) -> Made<u64> {
        let n = self.available;
        self.give(moment.session(), n);
        Ok(n)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Future {
    state: Option<FutureState>,
    waiting: Crowd,
}

impl Model for Future {
    calls!(future);

    fn create(future::Creation {}: future::Creation, _: u64) -> Made<Self> {
        Ok(Future::default())
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(call)
    }
}

impl Future {
    fn complete(&mut self, moment: &mut Moment, state: FutureState) -> Made<bool> {
        if self.state.is_some() {
            return Ok(false);
        }
        self.waiting.release(moment, Ok(&state));
        self.state = Some(state);
        Ok(true)
    }
}

impl future::Methods<Moment> for Future {
    fn set(&mut self, moment: &mut Moment, value: Value) -> Made<bool> {
        self.complete(moment, FutureState::Value(value))
    }

    fn set_error(&mut self, moment: &mut Moment, message: String) -> Made<bool> {
        self.complete(moment, FutureState::Error(message))
    }

    fn get(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<FutureState>> {
        match &self.state {
            Some(state) => Ok(Wait::Done(state.clone())),
            None => Ok(self.waiting.wait(moment, timeout_ms)),
        }
    }

    fn is_done(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.state.is_some())
    }

    fn cancel(&mut self, moment: &mut Moment) -> Made<bool> {
        self.complete(moment, FutureState::Cancelled)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    is_set: bool,
    waiting: Crowd,
}

impl Model for Event {
    calls!(event);

    fn create(creation: event::Creation, _: u64) -> Made<Self> {
        Ok(Event { is_set: creation.initially_set, waiting: Crowd::default() })
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(call)
    }
}

impl event::Methods<Moment> for Event {
    fn set(&mut self, moment: &mut Moment) -> Made<bool> {
        self.waiting.release(moment, Ok(&()));
        Ok(!std::mem::replace(&mut self.is_set, true))
    }

    fn clear(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(std::mem::replace(&mut self.is_set, false))
    }

    fn wait(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<()>> {
        if self.is_set { Ok(Wait::Done(())) } else { Ok(self.waiting.wait(moment, timeout_ms)) }
    }

    fn is_set(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.is_set)
    }
}
