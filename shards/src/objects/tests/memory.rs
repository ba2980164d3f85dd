//! What a call that waits costs in memory, counted at the allocator.

use crate::{
    Event, Outbox, Shard,
    shard::{Origin, SessionId, SessionTerms, testing::ephemeral_shard},
};
use abide_net::{codec, frame::Call};
use abide_schema::{
    Method, ObjectInfo, ObjectType,
    types::{cyclic_barrier, mutex, object, semaphore},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread has allocated and not given back. Tests run in threads of their own.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with books.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn book(bytes: isize) {
    // A thread that ends frees memory after its books are gone.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call goes to the system's allocator as it came; the books are beside it and allocate nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        book(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        book(-(layout.size() as isize));
        // SAFETY: `memory` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

const WAITERS: u32 = 100_000;

/// A call of the object in slot `slot` of session 1 on its own connection, so that nothing but the shard
/// is measured.
fn apply<M: Method>(shard: &mut Shard, out: &mut Outbox, slot: u32, creation: &[u8], method: &M) {
    let arguments = codec::encode(method).unwrap();
    let call = Call {
        retry: false,
        first: true,
        type_id: M::Object::ID,
        method: M::ID,
        shard: 0,
        slot,
        sequence: 1,
        epoch: 0,
        replicas: None,
        key: "it",
        creation: Some((creation, true)),
        arguments: &arguments,
    };
    let origin = Origin { core: 0, connection: slot.into() };
    let terms = SessionTerms { lease_us: 1_000_000, is_seeded: false };
    shard.apply(1, Event::Call { origin, session: SessionId(1), terms, call }, out);
}

/// Bytes that a shard keeps for each of [`WAITERS`] calls that wait with a time-out, and the shard.
fn bytes_each<M: Method>(
    creation: <M::Object as ObjectType>::Creation,
    method: impl Fn(u32) -> M,
) -> (isize, Shard, Vec<u8>) {
    let creation = codec::encode(&creation).unwrap();
    let mut shard = ephemeral_shard();
    let mut out = Outbox::default();
    let before = LIVE.get();
    for slot in 0..WAITERS {
        apply(&mut shard, &mut out, slot, &creation, &method(slot));
    }
    assert!(out.replies().len() <= 1, "nobody but the first is answered");
    let in_memory = LIVE.get() - before;
    // What stands in the heap is not the allocator's: the object says how much that is.
    let in_heap = bytes_in_heap(&mut shard, M::Object::ID);
    ((in_memory + in_heap as isize) / WAITERS as isize, shard, creation)
}

/// Bytes that the object has in its heap.
fn bytes_in_heap(shard: &mut Shard, type_id: u16) -> u64 {
    let arguments = codec::encode(&object::Info {}).unwrap();
    let call = Call {
        retry: false,
        first: true,
        type_id,
        method: object::Info::ID,
        shard: 0,
        slot: 0,
        sequence: 1,
        epoch: 0,
        replicas: None,
        key: "it",
        creation: None,
        arguments: &arguments,
    };
    let terms = SessionTerms { lease_us: 1_000_000, is_seeded: false };
    let mut out = Outbox::default();
    let event = Event::Call { origin: Origin::default(), session: SessionId(2), terms, call };
    shard.apply(1, event, &mut out);
    let reply = &out.replies()[0];
    codec::decode::<ObjectInfo>(out.body(reply)).unwrap().bytes
}

#[test]
fn a_hundred_thousand_waiters_of_a_barrier_take_little_memory_and_leave_with_one_arrival() {
    type Await = cyclic_barrier::Await;
    let creation = cyclic_barrier::Creation { parties: WAITERS + 1 };
    let (each, mut shard, creation) = bytes_each(creation, |_| Await { timeout_ms: Some(1_000) });
    // With its record in the shard, its deadline and its slot, and its place in the object's queue.
    assert!(each < 900, "{each} bytes for each waiter");

    let mut out = Outbox::default();
    apply(&mut shard, &mut out, WAITERS, &creation, &Await { timeout_ms: None });
    assert_eq!(out.replies().len(), WAITERS as usize + 1);
    for reply in out.replies() {
        let index: u32 = codec::decode(out.body(reply)).unwrap();
        assert!(reply.ok);
        assert_eq!(index, WAITERS - reply.slot, "the first to arrive has the highest index");
        assert_eq!(reply.origin.connection, u64::from(reply.slot));
    }
}

#[test]
fn a_waiter_of_a_semaphore_or_a_mutex_takes_little_memory_too() {
    let creation = semaphore::Creation { permits: 1, unowned: false };
    let (each, ..) = bytes_each(creation, |n| semaphore::Acquire { n: u64::from(n) + 1, timeout_ms: None });
    assert!(each < 900, "{each} bytes for each waiter");
    let (each, ..) =
        bytes_each(mutex::Creation {}, |owner| mutex::Lock { owner: owner.into(), timeout_ms: Some(1_000) });
    assert!(each < 900, "{each} bytes for each waiter");
}
