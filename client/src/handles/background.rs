//! Ends calls that nobody waits for: what an asynchronous guard gives back when it is dropped.
//!
//! Inside of a tokio runtime (feature `tokio`) they become its tasks. Elsewhere one thread of this process,
//! started when it is first needed, polls them all. Either may be stopped before it is done, with the runtime
//! or the process; the session's end then gives back what was held.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Wake, Waker},
};

/// Runs a future to its end.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "tokio")]
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
        return;
    }
    static QUEUE: OnceLock<Option<Sender<Arc<Task>>>> = OnceLock::new();
    let Some(queue) = QUEUE.get_or_init(start) else {
        tracing::warn!("no thread could be started to give back what a guard held; its session's end will");
        return;
    };
    Arc::new(Task { future: Mutex::new(Some(Box::pin(future))), queue: queue.clone() }).wake();
}

fn start() -> Option<Sender<Arc<Task>>> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("abide-background".to_owned());
    thread.spawn(|| run(receiver)).ok().map(|_| sender)
}

struct Task {
    /// Nothing once it has ended.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queue: Sender<Arc<Task>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // The thread runs as long as the process, so somebody receives it.
        let _ = self.queue.send(self.clone());
    }
}

fn run(queue: Receiver<Arc<Task>>) {
    for task in queue {
        let mut slot = task.future.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(future) = slot.as_mut() else { continue };
        let waker = Waker::from(task.clone());
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        if polled.as_ref().map_or(true, |polled| polled.is_ready()) {
            *slot = None;
        }
        if polled.is_err() {
            tracing::warn!("a call in the background panicked");
        }
    }
}
