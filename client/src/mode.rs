//! The two ways of calling an object: blocking the thread, or returning a future.
//!
//! A handle is defined once, generic over its [`Mode`]. Its methods name the method to call and how to read
//! the answer; the mode decides what "call" means and what the method returns.

use crate::handles::{background, object::Object};
use abide_net::{
    CallError, Caller,
    caller::{AsyncCaller, CallFuture},
    codec,
};
use abide_schema::Method;
use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Blocking {}
    impl Sealed for super::Asynchronous {}
}

/// A way of calling: [`Blocking`] or [`Asynchronous`].
pub trait Mode: sealed::Sealed + Debug + Clone + Copy + Send + Sync + 'static {
    /// What a handle's method returns for a result of type `T`.
    type Output<T>;

    /// What carries the calls.
    #[doc(hidden)]
    type Caller: ?Sized + Debug + Send + Sync;

    /// A marker in what belongs to the thread that acquired it, if anything does in this mode.
    #[doc(hidden)]
    type OfThread;

    /// Each guard is an owner of its own, rather than its thread.
    #[doc(hidden)]
    const OWNERS_ARE_GUARDS: bool;

    /// Makes one call: `make` builds the method, `read` turns its output into the user's type. If the caller
    /// gives the call up before its answer is known, `abandoned` runs.
    #[doc(hidden)]
    fn call<C, T>(
        object: &Object<Self>,
        make: impl FnOnce() -> Result<C, CallError>,
        read: impl FnOnce(C::Output) -> Result<T, CallError> + Send + 'static,
        abandoned: impl FnOnce() + Send + 'static,
    ) -> Self::Output<T>
    where
        C: Method + 'static,
        T: 'static;

    /// Sees to it that a call ends although nobody waits for it.
    #[doc(hidden)]
    fn settle(output: Self::Output<()>, end: impl FnOnce(Result<(), CallError>) + Send + 'static);

    /// Who locks a mutex, as a number that nobody else in this process has.
    #[doc(hidden)]
    fn new_owner() -> u64;

    /// Number of shards behind this caller.
    #[doc(hidden)]
    fn shards(caller: &Self::Caller) -> Result<u32, CallError>;
}

/// Methods block the calling thread until the answer is there, and return a `Result`.
#[derive(Debug, Clone, Copy)]
pub struct Blocking;

/// Methods return a boxed future, on any executor. Await it: a future that is dropped early cancels a call
/// that still waits in its object, and leaves open whether any other call was made.
#[derive(Debug, Clone, Copy)]
pub struct Asynchronous;

impl Mode for Blocking {
    type Output<T> = Result<T, CallError>;
    type Caller = dyn Caller;
    type OfThread = std::sync::MutexGuard<'static, ()>; // Sync, but not Send
    const OWNERS_ARE_GUARDS: bool = false;

    fn call<C, T>(
        object: &Object<Self>,
        make: impl FnOnce() -> Result<C, CallError>,
        read: impl FnOnce(C::Output) -> Result<T, CallError> + Send + 'static,
        _abandoned: impl FnOnce() + Send + 'static,
    ) -> Result<T, CallError>
    where
        C: Method + 'static,
        T: 'static,
    {
        object.check_may_call()?;
        let method = make()?;
        let mut output = None;
        let answer = object.with_request(&method, |request| {
            object.caller().call(request, &mut |bytes| output = Some(codec::decode::<C::Output>(bytes)))
        });
        object.answered(answer)?;
        let no_result = || CallError::Unknown { reason: "the answer carried no result".to_owned() };
        read(output.ok_or_else(no_result)?.map_err(unreadable)?)
    }

    fn settle(output: Result<(), CallError>, end: impl FnOnce(Result<(), CallError>) + Send + 'static) {
        end(output);
    }

    fn new_owner() -> u64 {
        thread_local!(static OWNER: u64 = next_owner());
        OWNER.with(|owner| *owner)
    }

    fn shards(caller: &dyn Caller) -> Result<u32, CallError> {
        caller.shards()
    }
}

impl Mode for Asynchronous {
    type Output<T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send>>;
    type Caller = dyn AsyncCaller;
    type OfThread = ();
    const OWNERS_ARE_GUARDS: bool = true;

    fn call<C, T>(
        object: &Object<Self>,
        make: impl FnOnce() -> Result<C, CallError>,
        read: impl FnOnce(C::Output) -> Result<T, CallError> + Send + 'static,
        abandoned: impl FnOnce() + Send + 'static,
    ) -> Self::Output<T>
    where
        C: Method + 'static,
        T: 'static,
    {
        let call = make()
            .and_then(|method| object.with_request(&method, |request| Ok(object.caller().call(request))));
        let pending = match call {
            Ok(call) => Pending { call: Some(call), abandoned: Some(abandoned) },
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let object = object.clone();
        Box::pin(async move {
            let (answer, bytes) = match pending.await {
                Ok((epoch, bytes)) => (Ok(epoch), bytes),
                Err(error) => (Err(error), Vec::new()),
            };
            object.answered(answer)?;
            read(codec::decode(&bytes).map_err(unreadable)?)
        })
    }

    fn settle(output: Self::Output<()>, end: impl FnOnce(Result<(), CallError>) + Send + 'static) {
        background::spawn(async move { end(output.await) });
    }

    fn new_owner() -> u64 {
        next_owner()
    }

    fn shards(caller: &dyn AsyncCaller) -> Result<u32, CallError> {
        Ok(caller.shards())
    }
}

/// The call was made, but what came back is no result of that method: the peer has another version of it.
fn unreadable(error: codec::CodecError) -> CallError {
    CallError::Unknown { reason: format!("the call was made, but its result is unreadable: {error}") }
}

/// One counter for both modes, which may share a session.
fn next_owner() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

/// A call under way. Dropped before its answer, it is first cancelled and then reported as abandoned.
struct Pending<A: FnOnce()> {
    call: Option<CallFuture<'static>>,
    abandoned: Option<A>,
}

/// Nothing in it is pinned but the call, in a box of its own.
impl<A: FnOnce()> Unpin for Pending<A> {}

impl<A: FnOnce()> Future for Pending<A> {
    type Output = Result<(u64, Vec<u8>), CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.call.as_mut().expect("polled after its end");
        let answer = std::task::ready!(call.as_mut().poll(context));
        (self.call, self.abandoned) = (None, None);
        Poll::Ready(answer)
    }
}

impl<A: FnOnce()> Drop for Pending<A> {
    fn drop(&mut self) {
        self.call = None;
        if let Some(abandoned) = self.abandoned.take() {
            abandoned();
        }
    }
}
