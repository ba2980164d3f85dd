//! Handles of shared objects: one struct for each type, one method for each of the object's.
//!
//! A handle names an object and knows how to reach it; it holds no state of the object, costs next to nothing
//! to clone, and contacts nobody until a method is called. [`StoreOf`](crate::StoreOf) makes them. Each is
//! generic over its [`Mode`]: `AtomicLong` blocks, `AtomicLong<Asynchronous>` returns futures, the methods
//! are the same.
//!
//! # Creation
//! A handle brings along the arguments that create its object, and the first call that reaches the node uses
//! them. Handles with default arguments (`store.atomic_long("x")`) take an object that exists as it is.
//! Handles with arguments that the program chose (`store.atomic_long_with("x", 5)`, `store.semaphore("s",
//! 3)`) insist on them: the calls on an object that was created with others fail as
//! [`AlreadyExists`](CallError::AlreadyExists), unless the handle is told `.or_open()`.
//!
//! # Where objects live
//! An object is in memory, and gone with its node, or [`persistent`](AtomicLong::persistent): acknowledged calls survive the end
//! of the process (and of the machine, if the store was opened so). Handles that say neither take an object as it is, and leave it
//! to the store where a new one lives. A handle that says so must bring the arguments to be heard: one that opens an existing
//! object takes it as it is.
//!
//! # Errors
//! Every call can fail as [`Unavailable`](CallError::Unavailable), [`Unknown`](CallError::Unknown),
//! [`Denied`](CallError::Denied) or [`MethodPanicked`](CallError::MethodPanicked), and with a key that is
//! empty or too long; methods document what else there is. An object that was in memory and went down with
//! its node answers [`Lost`](CallError::Lost) to each handle that had seen it, until someone calls
//! `create()`.
//!
//! # Values
//! What users put into collections and references is any serde type. Arguments are taken by reference, and in
//! any [form of](FormOf) the type: a `Map<String, u64>` is asked by `&str`. A stored value that is not of the
//! handle's type is an error when it is read, [`WrongType`](CallError::WrongType).

pub(crate) mod background;
mod barrier;
mod blob;
mod condition;
mod dictionary;
mod election;
mod future;
mod generators;
mod integers;
mod list;
mod map;
mod meetings;
mod mutex;
mod numeric;
pub(crate) mod object;
pub(crate) mod own;
mod pages;
mod phaser;
mod queue;
mod reducer;
mod reference;
mod registers;
mod rw_lock;
mod semaphore;
mod set;
mod sorted_map;
#[cfg(test)]
pub(crate) mod tests;
mod topic;
mod vector;

pub use barrier::{CountDownLatch, CyclicBarrier};
pub use blob::Blob;
pub use condition::{Condition, ConditionGuard};
pub use election::{Election, Leadership};
pub use future::Future;
pub use generators::{IdGenerator, RateLimiter};
pub use integers::{AtomicInt, AtomicLong};
pub use list::List;
pub use map::Map;
pub use meetings::{Event, Exchanger, Rendezvous};
pub use mutex::{Mutex, MutexGuard};
pub use numeric::Numeric;
pub use own::Versions;
pub use pages::Paged;
pub use phaser::Phaser;
pub use queue::{PriorityQueue, Queue};
pub use reducer::Reducer;
pub use reference::AtomicRef;
pub use registers::{AtomicBool, AtomicByteArray, AtomicDouble, Counter};
pub use rw_lock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use set::Set;
pub use sorted_map::SortedMap;
pub use topic::{Follow, Topic, TopicPage};
pub use vector::{Matrix, Vector};

use crate::mode::Mode;
use abide_net::{CallError, Value};
use abide_schema::{ObjectType, Page};
use object::Object;
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Borrow, time::Duration};

/// What can stand for a `T` in an argument: `T` itself, or what it borrows as (`str` for `String`, `[u8]` for
/// `Vec<u8>`), since the two serialise alike.
///
/// (They do in the standard library, with one exception: an array is not serialised like a slice. Pass
/// `&array`, not `&array[..]`, where the type is an array.)
pub trait FormOf<T: ?Sized>: Serialize {}
impl<T: Borrow<Q> + ?Sized, Q: Serialize + ?Sized> FormOf<T> for Q {}

