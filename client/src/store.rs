//! The store: where handles come from.

mod handles;
mod json;
mod list;
mod waits;

pub use list::{ListCursor, ListFilter, ListedObject};
pub use waits::WaitsCursor;

use crate::{
    current,
    handles::{
        Handle,
        object::{Given, Object, Owners},
    },
    mode::{Asynchronous, Blocking, Mode},
    remote::{Remote, RemoteOptions},
};
use abide_net::{CallError, Caller, caller::AsyncCaller};
use abide_schema::{
    ObjectType, ShardInfo, TypeInfo, find_type,
    types::{object, shard},
};
use std::{
    fmt,
    ptr::addr_eq,
    sync::{Arc, Weak},
};

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
    /// Of a seeded session.
    owners: Option<Arc<Owners>>,
}

impl<M: Mode> StoreOf<M> {
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
        let object = Object::new(self.caller.clone(), H::Declared::ID, key, given);
        H::from_object(object.with_owners(self.owners.clone()))
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
        let store = Store::of(caller);
        current::opened(&store);
        store
    }

    /// The same without a claim to be the default.
    pub(crate) fn of(caller: Arc<dyn Caller>) -> Store {
        Store { caller, owners: None }
    }

    /// Without keeping it, or its session, alive.
    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore { caller: Arc::downgrade(&self.caller), owners: self.owners.clone() }
    }

    /// The same as of a seeded session.
    #[cfg(test)]
    pub(crate) fn with_owners(self) -> Store {
        Store { owners: Some(Arc::default()), ..self }
    }

    #[cfg(test)]
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
    /// While a thread panics it makes no calls of the session: what its guards hold stays held, for the run that goes on.
    /// The session's calls are blocking ones.
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
        let caller = self.caller.seeded_session(abide_net::route::hash_128(seed.as_ref()))?;
        Ok(Store { caller, owners: Some(Arc::default()) })
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

/// A [`Store`] as long as it lives otherwise.
#[derive(Debug)]
pub(crate) struct WeakStore {
    caller: Weak<dyn Caller>,
    owners: Option<Arc<Owners>>,
}

impl WeakStore {
    pub(crate) fn upgrade(&self) -> Option<Store> {
        Some(Store { caller: self.caller.upgrade()?, owners: self.owners.clone() })
    }

    pub(crate) fn lives(&self) -> bool {
        self.caller.strong_count() > 0
    }

    pub(crate) fn is(&self, store: &Store) -> bool {
        addr_eq(self.caller.as_ptr(), Arc::as_ptr(&store.caller))
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
        AsyncStore { caller, owners: None }
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
        StoreOf { caller: self.caller.clone(), owners: self.owners.clone() }
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
