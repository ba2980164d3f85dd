//! [`Condition`] and its [`ConditionGuard`].

use super::{handle, millis, object::Object};
use crate::mode::{Blocking, Mode};
use abide_schema::{Holder, types::condition};
use std::{fmt, marker::PhantomData, time::Duration};

handle! {
    /// A shared mutex with a condition in the same object, so that an owner lets go and begins to wait at one moment (a monitor,
    /// as Java's objects are).
    ///
    /// As with a [`Mutex`](super::Mutex), the owner is the thread in the blocking mode, and each call of `lock` in the asynchronous
    /// one; the lock is given back when the session of its owner ends.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let store = abide_client::Store::current()?;
    /// let (condition, stock) = (store.condition("warehouse"), store.atomic_long("stock"));
    /// let mut guard = condition.lock()?;
    /// while stock.get()? < 10 {
    ///     guard = guard.wait()?; // somebody else fills up, and calls `notify_all`
    /// }
    /// stock.add_and_get(-10)?;
    /// # Ok(())
    /// # }
    /// ```
    pub struct Condition of condition;
}

impl<M: Mode> Condition<M> {
    /// Locks, waiting behind those who asked before. `Broken` if the condition is deleted meanwhile.
    ///
    /// A future of it can be dropped at any time: if the lock is granted in that moment, it is unlocked in
    /// the background.
    pub fn lock(&self) -> M::Output<ConditionGuard<M>> {
        self.lock_within(None)
    }

    /// As [`lock`](Self::lock), waiting for so long at most. `TimedOut` then.
    pub fn lock_timeout(&self, timeout: Duration) -> M::Output<ConditionGuard<M>> {
        self.lock_within(Some(millis(timeout)))
    }

    fn lock_within(&self, timeout_ms: Option<u64>) -> M::Output<ConditionGuard<M>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(condition::Lock { owner, timeout_ms }),
            move |token| Ok(ConditionGuard::new(hold, token)),
            move || abandoned.settle(),
        )
    }

    /// Locks if nobody else holds it or waits.
    pub fn try_lock(&self) -> M::Output<Option<ConditionGuard<M>>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(condition::TryLock { owner }),
            move |token| Ok(token.map(|token| ConditionGuard::new(hold, token))),
            move || abandoned.settle(),
        )
    }

    /// How many wait to be notified.
    pub fn waiting(&self) -> M::Output<u64> {
        self.object.call(|| Ok(condition::Waiting {}), Ok)
    }

    /// Who holds the lock.
    pub fn holder(&self) -> M::Output<Option<Holder>> {
        self.object.call(|| Ok(condition::GetHolder {}), Ok)
    }

    fn new_hold(&self) -> Hold<M> {
        Hold { object: self.object.that_exists(), owner: self.object.new_owner() }
    }
}

/// Which lock of which condition.
#[derive(Clone)]
struct Hold<M: Mode> {
    object: Object<M>,
    owner: u64,
}

impl<M: Mode> Hold<M> {
    /// Unlocks once, whatever the token: that of a lock that is held by guards one within another changes when the inner one
    /// waits.
    fn unlock(&self, abandoned: impl FnOnce() + Send + 'static) -> M::Output<()> {
        let owner = self.owner;
        M::call(&self.object, || Ok(condition::Unlock { owner, token: None }), Ok, abandoned)
    }

    /// Unlocks a lock of which nobody knows whether it is still, or was ever, held.
    fn settle(&self) {
        let object = self.object.clone();
        M::settle(self.unlock(|| ()), move |result| {
            if let Err(error) = result {
                tracing::debug!(condition = object.key(), %error, "a lock that was given up is not held");
            }
        });
    }
}

/// A [`Condition`] whose lock is held until this is dropped. An error of unlocking is then logged.
///
/// In the blocking mode the guard stays with its thread, in the asynchronous one it may go anywhere; there, dropping it unlocks
/// in the background.
#[must_use = "the condition is unlocked at once if the guard is dropped"]
pub struct ConditionGuard<M: Mode = Blocking> {
    hold: Hold<M>,
    token: u64,
    is_held: bool,
    owner: PhantomData<M::OfThread>,
}

impl<M: Mode> ConditionGuard<M> {
    fn new(hold: Hold<M>, token: u64) -> Self {
        ConditionGuard { hold, token, is_held: true, owner: PhantomData }
    }

    /// The fencing token: greater than that of whoever held the lock before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Lets the lock go, also if guards of the same owner hold it, and waits to be notified; then locks again. Look again at
    /// what you wait for: somebody else may have been faster.
    ///
    /// After an error the lock is not held by this guard any more. `Broken` if the condition is deleted meanwhile.
    pub fn wait(self) -> M::Output<ConditionGuard<M>> {
        self.wait_within(None, |guard, _| guard)
    }

    /// As [`wait`](Self::wait), for so long at most: then it locks again, for which it may have to wait longer. Says whether it
    /// was notified.
    pub fn wait_timeout(self, timeout: Duration) -> M::Output<(ConditionGuard<M>, bool)> {
        self.wait_within(Some(millis(timeout)), |guard, notified| (guard, notified))
    }

    fn wait_within<T: 'static>(
        mut self,
        timeout_ms: Option<u64>,
        end: impl FnOnce(ConditionGuard<M>, bool) -> T + Send + 'static,
    ) -> M::Output<T> {
        self.is_held = false;
        let held = Waits { hold: self.hold.clone(), is_over: false };
        let owner = self.hold.owner;
        M::call(
            &self.hold.object,
            || Ok(condition::Await { owner, timeout_ms }),
            move |waited| Ok(end(held.over(waited.token), waited.notified)),
            || (),
        )
    }

    /// Notifies the owner that has waited longest. Says whether somebody waited.
    pub fn notify_one(&self) -> M::Output<bool> {
        let owner = self.hold.owner;
        self.hold.object.call(|| Ok(condition::NotifyOne { owner }), Ok)
    }

    /// Notifies all that wait. Returns how many there were.
    pub fn notify_all(&self) -> M::Output<u64> {
        let owner = self.hold.owner;
        self.hold.object.call(|| Ok(condition::NotifyAll { owner }), Ok)
    }

    /// Unlocks. `Denied` if the lock is not held any more, because the session expired meanwhile.
    pub fn unlock(mut self) -> M::Output<()> {
        self.is_held = false;
        let abandoned = self.hold.clone();
        self.hold.unlock(move || abandoned.settle())
    }
}

impl<M: Mode> Drop for ConditionGuard<M> {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let object = self.hold.object.clone();
        M::settle(self.hold.unlock(|| ()), move |result| {
            if let Err(error) = result {
                tracing::warn!(condition = object.key(), %error, "the condition could not be unlocked");
            }
        });
    }
}

/// A lock while its owner waits. Dropped before the wait is over, because the call failed or was given up, it unlocks once, if
/// there is anything to unlock.
struct Waits<M: Mode> {
    hold: Hold<M>,
    is_over: bool,
}

impl<M: Mode> Waits<M> {
    fn over(mut self, token: u64) -> ConditionGuard<M> {
        self.is_over = true;
        ConditionGuard::new(self.hold.clone(), token)
    }
}

impl<M: Mode> Drop for Waits<M> {
    fn drop(&mut self) {
        if !self.is_over {
            self.hold.settle();
        }
    }
}

impl<M: Mode> fmt::Debug for ConditionGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionGuard")
            .field("condition", &self.hold.object)
            .field("token", &self.token)
            .finish()
    }
}
