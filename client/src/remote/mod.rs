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
//! # When a session ends
//! A session ends with its [`Remote`], or when its shards heard nothing of it for a lease, or with its node: a
//! node that is started again knows no former session. The program is told by the first call that notices: as
//! `SessionExpired`, or as `Unknown` if that call may have been made. This is so even if the session held
//! nothing, for a client does not know what its calls acquired. Calls of other threads that are under way then
//! end in the same way; later ones are calls of a new session. A session in which no call was sent yet ends
//! unnoticed.

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
use call::Ended;
use heartbeat::Heartbeats;
use link::Link;
use links::{Links, reach};
use node::{Incarnation, Node};
use outcome::{Failure, text_of};
use session::Session;
use std::{sync::Arc, thread, time::Instant};
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
        let id = session::random_id();
        let hello = frames::hello(id, settings.lease_ms);
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
        let session = Session::with_id(id, node.latest());
        let remote = Remote::with_session(node, session, transport, Arc::default());
        remote.sessions.last().adopt(core, link);
        Ok(remote)
    }

    fn with_session(
        node: Arc<Node>,
        session: Session,
        transport: Transport,
        heartbeats: Arc<Heartbeats>,
    ) -> Remote {
        let sessions = Succession::new(Links::new(node.clone(), session, transport));
        Remote { node, transport, sessions, heartbeats }
    }

    /// The session for a new call.
    fn session(&self) -> Result<Arc<Links>, CallError> {
        self.sessions.get(|| Links::new(self.node.clone(), Session::new(self.node.latest()), self.transport))
    }
}

impl Caller for Remote {
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let mut patience = Patience::new(Instant::now(), self.node.settings.retry_for);
        loop {
            let links = self.session()?;
            if links.needs_heartbeat() {
                self.heartbeats.keep(&links);
            }
            match call::make(&links, request, &mut patience, result) {
                Ok(epoch) => return Ok(epoch),
                Err(Ended::Error(error)) => return Err(error),
                // Each of these is a restart of the node that was noticed: rare, but not to be trusted to be.
                Err(Ended::NeverBegun) if Instant::now() < patience.ends() => {}
                Err(Ended::NeverBegun) => {
                    let reason = "the node was restarted again and again".to_owned();
                    return Err(CallError::Unavailable { reason });
                }
            }
        }
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.node.latest().map.shards)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        let (node, heartbeats) = (self.node.clone(), self.heartbeats.clone());
        let session = Session::new(node.latest());
        Ok(Arc::new(Remote::with_session(node, session, self.transport, heartbeats)))
    }

    fn address(&self) -> Option<String> {
        Some(self.node.address.clone())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.sessions.last().say_goodbye();
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
