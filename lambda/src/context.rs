//! Who the running code is: the cloud thread, and which of its attempts.

use crate::handle::Shared;
use serde::{Deserialize, Serialize};
use std::{
    cell::RefCell,
    fmt,
    hash::{BuildHasher, RandomState},
    marker::PhantomData,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Names one cloud thread, the same in all of its attempts and on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CloudThreadId {
    /// Drawn at random by the process that spawned it.
    spawner: u64,
    /// Counts what that process spawned, from 1.
    number: u64,
}

impl CloudThreadId {
    pub(crate) fn next() -> Self {
        static SPAWNER: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        CloudThreadId { spawner: *SPAWNER, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Display for CloudThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.spawner, self.number)
    }
}

/// What a function can ask about the cloud thread that runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Context {
    pub(crate) id: CloudThreadId,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    /// Where a cancellation shows, if it can be seen from here at all.
    #[serde(skip)]
    pub(crate) shared: Option<Arc<Shared>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

impl Context {
    /// Makes this the calling thread's context until the guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        Entered { before: CURRENT.replace(Some(self)), not_send: PhantomData }
    }

    /// Asks the calling thread's context, if it is a cloud thread.
    pub(crate) fn with<T>(ask: impl FnOnce(&Context) -> T) -> Option<T> {
        CURRENT.with_borrow(|current| current.as_ref().map(ask))
    }
}

/// Restores the context that was there before. Belongs to its thread.
pub(crate) struct Entered {
    before: Option<Context>,
    not_send: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(self.before.take());
    }
}
