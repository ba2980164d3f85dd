//! The slots of a session: each has one call under way, and its sequences only grow.
//!
//! That is all a shard relies on to make each call once (RFC 8881, section 2.10.6, has the same scheme), so
//! this is the only place that gives out sequences.

use abide_net::{CallError, limits::SLOTS_MAX};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names a call within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallName {
    pub(crate) slot: u32,
    pub(crate) sequence: u64,
}

/// The free slots of a session.
///
/// Invariant: a slot below `next` is either in `free`, with its last sequence, or taken. The slot that was
/// given back last is taken next: a shard keeps one answer for each slot that it has seen, so few are used.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<CallName>,
    next: u32,
}

impl Slots {
    /// A name for a new call. `SessionsFull` if [`SLOTS_MAX`] calls are under way.
    pub(crate) fn take(&self) -> Result<CallName, CallError> {
        let mut state = self.state();
        if let Some(CallName { slot, sequence }) = state.free.pop() {
            return Ok(CallName { slot, sequence: sequence + 1 });
        }
        if state.next == SLOTS_MAX {
            return Err(CallError::SessionsFull { max: SLOTS_MAX.into() });
        }
        state.next += 1;
        Ok(CallName { slot: state.next - 1, sequence: 1 })
    }

    /// The call is over for this client; what still comes for it will be stale.
    pub(crate) fn give_back(&self, name: CallName) {
        let mut state = self.state();
        debug_assert!(name.slot < state.next, "{name:?} was never taken");
        state.free.push(name);
    }

    /// The call was never sent: its name is that of the next call. So a seeded session numbers its calls as an earlier
    /// run did, also where that one reached its node and this one had to try again.
    pub(crate) fn give_back_unused(&self, name: CallName) {
        self.give_back(CallName { sequence: name.sequence - 1, ..name });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        let state = self.state();
        state.next as usize - state.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::atomic::AtomicBool, sync::atomic::Ordering, thread};

    #[test]
    fn a_slot_has_one_call_at_a_time_and_its_sequences_grow() {
        const THREADS: usize = 8;
        let slots = Slots::default();
        let in_use: Vec<AtomicBool> = (0..THREADS).map(|_| AtomicBool::new(false)).collect();
        let last: Vec<Mutex<u64>> = (0..THREADS).map(|_| Mutex::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let name = slots.take().unwrap();
                        let slot = name.slot as usize;
                        assert!(!in_use[slot].swap(true, Ordering::SeqCst), "{name:?} is taken twice");
                        let before = std::mem::replace(&mut *last[slot].lock().unwrap(), name.sequence);
                        assert!(name.sequence > before, "{name:?} after {before}");
                        in_use[slot].store(false, Ordering::SeqCst);
                        slots.give_back(name);
                    }
                });
            }
        });
        assert_eq!(slots.under_way(), 0);
    }

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = Slots::default();
        let mut names: Vec<_> = (0..SLOTS_MAX).map(|_| slots.take().unwrap()).collect();
        assert_eq!(slots.take(), Err(CallError::SessionsFull { max: SLOTS_MAX.into() }));
        let distinct: BTreeMap<_, _> = names.iter().map(|name| (name.slot, ())).collect();
        assert_eq!(distinct.len(), names.len());
        let one = names.pop().unwrap();
        slots.give_back(one);
        let next = CallName { slot: one.slot, sequence: one.sequence + 1 };
        assert_eq!(slots.take(), Ok(next));
        slots.give_back_unused(next);
        assert_eq!(slots.take(), Ok(next), "nobody has seen the name");
    }
}
