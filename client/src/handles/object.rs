//! What every handle has inside: which object it means, and how its calls are made.

use crate::mode::Mode;
use abide_net::{
    CallError, Creation, Request, codec,
    route::{ShardId, check_key},
};
use abide_schema::{Method, ObjectType, types::object as own};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
};

/// One object (or one shard, asked about itself), as one caller knows it. Clones share it.
pub struct Object<M: Mode> {
    inner: Arc<Inner<M>>,
    /// Calls do not create the object, whatever arguments are at hand.
    must_exist: bool,
}

struct Inner<M: Mode> {
    caller: Arc<M::Caller>,
    type_id: u16,
    key: Box<str>,
    shard: Option<ShardId>,
    given: Given,
    /// On how many nodes the object shall live: 0 for an ephemeral one, nothing if it is taken as it is.
    replicas: Option<u8>,
    /// Of a seeded session: which number each thread has as an owner of locks.
    owners: Option<Arc<Owners>>,
    /// The epoch in which the object was last seen, or 0: how a node notices that it was there and is lost.
    epoch: AtomicU64,
}

/// The encoded arguments that calls bring along to create the object with.
#[derive(Clone)]
pub(crate) enum Given {
    /// None: the object must exist.
    Nothing,
    /// The type's defaults, or others that need not be the object's.
    IfAbsent(Vec<u8>),
    /// Those that the object must have been created with.
    Exactly(Vec<u8>),
}

impl<M: Mode> Object<M> {
    pub(crate) fn new(caller: Arc<M::Caller>, type_id: u16, key: &str, given: Given) -> Self {
        let (key, epoch) = (key.into(), AtomicU64::new(0));
        Self::of(Inner { caller, type_id, key, shard: None, given, replicas: None, owners: None, epoch })
    }

    /// The same object in a seeded session.
    pub(crate) fn with_owners(mut self, owners: Option<Arc<Owners>>) -> Self {
        if owners.is_some() {
            let inner = Arc::get_mut(&mut self.inner).expect("it was just made");
            inner.owners = owners;
        }
        self
    }

    /// A shard itself.
    pub(crate) fn shard(caller: Arc<M::Caller>, shard: ShardId) -> Self {
        let (type_id, key, given) = (abide_schema::types::shard::Type::ID, "".into(), Given::Nothing);
        let (shard, epoch) = (Some(shard), AtomicU64::new(0));
        Self::of(Inner { caller, type_id, key, shard, given, replicas: None, owners: None, epoch })
    }

    /// The same object with other arguments to create it.
    pub(crate) fn given(&self, change: impl FnOnce(Given) -> Given) -> Self {
        self.with(change(self.inner.given.clone()), self.inner.replicas)
    }

    /// The same object, to be created on so many nodes: on 0 in memory.
    pub(crate) fn on_replicas(&self, replicas: u8) -> Self {
        self.with(self.inner.given.clone(), Some(replicas))
    }

    fn with(&self, given: Given, replicas: Option<u8>) -> Self {
        let Inner { type_id, shard, .. } = *self.inner;
        let (caller, key, owners) =
            (self.inner.caller.clone(), self.inner.key.clone(), self.inner.owners.clone());
        let epoch = AtomicU64::new(self.inner.epoch.load(Relaxed));
        Self::of(Inner { caller, type_id, key, shard, given, replicas, owners, epoch })
    }

    /// The same object for calls that give something back to it: what is gone must not come back for that.
    pub(crate) fn that_exists(&self) -> Self {
        Object { inner: self.inner.clone(), must_exist: true }
    }

    fn of(inner: Inner<M>) -> Self {
        Object { inner: Arc::new(inner), must_exist: false }
    }

    pub(crate) fn key(&self) -> &str {
        &self.inner.key
    }

    /// Who locks, as a number that nobody else in this session has.
    pub(crate) fn new_owner(&self) -> u64 {
        self.inner.owners.as_ref().map_or_else(M::new_owner, |owners| owners.of_this_thread())
    }

    /// Whether this thread may call now. What a panic drops gives nothing back in a seeded session: another run makes the calls
    /// that come after those that were made, and those would be none of them.
    pub(crate) fn check_may_call(&self) -> Result<(), CallError> {
        if self.inner.owners.is_some() && thread::panicking() {
            return Err(CallError::denied("a seeded session makes no calls while its thread panics"));
        }
        Ok(())
    }

    pub(crate) fn caller(&self) -> &M::Caller {
        &self.inner.caller
    }

