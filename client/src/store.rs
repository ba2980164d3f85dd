//! The store: where handles come from.

mod json;
mod list;
mod waits;

pub use list::{ListCursor, ListFilter, ListedObject};

use crate::{
    current,
    handles::{
        AtomicBool, AtomicByteArray, AtomicDouble, AtomicInt, AtomicLong, AtomicRef, CountDownLatch, Counter,
        CyclicBarrier, FormOf, Future, Handle, List, Map, Mutex, Semaphore,
        object::{Given, Object},
    },
    mode::{Asynchronous, Blocking, Mode},
    remote::{Remote, RemoteOptions},
};
use abide_net::{Bytes, CallError, Caller, Value, caller::AsyncCaller};
use abide_schema::{
    ObjectType, ShardInfo, TypeInfo, find_type,
    types::{
        atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, count_down_latch,
        counter, cyclic_barrier, object, semaphore, shard,
    },
};
use std::{fmt, sync::Arc};

/// A store whose handles block: see [`StoreOf`].
pub type Store = StoreOf<Blocking>;

/// A store whose handles return futures: see [`StoreOf`].
pub type AsyncStore = StoreOf<Asynchronous>;

/// The shared objects of one store, under one session. Clones are the same store and the same session.
///
/// Making a handle contacts nobody; the object is created by the first call that needs it. Methods ending in
/// `_with` make handles that create it with arguments, and insist on them; see [`handles`](crate::handles).
/// What its handles acquire (locks, permits) belongs to the session, which lives as long as the store or one
/// of its handles.
///
/// ```no_run
/// use abide_client::Store;
/// # fn main() -> Result<(), abide_client::CallError> {
/// let store = Store::current()?;
/// store.atomic_long("visits").increment_and_get()?;
/// let scores = store.map::<String, f64>("scores");
/// scores.insert("Ada", &9.5)?;
/// let done = store.count_down_latch("done", 8);
/// done.count_down(1)?;
/// done.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct StoreOf<M: Mode> {
    caller: Arc<M::Caller>,
}

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

    fn by_default<H: Handle<M>>(&self, key: &str) -> H {
        self.handle(key, Given::default_of::<H::Declared>())
    }

    fn with<H: Handle<M>>(&self, key: &str, arguments: &<H::Declared as ObjectType>::Creation) -> H {
        self.handle(key, Given::exactly(arguments))
    }

    fn existing<H: Handle<M>>(&self, key: &str) -> H {
        self.handle(key, Given::Nothing)
    }

    fn handle<H: Handle<M>>(&self, key: &str, given: Given) -> H {
        H::from_object(Object::new(self.caller.clone(), H::Declared::ID, key, given))
    }
}

/// Objects of any type.
impl<M: Mode> StoreOf<M> {
    /// Removes the object of this type and key, as its handle's `delete` does. Says whether it existed.
    /// `NoSuchMethod` if there is no type of this name.
    pub fn delete(&self, type_name: &str, key: &str) -> M::Output<bool> {
        let known = known_type(type_name);
        let type_id = known.as_ref().map_or(0, |info| info.id);
        let object = Object::<M>::new(self.caller.clone(), type_id, key, Given::Nothing);
        object.call(|| known.map(|_| object::Delete {}), Ok)
    }

    fn shard_info(&self, shard: u32) -> M::Output<ShardInfo> {
        Object::<M>::shard(self.caller.clone(), shard).call(|| Ok(shard::Info {}), Ok)
    }
}

impl Store {
    /// The store on the node at `address` (`host:port`), under a new session. `Unavailable` if none answers there. The environment
    /// may change the [options](RemoteOptions::from_env). It becomes the process's default if there is none: see [`Store::current`].
    pub fn connect(address: &str) -> Result<Store, CallError> {
        Store::connect_with(address, &RemoteOptions::from_env()?)
    }

    /// The same with these options, whatever the environment says.
    pub fn connect_with(address: &str, options: &RemoteOptions) -> Result<Store, CallError> {
        Remote::connect(address, options).map(|remote| Store::from_caller(Arc::new(remote)))
    }

    /// The store that this caller carries calls to. It becomes the process's default if there is none: see
    /// [`Store::current`].
    pub fn from_caller(caller: Arc<dyn Caller>) -> Store {
        current::opened(&caller);
        Store { caller }
    }

    /// The same without a claim to be the default.
    pub(crate) fn of(caller: Arc<dyn Caller>) -> Store {
        Store { caller }
    }

