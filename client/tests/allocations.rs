//! A call that needs no memory of its own allocates none.

mod support;

use abide_client::Store;
use abide_net::{CallError, Caller, Request};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: both methods do what the system's do; the counter is a constant-initialised `Cell` without a
// destructor, so counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the same contract, and `alloc` above is the system's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers every call with the number 5.
#[derive(Debug)]
struct Five;

impl Caller for Five {
    fn call(&self, _: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        result(&[10]);
        Ok(1)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(1)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(Arc::new(Five))
    }

    fn seeded_session(&self, _: u128) -> Result<Arc<dyn Caller>, CallError> {
        Err(CallError::NotFound)
    }

    fn end_session(&self) -> Result<(), CallError> {
        Ok(())
    }

    fn address(&self) -> Option<String> {
        None
    }
}

#[test]
fn a_call_with_numbers_allocates_nothing() {
    let visits = Store::from_caller(Arc::new(Five)).atomic_long("visits");
    assert_eq!(visits.add_and_get(1_000_000), Ok(5)); // the thread's scratch memory is made here
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(visits.add_and_get(1_000_000), Ok(5));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_call_over_the_network_allocates_nothing() {
    let node = support::TestNode::small();
    let store = Store::connect_with(&node.address(), &support::options()).unwrap();
    let visits = store.atomic_long("visits");
    visits.add_and_get(5).unwrap(); // the connection's memory is made here
    let before = ALLOCATIONS.get();
    for n in 2..100 {
        assert_eq!(visits.add_and_get(5), Ok(5 * n));
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_call_with_a_value_allocates_the_value_and_little_else() {
    let names = Store::from_caller(Arc::new(Five)).list::<String>("names");
    names.push("a name").unwrap();
    let before = ALLOCATIONS.get();
    names.push("a name").unwrap();
    assert!(ALLOCATIONS.get() - before <= 2, "{} allocations", ALLOCATIONS.get() - before);
}
