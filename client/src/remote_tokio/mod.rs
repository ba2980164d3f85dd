//! Calls to a node on tokio: many at once, on one connection to each core.
//!
//! Read in this order, after [`remote`](crate::remote), whose rules apply here too:
//! - `in_flight`: the calls that are under way at one core, without I/O;
//! - `answer`: the future of a call;
//! - `lane`: the task that keeps one connection to a core, and reads and writes for all calls;
//! - `dial`: how connections are opened;
//! - `session`: lanes to all cores, and heartbeats.
//!
//! A call is no task: it is an entry in its lane and a future of a few hundred bytes, so that a hundred thousand
//! can wait in one process. At most [`SLOTS_MAX`](abide_net::limits::SLOTS_MAX) are under way in a session
//! (`SessionsFull` beyond), and 256 MiB of requests at one core (`Unavailable` beyond).
//!
//! A future that is dropped cancels its call, if that waits in its object. Its slot is used again when the node
//! has answered, so a late answer is never taken for another call's.
//!
//! When the node is restarted, all calls under way of a session move to lanes of its new incarnation at one moment, so that
//! those of one object stay in their order.
//!
//! Handles may be used on any executor. The connections are tasks of the tokio runtime in which
//! [`AsyncRemote::connect`] was called; when it ends, calls do.

mod answer;
mod dial;
mod in_flight;
mod lane;
mod session;

use crate::remote::{
    RemoteOptions,
    backoff::{Backoff, Patience},
    check_address, frames,
    node::{Incarnation, Node},
    outcome::Failure,
    session::Session,
    succession::Succession,
};
use abide_net::{
    CallError, Request,
    caller::{AsyncCaller, CallFuture},
};
use answer::Answer;
use session::LiveSession;
use std::{sync::Arc, time::Instant};
use tokio::{runtime::Handle, sync::oneshot, time::sleep};

/// The objects of a node, through one session, for calls that are futures.
///
/// The session ends, and gives back what it holds, when this and all futures of its calls are dropped.
#[derive(Debug)]
pub struct AsyncRemote {
    node: Arc<Node>,
    sessions: Succession<LiveSession>,
    runtime: Handle,
}

impl AsyncRemote {
    /// Reaches the node at `address`, which is `host:port`, and learns where its cores listen. To be called in
    /// a tokio runtime with I/O and time.
    ///
    /// Tries for [`retry_for`](RemoteOptions::retry_for), then `Unavailable`. The options of the transport and
    /// of the number of connections are for blocking clients, and have no effect.
    pub async fn connect(address: &str, options: &RemoteOptions) -> Result<AsyncRemote, CallError> {
        let settings = options.resolve()?;
        check_address(address)?;
        let session = Session::new();
        let hello = frames::hello(&session, settings.lease_ms);
        let (mut backoff, patience) = (Backoff::new(), Patience::new(Instant::now(), settings.retry_for));
        let (reached_at, stream, welcome) = loop {
            let deadline = patience.ends().min(Instant::now() + settings.connect_timeout);
            let failure = match dial::reach(address, &hello, deadline).await {
                Ok(reached) => break reached,
                Err(failure) => failure,
            };
            match (failure, patience.permits(Instant::now(), backoff.pause())) {
                (Failure::Passing(_), Some(pause)) => sleep(pause).await,
                (failure, _) => return Err(CallError::Unavailable { reason: failure.into_text() }),
            }
        };
        let node = Node::new(address.to_owned(), settings, Incarnation::new(reached_at, &welcome));
        let node = Arc::new(node);
        let session = LiveSession::new(&node, session, Handle::current());
        session.adopt(welcome.core.into(), stream);
        Ok(AsyncRemote { node, sessions: Succession::new(session), runtime: Handle::current() })
    }

    fn start(&self, request: &Request<'_>) -> Result<Answer, CallError> {
        let next = || LiveSession::new(&self.node, Session::new(), self.runtime.clone());
        let session = self.sessions.get(next)?;
        if self.node.settings.heartbeats {
            session.keep_alive();
        }
        let (answer, outcome) = oneshot::channel();
        let name = session.start(request, answer)?;
        Ok(Answer { name, outcome, is_over: false, session })
    }
}

impl AsyncCaller for AsyncRemote {
    fn call(&self, request: &Request<'_>) -> CallFuture<'static> {
        match self.start(request) {
            Ok(answer) => Box::pin(answer),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn shards(&self) -> u32 {
        self.node.latest().map.shards
    }
}
