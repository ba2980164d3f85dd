//! The slot in which a thread, or a task, makes its calls.
//!
//! A slot has one call at a time and its sequences only grow. Threads keep theirs for life and leave it, with
//! its sequence, to a later thread; so there are as many slots as there were threads at once, in all stores
//! of the process together.

use std::{cell::RefCell, sync::Mutex};

/// A slot and the sequence of its newest call.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallName {
    pub(super) slot: u32,
    pub(super) sequence: u64,
}

struct Free {
    slots: Vec<CallName>,
    next: u32,
}

static FREE: Mutex<Free> = Mutex::new(Free { slots: Vec::new(), next: 0 });

fn take() -> CallName {
    let mut free = FREE.lock().expect("the free list is never left half-changed");
    free.slots.pop().unwrap_or_else(|| {
        free.next += 1;
        CallName { slot: free.next - 1, sequence: 0 }
    })
}

fn leave(slot: CallName) {
    FREE.lock().expect("the free list is never left half-changed").slots.push(slot);
}

/// A thread's own slot.
struct ThreadSlot(CallName);

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        leave(self.0);
    }
}

thread_local! {
    static SLOT: RefCell<ThreadSlot> = RefCell::new(ThreadSlot(take()));
}

/// Names this thread's next call. While a thread's locals are being dropped it gets a slot just for this call,
/// which it has to keep until the answer is there.
pub(super) fn next_of_this_thread() -> (CallName, Option<TaskSlot>) {
    let own = SLOT.try_with(|slot| {
        let name = &mut slot.borrow_mut().0;
        name.sequence += 1;
        *name
    });
    own.map_or_else(
        |_| {
            let slot = TaskSlot::take();
            (slot.name(), Some(slot))
        },
        |name| (name, None),
    )
}

/// A slot for one asynchronous call, until it is dropped.
#[derive(Debug)]
pub(super) struct TaskSlot(CallName);

impl TaskSlot {
    pub(super) fn take() -> TaskSlot {
        let CallName { slot, sequence } = take();
        TaskSlot(CallName { slot, sequence: sequence + 1 })
    }

    pub(super) fn name(&self) -> CallName {
        self.0
    }
}

impl Drop for TaskSlot {
    fn drop(&mut self) {
        leave(self.0);
    }
}
