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
mod future;
mod integers;
mod list;
mod map;
mod mutex;
pub(crate) mod object;
mod pages;
mod reference;
mod registers;
mod semaphore;
#[cfg(test)]
pub(crate) mod tests;

pub use barrier::{CountDownLatch, CyclicBarrier};
pub use future::Future;
pub use integers::{AtomicInt, AtomicLong};
pub use list::List;
pub use map::Map;
pub use mutex::{Mutex, MutexGuard};
pub use pages::Paged;
pub use reference::AtomicRef;
pub use registers::{AtomicBool, AtomicByteArray, AtomicDouble, Counter};
pub use semaphore::{Permit, Semaphore};

use crate::mode::Mode;
use abide_net::{CallError, Value};
use abide_schema::ObjectType;
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

            /// Whether the object exists. Does not create it.
            pub fn exists(&self) -> M::Output<bool> {
                let object = self.object.clone();
                self.object.call(|| Ok(abide_schema::types::object::Exists {}), move |exists| {
                    if !exists {
                        object.is_absent();
                    }
                    Ok(exists)
                })
            }

            /// Creates the object on purpose, also after it was [`Lost`](abide_net::CallError::Lost). Says
            /// whether it was absent.
            ///
            /// `BadArgument` if the handle has no arguments to create it with, `AlreadyExists` if it insists
            /// on others than the object's.
            pub fn create(&self) -> M::Output<bool> {
                self.object.call(|| Ok(abide_schema::types::object::Create {}), Ok)
            }

            /// Removes the object. Calls that wait in it end as `Broken`. Says whether it existed.
            pub fn delete(&self) -> M::Output<bool> {
                let object = self.object.clone();
                self.object.call(|| Ok(abide_schema::types::object::Delete {}), move |existed| {
                    object.is_absent();
                    Ok(existed)
                })
            }

            /// What the node knows of the object. `NotFound` if there is none.
            pub fn info(&self) -> M::Output<abide_schema::ObjectInfo> {
                self.object.call(|| Ok(abide_schema::types::object::Info {}), Ok)
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

/// Several values as the user's type.
fn decode_all<T: DeserializeOwned>(values: Vec<Value>) -> Result<Vec<T>, CallError> {
    values.iter().map(Value::decode).collect()
}

/// A time limit as it travels: in milliseconds, rounded up, so that nobody waits less than asked for.
fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
