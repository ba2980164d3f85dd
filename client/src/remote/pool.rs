//! The connections of a session to one core: each carries one call at a time.

use super::link::Link;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One connection in so many is kept for calls that do not wait in their objects.
const KEPT_FOR_OTHERS: usize = 16;

/// Idle connections are closed after so long: what a burst of callers opened should not stay for good. Longer
/// than the pauses of a program that calls now and then.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// The connections to one core.
///
/// Invariants: `taken` callers have a permit, at most `permits_max`, and `taken_to_wait` of them, at most
/// `permits_to_wait_max`, for calls that wait; there are never more idle links than `permits_max - taken`. So
/// at most `permits_max` connections are open.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    given_back: Condvar,
    given_back_to_wait: Condvar,
    permits_max: usize,
    permits_to_wait_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was used last is on top, and the next to be used: its memory is warm, and the others grow old.
    idle: Vec<Link>,
    taken: usize,
    taken_to_wait: usize,
    /// Callers that wait for a permit of either kind: waking nobody is a system call too.
    queued: usize,
    queued_to_wait: usize,
}

/// Permission to use one connection, with an idle one if there was one. Gives both back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    pool: &'a Pool,
    waits: bool,
    /// The connection. A permit that has none may open one.
    pub(super) link: Option<Link>,
}

impl Pool {
    pub(super) fn new(connections_max: usize) -> Pool {
        let kept_for_others = (connections_max / KEPT_FOR_OTHERS).max(1);
        Pool {
            state: Mutex::default(),
            given_back: Condvar::new(),
            given_back_to_wait: Condvar::new(),
            permits_max: connections_max,
            permits_to_wait_max: connections_max - kept_for_others,
        }
    }

    /// A permit for a call, which `waits` in its object or does not. None if all stay taken until `deadline`.
    pub(super) fn take(&self, waits: bool, deadline: Instant) -> Option<Permit<'_>> {
        let mut state = self.state();
        while state.taken == self.permits_max || (waits && state.taken_to_wait == self.permits_to_wait_max) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let (changed, queued): (_, fn(&mut State) -> &mut usize) = match waits {
                true => (&self.given_back_to_wait, |state| &mut state.queued_to_wait),
                false => (&self.given_back, |state| &mut state.queued),
            };
            *queued(&mut state) += 1;
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            *queued(&mut state) -= 1;
        }
        Some(self.permit(state, waits))
    }

    /// A permit with an idle connection, if there is one.
    pub(super) fn take_idle(&self) -> Option<Permit<'_>> {
        let state = self.state();
        (state.taken < self.permits_max && !state.idle.is_empty()).then(|| self.permit(state, false))
    }

    fn permit<'a>(&'a self, mut state: MutexGuard<'a, State>, waits: bool) -> Permit<'a> {
        state.taken += 1;
        state.taken_to_wait += usize::from(waits);
        let mut permit = Permit { pool: self, waits, link: None };
        let mut candidate = state.idle.pop();
        while let Some(link) = candidate {
            // Looked at without the lock: it may be a system call, and closing is another.
            drop(state);
            if link.is_fresh(Instant::now()) {
                permit.link = Some(link);
                return permit;
            }
            drop(link);
            state = self.state();
            candidate = state.idle.pop();
        }
        permit
    }

    /// Puts a connection in that nobody took from here.
    pub(super) fn put(&self, link: Link) {
        let mut state = self.state();
        if link.is_usable() && state.taken + state.idle.len() < self.permits_max {
            state.idle.push(link);
        }
    }

    /// How many connections the pool has at most, for messages.
    pub(super) fn connections_max(&self) -> usize {
        self.permits_max
    }

    /// Closes what nobody has used for long.
    pub(super) fn close_idle(&self, now: Instant) {
        let mut state = self.state();
        let is_old = |link: &Link| now.saturating_duration_since(link.used_last()) > IDLE_MAX;
        let old = state.idle.iter().take_while(|link| is_old(link)).count();
        let closed: Vec<Link> = state.idle.drain(..old).collect();
        drop(state);
        drop(closed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let link = self.link.take().filter(Link::is_usable);
        let mut state = self.pool.state();
        state.taken -= 1;
        state.taken_to_wait -= usize::from(self.waits);
        state.idle.extend(link);
        let (queued, queued_to_wait) = (state.queued > 0, state.queued_to_wait > 0);
        drop(state);
        // One of each kind, for it depends on this permit's kind which of them may have it.
        if queued {
            self.pool.given_back.notify_one();
        }
        if queued_to_wait {
            self.pool.given_back_to_wait.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn permits_are_bounded_and_some_are_kept_for_calls_that_do_not_wait() {
        let pool = Pool::new(4);
        let mut waiting: Vec<_> = (0..3).map(|_| pool.take(true, soon()).unwrap()).collect();
        assert!(pool.take(true, soon()).is_none(), "the last permit is not for waiting");
        let other = pool.take(false, soon()).unwrap();
        assert!(pool.take(false, soon()).is_none());
        waiting.pop();
        let again = pool.take(true, soon()).unwrap();
        drop((other, again, waiting));
        let state = pool.state();
        assert_eq!((state.taken, state.taken_to_wait), (0, 0));
    }

    #[test]
    fn the_smallest_pool_has_room_for_both_kinds() {
        let pool = Pool::new(2);
        let _waiting = pool.take(true, soon()).unwrap();
        assert!(pool.take(false, soon()).is_some());
    }

    #[test]
    fn whoever_waits_for_a_permit_gets_the_one_that_comes_back() {
        let pool = Pool::new(2);
        let far = Instant::now() + Duration::from_secs(60);
        let (first, second) = (pool.take(false, far).unwrap(), pool.take(true, far).unwrap());
        std::thread::scope(|scope| {
            let threads = [true, false].map(|waits| {
                scope.spawn({
                    let pool = &pool;
                    move || drop(pool.take(waits, far).expect("a permit comes back"))
                })
            });
            drop(second);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        drop(first);
        assert_eq!(pool.state().taken, 0);
    }
}
