//! The built-in objects: what their methods do.
//!
//! One file for each kind. What a method means is documented where it is declared, in `abide-schema`; here
//! is how it comes about. Read in this order:
//! - registers, one value each: `integers`, `floats`, `bools`, `bytes`, `reference`;
//! - collections: `list`, `map` and `merge`, the operations that join two values; `set`, `sorted_map` and `order`, how its keys
//!   are stored;
//! - numbers in rows and bytes as of files: `packed`, `vector`, `matrix`, `blob`;
//! - values that wait to be taken: `queue`, `priority_queue`, `topic`; and `id_generator`, `rate_limiter`;
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
mod blob;
mod bools;
mod bytes;
mod condition;
mod election;
mod event;
mod exchanger;
mod floats;
mod future;
mod held;
mod id_generator;
mod integers;
mod latch;
mod list;
mod lock;
mod map;
mod matrix;
mod merge;
mod mutex;
mod order;
mod packed;
mod phaser;
mod priority_queue;
mod queue;
mod rate_limiter;
mod reducer;
mod reference;
mod rendezvous;
mod rw_lock;
mod semaphore;
mod set;
mod sizes;
mod sorted_map;
mod topic;
mod vector;

pub use barrier::CyclicBarrier;
pub use blob::Blob;
pub use bools::AtomicBool;
pub use bytes::AtomicByteArray;
pub use condition::Condition;
pub use election::Election;
pub use event::Event;
pub use exchanger::Exchanger;
pub use floats::AtomicDouble;
pub use future::Future;
pub use id_generator::IdGenerator;
pub use integers::{AtomicInt, AtomicLong, Counter};
pub use latch::CountDownLatch;
pub use list::List;
pub use map::Map;
pub use matrix::Matrix;
pub use mutex::Mutex;
pub use phaser::Phaser;
pub use priority_queue::PriorityQueue;
pub use queue::Queue;
pub use rate_limiter::RateLimiter;
pub use reducer::Reducer;
pub use reference::AtomicRef;
pub use rendezvous::Rendezvous;
pub use rw_lock::RwLock;
pub use semaphore::Semaphore;
pub use set::Set;
pub use sorted_map::SortedMap;
pub use topic::Topic;
pub use vector::Vector;

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
        .with::<SortedMap>()
        .with::<Set>()
        .with::<Matrix>()
        .with::<Vector>()
        .with::<Blob>()
        .with::<Queue>()
        .with::<PriorityQueue>()
        .with::<Topic>()
        .with::<IdGenerator>()
        .with::<RateLimiter>()
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