    pub(crate) fn caller(&self) -> &Arc<dyn Caller> {
        &self.caller
    }

    /// The same store under a session of its own: what it acquires is given back when the last of its handles
    /// is dropped. It does not become the process's default.
    pub fn new_session(&self) -> Result<Store, CallError> {
        self.caller.new_session().map(Store::of)
    }

    /// The same store under a session that another run of this program can go on with: it makes the same calls with the
    /// same seed, and those that were made already are not made again, but answered as they were then.
    ///
    /// So a function that vanished in the middle can simply run again, if what it calls follows from its arguments and from
    /// the answers that it gets. A run that asks for another call than the run before did at that point gets `BadArgument`.
    /// The session makes its calls one after the other, also those of several threads: a thread that waits in an object
    /// keeps the others from calling. Two programs that may run at once, or within the hour, need different seeds.
    ///
    /// What the session did is remembered until it is [finished](Store::finish), or for an hour after its lease ended; dropping
    /// the store alone does not end it. What it holds (locks, permits) is given back when its lease ends.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// # let order = 17;
    /// let store = abide_client::Store::current()?.with_seed(order)?;
    /// let number = store.atomic_long("invoices").increment_and_get()?; // the same number in each run
    /// store.map::<u128, i64>("invoice of order").insert(&order, &number)?;
    /// store.finish()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_seed(&self, seed: u128) -> Result<Store, CallError> {
        self.with_seed_of(seed.to_le_bytes())
    }

    /// The same with a seed of any bytes, such as a job's name.
    pub fn with_seed_of(&self, seed: impl AsRef<[u8]>) -> Result<Store, CallError> {
        // Hashed, so that no seed of a user's is the id of an ordinary session.
        self.caller.seeded_session(abide_net::route::hash_128(seed.as_ref())).map(Store::of)
    }

    /// Ends the session in order: gives back what it holds at once, and forgets what it was answered. It makes no more calls:
    /// they end as `SessionExpired`. `Unavailable` if the node is out of reach; the session ends with its lease then.
    pub fn finish(&self) -> Result<(), CallError> {
        self.caller.end_session()
    }

    /// The address at which other processes reach this store, or nothing if it lives in this process alone.
    pub fn address(&self) -> Option<String> {
        self.caller.address()
    }

    /// What each shard knows of itself, in the order of their numbers.
    pub fn info(&self) -> Result<Vec<ShardInfo>, CallError> {
        (0..self.caller.shards()?).map(|shard| self.shard_info(shard)).collect()
    }
}

/// On tokio.
#[cfg(feature = "tokio")]
impl AsyncStore {
    /// The store on the node at `address` (`host:port`), under a new session. `Unavailable` if none answers there. The environment
    /// may change the [options](RemoteOptions::from_env). To be called in a tokio runtime, which the connections belong to.
    pub async fn connect(address: &str) -> Result<AsyncStore, CallError> {
        AsyncStore::connect_with(address, &RemoteOptions::from_env()?).await
    }

    /// The same with these options, whatever the environment says.
    pub async fn connect_with(address: &str, options: &RemoteOptions) -> Result<AsyncStore, CallError> {
        let remote = crate::remote_tokio::AsyncRemote::connect(address, options).await?;
        Ok(AsyncStore::from_caller(Arc::new(remote)))
    }
}

impl AsyncStore {
    /// The store that this caller carries calls to.
    pub fn from_caller(caller: Arc<dyn AsyncCaller>) -> AsyncStore {
        AsyncStore { caller }
    }

    /// What each shard knows of itself, in the order of their numbers.
    pub async fn info(&self) -> Result<Vec<ShardInfo>, CallError> {
        let mut infos = Vec::new();
        for shard in 0..self.caller.shards() {
            infos.push(self.shard_info(shard).await?);
        }
        Ok(infos)
    }
}

impl<M: Mode> Clone for StoreOf<M> {
    fn clone(&self) -> Self {
        StoreOf { caller: self.caller.clone() }
    }
}

impl<M: Mode> fmt::Debug for StoreOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.caller).finish()
    }
}

/// The type of this name, or an error that says which there are.
fn known_type(name: &str) -> Result<&'static TypeInfo, CallError> {
    find_type(name).ok_or_else(|| {
        let known = abide_schema::BUILT_IN.map(|info| info.name).join(", ");
        CallError::NoSuchMethod { name: format!("type {name:?} (known types: {known})") }
    })
}

#[cfg(test)]
mod tests;
