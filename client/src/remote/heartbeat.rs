//! One thread that keeps the sessions of one `connect` alive while they make no calls.
//!
//! The thread holds sessions weakly. It is started by the first call, ends with the last session, and is
//! never waited for: a program that returns from `main` ends, whatever this thread does.

use super::{backoff::Backoff, links::Links};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Instant,
};

/// The sessions that are kept alive.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sessions: Vec<Kept>,
    is_running: bool,
}

#[derive(Debug)]
struct Kept {
    links: Weak<Links>,
    due: Instant,
}

/// So many sessions that fail one after the other say that it is the node that cannot be reached.
const FAILED_IN_A_ROW_MAX: u32 = 3;

impl Heartbeats {
    /// Keeps a session alive from now on, as long as somebody has it.
    pub(super) fn keep(self: &Arc<Self>, links: &Arc<Links>) {
        let mut state = self.state();
        let due = Instant::now() + links.heartbeat_every();
        state.sessions.push(Kept { links: Arc::downgrade(links), due });
        if state.is_running {
            self.changed.notify_one();
            return;
        }
        let this = self.clone();
        let thread = thread::Builder::new().name("abide-heartbeat".to_owned()).spawn(move || this.run());
        match thread {
            Ok(_) => state.is_running = true,
            Err(error) => {
                tracing::error!(%error, "no thread for heartbeats: sessions end when they make no calls");
                state.sessions.clear();
                // The next call tries again.
                links.has_heartbeat.store(false, std::sync::atomic::Ordering::SeqCst);
            }
        }
    }

    /// A session was let go: the thread ends if it was the last.
    pub(super) fn let_go(&self) {
        self.changed.notify_one();
    }

    fn run(&self) {
        // The node is one, so is the pause when it is not to be reached.
        let mut backoff = Backoff::new();
        loop {
            let Some(due) = self.next_due() else { return };
            let mut not_reached = None;
            let mut failed_in_a_row = 0;
            for links in due {
                let began = Instant::now();
                let next = match links.keep_alive() {
                    Ok(()) => {
                        backoff = Backoff::new();
                        failed_in_a_row = 0;
                        began + links.heartbeat_every()
                    }
                    Err(failure) => {
                        tracing::debug!(reason = failure.into_text(), "no heartbeat");
                        let until = Instant::now() + backoff.pause();
                        failed_in_a_row += 1;
                        // One session may be unlucky, with no connection to be had; the others must not pay for it.
                        if failed_in_a_row >= FAILED_IN_A_ROW_MAX {
                            not_reached = Some(until);
                            break;
                        }
                        until
                    }
                };
                self.put_off(&links, next);
            }
            if let Some(until) = not_reached {
                self.put_all_off(until);
            }
        }
    }

    /// Waits until heartbeats are due, and says whose. None when no session is left: the thread ends then.
    fn next_due(&self) -> Option<Vec<Arc<Links>>> {
        let mut state = self.state();
        loop {
            state.sessions.retain(|kept| {
                // A session that ended has no lease to renew; its successor comes with its own first call.
                kept.links.upgrade().is_some_and(|links| links.session.lives())
            });
            let Some(next) = state.sessions.iter().map(|kept| kept.due).min() else {
                state.is_running = false;
                return None;
            };
            let now = Instant::now();
            if next <= now {
                let due = state.sessions.iter().filter(|kept| kept.due <= now);
                return Some(due.filter_map(|kept| kept.links.upgrade()).collect());
            }
            let waited = self.changed.wait_timeout(state, next - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put_off(&self, links: &Arc<Links>, due: Instant) {
        let mut state = self.state();
        let same = |kept: &&mut Kept| std::ptr::eq(kept.links.as_ptr(), Arc::as_ptr(links));
        if let Some(kept) = state.sessions.iter_mut().find(same) {
            kept.due = due;
        }
    }

    fn put_all_off(&self, until: Instant) {
        self.state().sessions.iter_mut().for_each(|kept| kept.due = kept.due.max(until));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
