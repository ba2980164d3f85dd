//! Calls to a node: [`Remote`] is the blocking client's `Caller`.
//!
//! Read in this order:
//! - `options`: what can be chosen, and the bounds;
//! - `node`, `session`, `slots`, `succession`: what a client knows of its node, who calls, how calls are named,
//!   and what follows a session that ended;
//! - `outcome`: how what happened on the way becomes the caller's error;
//! - `backoff`: pauses between attempts, and when they end;
//! - `frames`: what is said to a node. All these are without I/O, and serve the asynchronous client too;
//! - `link`, `pool`, `links`: one connection, those to one core, those of a session;
//! - `call`: one call, from its first attempt to its end;
//! - `heartbeat`: how a session lives on without calls.
//!
//! # What a call promises
//! A call is named by (session, slot, sequence) and sent under this name until it is answered, on one connection
//! after another; the node makes it once. What can be concluded from an error:
//!
//! | error | the call was made | and then |
//! |---|---|---|
//! | `Unavailable` | no (or it was a read) | nothing answered for [`retry_for`](RemoteOptions::retry_for); call again |
//! | `Unknown` | perhaps | it was sent, and nothing answers, or its session is gone |
//! | `SessionExpired` | no (or it was a read) | what the session held is given back; the next call begins a new one |
//! | any other | this is its answer, or why it was not sent | |
//!
//! # When a node is restarted
//! A session goes on: calls under way are sent again under their names, and as the session's first contact with each
//! shard. A shard with persistent objects knows what the session did to them, which of its calls wait, and what it
//! holds, also that it expired; so a call is made once, and one that waits is still in its place. Objects that were
//! in memory alone are gone: whoever has seen one of them gets [`Lost`](CallError::Lost), and so does a change that
//! may have been made before the restart.
//!
//! # When a session ends
//! A session ends with its [`Remote`], or when its shards heard nothing of it for a lease. The program is told by
//! the first call that notices: as `SessionExpired`, or as `Unknown` if that call may have been made. This is so
//! even if the session held nothing, for a client does not know what its calls acquired. Calls of other threads that
//! are under way then end in the same way; later ones are calls of a new session. A session in which no call was sent
//! yet ends unnoticed.
//!
//! # Seeded sessions
//! The name of a seeded session is its seed. It has one slot, in which its calls are numbered from 1, and made one after
//! the other: a program that runs again makes the same calls under the same names, and gets the answers of those that
//! were made. It says no goodbye when it is dropped, only when it is [ended](Caller::end_session), and nothing follows it.

pub(crate) mod backoff;
mod call;
pub(crate) mod frames;
mod heartbeat;
mod link;
mod links;
pub(crate) mod node;
mod options;
pub(crate) mod outcome;
mod pool;
pub(crate) mod session;
pub(crate) mod slots;
pub(crate) mod succession;

pub use options::{RETRY_FOR_MAX, RemoteOptions};

use crate::transport::Transport;
use abide_net::{CallError, Caller, Request};
use backoff::{Backoff, Patience};
use heartbeat::Heartbeats;
use link::Link;
use links::{Links, reach};
use node::{Incarnation, Node};
use outcome::{Failure, text_of};
use session::Session;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};
use succession::Succession;

/// The objects of a node, through one session. Any number of threads may call at once.
///
/// The session ends, and gives back what it holds, when this is dropped.
#[derive(Debug)]
pub struct Remote {
    node: Arc<Node>,
    transport: Transport,
    sessions: Succession<Links>,
    heartbeats: Arc<Heartbeats>,
    /// Of a seeded session: whose turn it is to call.
    turn: Option<Mutex<()>>,
    /// The session was ended on purpose.
    is_finished: AtomicBool,
}

