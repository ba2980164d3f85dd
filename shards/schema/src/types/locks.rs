//! Locks beyond the mutex. An owner is a number within a session, such as a thread's.

use crate::{ConditionWait, Holder, Leader, object_type};

object_type! {
    /// A lock that many owners read under, or one writes. Reentrant. Nobody starves: who asks waits behind those who asked
    /// before, but for owners that have it already, who read (and, if they write, write) again at once. What a session holds is
    /// given back when it ends.
    pub mod rw_lock = 25, "RwLock";
    creation {}
    methods {
        /// Locks for reading. Returns a fencing token, greater than that of any writer before. An owner that writes may read too, and
        /// goes on reading when it writes no more.
        0 Wait Read = read(owner: u64, timeout_ms: Option<u64>) -> u64;
        /// Locks for writing. Returns a fencing token, greater than any before. `Denied` to an owner that reads
        /// and does not write: it would wait for itself.
        1 Wait Write = write(owner: u64, timeout_ms: Option<u64>) -> u64;
        /// Locks for reading if nobody else writes and nobody waits.
        2 Write TryRead = try_read(owner: u64) -> Option<u64>;
        /// Locks for writing if nobody else holds it or waits. An owner that alone reads writes too then.
        3 Write TryWrite = try_write(owner: u64) -> Option<u64>;
        /// Unlocks a reading once. `Denied` if the owner does not read.
        4 Write UnlockRead = unlock_read(owner: u64);
        /// Unlocks a writing once. `Denied` if the owner does not write, or (given a token) by another locking.
        5 Write UnlockWrite = unlock_write(owner: u64, token: Option<u64>);
        /// Turns the owner's writing, which must not be nested, into a reading, so that no other writer comes between. Returns the reading's token.
        6 Write Downgrade = downgrade(owner: u64) -> u64;
        /// Whether somebody writes.
        7 Read IsWriteLocked = is_write_locked() -> bool;
        /// How many owners read.
        8 Read Readers = readers() -> u64;
        /// Up to 100 of those who hold it.
        9 Read GetHolders = holders() -> Vec<Holder>;
    }
}

object_type! {
    /// A mutex with a condition in the same object, so that an owner lets go and begins to wait at one moment (a monitor, as Java's
    /// objects are).
    pub mod condition = 26, "Condition";
    creation {}
    methods {
        /// Locks, waiting behind those who asked before. Returns the fencing token.
        0 Wait Lock = lock(owner: u64, timeout_ms: Option<u64>) -> u64;
        /// Locks if nobody else holds it or waits. Returns the fencing token.
        1 Write TryLock = try_lock(owner: u64) -> Option<u64>;
        /// Unlocks once. `Denied` if the owner does not hold it, or (given a token) holds it by another locking.
        2 Write Unlock = unlock(owner: u64, token: Option<u64>);
        /// Lets the lock go, however often the owner has locked it, and waits to be notified. When it is, or its time is over, it
        /// locks again as often, for which it may have to wait longer: in the place of its asking, before those who asked for the
        /// lock since. `Denied` if the owner does not hold the lock.
        3 Wait Await = wait(owner: u64, timeout_ms: Option<u64>) -> ConditionWait;
        /// Notifies the owner that has waited longest. `Denied` if the caller does not hold the lock. Says whether somebody waited.
        /// Should that owner's session end, or its call be cancelled, before it has the lock again, the next is notified instead.
        4 Write NotifyOne = notify_one(owner: u64) -> bool;
        /// Notifies all that wait. `Denied` if the caller does not hold the lock. Returns how many there were.
        5 Write NotifyAll = notify_all(owner: u64) -> u64;
        /// How many wait to be notified.
        6 Read Waiting = waiting() -> u64;
        /// Who holds the lock.
        7 Read GetHolder = holder() -> Option<Holder>;
    }
}

object_type! {
    /// A leader, one at a time: the first session that campaigns, until it resigns or ends, and then the next one.
    pub mod election = 27, "Election";
    creation {}
    methods {
        /// Waits to become the leader, behind those who asked before. Returns a fencing token, greater than that of any leader
        /// before. A session that leads already gets its token. What it campaigns as has at most 4,096 bytes.
        0 Wait Campaign = campaign(candidate: String, timeout_ms: Option<u64>) -> u64;
        /// Resigns. Says whether the session led (given a token: by that election).
        1 Write Resign = resign(token: Option<u64>) -> bool;
        /// Who leads.
        2 Read GetLeader = leader() -> Option<Leader>;
        /// Waits until the leader is another than the one with this token (0: nobody), and returns who it is.
        3 Wait Observe = observe(token: u64, timeout_ms: Option<u64>) -> Option<Leader>;
    }
}
