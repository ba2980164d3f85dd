//! [`RwLock`] and its guards.

use super::{handle, millis, object::Object};
use crate::mode::{Blocking, Mode};
use abide_schema::{Holder, types::rw_lock};
use std::{fmt, marker::PhantomData, time::Duration};

handle! {
    /// A shared lock that many owners read under, or one writes. What a session holds is given back when it ends.
    ///
    /// Nobody starves: who asks waits behind those who asked before. In the blocking mode the owner is the thread: one that
    /// reads reads again at once, one that writes may write and read again, and one that reads and asks to write is `Denied`,
    /// for it would wait for itself. In the asynchronous mode each call is an owner of its own.
    ///
    /// As with a [`Mutex`](super::Mutex), whoever writes to something outside of the store under the lock should send the guard's
    /// token along.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let store = abide_client::Store::current()?;
    /// let lock = store.rw_lock("prices");
    /// let guard = lock.write()?;
    /// store.map::<String, f64>("prices").insert("tea", &2.5)?;
    /// let guard = guard.downgrade()?; // others may read now, nobody writes
    /// println!("{:?}", store.map::<String, f64>("prices").get("tea")?);
    /// # Ok(())
    /// # }
    /// ```
    pub struct RwLock of rw_lock;
}

impl<M: Mode> RwLock<M> {
    /// Locks for reading, waiting behind those who asked before. `Broken` if the lock is deleted meanwhile.
    ///
    /// As those of all methods that lock, a future of it can be dropped at any time: if the lock is granted in that moment, it is
    /// unlocked in the background.
    pub fn read(&self) -> M::Output<ReadGuard<M>> {
        self.read_within(None)
    }

    /// As [`read`](Self::read), waiting for so long at most. `TimedOut` then.
    pub fn read_timeout(&self, timeout: Duration) -> M::Output<ReadGuard<M>> {
        self.read_within(Some(millis(timeout)))
    }

    /// Locks for writing, waiting behind those who asked before. `Broken` if the lock is deleted meanwhile.
    pub fn write(&self) -> M::Output<WriteGuard<M>> {
        self.write_within(None)
    }

    /// As [`write`](Self::write), waiting for so long at most. `TimedOut` then.
    pub fn write_timeout(&self, timeout: Duration) -> M::Output<WriteGuard<M>> {
        self.write_within(Some(millis(timeout)))
    }

    fn read_within(&self, timeout_ms: Option<u64>) -> M::Output<ReadGuard<M>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(rw_lock::Read { owner, timeout_ms }),
            move |token| Ok(ReadGuard::new(hold, token)),
            move || abandoned.settle_read(),
        )
    }

    fn write_within(&self, timeout_ms: Option<u64>) -> M::Output<WriteGuard<M>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(rw_lock::Write { owner, timeout_ms }),
            move |token| Ok(WriteGuard::new(hold, token)),
            move || abandoned.settle_write(None),
        )
    }

    /// Locks for reading if nobody writes or waits.
    pub fn try_read(&self) -> M::Output<Option<ReadGuard<M>>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(rw_lock::TryRead { owner }),
            move |token| Ok(token.map(|token| ReadGuard::new(hold, token))),
            move || abandoned.settle_read(),
        )
    }

    /// Locks for writing if nobody else holds it or waits.
    pub fn try_write(&self) -> M::Output<Option<WriteGuard<M>>> {
        let hold = self.new_hold();
        let (owner, abandoned) = (hold.owner, hold.clone());
        M::call(
            &self.object,
            || Ok(rw_lock::TryWrite { owner }),
            move |token| Ok(token.map(|token| WriteGuard::new(hold, token))),
            move || abandoned.settle_write(None),
        )
    }

    /// Whether somebody writes.
    pub fn is_write_locked(&self) -> M::Output<bool> {
        self.object.call(|| Ok(rw_lock::IsWriteLocked {}), Ok)
    }

    /// How many owners read.
    pub fn readers(&self) -> M::Output<u64> {
        self.object.call(|| Ok(rw_lock::Readers {}), Ok)
    }

    /// Up to 100 of those who hold it.
    pub fn holders(&self) -> M::Output<Vec<Holder>> {
        self.object.call(|| Ok(rw_lock::GetHolders {}), Ok)
    }

    fn new_hold(&self) -> Hold<M> {
        Hold { object: self.object.that_exists(), owner: self.object.new_owner() }
    }
}

/// Which owner of which lock.
#[derive(Clone)]
struct Hold<M: Mode> {
    object: Object<M>,
    owner: u64,
}

impl<M: Mode> Hold<M> {
    fn unlock_read(&self, abandoned: impl FnOnce() + Send + 'static) -> M::Output<()> {
        let owner = self.owner;
        M::call(&self.object, || Ok(rw_lock::UnlockRead { owner }), Ok, abandoned)
    }

    fn unlock_write(&self, token: Option<u64>, abandoned: impl FnOnce() + Send + 'static) -> M::Output<()> {
        let owner = self.owner;
        M::call(&self.object, || Ok(rw_lock::UnlockWrite { owner, token }), Ok, abandoned)
    }

