//! One method for each kind of handle.

use super::StoreOf;
use crate::{
    handles::{
        AtomicBool, AtomicByteArray, AtomicDouble, AtomicInt, AtomicLong, AtomicRef, Blob, Condition,
        CountDownLatch, Counter, CyclicBarrier, Election, Event, Exchanger, FormOf, Future, IdGenerator,
        List, Map, Matrix, Mutex, Numeric, Phaser, PriorityQueue, Queue, RateLimiter, Reducer, Rendezvous,
        RwLock, Semaphore, Set, SortedMap, Topic, Vector, millis,
    },
    mode::Mode,
};
use abide_net::{Bytes, CallError, Value};
use abide_schema::{
    MergeOp, Number,
    types::{
        atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, count_down_latch,
        counter, cyclic_barrier, event, id_generator, matrix, phaser, queue, rate_limiter, reducer,
        semaphore, topic, vector,
    },
};
use std::time::Duration;

/// What vectors and matrices are filled with unless another number is asked for: as where they are created by name.
const ZERO: Number = Number::I64(0);

/// One method for each kind of handle.
impl<M: Mode> StoreOf<M> {
    /// A shared [`AtomicBool`].
    pub fn atomic_bool(&self, key: &str) -> AtomicBool<M> {
        self.by_default(key)
    }

    /// A shared [`AtomicBool`], created with this value.
    pub fn atomic_bool_with(&self, key: &str, initial: bool) -> AtomicBool<M> {
        self.with(key, &atomic_bool::Creation { initial })
    }

    /// A shared [`AtomicInt`].
    pub fn atomic_int(&self, key: &str) -> AtomicInt<M> {
        self.by_default(key)
    }

    /// A shared [`AtomicInt`], created with this value.
    pub fn atomic_int_with(&self, key: &str, initial: i32) -> AtomicInt<M> {
        self.with(key, &atomic_int::Creation { initial })
    }

    /// A shared [`AtomicLong`].
    pub fn atomic_long(&self, key: &str) -> AtomicLong<M> {
        self.by_default(key)
    }

    /// A shared [`AtomicLong`], created with this value.
    pub fn atomic_long_with(&self, key: &str, initial: i64) -> AtomicLong<M> {
        self.with(key, &atomic_long::Creation { initial })
    }

    /// A shared [`AtomicDouble`].
    pub fn atomic_double(&self, key: &str) -> AtomicDouble<M> {
        self.by_default(key)
    }

    /// A shared [`AtomicDouble`], created with this value.
    pub fn atomic_double_with(&self, key: &str, initial: f64) -> AtomicDouble<M> {
        self.with(key, &atomic_double::Creation { initial })
    }

    /// A shared [`Counter`].
    pub fn counter(&self, key: &str) -> Counter<M> {
        self.by_default(key)
    }

    /// A shared [`Counter`], created with this count.
    pub fn counter_with(&self, key: &str, initial: i64) -> Counter<M> {
        self.with(key, &counter::Creation { initial })
    }

    /// A shared [`AtomicByteArray`].
    pub fn atomic_byte_array(&self, key: &str) -> AtomicByteArray<M> {
        self.by_default(key)
    }

    /// A shared [`AtomicByteArray`], created with these bytes.
    pub fn atomic_byte_array_with(&self, key: &str, initial: impl AsRef<[u8]>) -> AtomicByteArray<M> {
        self.with(key, &atomic_byte_array::Creation { initial: Bytes::from(&initial) })
    }

    /// A shared [`AtomicRef`].
    pub fn atomic_ref<T>(&self, key: &str) -> AtomicRef<T, M> {
        self.by_default(key)
    }

    /// A shared [`AtomicRef`], created with this value. Fails if the value cannot be serialised.
    pub fn atomic_ref_with<T>(
        &self,
        key: &str,
        initial: &(impl FormOf<T> + ?Sized),
    ) -> Result<AtomicRef<T, M>, CallError> {
        Ok(self.with(key, &atomic_ref::Creation { initial: Some(Value::encode(initial)?) }))
    }

