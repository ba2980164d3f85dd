//! [`Mutex`] and its [`MutexGuard`].

use super::{handle, millis, object::Object};
use crate::mode::{Blocking, Mode};
use abide_schema::{Holder, types::mutex};
use std::{fmt, marker::PhantomData, time::Duration};

handle! {
    /// A shared lock with one owner at a time. It is given back when the session of its owner ends.
    ///
    /// In the blocking mode the owner is the thread that locks, and may lock again: each guard unlocks once.
    /// In the asynchronous mode each call of `lock` is an owner of its own, so locking again while a guard
    /// lives waits for ever.
    ///
    /// A lock of a session that ended may be held by someone else before its former owner has noticed.
    /// Whoever writes to something outside of the store under the lock should send the
    /// [token](MutexGuard::token) along, and the other side refuse tokens smaller than the greatest that it
    /// has seen.
    ///
    /// ```no_run
    /// # fn write_file(_token: u64) {}
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let mutex = abide_client::Store::current()?.mutex("report");
    /// {
    ///     let guard = mutex.lock()?;
    ///     write_file(guard.token());
    /// } // unlocked here
    /// # Ok(())
    /// # }
    /// ```
    pub struct Mutex of mutex;
}

impl<M: Mode> Mutex<M> {
    /// Locks, waiting behind those who asked before. `Broken` if the mutex is deleted meanwhile.
    ///
    /// A future of it can be dropped at any time: if the lock is granted in that moment, it is unlocked in
    /// the background.
    pub fn lock(&self) -> M::Output<MutexGuard<M>> {
        self.lock_within(None)
    }

    /// As [`lock`](Self::lock), waiting for so long at most. `TimedOut` then.
    pub fn lock_timeout(&self, timeout: Duration) -> M::Output<MutexGuard<M>> {
        self.lock_within(Some(millis(timeout)))
    }

    fn lock_within(&self, timeout_ms: Option<u64>) -> M::Output<MutexGuard<M>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(mutex::Lock { owner, timeout_ms }),
            move |token| Ok(MutexGuard::new(hold, token)),
            move || abandoned.settle(None),
        )
    }

    /// Locks if nobody else holds it or waits.
    pub fn try_lock(&self) -> M::Output<Option<MutexGuard<M>>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(mutex::TryLock { owner }),
            move |token| Ok(token.map(|token| MutexGuard::new(hold, token))),
            move || abandoned.settle(None),
        )
    }

    /// Whether somebody holds it.
    pub fn is_locked(&self) -> M::Output<bool> {
        self.object.call(|| Ok(mutex::IsLocked {}), Ok)
    }

    /// Who holds it.
    pub fn holder(&self) -> M::Output<Option<Holder>> {
        self.object.call(|| Ok(mutex::GetHolder {}), Ok)
    }

    fn new_hold(&self) -> Hold<M> {
        Hold { object: self.object.that_exists(), owner: self.object.new_owner() }
    }
}

/// Which lock of which mutex.
#[derive(Clone)]
struct Hold<M: Mode> {
    object: Object<M>,
    owner: u64,
}

impl<M: Mode> Hold<M> {
    /// Unlocks what was locked with this token, or with whatever token this owner has the lock.
    fn unlock(&self, token: Option<u64>, abandoned: impl FnOnce() + Send + 'static) -> M::Output<()> {
        let owner = self.owner;
        M::call(&self.object, || Ok(mutex::Unlock { owner, token }), Ok, abandoned)
    }

    /// Unlocks a lock of which nobody knows whether it is still, or was ever, held.
    fn settle(&self, token: Option<u64>) {
        let object = self.object.clone();
        M::settle(self.unlock(token, || ()), move |result| {
            if let Err(error) = result {
                tracing::debug!(mutex = object.key(), %error, "a lock that was given up is not held");
            }
        });
    }
}

/// A [`Mutex`] that is locked until this is dropped. An error of unlocking is then logged.
///
/// In the blocking mode the thread owns the lock, so the guard stays with it:
/// ```compile_fail,E0277
/// # fn main() -> Result<(), abide_client::CallError> {
/// let guard = abide_client::Store::current()?.mutex("report").lock()?;
/// std::thread::spawn(move || drop(guard));
/// # Ok(())
/// # }
/// ```
/// In the asynchronous mode the guard is the owner and may go anywhere. Dropping it unlocks in the
/// background; use [`unlock`](MutexGuard::unlock) to know that it happened.
#[must_use = "the mutex is unlocked at once if the guard is dropped"]
pub struct MutexGuard<M: Mode = Blocking> {
    hold: Hold<M>,
    token: u64,
    is_held: bool,
    owner: PhantomData<M::OfThread>,
}

impl<M: Mode> MutexGuard<M> {
    fn new(hold: Hold<M>, token: u64) -> Self {
        MutexGuard { hold, token, is_held: true, owner: PhantomData }
    }

    /// The fencing token: greater than that of whoever held the mutex before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Unlocks. `Denied` if the lock is not held any more, because the session expired meanwhile.
    pub fn unlock(mut self) -> M::Output<()> {
        self.is_held = false;
        let abandoned = self.hold.clone();
        let token = Some(self.token);
        self.hold.unlock(token, move || abandoned.settle(token))
    }
}

impl<M: Mode> Drop for MutexGuard<M> {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let object = self.hold.object.clone();
        M::settle(self.hold.unlock(Some(self.token), || ()), move |result| {
            if let Err(error) = result {
                tracing::warn!(mutex = object.key(), %error, "the mutex could not be unlocked");
            }
        });
    }
}

impl<M: Mode> fmt::Debug for MutexGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard").field("mutex", &self.hold.object).field("token", &self.token).finish()
    }
}