    /// Unlocks a reading of which nobody knows whether it is still, or was ever, held.
    fn settle_read(&self) {
        self.settle(self.unlock_read(|| ()));
    }

    /// The same with a writing.
    fn settle_write(&self, token: Option<u64>) {
        self.settle(self.unlock_write(token, || ()));
    }

    fn settle(&self, unlock: M::Output<()>) {
        let object = self.object.clone();
        M::settle(unlock, move |result| {
            if let Err(error) = result {
                tracing::debug!(lock = object.key(), %error, "a lock that was given up is not held");
            }
        });
    }

    /// Unlocks at the end of a guard.
    fn drop(&self, unlock: M::Output<()>) {
        let object = self.object.clone();
        M::settle(unlock, move |result| {
            if let Err(error) = result {
                tracing::warn!(lock = object.key(), %error, "the lock could not be unlocked");
            }
        });
    }
}

/// An [`RwLock`] that is locked for reading until this is dropped. An error of unlocking is then logged.
///
/// In the blocking mode the guard stays with its thread, in the asynchronous one it may go anywhere; there, dropping it unlocks
/// in the background.
#[must_use = "the lock is unlocked at once if the guard is dropped"]
pub struct ReadGuard<M: Mode = Blocking> {
    hold: Hold<M>,
    token: u64,
    is_held: bool,
    owner: PhantomData<M::OfThread>,
}

impl<M: Mode> ReadGuard<M> {
    fn new(hold: Hold<M>, token: u64) -> Self {
        ReadGuard { hold, token, is_held: true, owner: PhantomData }
    }

    /// The fencing token: greater than that of any writer before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Unlocks. `Denied` if the lock is not held any more, because the session expired meanwhile.
    pub fn unlock(mut self) -> M::Output<()> {
        self.is_held = false;
        let abandoned = self.hold.clone();
        self.hold.unlock_read(move || abandoned.settle_read())
    }
}

impl<M: Mode> Drop for ReadGuard<M> {
    fn drop(&mut self) {
        if self.is_held {
            self.hold.drop(self.hold.unlock_read(|| ()));
        }
    }
}

/// An [`RwLock`] that is locked for writing until this is dropped. An error of unlocking is then logged.
///
/// In the blocking mode the guard stays with its thread, in the asynchronous one it may go anywhere; there, dropping it unlocks
/// in the background.
#[must_use = "the lock is unlocked at once if the guard is dropped"]
pub struct WriteGuard<M: Mode = Blocking> {
    hold: Hold<M>,
    token: u64,
    is_held: bool,
    owner: PhantomData<M::OfThread>,
}

impl<M: Mode> WriteGuard<M> {
    fn new(hold: Hold<M>, token: u64) -> Self {
        WriteGuard { hold, token, is_held: true, owner: PhantomData }
    }

    /// The fencing token: greater than that of whoever held the lock before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Unlocks. `Denied` if the lock is not held any more, because the session expired meanwhile.
    pub fn unlock(mut self) -> M::Output<()> {
        self.is_held = false;
        let (abandoned, token) = (self.hold.clone(), Some(self.token));
        self.hold.unlock_write(token, move || abandoned.settle_write(token))
    }

    /// Turns the writing into a reading, so that no other writer comes between. `Denied` if the owner has locked for writing more
    /// than once; on any error the lock is unlocked, if it is still held.
    pub fn downgrade(mut self) -> M::Output<ReadGuard<M>> {
        self.is_held = false;
        let held = Downgrade { hold: self.hold.clone(), token: self.token, is_over: false };
        let owner = self.hold.owner;
        M::call(
            &self.hold.object,
            || Ok(rw_lock::Downgrade { owner }),
            move |token| Ok(held.over(token)),
            || (),
        )
    }
}

impl<M: Mode> Drop for WriteGuard<M> {
    fn drop(&mut self) {
        if self.is_held {
            self.hold.drop(self.hold.unlock_write(Some(self.token), || ()));
        }
    }
}

/// A writing that is becoming a reading. Dropped before it has, because the call failed or was given up, it unlocks what there is.
struct Downgrade<M: Mode> {
    hold: Hold<M>,
    token: u64,
    is_over: bool,
}

impl<M: Mode> Downgrade<M> {
    fn over(mut self, token: u64) -> ReadGuard<M> {
        self.is_over = true;
        ReadGuard::new(self.hold.clone(), token)
    }
}

impl<M: Mode> Drop for Downgrade<M> {
    fn drop(&mut self) {
        if !self.is_over {
            self.hold.settle_write(Some(self.token));
            if M::OWNERS_ARE_GUARDS {
                // Nobody else reads as this owner, so if it reads, this call was made.
                self.hold.settle_read();
            }
        }
    }
}

impl<M: Mode> fmt::Debug for ReadGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("lock", &self.hold.object).field("token", &self.token).finish()
    }
}

impl<M: Mode> fmt::Debug for WriteGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").field("lock", &self.hold.object).field("token", &self.token).finish()
    }
}
