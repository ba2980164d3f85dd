//! Sleeping inside glommio until the ring, or somebody else, has something.
//!
//! glommio has no public way to wait for a descriptor, but it reads files, and an eventfd reads like a file:
//! the read completes when the counter is not zero, and resets it. So a small task keeps one read of an eventfd
//! in glommio's own ring, and the kernel adds to that eventfd when our ring has work. Whoever sleeps waits for
//! the task, not for the read: such a wait can be dropped at any time without cancelling anything.
//!
//! ```text
//! socket -> our ring: there is work --+
//! RingWaker::wake, on any thread -----+-> eventfd -> glommio's ring: the read completes -> task -> Bell::rung
//! ```
//!
//! No wake-up is lost. Both sides signal only while the sleeper asks for it (the kernel by `Kernel::set_bell`,
//! wakers by `Doorbell::asleep`), so the order is: ask for it, look once more, and only then sleep. What came
//! before the look is found by it; what comes after it signals. The eventfd remembers a signal for as long as
//! nobody reads it. A signal that comes too late wakes the next sleeper for nothing: it looks and sleeps again.
//!
//! Access rules: the descriptor in `Doorbell` is only written to; its duplicate, which only the task reads
//! from, belongs to the task's file, which closes it. (If the executor ends in the same moment in which the ring
//! is dropped, glommio does not get to that; nothing else refers to the descriptor then.)

use glommio::{Task, io::BufferedFile};
use std::{
    cell::{Cell, RefCell},
    fs::File,
    future::poll_fn,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

/// The preemption timer that an executor with a ring in it must be built with
/// (`LocalExecutorBuilder::preempt_timer`): never, in practice. `Ring::ready` gives the rest of the executor its
/// turns instead.
///
/// glommio 0.9 sets that timer, looks whether it has fired, and if so runs no task, but then takes "ran nothing"
/// for "nothing to run" and parks although tasks are runnable. No event is due to end that sleep, and the core
/// hangs. A thread that is held up between the two for as long as the timer runs is enough; with one of 200
/// microseconds on a busy machine it took seconds, the default of 100 milliseconds needs a longer stall at the
/// same place. Upstream fixed it after 0.9 ("do not park the executor while a task queue is still runnable").
pub const PREEMPT_TIMER: Duration = Duration::from_secs(3600);

/// Wakes one ring's `Ring::ready`, from any thread and any task. Cheap while the ring is awake.
#[derive(Debug, Clone)]
pub struct RingWaker {
    doorbell: Arc<Doorbell>,
}

impl RingWaker {
    pub(super) fn new(doorbell: &Arc<Doorbell>) -> RingWaker {
        RingWaker { doorbell: Arc::clone(doorbell) }
    }

    /// Makes the ring's current `ready`, or else its next one, return soon. Call it after the news was put
    /// where the ring's owner will look; the owner looks after each `ready`.
    pub fn wake(&self) {
        // In one order for all threads: either this sees `asleep`, or the sleeper sees `called`.
        if !self.doorbell.called.swap(true, Ordering::SeqCst) && self.doorbell.asleep.load(Ordering::SeqCst) {
            self.doorbell.ring();
        }
    }
}

/// What wakers and their ring share.
#[derive(Debug)]
pub(super) struct Doorbell {
    eventfd: File,
    /// A waker called since `ready` last returned because of one.
    called: AtomicBool,
    /// The ring sleeps, or is about to: callers have to ring.
    asleep: AtomicBool,
}

impl Doorbell {
    pub(super) fn new() -> io::Result<Arc<Doorbell>> {
        let (called, asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Arc::new(Doorbell { eventfd: File::from(eventfd()?), called, asleep }))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Whether a waker has called. True once for all calls until now.
    pub(super) fn take_call(&self) -> bool {
        self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::SeqCst)
    }

    /// Asks callers to ring, or no longer to. After asking, look at `take_call_before_sleep`.
    pub(super) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    /// `take_call` for the last look before sleeping, which must not be reordered with `set_asleep`.
    pub(super) fn take_call_before_sleep(&self) -> bool {
        self.called.swap(false, Ordering::SeqCst)
    }

    pub(super) fn ring(&self) {
        // It could fail only if the counter were full, and then it would be heard all the same.
        let _ = (&self.eventfd).write(&1u64.to_ne_bytes());
    }
}

/// The ring's end of the bell. It lives in one executor.
pub(super) struct Bell {
    state: Rc<State>,
    /// Dropping it cancels the task.
    _task: Task<()>,
}

#[derive(Default)]
struct State {
    rung: Cell<bool>,
    /// Set once the eventfd can no longer be read; then nobody may sleep.
    broken: RefCell<Option<io::Error>>,
    /// The last one who waited. A stale one is woken for nothing at most once.
    waiter: RefCell<Option<Waker>>,
}

impl Bell {
    /// Must be called inside a glommio executor.
    pub(super) fn new(doorbell: &Doorbell) -> io::Result<Bell> {
        let eventfd = doorbell.eventfd.try_clone()?;
        // SAFETY: the descriptor is open, and its ownership passes to the file, which closes it.
        let file = unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) };
        let state = Rc::new(State::default());
        let task = glommio::spawn_local(listen(file, Rc::clone(&state)));
        Ok(Bell { state, _task: task })
    }

    /// Forgets that it rang.
    pub(super) fn hush(&self) {
        self.state.rung.set(false);
    }

    /// Waits until it has rung since this last completed. Dropping the wait forgets nothing.
    pub(super) async fn rung(&self) -> io::Result<()> {
        poll_fn(|context| {
            if self.state.rung.take() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = &*self.state.broken.borrow() {
                return Poll::Ready(Err(io::Error::new(error.kind(), error.to_string())));
            }
            *self.state.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Keeps one read of the eventfd under way and passes on what it hears.
async fn listen(file: BufferedFile, state: Rc<State>) {
    loop {
        let read = file.read_at(0, size_of::<u64>()).await;
        match read {
            Ok(_) => state.rung.set(true),
            Err(error) => *state.broken.borrow_mut() = Some(error.into()),
        }
        let waiter = state.waiter.borrow_mut().take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        if state.broken.borrow().is_some() {
            return;
        }
    }
}

/// A new eventfd. It blocks: a non-blocking one would make glommio's read fail at once instead of waiting.
fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no memory.
    match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: a non-negative result is a descriptor that nobody else has.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}
