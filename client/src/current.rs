//! The store that code finds without being handed one.
//!
//! A function that runs as a cloud thread is given arguments, not a store; it asks for [`Store::current`].
//! That is
//! 1. the store of the cloud thread that runs: whoever runs the function has [entered](Store::enter) it on
//!    this thread;
//! 2. else the default of the process: the one that was [made](Store::make_default) that, or the first that
//!    was opened and still lives. It is held weakly, so being found here keeps no store and no session alive.
//!    (A store lives as long as one of its clones or handles.)
//!
//! Sessions that were begun by [`Store::new_session`] are never the default unless made that: what is
//! acquired under a session is given back with it, so nobody should get into another one's by accident.

use crate::store::{Store, WeakStore};
use abide_net::CallError;
use std::{
    cell::RefCell,
    marker::PhantomData,
    sync::{Mutex, MutexGuard, PoisonError},
};

static OPENED: Mutex<Opened> = Mutex::new(Opened(Vec::new()));

thread_local!(static ENTERED: RefCell<Option<Store>> = const { RefCell::new(None) });

impl Store {
    /// The store that this code runs with: the one that this thread has [entered](Store::enter), else the
    /// process's default (see [`make_default`](Store::make_default)). `Unavailable` if there is neither.
    pub fn current() -> Result<Store, CallError> {
        // A thread that is ending has left every store.
        let entered = ENTERED.try_with(|entered| entered.borrow().clone()).ok().flatten();
        let default = || the_opened().first();
        entered.or_else(default).ok_or_else(|| CallError::Unavailable {
            reason:
                "no store is open in this process: open or connect to one first, and keep it while it is used"
                    .to_owned(),
        })
    }

    /// Makes this the [current](Store::current) store of the calling thread until the result is dropped,
    /// which restores the former one. Drop several in the reverse order.
    pub fn enter(&self) -> Entered {
        Entered { former: ENTERED.replace(Some(self.clone())), thread: PhantomData }
    }

    /// Makes this the process's default: the [current](Store::current) store of threads that have not entered
    /// one. Without it the default is the first store that was opened and still lives.
    pub fn make_default(&self) {
        the_opened().put_first(self);
    }
}

/// Keeps a store the [current](Store::current) one of this thread: see [`Store::enter`].
#[derive(Debug)]
#[must_use = "the store is current until this is dropped"]
pub struct Entered {
    former: Option<Store>,
    /// It belongs to the thread that it was made on.
    thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.former.take();
        // The store that is left is dropped out here: it may make calls, which may ask for the current store.
        // A thread that is ending has left it already.
        let left = ENTERED.try_with(|entered| entered.replace(former));
        drop(left);
    }
}

/// A store was opened: it may become the default.
pub(crate) fn opened(store: &Store) {
    the_opened().add(store);
}

fn the_opened() -> MutexGuard<'static, Opened> {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stores that can be the process's default. It is the first of them that lives.
#[derive(Debug)]
struct Opened(Vec<WeakStore>);

impl Opened {
    fn first(&self) -> Option<Store> {
        self.0.iter().find_map(WeakStore::upgrade)
    }

    /// Comes behind the others, unless it is there.
    fn add(&mut self, store: &Store) {
        self.0.retain(WeakStore::lives);
        if !self.0.iter().any(|other| other.is(store)) {
            self.0.push(store.downgrade());
        }
    }

    fn put_first(&mut self, store: &Store) {
        self.0.retain(|other| other.lives() && !other.is(store));
        self.0.insert(0, store.downgrade());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::tests::Fake;
    use std::sync::Arc;

    fn store() -> Store {
        Store::of(Fake::answering(&()))
    }

    fn is_same(one: &Store, other: &Store) -> bool {
        Arc::ptr_eq(one.caller(), other.caller())
    }

    fn is_current(store: &Store) -> bool {
        Store::current().is_ok_and(|current| is_same(&current, store))
    }

    #[test]
    fn the_default_is_the_first_that_lives() {
        let mut opened = Opened(Vec::new());
        assert!(opened.first().is_none());
        let (first, second, third) = (store(), store(), store());
        for store in [&first, &second, &third, &second] {
            opened.add(store);
        }
        assert_eq!(opened.0.len(), 3, "each is there once");
        opened.put_first(&third);
        assert!(is_same(&opened.first().unwrap(), &third));
        drop(third);
        assert!(is_same(&opened.first().unwrap(), &first), "the list holds nobody alive");
        drop((first, second));
        assert!(opened.first().is_none());
        opened.add(&store());
        assert_eq!(opened.0.len(), 1, "the dead are forgotten");
    }

    // The only test that touches the default of this process.
    #[test]
    fn a_thread_runs_with_the_store_that_it_entered_else_with_the_default() {
        let (default, outer, inner) = (store(), store(), store());
        default.make_default();
        assert!(is_current(&default));
        let outer_scope = outer.enter();
        assert!(is_current(&outer));
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| is_current(&default)).join());
        assert!(elsewhere.unwrap(), "other threads do not see it");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _inner_scope = inner.enter();
            assert!(is_current(&inner));
            panic!("the thread's function panics");
        }));
        assert!(panicked.is_err() && is_current(&outer), "a panic leaves the store too");
        drop(outer_scope);
        assert!(is_current(&default));
        assert_eq!(Arc::strong_count(outer.caller()), 1, "nothing keeps a store that was left");
    }
}
