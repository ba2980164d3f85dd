//! Numbers that are given out.

use crate::object_type;

object_type! {
    /// Numbers that are given out once each.
    pub mod id_generator = 23, "IdGenerator";
    creation { start: u64 = 0 }
    methods {
        /// A number that nobody got before, and nobody gets again. `OutOfBounds { len: 0 }` after the last of 64 bits.
        0 Write Next = next() -> u64;
        /// The first of `n` such numbers, all of which are the caller's. `OutOfBounds` says how many are left if these are too few.
        1 Write NextRange = next_range(n: u64) -> u64;
    }
}

object_type! {
    /// A token bucket: `permits` come in every `period_ms` milliseconds, evenly, and up to `burst` of them gather.
    /// It begins full. A period has up to 2^40 milliseconds. All is exact, in whole microseconds.
    pub mod rate_limiter = 24, "RateLimiter";
    creation { permits: u64, period_ms: u64, burst: u64 }
    methods {
        /// Takes `n` permits if they are there and nobody waits. Says whether it did: never if `n` is more than `burst`.
        0 Write TryAcquire = try_acquire(n: u64) -> bool;
        /// Takes `n` permits, waiting for them behind those who asked before. `BadArgument` if more than `burst`. `TimedOut` at once if,
        /// behind those, they cannot come in time.
        1 Wait Acquire = acquire(n: u64, timeout_ms: Option<u64>);
        /// Changes the rate. What has gathered stays, up to the new `burst`. Who waits for more than that still gets it.
        2 Write SetRate = set_rate(permits: u64, period_ms: u64, burst: u64);
        /// How many permits are there.
        3 Read Available = available() -> u64;
    }
}
