//! One shard and the threads that come to it.
//!
//! A thread that finds the shard free takes it and makes its call. A thread that finds it taken publishes
//! its call; whoever has the shard makes the published calls too before it leaves. To lose no call, a
//! thread that leaves the shard, whatever it took it for, looks at the queue once more after it let go: all
//! who take it go through [`Combiner::leave`].
//!
//! A call that waits (for a barrier, a lock) leaves a [`Pending`] behind. Its thread parks until the answer
//! comes or the shard's next deadline: then it takes the shard and lets time pass there ([`Event::Tick`]).

use super::{LEASE_US, Pending, pending::Answered};
use crate::clock::Clock;
use crate::shard::{Event, Origin, Outbox, OutgoingReply, SavedObject, SessionId, Shard};
use abide_net::{CallError, frame::Call};
use crossbeam::queue::SegQueue;
use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    time::Instant,
};

/// How many published calls one thread makes before it lets another take the shard.
const COMBINED_CALLS_MAX: usize = 256;

/// A call, or other news for the shard, of a thread that found the shard taken.
#[derive(Debug)]
struct Published {
    pending: Option<Arc<Pending>>,
    session: SessionId,
    what: News,
}

#[derive(Debug)]
enum News {
    Call(OwnedCall),
    Cancel { slot: u32, sequence: u64 },
    Goodbye,
    Tick,
}

/// A [`Call`] that owns its bytes.
#[derive(Debug)]
struct OwnedCall {
    /// The call, without its bytes.
    head: Call<'static>,
    key: String,
    creation: Option<(Vec<u8>, bool)>,
    arguments: Vec<u8>,
}

impl OwnedCall {
    fn new(call: &Call<'_>) -> OwnedCall {
        OwnedCall {
            head: Call { key: "", creation: None, arguments: &[], ..*call },
            key: call.key.to_owned(),
            creation: call.creation.map(|(bytes, exactly)| (bytes.to_vec(), exactly)),
            arguments: call.arguments.to_vec(),
        }
    }

    fn borrow(&self) -> Call<'_> {
        let creation = self.creation.as_ref().map(|(bytes, exactly)| (&bytes[..], *exactly));
        Call { key: &self.key, creation, arguments: &self.arguments, ..self.head }
    }
}

/// What is behind the lock.
#[derive(Debug)]
struct State {
    shard: Option<Shard>,
    out: Outbox,
    /// Calls that wait, by their slot: a slot has one call at a time.
    waiting: HashMap<u32, Arc<Pending>>,
}

#[derive(Debug)]
pub(super) struct Combiner {
    state: Mutex<State>,
    published: SegQueue<Published>,
}

