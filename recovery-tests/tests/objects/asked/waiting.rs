//! Calls on what callers wait in.

use super::{Asked, Generator, HOUR_MS, REDUCER, Style};
use abide_schema::types::{
    condition, count_down_latch, cyclic_barrier, election, event, exchanger, future, id_generator, mutex,
    phaser, priority_queue, queue, rate_limiter, reducer, rendezvous, rw_lock, semaphore, topic,
};

impl Generator<'_> {
    pub(super) fn barrier(&mut self) -> Asked {
        use cyclic_barrier::*;
        if self.chance(70) {
            return Asked::of(Await { timeout_ms: self.timeout() });
        }
        one_of!(self; Waiting {}, Parties {}, Reset {}, IsBroken {})
    }

    pub(super) fn latch(&mut self) -> Asked {
        use count_down_latch::*;
        let (n, timeout_ms) = (self.rng.u64(..3), self.timeout());
        one_of!(self; CountDown { n }, Await { timeout_ms }, Count {})
    }

    pub(super) fn semaphore(&mut self) -> Asked {
        use semaphore::*;
        let (n, timeout_ms) = (self.rng.u64(..4), self.timeout());
        if self.style == Style::Concurrent {
            one_of!(self; TryAcquire { n }, Release { n }, Available {}, Drain {})
        }
        if self.rng.bool() {
            one_of!(self; Acquire { n, timeout_ms }, Release { n })
        }
        one_of!(self; TryAcquire { n }, Available {}, Drain {})
    }

    pub(super) fn future(&mut self) -> Asked {
        use future::*;
        if self.chance(60) {
            return Asked::of(Get { timeout_ms: self.timeout() });
        }
        let value = self.value();
        one_of!(self; Set { value: value.clone() }, SetError { message: "no".to_owned() }, IsDone {}, Cancel {})
    }

    pub(super) fn mutex(&mut self) -> Asked {
        use mutex::*;
        let (owner, timeout_ms, token) = (self.owner(), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryLock { owner }, Unlock { owner, token }, IsLocked {})
        }
        one_of!(self; Lock { owner, timeout_ms }, Lock { owner, timeout_ms }, TryLock { owner }, Unlock { owner, token },
            Unlock { owner, token: None }, IsLocked {}, GetHolder {})
    }

    pub(super) fn condition(&mut self) -> Asked {
        use condition::*;
        let (owner, timeout_ms, token) = (self.owner(), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryLock { owner }, Unlock { owner, token }, NotifyOne { owner }, Waiting {})
        }
        one_of!(self; Lock { owner, timeout_ms }, Lock { owner, timeout_ms }, TryLock { owner }, Unlock { owner, token },
            Unlock { owner, token: None }, Await { owner, timeout_ms }, Await { owner, timeout_ms },
            NotifyOne { owner }, NotifyOne { owner }, NotifyAll { owner }, Waiting {}, GetHolder {})
    }

    pub(super) fn rw_lock(&mut self) -> Asked {
        use rw_lock::*;
        let (owner, timeout_ms, token) = (self.owner(), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryRead { owner }, TryWrite { owner }, UnlockRead { owner }, UnlockWrite { owner, token },
                Downgrade { owner }, IsWriteLocked {}, Readers {})
        }
        one_of!(self; Read { owner, timeout_ms }, Write { owner, timeout_ms }, Read { owner, timeout_ms },
            Write { owner, timeout_ms }, TryRead { owner }, TryWrite { owner }, UnlockRead { owner }, UnlockRead { owner },
            UnlockWrite { owner, token }, UnlockWrite { owner, token: None }, Downgrade { owner }, IsWriteLocked {},
            Readers {}, GetHolders {})
    }

    pub(super) fn election(&mut self) -> Asked {
        use election::*;
        let (candidate, timeout_ms) = (self.candidate(), self.timeout());
        let (token, given) = (self.number(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; Resign { token: given }, Resign { token: None })
        }
        one_of!(self; Campaign { candidate: candidate.clone(), timeout_ms }, Campaign { candidate: candidate.clone(), timeout_ms },
            Resign { token: given }, Resign { token: None }, GetLeader {}, Observe { token, timeout_ms })
    }

    pub(super) fn queue(&mut self) -> Asked {
        use queue::*;
        let (value, timeout_ms, n) = (self.value(), self.timeout(), self.small());
        if self.style == Style::Concurrent {
            one_of!(self; Offer { value: value.clone() }, Offer { value: value.clone() }, Poll {}, Peek {}, Len {},
                IsEmpty {}, Drain { n })
        }
        one_of!(self; Offer { value: value.clone() }, Put { value: value.clone(), timeout_ms }, Put { value: value.clone(), timeout_ms },
            Poll {}, Take { timeout_ms }, Take { timeout_ms }, Peek {}, Len {}, IsEmpty {}, Capacity {}, Drain { n })
    }

    pub(super) fn priority_queue(&mut self) -> Asked {
        use priority_queue::*;
        let (value, timeout_ms, priority) = (self.value(), self.timeout(), self.long());
        if self.chance(40) {
            return Asked::of(Push { priority, value });
        }
        if self.style == Style::Concurrent {
            one_of!(self; Pop {}, Peek {}, Len {}, IsEmpty {}, Clear {})
        }
        one_of!(self; Pop {}, Take { timeout_ms }, Take { timeout_ms }, Peek {}, Len {}, IsEmpty {}, Clear {})
    }

    pub(super) fn topic(&mut self) -> Asked {
        use topic::*;
        let (value, cursor, limit, timeout_ms, n) =
            (self.value(), self.number(), self.limit(), self.timeout(), self.small());
        one_of!(self; Publish { value: value.clone() }, Publish { value: value.clone() },
            Subscribe { cursor, limit, timeout_ms }, Subscribe { cursor, limit, timeout_ms }, Last { n }, NextPosition {},
            Len {})
    }

    pub(super) fn id_generator(&mut self) -> Asked {
        use id_generator::*;
        let n = self.rng.u64(1..5);
        one_of!(self; Next {}, NextRange { n })
    }

    pub(super) fn rate_limiter(&mut self) -> Asked {
        use rate_limiter::*;
        let (n, timeout_ms, burst) = (self.rng.u64(..4), self.timeout(), self.rng.u64(1..6));
        let exact = self.style == Style::Exact;
        let (permits, period_ms) =
            if exact { (self.rng.u64(1..5), self.rng.u64(1..20)) } else { (1, HOUR_MS) };
        if self.style == Style::Concurrent {
            one_of!(self; TryAcquire { n }, Available {})
        }
        if self.chance(10) {
            return Asked::of(SetRate { permits, period_ms, burst });
        }
        // In real time a permit that comes in an hour is one too many to wait for just so long.
        let timeout_ms = if exact || timeout_ms == Some(0) { timeout_ms } else { None };
        one_of!(self; TryAcquire { n }, Acquire { n, timeout_ms }, Acquire { n, timeout_ms }, Available {})
    }

    pub(super) fn phaser(&mut self) -> Asked {
        use phaser::*;
        let (n, phase, timeout_ms) = (self.rng.u32(..3), self.rng.u64(..6), self.timeout());
        if self.style == Style::Concurrent {
            one_of!(self; Register {}, BulkRegister { n }, Arrive {}, Arrive {}, GetPhase {}, Registered {}, Arrived {})
        }
        if self.chance(50) {
            one_of!(self; Register {}, Arrive {}, ArriveAndWait { timeout_ms }, ArriveAndWait { timeout_ms })
        }
        one_of!(self; BulkRegister { n }, ArriveAndDeregister {}, AwaitPhase { phase, timeout_ms }, GetPhase {},
            Registered {}, Arrived {}, IsTerminated {})
    }

    pub(super) fn exchanger(&mut self) -> Asked {
        use exchanger::*;
        let (value, timeout_ms) = (self.value(), self.timeout());
        if self.style == Style::Concurrent || self.chance(30) {
            return Asked::of(Waiting {});
        }
        Asked::of(Exchange { value, timeout_ms })
    }

    pub(super) fn event(&mut self) -> Asked {
        use event::*;
        let timeout_ms = self.timeout();
        one_of!(self; Set {}, Clear {}, Await { timeout_ms }, Await { timeout_ms }, IsSet {})
    }

    pub(super) fn rendezvous(&mut self) -> Asked {
        use rendezvous::*;
        let (name, address, timeout_ms) = (self.name(), self.candidate(), self.timeout());
        let (after, limit) = (self.maybe(Self::name), self.limit());
        one_of!(self; Publish { name: name.clone(), address: address.clone() }, Withdraw { name: name.clone() },
            Lookup { name: name.clone(), timeout_ms }, Lookup { name: name.clone(), timeout_ms },
            Names { after: after.clone(), limit })
    }

    pub(super) fn reducer(&mut self) -> Asked {
        use reducer::*;
        if self.style != Style::Concurrent && self.chance(70) {
            let (values, timeout_ms) = (self.reals(REDUCER as usize), self.timeout());
            return Asked::of(Contribute { values, timeout_ms });
        }
        one_of!(self; Waiting {}, Parties {}, Reset {}, IsBroken {}, Generation {})
    }
}
