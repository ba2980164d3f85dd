//! Values that wait for somebody to take them.

use super::{CallId, Gone, Hints, Model, Moment, Session, calls};
use abide_net::{CallError, Value};
use abide_schema::{
    TopicPage, Wait,
    types::{priority_queue, queue, topic},
};
use std::collections::{BTreeMap, VecDeque};

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone)]
pub(super) struct Queue {
    capacity: Option<u64>,
    values: VecDeque<Value>,
    putting: BTreeMap<CallId, Value>,
    taking: VecDeque<CallId>,
}

impl Model for Queue {
    calls!(queue);

    fn create(creation: queue::Creation, _: u64) -> Made<Self> {
        let capacity = creation.capacity;
        Ok(Queue { capacity, values: VecDeque::new(), putting: BTreeMap::new(), taking: VecDeque::new() })
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.putting.remove(&call);
        self.taking.retain(|&other| other != call);
        true
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| (self.values.len() as u64) < capacity)
    }

    /// Lets those in that wait to put, and those go that wait to take.
    fn settle(&mut self, moment: &mut Moment) {
        loop {
            if !self.values.is_empty() && !self.taking.is_empty() {
                let (taker, value) = (self.taking.pop_front(), self.values.pop_front());
                moment.answer(taker.expect("somebody"), Ok(&value.expect("something")));
            } else if self.has_room() && !self.putting.is_empty() {
                let (putter, value) = self.putting.pop_first().expect("somebody");
                self.values.push_back(value);
                moment.answer(putter, Ok(&()));
            } else {
                return;
            }
        }
    }
}

impl queue::Methods<Moment> for Queue {
    fn offer(&mut self, moment: &mut Moment, value: Value) -> Made<bool> {
        if !self.has_room() || !self.putting.is_empty() {
            return Ok(false);
        }
        self.values.push_back(value);
        self.settle(moment);
        Ok(true)
    }

    fn put(&mut self, moment: &mut Moment, value: Value, timeout_ms: Option<u64>) -> Made<Wait<()>> {
        if self.offer(moment, value.clone())? {
            return Ok(Wait::Done(()));
        }
        self.putting.insert(moment.call(), value);
        Ok(moment.wait(timeout_ms))
    }

    fn poll(&mut self, moment: &mut Moment) -> Made<Option<Value>> {
        let value = self.values.pop_front();
        self.settle(moment);
        Ok(value)
    }

    fn take(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<Value>> {
        if let Some(value) = self.poll(moment)? {
            return Ok(Wait::Done(value));
        }
        self.taking.push_back(moment.call());
        Ok(moment.wait(timeout_ms))
    }

    fn peek(&mut self, _: &mut Moment) -> Made<Option<Value>> {
        Ok(self.values.front().cloned())
    }

    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.values.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.values.is_empty())
    }

    fn capacity(&mut self, _: &mut Moment) -> Made<Option<u64>> {
        Ok(self.capacity)
    }

    fn drain(&mut self, moment: &mut Moment, n: u32) -> Made<Vec<Value>> {
        let count = self.values.len().min(n as usize);
        let drained = self.values.drain(..count).collect();
        self.settle(moment);
        Ok(drained)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct PriorityQueue {
    /// By priority and by the order of coming.
    values: BTreeMap<(i64, u64), Value>,
    came: u64,
    taking: VecDeque<CallId>,
}

impl Model for PriorityQueue {
    calls!(priority_queue);

    fn create(priority_queue::Creation {}: priority_queue::Creation, _: u64) -> Made<Self> {
        Ok(PriorityQueue::default())
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.taking.retain(|&other| other != call);
        true
    }
}

impl priority_queue::Methods<Moment> for PriorityQueue {
    fn push(&mut self, moment: &mut Moment, priority: i64, value: Value) -> Made<()> {
        match self.taking.pop_front() {
            Some(taker) => moment.answer(taker, Ok(&(priority, value))),
            None => {
                self.came += 1;
                self.values.insert((priority, self.came), value);
            }
        }
        Ok(())
    }

    fn pop(&mut self, _: &mut Moment) -> Made<Option<(i64, Value)>> {
        Ok(self.values.pop_first().map(|((priority, _), value)| (priority, value)))
    }

    fn take(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<(i64, Value)>> {
        if let Some(first) = self.pop(moment)? {
            return Ok(Wait::Done(first));
        }
        self.taking.push_back(moment.call());
        Ok(moment.wait(timeout_ms))
    }

    fn peek(&mut self, _: &mut Moment) -> Made<Option<(i64, Value)>> {
        Ok(self.values.first_key_value().map(|((priority, _), value)| (*priority, value.clone())))
    }

    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.values.len() as u64)
    }

    fn is_empty(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.values.is_empty())
    }

    fn clear(&mut self, _: &mut Moment) -> Made<()> {
        self.values.clear();
        Ok(())
    }
}

/// A log of which all values are remembered here, and the last `retain` can be read.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    retain: u64,
    published: Vec<Value>,
    /// Who waits for a position, and how many values it takes.
    subscribed: BTreeMap<CallId, (u64, u32)>,
}

impl Model for Topic {
    calls!(topic);

    fn create(creation: topic::Creation, _: u64) -> Made<Self> {
        Ok(Topic { retain: creation.retain, published: Vec::new(), subscribed: BTreeMap::new() })
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.subscribed.remove(&call);
        true
    }

    fn hints(&self) -> Hints {
        let end = self.published.len() as u64;
        Hints { numbers: vec![self.first(), end.saturating_sub(1), end, end + 1], ..Hints::default() }
    }
}

impl Topic {
    fn first(&self) -> u64 {
        (self.published.len() as u64).saturating_sub(self.retain)
    }

    fn kept_from(&self, position: u64) -> Vec<(u64, Value)> {
        let all = (0..).zip(self.published.iter().cloned());
        all.filter(|(at, _)| *at >= position.max(self.first())).collect()
    }

    fn read(&self, cursor: u64, limit: u32) -> Option<TopicPage> {
        let mut entries = self.kept_from(cursor);
        entries.truncate(limit as usize);
        let (last, _) = entries.last()?;
        Some(TopicPage { next: last + 1, missed: self.first().saturating_sub(cursor), entries })
    }
}

impl topic::Methods<Moment> for Topic {
    fn publish(&mut self, moment: &mut Moment, value: Value) -> Made<u64> {
        self.published.push(value);
        for (call, (cursor, limit)) in self.subscribed.clone() {
            if let Some(page) = self.read(cursor, limit) {
                self.subscribed.remove(&call);
                moment.answer(call, Ok(&page));
            }
        }
        Ok(self.published.len() as u64 - 1)
    }

    fn subscribe(
        &mut self,
        moment: &mut Moment,
        cursor: u64,
        limit: u32,
        timeout_ms: Option<u64>,
    ) -> Made<Wait<TopicPage>> {
        if let Some(page) = self.read(cursor, limit) {
            return Ok(Wait::Done(page));
        }
        self.subscribed.insert(moment.call(), (cursor, limit));
        Ok(moment.wait(timeout_ms))
    }

    fn last(&mut self, _: &mut Moment, n: u32) -> Made<Vec<(u64, Value)>> {
        let kept = self.kept_from(0);
        Ok(kept[kept.len().saturating_sub(n as usize)..].to_vec())
    }

    fn next_position(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.published.len() as u64)
    }

    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.kept_from(0).len() as u64)
    }
}
