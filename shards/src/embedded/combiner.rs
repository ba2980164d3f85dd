//! One shard and the threads that come to it.
//!
//! A thread that finds the shard free takes it and makes its call. A thread that finds it taken publishes
//! its call; whoever has the shard makes the published calls too before it leaves. To lose no call, a
//! thread that leaves the shard, whatever it took it for, looks at the queue once more after it let go: all
//! who take it go through [`Combiner::leave`].
//!
//! A call that waits (for a barrier, a lock) leaves a [`Pending`] behind. Its thread parks until the answer
//! comes or the shard's next deadline: then it takes the shard and lets time pass there ([`Event::Tick`]).

use super::{Pending, pending::Answered};
use crate::clock::Clock;
use crate::shard::{Event, Origin, Outbox, SessionId, SessionTerms, Shard};
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

/// Who makes a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) session: SessionId,
    pub(super) terms: SessionTerms,
    /// Which of this process's threads or tasks: no two have the same at the same time.
    pub(super) connection: u64,
}

/// A call, or other news for the shard, of a thread that found the shard taken.
#[derive(Debug)]
struct Published {
    pending: Option<Arc<Pending>>,
    session: SessionId,
    what: News,
}

#[derive(Debug)]
enum News {
    Call(Box<OwnedCall>, Asker),
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
    /// Calls that wait, by who asked: it has one call at a time.
    waiting: HashMap<u64, Arc<Pending>>,
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
        from: Asker,
        call: &Call<'_>,
        result: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CallError> {
        let pending = match self.try_take() {
            Ok(Some(mut state)) => {
                let mut body = RESULT.take();
                let answered = state.call(clock.now_us(), from, call, &mut body);
                let waits = matches!(answered, Ok(None));
                let pending = waits.then(|| state.wait(from.connection, Pending::of_this_thread()));
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
                let news = News::Call(Box::new(OwnedCall::new(call)), from);
                self.publish(clock, from.session, Some(pending.clone()), news);
                pending
            }
            Err(error) => return Err(error),
        };
        self.park_until_answered(clock, &pending).result().map(result)
    }

    /// Makes a call without waiting for its answer.
    pub(super) fn start(&self, clock: &Clock, from: Asker, call: &Call<'_>) -> Arc<Pending> {
        let pending = Arc::new(Pending::of_a_task());
        let news = News::Call(Box::new(OwnedCall::new(call)), from);
        self.publish(clock, from.session, Some(pending.clone()), news);
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

    /// Lets the shard go as the death of its process would.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.state.lock().expect("the shard works").shard = None;
    }

    /// How many calls wait.
    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        self.state.lock().expect("the shard works").waiting.len()
    }

    /// Ends all sessions and lets the shard go. A shard that stopped at a broken invariant stays as it is.
    pub(super) fn close(&self, clock: &Clock) {
        let Ok(mut state) = self.state.lock() else { return };
        let State { shard, out, .. } = &mut *state;
        if let Some(shard) = shard {
            shard.end_sessions(clock.now_us(), out);
        }
        state.deliver(None, &mut Vec::new());
        state.shard = None;
        self.leave(state, clock);
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
        from: Asker,
        call: &Call<'_>,
        body: &mut Vec<u8>,
    ) -> Result<Option<bool>, CallError> {
        self.apply(now_us, from.event(*call))?;
        let own_ok = self.deliver(Some(from.connection), body);
        // A memory that failed has stopped the shard: nobody knows whether the call took effect.
        if own_ok.is_none() && self.shard.is_none() { Err(stopped()) } else { Ok(own_ok) }
    }

    fn apply(&mut self, now_us: u64, event: Event<'_>) -> Result<(), CallError> {
        let shard = self.shard.as_mut().ok_or_else(stopped)?;
        shard.apply(now_us, event, &mut self.out);
        Ok(())
    }

    /// Makes a published call.
    fn make(&mut self, now_us: u64, published: Published) {
        if self.shard.is_none() {
            return published.refuse(&stopped());
        }
        let Published { pending, session, what } = published;
        let event = match &what {
            News::Call(call, from) => {
                let pending = pending.expect("a call has somebody who waits for its answer");
                self.waiting.insert(from.connection, pending);
                from.event(call.borrow())
            }
            News::Cancel { slot, sequence } => Event::Cancel { session, slot: *slot, sequence: *sequence },
            News::Goodbye => Event::Goodbye { session },
            News::Tick => Event::Tick,
        };
        self.apply(now_us, event).expect("the shard is there");
        self.deliver(None, &mut Vec::new());
        if let News::Call(_, from) = &what
            && let Some(pending) = self.waiting.get(&from.connection)
        {
            // Its thread may have looked at the shard's deadlines before this call added one.
            pending.look_again();
        }
    }

    /// Remembers who waits for the answer to a call.
    fn wait(&mut self, connection: u64, pending: Pending) -> Arc<Pending> {
        let pending = Arc::new(pending);
        self.waiting.insert(connection, pending.clone());
        pending
    }

    /// Makes what was done durable, and hands the shard's answers to those who wait for them; the one to `own` goes into `body`,
    /// and whether it is a result is returned.
    fn deliver(&mut self, own: Option<u64>, body: &mut Vec<u8>) -> Option<bool> {
        if let Some(shard) = &mut self.shard
            && let Err(error) = shard.commit(&mut self.out)
        {
            self.stop(&error);
            return None;
        }
        let mut own_ok = None;
        for reply in self.out.replies() {
            let bytes = self.out.body(reply);
            let connection = reply.origin.connection;
            if own == Some(connection) {
                body.clear();
                body.extend_from_slice(bytes);
                own_ok = Some(reply.ok);
            } else if let Some(pending) = self.waiting.remove(&connection) {
                pending.complete(Answered { ok: reply.ok, body: bytes.to_vec() });
            }
        }
        self.out.clear();
        own_ok
    }

    /// The memory failed: what was answered but not committed is unknown, and the shard makes no more calls.
    fn stop(&mut self, error: &abide_pmem::HeapError) {
        tracing::error!(%error, "a shard stops: its memory failed");
        self.shard = None;
        self.out = Outbox::default();
        let unknown = CallError::Unknown { reason: error.to_string() };
        let body = abide_net::codec::encode(&unknown).expect("an error can be encoded");
        for (_, pending) in self.waiting.drain() {
            pending.complete(Answered { ok: false, body: body.clone() });
        }
    }
}

impl Asker {
    fn event(self, call: Call<'_>) -> Event<'_> {
        let origin = Origin { core: 0, connection: self.connection };
        Event::Call { origin, session: self.session, terms: self.terms, call }
    }
}
