//! How many cloud threads run at once; the rest queue.

use crate::handle::Shared;
use crate::{error::JoinError, task::Outcome};
use std::{
    collections::VecDeque,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// One cloud thread, from its first attempt to its end.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) work: Box<dyn FnOnce() -> Outcome + Send>,
}

impl Job {
    /// Runs it on the calling thread and reports its end, whatever happens.
    fn run(self) {
        if !self.shared.begin() {
            return; // cancelled while it waited
        }
        // The work catches the panics of the function itself. What is caught here comes from a user's
        // `retry_if` or from a bug of ours, and must not leave a joining thread waiting for ever.
        let outcome = panic::catch_unwind(AssertUnwindSafe(self.work)).unwrap_or_else(|payload| {
            Err(JoinError::Lost { reason: format!("panic: {}", crate::run::message(&*payload)) })
        });
        self.shared.finish(outcome);
    }

    /// What the thread is called. The system allows no NUL there.
    fn thread_name(&self) -> String {
        self.shared.name.replace('\0', "?")
    }
}

/// Runs jobs, each on a fresh thread, at most so many at once.
///
/// A fresh thread for each, because thread-local values of one cloud thread are not the next one's business,
/// and because a child process is killed when the thread that started it ends: that thread does nothing else.
///
/// Invariant: jobs wait in the queue only while `running == max`.
pub(crate) struct Limit {
    max: usize,
    state: Mutex<State>,
    warned: AtomicBool,
}

#[derive(Default)]
struct State {
    running: usize,
    queue: VecDeque<Job>,
}

impl Limit {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Limit { max: max.max(1), state: Mutex::default(), warned: AtomicBool::new(false) })
    }

    /// Runs the job as soon as fewer than the maximum run. Does not wait.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        if state.running == self.max {
            state.queue.push_back(job);
            drop(state);
            self.warn_once();
            return;
        }
        state.running += 1;
        drop(state);
        self.start(job);
    }

    /// Runs this job on a new thread, which then starts the next one. Holds a place for it.
    fn start(self: &Arc<Self>, job: Job) {
        let mut next = Some(job);
        while let Some(job) = next {
            let shared = Arc::clone(&job.shared);
            let limit = Arc::clone(self);
            let thread = thread::Builder::new().name(job.thread_name()).spawn(move || {
                job.run();
                if let Some(next) = limit.next() {
                    limit.start(next);
                }
            });
            match thread {
                Ok(_) => return,
                Err(source) => {
                    shared.finish(Err(JoinError::start("a thread", source)));
                    next = self.next();
                }
            }
        }
    }

    /// The job that takes over a place, or nothing, and the place is free.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let next = state.queue.pop_front();
        if next.is_none() {
            state.running -= 1;
        }
        next
    }

    /// Cloud threads that wait for each other and do not all fit never end, which is hard to see from outside.
    fn warn_once(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let max = self.max;
            tracing::warn!(max, "more cloud threads than may run at once: the rest wait for a place");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing under this lock panics: it only moves jobs")
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("max", &self.max).finish_non_exhaustive()
    }
}