    /// A shared [`Map`].
    pub fn map<K, V>(&self, key: &str) -> Map<K, V, M> {
        self.by_default(key)
    }

    /// A shared [`List`].
    pub fn list<T>(&self, key: &str) -> List<T, M> {
        self.by_default(key)
    }

    /// A shared [`CyclicBarrier`] of so many parties.
    pub fn cyclic_barrier(&self, key: &str, parties: u32) -> CyclicBarrier<M> {
        self.with(key, &cyclic_barrier::Creation { parties })
    }

    /// A shared [`CyclicBarrier`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_cyclic_barrier(&self, key: &str) -> CyclicBarrier<M> {
        self.existing(key)
    }

    /// A shared [`CountDownLatch`] that begins at this count.
    pub fn count_down_latch(&self, key: &str, count: u64) -> CountDownLatch<M> {
        self.with(key, &count_down_latch::Creation { count })
    }

    /// A shared [`CountDownLatch`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_count_down_latch(&self, key: &str) -> CountDownLatch<M> {
        self.existing(key)
    }

    /// A shared [`Semaphore`] that begins with so many permits. See [`Semaphore::unowned`].
    pub fn semaphore(&self, key: &str, permits: u64) -> Semaphore<M> {
        self.with(key, &semaphore::Creation { permits, unowned: false })
    }

    /// A shared [`Semaphore`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_semaphore(&self, key: &str) -> Semaphore<M> {
        self.existing(key)
    }

    /// A shared [`Future`].
    pub fn future<T>(&self, key: &str) -> Future<T, M> {
        self.by_default(key)
    }

    /// A shared [`Mutex`].
    pub fn mutex(&self, key: &str) -> Mutex<M> {
        self.by_default(key)
    }

    /// A shared [`SortedMap`].
    pub fn sorted_map<K, V>(&self, key: &str) -> SortedMap<K, V, M> {
        self.by_default(key)
    }

    /// A shared [`Set`].
    pub fn set<T>(&self, key: &str) -> Set<T, M> {
        self.by_default(key)
    }

    /// A shared [`Vector`] of so many numbers, all 0 at first.
    pub fn vector<N: Numeric>(&self, key: &str, len: u32) -> Vector<N, M> {
        self.with(key, &vector::Creation { len, kind: N::KIND, fill: ZERO })
    }

    /// A shared [`Vector`] of so many numbers, all this one at first.
    pub fn vector_with<N: Numeric>(&self, key: &str, len: u32, fill: N) -> Vector<N, M> {
        self.with(key, &vector::Creation { len, kind: N::KIND, fill: fill.into_number() })
    }

    /// A shared [`Vector`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_vector<N: Numeric>(&self, key: &str) -> Vector<N, M> {
        self.existing(key)
    }

    /// A shared [`Matrix`] of so many rows and columns of numbers, all 0 at first.
    pub fn matrix<N: Numeric>(&self, key: &str, rows: u32, cols: u32) -> Matrix<N, M> {
        self.with(key, &matrix::Creation { rows, cols, kind: N::KIND, fill: ZERO })
    }

    /// A shared [`Matrix`] of so many rows and columns of numbers, all this one at first.
    pub fn matrix_with<N: Numeric>(&self, key: &str, rows: u32, cols: u32, fill: N) -> Matrix<N, M> {
        self.with(key, &matrix::Creation { rows, cols, kind: N::KIND, fill: fill.into_number() })
    }

    /// A shared [`Matrix`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_matrix<N: Numeric>(&self, key: &str) -> Matrix<N, M> {
        self.existing(key)
    }

    /// A shared [`Blob`].
    pub fn blob(&self, key: &str) -> Blob<M> {
        self.by_default(key)
    }

    /// A shared [`Queue`] without a bound.
    pub fn queue<T>(&self, key: &str) -> Queue<T, M> {
        self.by_default(key)
    }

    /// A shared [`Queue`] of so many values at most.
    pub fn bounded_queue<T>(&self, key: &str, capacity: u64) -> Queue<T, M> {
        self.with(key, &queue::Creation { capacity: Some(capacity) })
    }

    /// A shared [`PriorityQueue`].
    pub fn priority_queue<T>(&self, key: &str) -> PriorityQueue<T, M> {
        self.by_default(key)
    }

    /// A shared [`Topic`].
    pub fn topic<T>(&self, key: &str) -> Topic<T, M> {
        self.by_default(key)
    }

    /// A shared [`Topic`] that keeps so many values.
    pub fn topic_with<T>(&self, key: &str, retain: u64) -> Topic<T, M> {
        self.with(key, &topic::Creation { retain })
    }

    /// A shared [`IdGenerator`].
    pub fn id_generator(&self, key: &str) -> IdGenerator<M> {
        self.by_default(key)
    }

    /// A shared [`IdGenerator`] whose first number is this one.
    pub fn id_generator_with(&self, key: &str, start: u64) -> IdGenerator<M> {
        self.with(key, &id_generator::Creation { start })
    }

    /// A shared [`RateLimiter`]: `permits` come in each `period`, and up to `burst` of them gather.
    pub fn rate_limiter(&self, key: &str, permits: u64, period: Duration, burst: u64) -> RateLimiter<M> {
        self.with(key, &rate_limiter::Creation { permits, period_ms: millis(period), burst })
    }

    /// A shared [`RateLimiter`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_rate_limiter(&self, key: &str) -> RateLimiter<M> {
        self.existing(key)
    }

    /// A shared [`RwLock`].
    pub fn rw_lock(&self, key: &str) -> RwLock<M> {
        self.by_default(key)
    }

    /// A shared [`Condition`].
    pub fn condition(&self, key: &str) -> Condition<M> {
        self.by_default(key)
    }

    /// A shared [`Election`].
    pub fn election(&self, key: &str) -> Election<M> {
        self.by_default(key)
    }

    /// A shared [`Phaser`], without parties at first.
    pub fn phaser(&self, key: &str) -> Phaser<M> {
        self.by_default(key)
    }

    /// A shared [`Phaser`] of so many parties that belong to no session.
    pub fn phaser_with(&self, key: &str, parties: u32) -> Phaser<M> {
        self.with(key, &phaser::Creation { parties })
    }

    /// A shared [`Exchanger`].
    pub fn exchanger<T>(&self, key: &str) -> Exchanger<T, M> {
        self.by_default(key)
    }

    /// A shared [`Event`], not set at first.
    pub fn event(&self, key: &str) -> Event<M> {
        self.by_default(key)
    }

    /// A shared [`Event`], created set or not.
    pub fn event_with(&self, key: &str, initially_set: bool) -> Event<M> {
        self.with(key, &event::Creation { initially_set })
    }

    /// A shared [`Rendezvous`].
    pub fn rendezvous(&self, key: &str) -> Rendezvous<M> {
        self.by_default(key)
    }

    /// A shared [`Reducer`] of so many parties that bring vectors of `len` numbers, which are added.
    pub fn reducer<N: Numeric>(&self, key: &str, parties: u32, len: u32) -> Reducer<N, M> {
        self.reducer_with(key, parties, len, MergeOp::Sum)
    }

    /// A shared [`Reducer`] of so many parties that bring vectors of `len` numbers, which `op` joins.
    pub fn reducer_with<N: Numeric>(&self, key: &str, parties: u32, len: u32, op: MergeOp) -> Reducer<N, M> {
        self.with(key, &reducer::Creation { parties, len, kind: N::KIND, op })
    }

    /// A shared [`Reducer`] that exists: its calls fail as `NotFound` otherwise.
    pub fn open_reducer<N: Numeric>(&self, key: &str) -> Reducer<N, M> {
        self.existing(key)
    }
}
