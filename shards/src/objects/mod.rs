//! The built-in objects: what their methods do.
//!
//! One file for each kind. What a method means is documented where it is declared, in `abide-schema`; here
//! is how it comes about. Read in this order:
//! - registers, one value each: `integers`, `floats`, `bools`, `bytes`, `reference`;
//! - collections: `list`, `map` and `merge`, the operations that join two values;
//! - synchronisation: `latch`, `future` and `event` (many wait for one event), `barrier`, `reducer`, `phaser` and `exchanger`
//!   (parties meet), `semaphore`, `lock`, `mutex`, `condition`, `rw_lock` and `election` (who waits changes what others get),
//!   `rendezvous`; `held` is what sessions hold;
//! - `sizes`: what a value, a page and an answer may weigh.
//!
//! All of them are deterministic: they look at their state, the arguments and the context, and iterate in
//! orders that these define. Each serialised form is the state at rest; waiters and holders are left out.
//!
//! A call that waits costs its object one entry in a tree ordered by [`WaiterId`](crate::shard::WaiterId).
//! Ids grow, so that order is first come, first served, and one that leaves from the middle is found in
//! logarithmic time.

mod barrier;
mod bools;
mod bytes;
mod condition;
mod election;
mod event;
mod exchanger;
mod floats;
mod future;
mod held;
mod integers;
mod latch;
mod list;
mod lock;
mod map;
mod merge;
mod mutex;
mod phaser;
mod reducer;
mod reference;
mod rendezvous;
mod rw_lock;
mod semaphore;
mod sizes;

pub use barrier::CyclicBarrier;
pub use bools::AtomicBool;
pub use bytes::AtomicByteArray;
pub use condition::Condition;
pub use election::Election;
pub use event::Event;
pub use exchanger::Exchanger;
pub use floats::AtomicDouble;
pub use future::Future;
pub use integers::{AtomicInt, AtomicLong, Counter};
pub use latch::CountDownLatch;
pub use list::List;
pub use map::Map;
pub use mutex::Mutex;
pub use phaser::Phaser;
pub use reducer::Reducer;
pub use reference::AtomicRef;
pub use rendezvous::Rendezvous;
pub use rw_lock::RwLock;
pub use semaphore::Semaphore;

use crate::Registry;

/// Adds every built-in type.
pub(crate) fn register_all(registry: Registry) -> Registry {
    registry
        .with::<AtomicBool>()
        .with::<AtomicInt>()
        .with::<AtomicLong>()
        .with::<AtomicDouble>()
        .with::<Counter>()
        .with::<AtomicByteArray>()
        .with::<AtomicRef>()
        .with::<Map>()
        .with::<List>()
        .with::<CyclicBarrier>()
        .with::<CountDownLatch>()
        .with::<Semaphore>()
        .with::<Future>()
        .with::<Mutex>()
        .with::<RwLock>()
        .with::<Condition>()
        .with::<Election>()
        .with::<Phaser>()
        .with::<Exchanger>()
        .with::<Event>()
        .with::<Rendezvous>()
        .with::<Reducer>()
}

#[cfg(test)]
mod tests;