impl Remote {
    /// Reaches the node at `address`, which is `host:port`, and learns where its cores listen.
    ///
    /// Tries for [`retry_for`](RemoteOptions::retry_for): the node may be about to start. Then
    /// `Unavailable`; at once if the node speaks another version, or if io_uring is demanded and forbidden.
    pub fn connect(address: &str, options: &RemoteOptions) -> Result<Remote, CallError> {
        let settings = options.resolve()?;
        check_address(address)?;
        let transport = options.transport.resolve();
        let transport = transport.map_err(|error| CallError::Unavailable { reason: text_of(&error) })?;
        let session = Session::new();
        let hello = frames::hello(&session, settings.lease_ms);
        let (mut backoff, patience) = (Backoff::new(), Patience::new(Instant::now(), settings.retry_for));
        let (link, core, incarnation) = loop {
            let reached = reach(address, |address| {
                let deadline = patience.ends().min(Instant::now() + settings.connect_timeout);
                let (link, welcome) = Link::open(address, &hello, transport, deadline)?;
                Ok((link, welcome.core.into(), Incarnation::new(address, &welcome)))
            });
            let failure = match reached {
                Ok(reached) => break reached,
                Err(failure) => failure,
            };
            match (failure, patience.permits(Instant::now(), backoff.pause())) {
                (Failure::Passing(_), Some(pause)) => thread::sleep(pause),
                (failure, _) => return Err(CallError::Unavailable { reason: failure.into_text() }),
            }
        };
        let node = Arc::new(Node::new(address.to_owned(), settings, incarnation));
        let remote = Remote::with_session(node, session, transport, Arc::default());
        remote.sessions.last().place().adopt(core, link);
        Ok(remote)
    }

    fn with_session(
        node: Arc<Node>,
        session: Session,
        transport: Transport,
        heartbeats: Arc<Heartbeats>,
    ) -> Remote {
        let turn = session.is_seeded.then(Mutex::default);
        let sessions = Succession::new(Links::new(node.clone(), session, transport));
        Remote { node, transport, sessions, heartbeats, turn, is_finished: AtomicBool::new(false) }
    }

    /// The session for a new call.
    fn session(&self) -> Result<Arc<Links>, CallError> {
        if self.turn.is_none() && !self.is_finished.load(SeqCst) {
            return self.sessions.get(|| Links::new(self.node.clone(), Session::new(), self.transport));
        }
        Some(self.sessions.last()).filter(|links| links.session.lives()).ok_or(CallError::SessionExpired)
    }

    fn other_session(&self, session: Session) -> Arc<dyn Caller> {
        let (node, heartbeats) = (self.node.clone(), self.heartbeats.clone());
        Arc::new(Remote::with_session(node, session, self.transport, heartbeats))
    }
}

impl Caller for Remote {
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let _turn = self.turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let links = self.session()?;
        if links.needs_heartbeat() {
            self.heartbeats.keep(&links);
        }
        call::make(&links, request, result)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.node.latest().map.shards)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(self.other_session(Session::new()))
    }

    fn seeded_session(&self, seed: u128) -> Result<Arc<dyn Caller>, CallError> {
        Ok(self.other_session(Session::with_id(seed, true)))
    }

    /// Tries for [`retry_for`](RemoteOptions::retry_for), then `Unavailable`: the session ends with its lease then.
    fn end_session(&self) -> Result<(), CallError> {
        self.is_finished.store(true, SeqCst);
        let links = self.sessions.last();
        if !links.session.lives() {
            return Ok(());
        }
        links.session.end(true);
        let (mut backoff, patience) =
            (Backoff::new(), Patience::new(Instant::now(), self.node.settings.retry_for));
        loop {
            let deadline = patience.ends().min(Instant::now() + self.node.settings.request_timeout);
            let Err(failure) = links.tell_the_end(deadline) else { return Ok(()) };
            match (failure, patience.permits(Instant::now(), backoff.pause())) {
                (Failure::Passing(_) | Failure::OtherIncarnation, Some(pause)) => thread::sleep(pause),
                (failure, _) => return Err(CallError::Unavailable { reason: failure.into_text() }),
            }
        }
    }

    fn address(&self) -> Option<String> {
        Some(self.node.address.clone())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // What a seeded session did is kept for another run of its program.
        if self.turn.is_none() {
            self.sessions.last().say_goodbye();
        }
        self.heartbeats.let_go();
    }
}

/// Refuses what can never be resolved, for which there is no point in trying again.
pub(crate) fn check_address(address: &str) -> Result<(), CallError> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(CallError::bad_argument(format!("{address:?} is not an address: it should be host:port"))),
    }
}
