//! The spawning side's view of a cloud thread: its end, and the wish that it end.

use crate::{
    context::CloudThreadId,
    error::{JoinError, Part},
    task::{self, Outcome},
};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// A spawned cloud thread. Dropping it lets the cloud thread go on, as with `std::thread`; but no cloud thread
/// outlives the program that spawned it.
#[must_use = "errors of the cloud thread, also that it could not be spawned at all, come out of `join`"]
pub struct JoinHandle<T> {
    shared: Arc<Shared>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JoinHandle<T> {
    /// Waits until the cloud thread has ended, retries included, and returns its value.
    pub fn join(self) -> Result<T, JoinError> {
        value(&self.shared.wait())
    }

    /// As [`join`](JoinHandle::join), for at most this long: then [`JoinError::TimedOut`], and the cloud thread
    /// goes on. The handle stays, to join again or to [`cancel`](JoinHandle::cancel). Joining again after the
    /// end gives the same value again.
    pub fn join_timeout(&self, timeout: Duration) -> Result<T, JoinError> {
        value(&*self.shared.wait_timeout(timeout).ok_or(JoinError::TimedOut { waited: timeout })?)
    }
}

fn value<T: DeserializeOwned>(outcome: &Outcome) -> Result<T, JoinError> {
    match outcome {
        Ok(bytes) => task::decode(bytes).map_err(|reason| JoinError::Codec { part: Part::Result, reason }),
        Err(error) => Err(error.clone()),
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        JoinHandle { shared, value: PhantomData }
    }

    /// Whether the cloud thread has ended, so that [`join`](JoinHandle::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.shared.slot().outcome.is_some()
    }

    /// The cloud thread's id, which the function sees as [`CloudThread::id`](crate::CloudThread::id).
    pub fn id(&self) -> CloudThreadId {
        self.shared.id
    }

    /// The cloud thread's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Ends the cloud thread as soon as its backend can, and keeps it from being retried. Does not wait.
    ///
    /// One that has not begun never does. A process is killed; what it held in the store is given back when its
    /// session's lease ends. A thread cannot be killed: its function can look at
    /// [`CloudThread::is_cancelled`](crate::CloudThread::is_cancelled) and return, and joining waits for that.
    /// Whoever joins gets [`JoinError::Cancelled`], or how the function ended if it did so on its own.
    pub fn cancel(&self) {
        self.shared.cancel();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.shared.id)
            .field("name", &self.shared.name)
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// What the handle shares with whatever runs the cloud thread.
///
/// A cloud thread is waiting, begun or ended, in this order; `outcome` is set exactly once, and that ends it.
pub(crate) struct Shared {
    pub(crate) id: CloudThreadId,
    pub(crate) name: String,
    slot: Mutex<Slot>,
    changed: Condvar,
}

const NO_PANIC: &str = "nothing under this lock panics: no code of the user runs there";

#[derive(Default)]
struct Slot {
    /// Shared, so that decoding it (which runs the user's code) needs no lock.
    outcome: Option<Arc<Outcome>>,
    begun: bool,
    cancelled: bool,
    /// Ends the attempt that is under way, where that is possible.
    kill: Option<Box<dyn Fn() + Send>>,
}

impl Shared {
    pub(crate) fn new(id: CloudThreadId, name: String) -> Arc<Self> {
        Arc::new(Shared { id, name, slot: Mutex::default(), changed: Condvar::new() })
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().expect(NO_PANIC)
    }

    /// Ends the cloud thread. Only the first end counts.
    pub(crate) fn finish(&self, outcome: Outcome) {
        let mut slot = self.slot();
        if slot.outcome.is_none() {
            slot.outcome = Some(Arc::new(outcome));
            slot.kill = None;
            self.changed.notify_all();
        }
    }

    /// Whether the cloud thread may begin; it begins.
    pub(crate) fn begin(&self) -> bool {
        let mut slot = self.slot();
        slot.begun = slot.outcome.is_none();
        slot.begun
    }

    fn cancel(&self) {
        let mut slot = self.slot();
        slot.cancelled = true;
        if let Some(kill) = &slot.kill {
            kill();
        }
        if !slot.begun && slot.outcome.is_none() {
            slot.outcome = Some(Arc::new(Err(JoinError::Cancelled)));
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.slot().cancelled
    }

    /// Says how to end the attempt that is under way. If the cloud thread is cancelled already, it is used at once.
    pub(crate) fn set_kill(&self, kill: impl Fn() + Send + 'static) {
        let mut slot = self.slot();
        if slot.cancelled {
            kill();
        }
        slot.kill = Some(Box::new(kill));
    }

    /// The attempt is over.
    pub(crate) fn clear_kill(&self) {
        self.slot().kill = None;
    }

    /// Sleeps, unless the cloud thread is cancelled: then returns early and says so.
    pub(crate) fn sleep(&self, delay: Duration) -> bool {
        let wait = self.changed.wait_timeout_while(self.slot(), delay, |slot| !slot.cancelled);
        wait.expect(NO_PANIC).0.cancelled
    }

    fn wait(&self) -> Arc<Outcome> {
        self.wait_timeout(Duration::MAX).expect("nobody waits for ever")
    }

    /// Waits for the end, for at most this long.
    fn wait_timeout(&self, timeout: Duration) -> Option<Arc<Outcome>> {
        let wait = self.changed.wait_timeout_while(self.slot(), timeout, |slot| slot.outcome.is_none());
        wait.expect(NO_PANIC).0.outcome.clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