/// A handle, as the store makes it.
pub(crate) trait Handle<M: Mode> {
    /// The type that it is a handle of.
    type Declared: ObjectType;
    fn from_object(object: Object<M>) -> Self;
}

/// Declares a handle: the struct, and what handles of all types offer. With `arguments` the handle also has
/// `or_open`.
macro_rules! handle {
    (
        $(#[$doc:meta])*
        pub struct $name:ident $(<$($parameter:ident),+>)? of $module:ident $(, $arguments:ident)?;
    ) => {
        $(#[$doc])*
        pub struct $name<$($($parameter,)+)? M: $crate::Mode = $crate::Blocking> {
            object: $crate::handles::object::Object<M>,
            values: std::marker::PhantomData<fn() -> ($($($parameter,)+)?)>,
        }

        impl<$($($parameter,)+)? M: $crate::Mode> $crate::handles::Handle<M> for $name<$($($parameter,)+)? M> {
            type Declared = abide_schema::types::$module::Type;

            fn from_object(object: $crate::handles::object::Object<M>) -> Self {
                Self { object, values: std::marker::PhantomData }
            }
        }

        impl<$($($parameter,)+)? M: $crate::Mode> $name<$($($parameter,)+)? M> {
            /// The object's key.
            pub fn key(&self) -> &str {
                self.object.key()
            }

            /// The same object, kept where it survives its node's end: in the region of one node. A call that would create
            /// it elsewhere, or finds it elsewhere, fails (`Denied`, `AlreadyExists`).
            #[must_use]
            pub fn persistent(self) -> Self {
                self.replicas(1)
            }

            /// The same object, kept on so many nodes. 0 is [`ephemeral`](Self::ephemeral); more than there are nodes is
            /// `BadArgument`.
            #[must_use]
            pub fn replicas(self, replicas: u8) -> Self {
                <Self as $crate::handles::Handle<M>>::from_object(self.object.on_replicas(replicas))
            }

            /// The same object, in memory: it is lost with its node. Without this, and without
            /// [`persistent`](Self::persistent), an object that exists is taken as it is, and where a new one lives is up to
            /// the store: in its file, if it is embedded and has one, in memory on a node.
            #[must_use]
            pub fn ephemeral(self) -> Self {
                self.replicas(0)
            }

            /// Whether the object exists. Does not create it.
            pub fn exists(&self) -> M::Output<bool> {
                $crate::handles::own::exists(&self.object)
            }

            /// Creates the object on purpose, also after it was [`Lost`](abide_net::CallError::Lost). Says
            /// whether it was absent.
            ///
            /// `BadArgument` if the handle has no arguments to create it with, `AlreadyExists` if it insists
            /// on others than the object's.
            pub fn create(&self) -> M::Output<bool> {
                $crate::handles::own::create(&self.object)
            }

            /// Removes the object. Calls that wait in it end as `Broken`. Says whether it existed.
            pub fn delete(&self) -> M::Output<bool> {
                $crate::handles::own::delete(&self.object)
            }

            /// What the node knows of the object. `NotFound` if there is none.
            pub fn info(&self) -> M::Output<abide_schema::ObjectInfo> {
                $crate::handles::own::info(&self.object)
            }

            /// Has the object deleted after so long, unless this is called again before, or
            /// [`persist`](Self::persist). Says whether it was to be deleted already. `NotFound` if there is none.
            pub fn expire_in(&self, duration: std::time::Duration) -> M::Output<bool> {
                $crate::handles::own::expire_in(&self.object, duration)
            }

            /// Takes an expiry back. Says whether there was one. `NotFound` if there is no object.
            pub fn persist(&self) -> M::Output<bool> {
                $crate::handles::own::persist(&self.object)
            }

            /// Waits until the object's version is above `version`, and returns it. Each call that may change the object
            /// makes its version greater. `Broken` if the object is deleted, `NotFound` if there is none.
            pub fn watch(&self, version: u64) -> M::Output<u64> {
                $crate::handles::own::watch(&self.object, version, None)
            }

            /// As [`watch`](Self::watch), for so long at most. `TimedOut` then.
            pub fn watch_timeout(&self, version: u64, timeout: std::time::Duration) -> M::Output<u64> {
                $crate::handles::own::watch(&self.object, version, Some(timeout))
            }

            /// The object's versions: the one that it has, and then each that is found when it has changed. Changes that follow
            /// one another quickly are one. Whatever ends it (`Broken` when the object is deleted) is the last item.
            pub fn versions(&self) -> $crate::handles::Versions<M> {
                $crate::handles::Versions::new(self.object.clone())
            }

            $(
                /// The same object, but taken as it is if it exists, even if it was created with other
                #[doc = concat!("`", stringify!($arguments), "`.")]
                #[must_use]
                pub fn or_open(self) -> Self {
                    let object = self.object.given($crate::handles::object::Given::or_open);
                    <Self as $crate::handles::Handle<M>>::from_object(object)
                }
            )?
        }

        impl<$($($parameter,)+)? M: $crate::Mode> Clone for $name<$($($parameter,)+)? M> {
            fn clone(&self) -> Self {
                Self { object: self.object.clone(), values: std::marker::PhantomData }
            }
        }

        impl<$($($parameter,)+)? M: $crate::Mode> std::fmt::Debug for $name<$($($parameter,)+)? M> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.object).finish()
            }
        }
    };
}
use handle;

