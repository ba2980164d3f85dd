//! Handles against a fake caller, which records what goes over the seam and answers as told.

mod asynchronous;
mod guards;
mod library;
mod monitors;
mod seam;
mod values;

use abide_net::{
    CallError, Caller, Creation, MethodKind, Request,
    caller::{AsyncCaller, CallFuture},
    codec,
    route::ShardId,
};
use abide_schema::{Method, ObjectType, types::object};
use serde::Serialize;
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

/// A request that came over the seam, kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) type_id: u16,
    pub(crate) key: String,
    pub(crate) shard: Option<ShardId>,
    pub(crate) method: u16,
    pub(crate) kind: MethodKind,
    pub(crate) creation: Brought,
    pub(crate) epoch: u64,
    pub(crate) replicas: Option<u8>,
    pub(crate) arguments: Vec<u8>,
}

/// A [`Creation`] that owns its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Brought {
    Nothing,
    IfAbsent(Vec<u8>),
    Exactly(Vec<u8>),
}

impl Recorded {
    fn of(request: &Request<'_>) -> Self {
        Recorded {
            type_id: request.type_id,
            key: request.key.to_owned(),
            shard: request.shard,
            method: request.method,
            kind: request.kind,
            creation: match request.creation {
                Creation::Never => Brought::Nothing,
                Creation::IfAbsent(arguments) => Brought::IfAbsent(arguments.to_vec()),
                Creation::Exactly(arguments) => Brought::Exactly(arguments.to_vec()),
            },
            epoch: request.epoch,
            replicas: request.replicas,
            arguments: request.arguments.to_vec(),
        }
    }

    /// The call's method, if it is this one.
    pub(crate) fn as_call<C: Method>(&self) -> Option<C> {
        let is_it = C::ID == self.method && [self.type_id, object::Type::ID].contains(&C::Object::ID);
        is_it.then(|| {
            assert_eq!(self.kind, C::KIND);
            codec::decode(&self.arguments).expect("arguments of the method that it says it is")
        })
    }
}

type Answer = dyn Fn(&Recorded) -> Result<Vec<u8>, CallError> + Send + Sync;

/// A caller that records, and answers by a function.
pub(crate) struct Fake {
    calls: Mutex<Vec<Recorded>>,
    answer: Box<Answer>,
    pub(crate) epoch: AtomicU64,
    pub(crate) shards: AtomicU32,
    /// Asynchronous calls that may wait stay unanswered while this is set.
    pub(crate) stuck: AtomicBool,
    /// How many asynchronous calls were dropped unanswered.
    pub(crate) cancelled: AtomicU32,
    /// The seed of the session that was begun last with one, and whether a session was ended in order.
    pub(crate) seed: Mutex<Option<u128>>,
    pub(crate) ended: AtomicBool,
}

impl Fake {
    pub(crate) fn new(
        answer: impl Fn(&Recorded) -> Result<Vec<u8>, CallError> + Send + Sync + 'static,
    ) -> Arc<Fake> {
        Arc::new(Fake {
            calls: Mutex::default(),
            answer: Box::new(answer),
            epoch: AtomicU64::new(7),
            shards: AtomicU32::new(1),
            stuck: AtomicBool::new(false),
            cancelled: AtomicU32::new(0),
            seed: Mutex::new(None),
            ended: AtomicBool::new(false),
        })
    }

    /// Answers every call with this.
    pub(crate) fn answering<T: Serialize + ?Sized>(answer: &T) -> Arc<Fake> {
        let answer = encoded(answer);
        Fake::new(move |_| answer.clone())
    }

    /// The calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// The only call since this was last asked, which must be of this method.
    pub(crate) fn call<C: Method>(&self) -> C {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].as_call().unwrap_or_else(|| panic!("another method: {calls:?}"))
    }

    /// Asserts that this was the only call since this was last asked.
    pub(crate) fn expect<C: Method + PartialEq + fmt::Debug>(&self, expected: C) {
        assert_eq!(self.call::<C>(), expected);
    }

    /// Waits until so many calls were made, for those that are made in the background.
    pub(crate) fn wait_for(&self, calls: usize) {
        let begin = Instant::now();
        while self.calls.lock().unwrap().len() < calls {
            assert!(begin.elapsed() < Duration::from_secs(30), "the background made no call");
            std::thread::yield_now();
        }
    }

    fn make(&self, call: Recorded) -> Result<(u64, Vec<u8>), CallError> {
        self.calls.lock().unwrap().push(call.clone());
        (self.answer)(&call).map(|bytes| (self.epoch.load(SeqCst), bytes))
    }
}

/// What a node knows of an object of this version.
fn info(version: u64) -> abide_schema::ObjectInfo {
    abide_schema::ObjectInfo {
        type_name: "Set".to_owned(),
        key: "s".to_owned(),
        bytes: 1,
        created_unix_ms: 2,
        last_call_unix_ms: 3,
        version,
        waiters: 0,
        replicas: 1,
        persistent: false,
        expires_unix_ms: None,
    }
}

/// An answer.
pub(crate) fn encoded<T: Serialize + ?Sized>(answer: &T) -> Result<Vec<u8>, CallError> {
    Ok(codec::encode(answer).unwrap())
}

impl Caller for Fake {
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let (epoch, bytes) = self.make(Recorded::of(request))?;
        // The seam forbids nothing here: the arguments must have been left alone while the call was under way.
        assert_eq!(
            self.calls.lock().unwrap().last().map(|call| &call.arguments[..]),
            Some(request.arguments)
        );
        result(&bytes);
        Ok(epoch)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.shards.load(SeqCst))
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(Fake::answering(&"another session"))
    }

    fn seeded_session(&self, seed: u128) -> Result<Arc<dyn Caller>, CallError> {
        let session = Fake::answering(&"a seeded session");
        *session.seed.lock().unwrap() = Some(seed);
        *self.seed.lock().unwrap() = Some(seed);
        Ok(session)
    }

    fn end_session(&self) -> Result<(), CallError> {
        self.ended.store(true, SeqCst);
        Ok(())
    }

    fn address(&self) -> Option<String> {
        Some("fake:1".to_owned())
    }
}

/// Counts, when it is dropped, what was not answered.
struct Unanswered {
    fake: Arc<Fake>,
    answered: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.fake.cancelled.fetch_add(u32::from(!self.answered), SeqCst);
    }
}

/// The fake, called without blocking. Each call is pending when it is first polled.
#[derive(Debug)]
pub(crate) struct AsyncFake(pub(crate) Arc<Fake>);

impl AsyncCaller for AsyncFake {
    fn call(&self, request: &Request<'_>) -> CallFuture<'static> {
        let call = Recorded::of(request);
        let mut unanswered = Unanswered { fake: self.0.clone(), answered: false };
        let mut polls = 0;
        Box::pin(async move {
            poll_fn(|context| {
                polls += 1;
                let waits = call.kind == MethodKind::Wait && unanswered.fake.stuck.load(SeqCst);
                if polls > 1 && !waits {
                    return Poll::Ready(());
                }
                if polls == 1 {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            })
            .await;
            unanswered.answered = true;
            unanswered.fake.make(call)
        })
    }

    fn shards(&self) -> u32 {
        self.0.shards.load(SeqCst)
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

/// The smallest executor: polls when it is woken.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
