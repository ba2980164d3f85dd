//! Epochs: until when a block that was taken out of a structure may still be under a reader's eyes.
//!
//! Each heap has a collector of its own, and each thread a handle for each heap that it reads. Nothing about epochs is
//! persistent: after a crash there are no readers.

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

/// The epochs of one heap.
#[derive(Debug)]
pub(crate) struct Epochs {
    collector: Collector,
    /// Tells threads' handles that the heap is still there.
    alive: Arc<()>,
}

thread_local! {
    static HANDLES: RefCell<Vec<(Weak<()>, LocalHandle)>> = const { RefCell::new(Vec::new()) };
}

impl Epochs {
    pub(crate) fn new() -> Self {
        Self { collector: Collector::new(), alive: Arc::new(()) }
    }

    /// Keeps every block that can be reached now from being used again until the guard goes.
    pub(crate) fn pin(&self) -> Guard {
        HANDLES.with_borrow_mut(|handles| {
            let mine = Arc::as_ptr(&self.alive);
            if let Some((_, handle)) = handles.iter().find(|(alive, _)| alive.as_ptr() == mine) {
                return handle.pin();
            }
            handles.retain(|(alive, _)| alive.strong_count() > 0);
            let handle = self.collector.register();
            let guard = handle.pin();
            handles.push((Arc::downgrade(&self.alive), handle));
            guard
        })
    }

    /// Lets epochs pass if no reader holds them back, and runs what waited for that.
    pub(crate) fn advance(&self) {
        for _ in 0..3 {
            self.pin().flush();
        }
    }
}
