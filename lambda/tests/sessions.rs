//! Which store a cloud thread runs with. Apart from the other tests, whose cloud threads would take a store of
//! these tests for the current one: it is the first of the process.

use abide_client::Store;
use abide_lambda::{CloudThread, JoinError, cloud_function};
use abide_net::{CallError, Caller, Request};
use std::{
    sync::{
        Arc,
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
}

impl Sessions {
    fn store(broken: bool) -> (Store, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let (live, ever) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(1)));
        let store = Sessions { live: live.clone(), ever: ever.clone(), number: 0, broken };
        (Store::from_caller(Arc::new(store)), live, ever)
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
        if self.broken {
            return Err(CallError::SessionsFull { max: 1 });
        }
        self.live.fetch_add(1, SeqCst);
        let number = self.ever.fetch_add(1, SeqCst);
        let (live, ever) = (self.live.clone(), self.ever.clone());
        Ok(Arc::new(Sessions { live, ever, number, broken: false }))
    }

    fn seeded_session(&self, _: u128) -> Result<Arc<dyn Caller>, CallError> {
        self.new_session()
    }

    fn end_session(&self) -> Result<(), CallError> {
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

    let panicked = CloudThread::builder().retries(1).retry_delay(Duration::ZERO).spawn(session_of, (true,));
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

#[test]
fn without_a_session_the_function_does_not_run() {
    let (store, live, _) = Sessions::store(true);
    let error = CloudThread::builder().store(&store).spawn(session_of, (false,)).join().unwrap_err();
    assert!(matches!(&error, JoinError::NoStore { reason } if reason.contains("too many")), "{error:?}");
    drop(store);
    assert_eq!(live.load(SeqCst), 0, "the cloud thread holds no store when it has ended");
}
