//! Which store a cloud thread runs with. Apart from the other tests, whose cloud threads would take a store of
//! these tests for the current one: it is the first of the process.

use abide_client::Store;
use abide_lambda::{CloudThread, JoinError, cloud_function};
use abide_net::{CallError, Caller, Request};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// A store that knows its sessions and nothing else.
#[derive(Debug)]
struct Sessions {
    /// How many live, and how many there ever were. Shared by all sessions.
    live: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
    /// Which session this is; the first store is 0.
    number: usize,
    broken: bool,
    /// Of which seed it is, if of one.
    seed: Option<u128>,
    /// Seeds of sessions that were begun, and of those that were ended on purpose. Shared by all sessions.
    seeds: Arc<Mutex<(Vec<u128>, Vec<u128>)>>,
}

impl Sessions {
    fn store(broken: bool) -> (Store, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (live, ever) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(1)));
        let (seed, seeds) = (None, Arc::default());
        let store = Sessions { live: live.clone(), ever: ever.clone(), number: 0, broken, seed, seeds };
        (Store::from_caller(Arc::new(store)), live, ever)
    }
}

impl Sessions {
    fn begin(&self, seed: Option<u128>) -> Result<Arc<dyn Caller>, CallError> {
        if self.broken {
            return Err(CallError::SessionsFull { max: 1 });
        }
        self.live.fetch_add(1, SeqCst);
        let number = self.ever.fetch_add(1, SeqCst);
        let (live, ever, seeds) = (self.live.clone(), self.ever.clone(), self.seeds.clone());
        Ok(Arc::new(Sessions { live, ever, number, broken: false, seed, seeds }))
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.live.fetch_sub(1, SeqCst);
    }
}

impl Caller for Sessions {
    fn call(&self, _: &Request<'_>, _: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        Err(CallError::bad_argument(self.number))
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.number as u32)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        self.begin(None)
    }

    fn seeded_session(&self, seed: u128) -> Result<Arc<dyn Caller>, CallError> {
        self.seeds.lock().unwrap().0.push(seed);
        self.begin(Some(seed))
    }

    fn end_session(&self) -> Result<(), CallError> {
        self.seeds.lock().unwrap().1.extend(self.seed);
        Ok(())
    }

    fn address(&self) -> Option<String> {
        None
    }
}

/// The number of the session that this code runs with.
fn session() -> Result<String, CallError> {
    match Store::current()?.atomic_long("any").get() {
        Err(CallError::BadArgument { reason }) => Ok(reason),
        other => panic!("{other:?}"),
    }
}

#[cloud_function]
fn nothing() -> Result<(), CallError> {
    Ok(())
}

#[cloud_function]
fn session_of(panic: bool) -> Result<String, CallError> {
    let session = session()?;
    assert!(!panic, "{session}");
    Ok(session)
}

#[test]
fn each_cloud_thread_has_a_session_of_its_own_that_ends_before_it_is_joined() {
    let (store, live, ever) = Sessions::store(false);
    let _current = store.enter();
    let mut sessions: Vec<_> = (0..4).map(|_| CloudThread::spawn(session_of, (false,))).collect::<Vec<_>>();
    sessions.push(CloudThread::builder().store(&store).spawn(session_of, (false,)));
    let mut sessions: Vec<_> = sessions.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(live.load(SeqCst), 1, "all sessions have ended but the first");
    sessions.sort();
    assert_eq!(sessions, ["1", "2", "3", "4", "5"]);

    let retried = || CloudThread::builder().retries(1).retry_delay(Duration::ZERO);
    let panicked = retried().without_seed().spawn(session_of, (true,));
    assert!(matches!(panicked.join(), Err(JoinError::Panicked { message }) if message == "7"));
    assert_eq!(
        (live.load(SeqCst), ever.load(SeqCst)),
        (1, 8),
        "a session for each attempt, ended by the panic"
    );

    let without = CloudThread::builder().without_store().spawn(nothing, ());
    without.join().unwrap();
    assert_eq!(ever.load(SeqCst), 8);
}

#[cloud_function]
fn succeeds_on(attempt: u32) -> Result<u32, String> {
    if CloudThread::attempt() < attempt { Err("not yet".to_owned()) } else { Ok(attempt) }
}

#[test]
fn the_attempts_of_a_retried_thread_are_runs_of_one_session_that_ends_with_the_last() {
    let (live, ever) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(1)));
    let seeds = Arc::<Mutex<(Vec<u128>, Vec<u128>)>>::default();
    let (seed, broken, number) = (None, false, 0);
    let store = Sessions { live: live.clone(), ever, number, broken, seed, seeds: seeds.clone() };
    let store = Store::from_caller(Arc::new(store));
    let retried = |retries| {
        let quick = CloudThread::builder().store(&store).retry_delay(Duration::ZERO);
        quick.retries(retries)
    };
    let begun_and_ended = || std::mem::take(&mut *seeds.lock().unwrap());

    assert_eq!(retried(3).spawn(succeeds_on, (3,)).join().unwrap(), 3);
    let (begun, ended) = begun_and_ended();
    assert_eq!(begun, [begun[0]; 3]);
    assert_eq!(ended, [begun[0]], "in order, by the attempt that succeeded");

    retried(1).spawn(succeeds_on, (3,)).join().unwrap_err();
    let (again, ended) = begun_and_ended();
    assert_eq!(ended, [again[0]], "nobody goes on with it, so what it holds is given back");
    assert_ne!(again[0], begun[0], "each cloud thread has its own");

    retried(0).spawn(succeeds_on, (1,)).join().unwrap();
    retried(3).without_seed().spawn(succeeds_on, (2,)).join().unwrap();
    assert_eq!(begun_and_ended(), (vec![], vec![]));
    assert_eq!(live.load(SeqCst), 1);
}

#[test]
fn without_a_session_the_function_does_not_run() {
    let (store, live, _) = Sessions::store(true);
    let error = CloudThread::builder().store(&store).spawn(session_of, (false,)).join().unwrap_err();
    assert!(matches!(&error, JoinError::NoStore { reason } if reason.contains("too many")), "{error:?}");
    drop(store);
    assert_eq!(live.load(SeqCst), 0, "the cloud thread holds no store when it has ended");
}