/// A value that may be absent, as the user's type.
fn decode_option<T: DeserializeOwned>(value: Option<Value>) -> Result<Option<T>, CallError> {
    value.map(|value| value.decode()).transpose()
}

/// A value that may be absent, in its canonical bytes.
fn encode_option<T: Serialize + ?Sized>(value: Option<&T>) -> Result<Option<Value>, CallError> {
    value.map(Value::encode).transpose()
}

/// Several values in their canonical bytes.
fn encode_all<'a, Q: Serialize + ?Sized + 'a>(
    values: impl IntoIterator<Item = &'a Q>,
) -> Result<Vec<Value>, CallError> {
    values.into_iter().map(Value::encode).collect()
}

/// Entries of keys and values in their canonical bytes.
fn encode_entries<'a, A: Serialize + ?Sized + 'a, B: Serialize + ?Sized + 'a>(
    entries: impl IntoIterator<Item = (&'a A, &'a B)>,
) -> Result<Vec<(Value, Value)>, CallError> {
    entries.into_iter().map(|(key, value)| Ok((Value::encode(key)?, Value::encode(value)?))).collect()
}

/// An entry as the user's types.
fn decode_entry<K: DeserializeOwned, V: DeserializeOwned>(
    (key, value): (Value, Value),
) -> Result<(K, V), CallError> {
    Ok((key.decode()?, value.decode()?))
}

/// A page of values, with a value as its cursor.
fn decode_page<T: DeserializeOwned, C: DeserializeOwned>(
    page: Page<Value, Value>,
) -> Result<Page<T, C>, CallError> {
    Ok(Page { entries: decode_all(page.entries)?, next: decode_option(page.next)? })
}

/// A page of entries, with a key as its cursor.
fn decode_entries_page<K: DeserializeOwned, V: DeserializeOwned>(
    page: Page<(Value, Value), Value>,
) -> Result<Page<(K, V), K>, CallError> {
    let entries = page.entries.into_iter().map(decode_entry).collect::<Result<_, _>>()?;
    Ok(Page { entries, next: decode_option(page.next)? })
}

/// Several values as the user's type.
fn decode_all<T: DeserializeOwned>(values: Vec<Value>) -> Result<Vec<T>, CallError> {
    values.iter().map(Value::decode).collect()
}

/// A time limit as it travels: in milliseconds, rounded up, so that nobody waits less than asked for.
pub(crate) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