thread_local! {
    /// A result on its way from the shard to the caller, who reads it when the shard is free again.
    static RESULT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Results up to this size keep their buffer for the thread's next call.
const KEPT_RESULT_BYTES_MAX: usize = 1 << 16;

fn stopped() -> CallError {
    CallError::Unavailable { reason: "the store is closed".to_owned() }
}

impl Combiner {
    pub(super) fn new(shard: Shard) -> Combiner {
        let state = State { shard: Some(shard), out: Outbox::default(), waiting: HashMap::new() };
        Combiner { state: Mutex::new(state), published: SegQueue::new() }
    }

    /// Makes a call and, if it waits, parks this thread until it is answered.
    pub(super) fn call(
        &self,
        clock: &Clock,
        session: SessionId,
        call: &Call<'_>,
        result: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CallError> {
        let pending = match self.try_take() {
            Ok(Some(mut state)) => {
                let mut body = RESULT.take();
                let answered = state.call(clock.now_us(), session, call, &mut body);
                let waits = matches!(answered, Ok(None));
                let pending = waits.then(|| state.wait(call.slot, Pending::of_this_thread()));
                self.leave(state, clock);
                if let Some(ok) = answered? {
                    let answer = Answered { ok, body };
                    let outcome = answer.result().map(&mut *result);
                    if answer.body.capacity() <= KEPT_RESULT_BYTES_MAX {
                        RESULT.set(answer.body);
                    }
                    return outcome;
                }
                pending.expect("a call that is not answered waits")
            }
            Ok(None) => {
                let pending = Arc::new(Pending::of_this_thread());
                self.publish(clock, session, Some(pending.clone()), News::Call(OwnedCall::new(call)));
                pending
            }
            Err(error) => return Err(error),
        };
        self.park_until_answered(clock, &pending).result().map(result)
    }

    /// Makes a call without waiting for its answer.
    pub(super) fn start(&self, clock: &Clock, session: SessionId, call: &Call<'_>) -> Arc<Pending> {
        let pending = Arc::new(Pending::of_a_task());
        self.publish(clock, session, Some(pending.clone()), News::Call(OwnedCall::new(call)));
        pending
    }

    /// Tells the shard something that has no answer.
    pub(super) fn tell(&self, clock: &Clock, event: Event<'_>) {
        let (session, what) = match event {
            Event::Cancel { session, slot, sequence } => (session, News::Cancel { slot, sequence }),
            Event::Goodbye { session } => (session, News::Goodbye),
            Event::Tick => (SessionId(0), News::Tick),
            Event::Call { .. } | Event::Heartbeat { .. } | Event::Late { .. } => {
                unreachable!("an embedded store only ends sessions and calls")
            }
        };
        self.publish(clock, session, None, what);
    }

    /// When the shard's next timer ends, if it has one.
    pub(super) fn next_deadline(&self, clock: &Clock) -> Option<Instant> {
        let state = self.state.lock().ok()?;
        let deadline_us = state.shard.as_ref().and_then(Shard::next_deadline_us);
        self.leave(state, clock);
        clock.instant(deadline_us?)
    }

    /// How many calls wait.
    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        self.state.lock().expect("the shard works").waiting.len()
    }

    pub(super) fn restore(&self, saved: &SavedObject) -> Result<(), CallError> {
        let mut state = self.state.lock().map_err(|_| stopped())?;
        state.shard.as_mut().ok_or_else(stopped)?.restore(saved)
    }

    /// Takes all objects out. Nothing if the shard stopped at a broken invariant.
    pub(super) fn close(&self, clock: &Clock) -> Option<Vec<SavedObject>> {
        let mut state = self.state.lock().ok()?;
        let Some(shard) = state.shard.take() else { return Some(Vec::new()) };
        let mut out = std::mem::take(&mut state.out);
        let saved = shard.close(&mut out);
        state.out = out;
        state.deliver(None, &mut Vec::new());
        self.leave(state, clock);
        Some(saved)
    }

    /// The shard, if nobody has it.
    fn try_take(&self) -> Result<Option<MutexGuard<'_, State>>, CallError> {
        match self.state.try_lock() {
            Ok(state) => Ok(Some(state)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // The shard stopped at a broken invariant. It answers nothing any more rather than something wrong.
            Err(TryLockError::Poisoned(_)) => Err(stopped()),
        }
    }

    fn publish(&self, clock: &Clock, session: SessionId, pending: Option<Arc<Pending>>, what: News) {
        self.published.push(Published { pending, session, what });
        self.combine(clock);
    }

    /// Makes published calls, unless another thread has the shard, which will make them.
    fn combine(&self, clock: &Clock) {
        while !self.published.is_empty() {
            match self.try_take() {
                Ok(Some(state)) => self.leave(state, clock),
                Ok(None) => return,
                Err(error) => {
                    while let Some(published) = self.published.pop() {
                        published.refuse(&error);
                    }
                }
            }
        }
    }

    /// Makes published calls, then lets the shard go; and again while there are some, because a thread that
    /// published while this one had the shard relies on it.
    fn leave(&self, mut state: MutexGuard<'_, State>, clock: &Clock) {
        if !self.published.is_empty() {
            let now_us = clock.now_us();
            for _ in 0..COMBINED_CALLS_MAX {
                let Some(published) = self.published.pop() else { break };
                state.make(now_us, published);
            }
        }
        linger();
        drop(state);
        linger();
        self.combine(clock);
    }

    fn park_until_answered(&self, clock: &Clock, pending: &Pending) -> Answered {
        // A call that was published is nearly always answered within microseconds.
        for _ in 0..100 {
            if let Some(answer) = pending.take() {
                return answer;
            }
            std::hint::spin_loop();
        }
        loop {
            // Whoever makes a published call unparks this thread, answered or not: then the deadline that the
            // call may have added is seen here.
            self.combine(clock);
            let deadline = self.next_deadline(clock);
            if let Some(answer) = pending.take() {
                return answer;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => self.publish(clock, SessionId(0), None, News::Tick),
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
    }
}

/// In tests: widens the gaps between taking calls, letting the shard go, and looking for calls once more.
fn linger() {
    #[cfg(test)]
    (0..super::tests::LINGER_SPINS.load(std::sync::atomic::Ordering::Relaxed))
        .for_each(|_| std::hint::spin_loop());
}

impl Published {
    fn refuse(self, error: &CallError) {
        if let Some(pending) = self.pending {
            let body = abide_net::codec::encode(error).expect("an error can be encoded");
            pending.complete(Answered { ok: false, body });
        }
    }
}

impl State {
    /// Makes this thread's own call. Its body comes into `body`; nothing is returned if the call waits.
    fn call(
        &mut self,
        now_us: u64,
        session: SessionId,
        call: &Call<'_>,
        body: &mut Vec<u8>,
    ) -> Result<Option<bool>, CallError> {
        let origin = Origin { core: 0, connection: u64::from(call.slot) };
        let shard = self.shard.as_mut().ok_or_else(stopped)?;
        shard.apply(now_us, Event::Call { origin, session, lease_us: LEASE_US, call: *call }, &mut self.out);
        Ok(self.deliver(Some((call.slot, call.sequence)), body))
    }

    /// Makes a published call.
    fn make(&mut self, now_us: u64, published: Published) {
        let Published { pending, session, what } = published;
        let Some(shard) = self.shard.as_mut() else {
            return Published { pending, session, what }.refuse(&stopped());
        };
        match &what {
            News::Call(call) => {
                let pending = pending.expect("a call has somebody who waits for its answer");
                self.waiting.insert(call.head.slot, pending);
                let origin = Origin { core: 0, connection: u64::from(call.head.slot) };
                let call = call.borrow();
                shard.apply(now_us, Event::Call { origin, session, lease_us: LEASE_US, call }, &mut self.out);
            }
            News::Cancel { slot, sequence } => {
                let event = Event::Cancel { session, slot: *slot, sequence: *sequence };
                shard.apply(now_us, event, &mut self.out);
            }
            News::Goodbye => shard.apply(now_us, Event::Goodbye { session }, &mut self.out),
            News::Tick => shard.apply(now_us, Event::Tick, &mut self.out),
        }
        self.deliver(None, &mut Vec::new());
        if let News::Call(call) = &what
            && let Some(pending) = self.waiting.get(&call.head.slot)
        {
            // Its thread may have looked at the shard's deadlines before this call added one.
            pending.look_again();
        }
    }

    /// Remembers who waits for the answer to a call.
    fn wait(&mut self, slot: u32, pending: Pending) -> Arc<Pending> {
        let pending = Arc::new(pending);
        self.waiting.insert(slot, pending.clone());
        pending
    }

    /// Hands the shard's answers to those who wait for them; the one to `own` goes into `body`, and whether
    /// it is a result is returned.
    fn deliver(&mut self, own: Option<(u32, u64)>, body: &mut Vec<u8>) -> Option<bool> {
        let mut own_ok = None;
        for reply in self.out.replies() {
            let OutgoingReply { slot, sequence, ok, .. } = *reply;
            let bytes = self.out.body(reply);
            if own == Some((slot, sequence)) {
                body.clear();
                body.extend_from_slice(bytes);
                own_ok = Some(ok);
            } else if let Some(pending) = self.waiting.remove(&slot) {
                pending.complete(Answered { ok, body: bytes.to_vec() });
            }
        }
        self.out.clear();
        own_ok
    }
}
