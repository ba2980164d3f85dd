//! Objects that callers wait in. A time-out is in milliseconds; without one the call waits for ever.

use crate::{FutureState, Holder, object_type};
use abide_net::Value;

object_type! {
    /// Parties that meet again and again: each generation is released when the last one arrives.
    pub mod cyclic_barrier = 10, "CyclicBarrier";
    creation { parties: u32 }
    methods {
        /// Arrives and waits for the others. The arrival index: parties - 1 for the first, 0 for the last.
        /// If one party times out or its session ends, the barrier is broken: this and all calls of the
        /// generation end as `Broken` (its own as `TimedOut`), and so does each later one until a reset.
        0 Wait Await = wait(timeout_ms: Option<u64>) -> u32;
        /// How many parties wait now.
        1 Read Waiting = waiting() -> u32;
        /// How many parties make a generation.
        2 Read Parties = parties() -> u32;
        /// Begins a new generation. Calls that wait end as `Broken`.
        3 Write Reset = reset();
        /// Whether it is broken.
        4 Read IsBroken = is_broken() -> bool;
    }
}

object_type! {
    /// Waits until a count reaches 0. It never counts up again, and waiting never counts down.
    pub mod count_down_latch = 11, "CountDownLatch";
    creation { count: u64 }
    methods {
        /// Counts down by `n`, not below 0, and returns what is left.
        0 Write CountDown = count_down(n: u64) -> u64;
        /// Waits for the count to be 0.
        1 Wait Await = wait(timeout_ms: Option<u64>);
        /// What is left.
        2 Read Count = count() -> u64;
    }
}

object_type! {
    /// Permits, given out in the order of asking. An owned semaphore takes the permits of a session back
    /// when it ends, and lets nobody release more than its session holds.
    pub mod semaphore = 12, "Semaphore";
    creation { permits: u64, unowned: bool = false }
    methods {
        /// Takes `n` permits, waiting behind those who asked before.
        0 Wait Acquire = acquire(n: u64, timeout_ms: Option<u64>);
        /// Takes `n` permits if they are there and nobody waits. Says whether it did.
        1 Write TryAcquire = try_acquire(n: u64) -> bool;
        /// Gives `n` permits back. `Denied` if the session holds fewer and the semaphore is owned.
        2 Write Release = release(n: u64);
        /// How many permits are there.
        3 Read Available = available() -> u64;
        /// Takes all permits that are there and returns how many.
        4 Write Drain = drain() -> u64;
    }
}

object_type! {
    /// A result that comes later. The first completion wins.
    pub mod future = 13, "Future";
    creation {}
    methods {
        /// Completes it with a value. Says whether this call was the one that did.
        0 Write Set = set(value: Value) -> bool;
        /// Completes it with an error. Says whether this call was the one that did.
        1 Write SetError = set_error(message: String) -> bool;
        /// Waits for the completion.
        2 Wait Get = get(timeout_ms: Option<u64>) -> FutureState;
        /// Whether it is complete.
        3 Read IsDone = is_done() -> bool;
        /// Completes it as cancelled. Says whether this call was the one that did.
        4 Write Cancel = cancel() -> bool;
    }
}

object_type! {
    /// A lock with one owner (a number within a session, such as a thread's), reentrant. It is given back
    /// when the session ends. Each time it changes hands it comes with a greater fencing token.
    pub mod mutex = 14, "Mutex";
    creation {}
    methods {
        /// Locks, waiting behind those who asked before. Returns the fencing token.
        0 Wait Lock = lock(owner: u64, timeout_ms: Option<u64>) -> u64;
        /// Locks if nobody else holds it or waits. Returns the fencing token.
        1 Write TryLock = try_lock(owner: u64) -> Option<u64>;
        /// Unlocks once. `Denied` if the owner does not hold it, or (given a token) holds it by another locking:
        /// a guard that outlived its session unlocks nothing that was locked since.
        2 Write Unlock = unlock(owner: u64, token: Option<u64>);
        /// Whether somebody holds it.
        3 Read IsLocked = is_locked() -> bool;
        /// Who holds it.
        4 Read GetHolder = holder() -> Option<Holder>;
    }
}
