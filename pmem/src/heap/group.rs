//! Group commit: failure-atomic blocks of many threads in one batch, with one fence (flat combining).
//!
//! A thread puts its block into the shard's queue. Whoever gets the shard's lock runs all that are queued, commits once, and
//! hands out the results; the others sleep meanwhile. Where a fence is a system call that writes to a disk, as many
//! threads as come share it.

use super::{Heap, HeapError, Tx, Writer};
use crate::mem::Mem;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Duration,
};

/// Blocks that are committed together at most.
const GROUP_MAX: usize = 1024;
/// How long a thread sleeps before it looks for itself.
const PATIENCE: Duration = Duration::from_millis(2);
/// Turns that a thread waits before it sleeps.
const SPINS: u32 = 64;

/// A block in the queue.
pub(super) trait Queued<M: Mem>: Send + Sync {
    /// Runs it as a part of the writer's batch.
    fn run(&self, writer: &mut Writer<'_, M>);
    /// Hands its result out, once its batch was committed or not.
    fn finish(&self, committed: &Result<(), HeapError>);
    /// Wakes the thread that waits for it.
    fn wake(&self);
}

impl<M: Mem> std::fmt::Debug for dyn Queued<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a queued block")
    }
}

/// What became of a block: its result, or the payload of its panic.
type Outcome<R, E> = Result<Result<R, E>, Box<dyn Any + Send>>;

struct Call<F, R, E> {
    block: Mutex<Option<F>>,
    outcome: Mutex<Option<Outcome<R, E>>>,
    is_done: AtomicBool,
    waiter: Thread,
}

impl<M, F, R, E> Queued<M> for Call<F, R, E>
where
    M: Mem,
    F: FnOnce(&mut Tx<'_, M>) -> Result<R, E> + Send,
    R: Send,
    E: From<HeapError> + Send,
{
    fn run(&self, writer: &mut Writer<'_, M>) {
        let block = lock(&self.block).take().expect("a block runs once");
        let outcome = catch_unwind(AssertUnwindSafe(|| writer.run(block)));
        *lock(&self.outcome) = Some(outcome);
    }

    fn finish(&self, committed: &Result<(), HeapError>) {
        if let Err(error) = committed
            && let Some(outcome) = &mut *lock(&self.outcome)
            && matches!(outcome, Ok(Ok(_)))
        {
            *outcome = Ok(Err(error.clone().into()));
        }
        self.is_done.store(true, Ordering::Release);
        self.waiter.unpark();
    }

    fn wake(&self) {
        self.waiter.unpark();
    }
}

/// These locks are held for a move only.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Mem + 'static> Heap<M> {
    /// As [`atomically`](Self::atomically), but shares the fence with other threads that call this at the same time.
    ///
    /// # Errors
    /// The block's own, or why it could not be committed.
    ///
    /// # Panics
    /// If the block panics; it changed nothing then.
    pub fn atomically_grouped<R, E>(
        &self,
        shard: u32,
        block: impl FnOnce(&mut Tx<'_, M>) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<HeapError> + Send + 'static,
    {
        let call = Arc::new(Call {
            block: Mutex::new(Some(block)),
            outcome: Mutex::new(None),
            is_done: AtomicBool::new(false),
            waiter: std::thread::current(),
        });
        self.shards[shard as usize].queue.push(call.clone());
        let mut attempt = 0;
        while !call.is_done.load(Ordering::Acquire) {
            if !self.lead(shard, &call.is_done) {
                if attempt < SPINS || !M::SLEEPS {
                    self.mem().pause();
                    attempt += 1;
                } else {
                    // Whoever frees the lock wakes one of the queue. It may free it just before the call is there.
                    std::thread::park_timeout(PATIENCE);
                }
            }
        }
        let outcome = lock(&call.outcome).take().expect("the outcome of a block that is done");
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs what is queued until `is_done`, if nobody else is at it. Says whether it was this thread.
    fn lead(&self, shard: u32, is_done: &AtomicBool) -> bool {
        let shard_ref = &self.shards[shard as usize];
        let state = match shard_ref.writer.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let mut writer = Writer::new(self, shard, shard_ref, state);
        let mut group = Vec::new();
        while !is_done.load(Ordering::Acquire) {
            while group.len() < GROUP_MAX
                && let Some(call) = shard_ref.queue.pop()
            {
                call.run(&mut writer);
                group.push(call);
            }
            let committed = writer.commit();
            for call in group.drain(..) {
                call.finish(&committed);
            }
        }
        true
    }
}

impl<M: Mem> Heap<M> {
    /// Wakes one of those who wait for the shard's lock in the queue. To be called after the lock was freed.
    pub(super) fn wake_queued(&self, shard: u32) {
        let queue = &self.shards[shard as usize].queue;
        // Taking from an empty queue costs a barrier, and this is done after each block.
        if !queue.is_empty()
            && let Some(call) = queue.pop()
        {
            queue.push(call.clone());
            call.wake();
        }
    }
}