    /// Makes a call: `make` builds the method (it may fail to encode a user's value), `read` turns its output
    /// into the user's type.
    pub(crate) fn call<C, T>(
        &self,
        make: impl FnOnce() -> Result<C, CallError>,
        read: impl FnOnce(C::Output) -> Result<T, CallError> + Send + 'static,
    ) -> M::Output<T>
    where
        C: Method + 'static,
        T: 'static,
    {
        M::call(self, make, read, || ())
    }

    /// Encodes the method, and lends the request to `send`.
    pub(crate) fn with_request<C: Method, R>(
        &self,
        method: &C,
        send: impl FnOnce(&Request<'_>) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let inner = &*self.inner;
        let is_own = C::Object::ID == own::Type::ID;
        debug_assert!(is_own || C::Object::ID == inner.type_id, "a method of another type");
        if inner.shard.is_none() {
            check_key(&inner.key)?;
        }
        let creation = match &inner.given {
            // Of the methods that every object has, one creates it.
            _ if is_own && C::ID != own::Create::ID => Creation::Never,
            _ if self.must_exist => Creation::Never,
            Given::Nothing => Creation::Never,
            Given::IfAbsent(arguments) => Creation::IfAbsent(arguments),
            Given::Exactly(arguments) => Creation::Exactly(arguments),
        };
        scratch::with(|arguments| {
            codec::encode_into(method, arguments)?;
            send(&Request {
                type_id: inner.type_id,
                key: &inner.key,
                shard: inner.shard,
                method: C::ID,
                kind: C::KIND,
                creation,
                epoch: inner.epoch.load(Relaxed),
                replicas: inner.replicas,
                arguments,
            })
        })
    }

    /// Remembers what an answer says about where the object is.
    pub(crate) fn answered(&self, answer: Result<u64, CallError>) -> Result<(), CallError> {
        match answer {
            // Answers may overtake one another; epochs only grow.
            Ok(epoch) => {
                self.inner.epoch.fetch_max(epoch, Relaxed);
                Ok(())
            }
            Err(error) => {
                if error == CallError::NotFound {
                    self.is_absent();
                }
                Err(error)
            }
        }
    }

    /// The object is known not to exist: should its node go now, it was not lost.
    pub(crate) fn is_absent(&self) {
        self.inner.epoch.store(0, Relaxed);
    }
}

/// The numbers that the threads of a seeded session have as owners of locks: 1 for the first that locks, and so on, so that
/// another run of the program makes the same calls.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<HashMap<ThreadId, u64>>);

impl Owners {
    fn of_this_thread(&self) -> u64 {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = owners.len() as u64 + 1;
        *owners.entry(thread::current().id()).or_insert(next)
    }
}

impl Given {
    /// The defaults of a type, if it has such.
    pub(crate) fn default_of<O: ObjectType>() -> Given {
        O::info().default_creation.map_or(Given::Nothing, |encoded| Given::IfAbsent(encoded()))
    }

    /// These arguments and no others.
    pub(crate) fn exactly<A: Serialize>(arguments: &A) -> Given {
        Given::Exactly(codec::encode(arguments).expect("creation arguments can be encoded"))
    }

    /// The same arguments, but an object that was created with others will do.
    pub(crate) fn or_open(self) -> Given {
        match self {
            Given::Exactly(arguments) => Given::IfAbsent(arguments),
            other => other,
        }
    }

    /// The arguments, if there are any, changed.
    pub(crate) fn change<A: Serialize + DeserializeOwned>(self, change: impl FnOnce(&mut A)) -> Given {
        let changed = |encoded: Vec<u8>| {
            let mut arguments = codec::decode(&encoded).expect("this handle encoded them");
            change(&mut arguments);
            codec::encode(&arguments).expect("creation arguments can be encoded")
        };
        match self {
            Given::Nothing => Given::Nothing,
            Given::IfAbsent(encoded) => Given::IfAbsent(changed(encoded)),
            Given::Exactly(encoded) => Given::Exactly(changed(encoded)),
        }
    }
}

impl<M: Mode> Clone for Object<M> {
    fn clone(&self) -> Self {
        Object { inner: self.inner.clone(), must_exist: self.must_exist }
    }
}

impl<M: Mode> fmt::Debug for Object<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.key.fmt(f)
    }
}

/// Memory of the thread that arguments are encoded in, so that a call need not allocate.
mod scratch {
    use std::cell::Cell;

    /// More is given back after the call: one large value should not occupy a thread for ever.
    const KEPT_BYTES_MAX: usize = 64 << 10;

    thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

    /// Lends an empty buffer. It is taken out of the thread meanwhile, so a call made inside of this one gets
    /// another, and so does a thread that is ending.
    pub(super) fn with<R>(body: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        let result = body(&mut buffer);
        if buffer.capacity() <= KEPT_BYTES_MAX {
            // A thread that is ending keeps nothing.
            let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
        }
        result
    }
}
