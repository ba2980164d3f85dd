//! [`Semaphore`] and its [`Permit`].

use super::{Handle, handle, millis, object::Object};
use crate::mode::{Blocking, Mode};
use abide_schema::types::semaphore;
use std::{fmt, time::Duration};

handle! {
    /// Permits, given out in the order of asking.
    ///
    /// A semaphore is owned unless it is created [`unowned`](Semaphore::unowned): what a session holds is
    /// given back when it ends, and nobody can release more than their session holds.
    ///
    /// ```no_run
    /// # fn query_database() {}
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let connections = abide_client::Store::current()?.semaphore("connections", 20);
    /// {
    ///     let _permit = connections.permit(1)?;
    ///     query_database();
    /// } // given back here
    /// # Ok(())
    /// # }
    /// ```
    pub struct Semaphore of semaphore, permits;
}

impl<M: Mode> Semaphore<M> {
    /// The same semaphore, to be created without an owner for its permits: any session may release permits
    /// that another one acquired, also more than there were at first; those of a session that ends stay
    /// taken.
    #[must_use]
    pub fn unowned(self) -> Self {
        let unowned = |arguments: &mut semaphore::Creation| arguments.unowned = true;
        Self::from_object(self.object.given(|given| given.change(unowned)))
    }

    /// Takes `n` permits, waiting behind those who asked before. `Broken` if the semaphore is deleted
    /// meanwhile.
    pub fn acquire(&self, n: u64) -> M::Output<()> {
        self.object.call(|| Ok(semaphore::Acquire { n, timeout_ms: None }), Ok)
    }

    /// As [`acquire`](Self::acquire), waiting for so long at most. `TimedOut` then, and nothing was taken.
    pub fn acquire_timeout(&self, n: u64, timeout: Duration) -> M::Output<()> {
        self.object.call(|| Ok(semaphore::Acquire { n, timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// Takes `n` permits if they are there and nobody waits. Says whether it did.
    pub fn try_acquire(&self, n: u64) -> M::Output<bool> {
        self.object.call(|| Ok(semaphore::TryAcquire { n }), Ok)
    }

    /// Gives `n` permits back. `Denied` if the session holds fewer and the semaphore is owned.
    pub fn release(&self, n: u64) -> M::Output<()> {
        self.object.call(|| Ok(semaphore::Release { n }), Ok)
    }

    /// How many permits are there.
    pub fn available(&self) -> M::Output<u64> {
        self.object.call(|| Ok(semaphore::Available {}), Ok)
    }

    /// Takes all permits that are there and returns how many.
    pub fn drain(&self) -> M::Output<u64> {
        self.object.call(|| Ok(semaphore::Drain {}), Ok)
    }

    /// [Acquires](Self::acquire) `n` permits, to be given back when the result is dropped.
    pub fn permit(&self, n: u64) -> M::Output<Permit<M>> {
        let permit = self.permit_of(n);
        self.object.call(|| Ok(semaphore::Acquire { n, timeout_ms: None }), move |()| Ok(permit()))
    }

    /// As [`permit`](Self::permit), waiting for so long at most. `TimedOut` then, and nothing was taken.
    pub fn permit_timeout(&self, n: u64, timeout: Duration) -> M::Output<Permit<M>> {
        let permit = self.permit_of(n);
        let timeout_ms = Some(millis(timeout));
        self.object.call(|| Ok(semaphore::Acquire { n, timeout_ms }), move |()| Ok(permit()))
    }

    /// As [`permit`](Self::permit), but nothing if the permits are not there or somebody waits.
    pub fn try_permit(&self, n: u64) -> M::Output<Option<Permit<M>>> {
        let permit = self.permit_of(n);
        self.object.call(|| Ok(semaphore::TryAcquire { n }), move |taken| Ok(taken.then(permit)))
    }

    fn permit_of(&self, n: u64) -> impl FnOnce() -> Permit<M> + Send + use<M> {
        let object = self.object.that_exists();
        move || Permit { object, n }
    }
}

/// Permits of a [`Semaphore`] that are given back when this is dropped. It may go to other threads: permits
/// belong to the session.
///
/// An error of giving back is logged. In the asynchronous mode dropping gives back in the background; use
/// [`release`](Permit::release) to know that it happened. A future of [`permit`](Semaphore::permit) that is
/// dropped in the moment in which its permits are granted leaves them to the session, which gives them back
/// when it ends.
#[must_use = "the permits are given back at once if this is dropped"]
pub struct Permit<M: Mode = Blocking> {
    object: Object<M>,
    /// How many are to be given back.
    n: u64,
}

impl<M: Mode> Permit<M> {
    /// How many permits these are.
    pub fn permits(&self) -> u64 {
        self.n
    }

    /// Gives the permits back.
    pub fn release(mut self) -> M::Output<()> {
        self.give_back()
    }

    /// Keeps the permits taken: someone else will [release](Semaphore::release) them, or the session's end.
    pub fn forget(mut self) {
        self.n = 0;
    }

    fn give_back(&mut self) -> M::Output<()> {
        let n = std::mem::take(&mut self.n);
        self.object.call(|| Ok(semaphore::Release { n }), Ok)
    }
}

impl<M: Mode> Drop for Permit<M> {
    fn drop(&mut self) {
        if self.n == 0 {
            return;
        }
        let (object, n) = (self.object.clone(), self.n);
        M::settle(self.give_back(), move |result| {
            if let Err(error) = result {
                tracing::warn!(semaphore = object.key(), permits = n, %error, "permits could not be given back");
            }
        });
    }
}

impl<M: Mode> fmt::Debug for Permit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("semaphore", &self.object).field("permits", &self.n).finish()
    }
}
