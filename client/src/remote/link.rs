//! A connection that was welcomed: a pooled connection of the blocking client.

use super::{
    frames::{self, Attempt, WELCOME_BYTES_MAX},
    outcome::Failure,
    slots::CallName,
};
use crate::transport::{Connection, RequestFate, Transport};
use abide_net::{
    Request,
    frame::{self, Frame, Reply, Welcome},
    limits::FRAME_BYTES_MAX,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Memory for requests that a connection keeps.
const REQUEST_BYTES_KEPT_MAX: usize = 64 << 10;

/// A connection that was idle for so long is looked at before it is used. A node that stopped has closed it,
/// and a call that is sent nevertheless has an unknown outcome. Sooner the look would cost a busy caller a
/// system call for each of its calls.
const LOOKED_AT_AFTER: Duration = Duration::from_millis(20);

/// A connection on which the session was named and the node answered.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    /// The request that is being sent; kept for its memory.
    request: Vec<u8>,
    used_last: Instant,
    /// The peer broke the rules. Like a poisoned connection it must not be used again.
    is_broken: bool,
}

/// An attempt on a link failed, and whether the node may have acted on the request nevertheless.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) may_have_arrived: bool,
}

impl Link {
    /// Connects, says HELLO and waits for the WELCOME.
    pub(super) fn open(
        address: SocketAddr,
        hello: &[u8],
        transport: Transport,
        deadline: Instant,
    ) -> Result<(Link, Welcome), Failure> {
        let mut connection = Connection::connect(address, transport, WELCOME_BYTES_MAX, deadline)
            .map_err(|error| Failure::from(&error))?;
        let welcome =
            connection.exchange(hello, Some(deadline)).map_err(|error| match Failure::from(&error) {
                Failure::Passing(text) => Failure::Passing(format!("no WELCOME from {address}: {text}")),
                other => other,
            })?;
        let welcome = frames::read_welcome(welcome)?;
        connection.set_frame_bytes_max(FRAME_BYTES_MAX);
        let link = Link { connection, request: Vec::new(), used_last: Instant::now(), is_broken: false };
        Ok((link, welcome))
    }

    /// Sends a call and waits for its answer, which `answer` gets.
    pub(super) fn call(
        &mut self,
        request: &Request<'_>,
        attempt: Attempt,
        deadline: Option<Instant>,
        answer: &mut dyn FnMut(&Reply<'_>),
    ) -> Result<(), Failed> {
        self.request.clear();
        self.request.shrink_to(REQUEST_BYTES_KEPT_MAX);
        Frame::Call(frames::call_of(request, attempt)).encode(&mut self.request);
        let CallName { slot, sequence } = attempt.name;
        self.exchange(deadline, |frame| match frame {
            Frame::Reply(reply) if reply.slot == slot && reply.sequence == sequence => {
                answer(reply);
                true
            }
            _ => false,
        })
    }

    /// Renews the session's lease. Says whether the session lives.
    pub(super) fn heartbeat(&mut self, deadline: Instant) -> Result<bool, Failed> {
        self.request.clear();
        Frame::Heartbeat.encode(&mut self.request);
        self.await_alive(deadline)
    }

    /// Ends the session at this connection's core.
    pub(super) fn goodbye(&mut self, deadline: Instant) -> Result<(), Failed> {
        // GOODBYE has no answer. The one to a heartbeat behind it says that it was read; a node that closes
        // the connection instead says the same.
        self.request.clear();
        Frame::Goodbye.encode(&mut self.request);
        Frame::Heartbeat.encode(&mut self.request);
        self.await_alive(deadline).map(|_| ())
    }

    fn await_alive(&mut self, deadline: Instant) -> Result<bool, Failed> {
        let mut lives = false;
        self.exchange(Some(deadline), |frame| match frame {
            Frame::Alive { alive } => {
                lives = *alive;
                true
            }
            _ => false,
        })?;
        Ok(lives)
    }

    /// Sends the request and takes frames in until `is_answer` says that it has what it waits for. Others
    /// are answers to what earlier users of the connection gave up.
    fn exchange(
        &mut self,
        deadline: Option<Instant>,
        mut is_answer: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), Failed> {
        let mut request = &self.request[..];
        loop {
            let failure = match self.connection.exchange(request, deadline) {
                Err(error) => {
                    let sent_before = request.is_empty();
                    return Err(Failed {
                        failure: Failure::from(&error),
                        may_have_arrived: sent_before || error.request() == RequestFate::Unknown,
                    });
                }
                Ok(bytes) => match frame::parse(bytes) {
                    Ok(frame @ (Frame::Reply(_) | Frame::Alive { .. })) => {
                        if is_answer(&frame) {
                            self.used_last = Instant::now();
                            return Ok(());
                        }
                        request = &[];
                        continue;
                    }
                    Ok(Frame::Reject { reason, text }) => frames::rejected(reason, text),
                    Ok(other) => Failure::Passing(format!("the node sent {}", other.kind())),
                    Err(error) => error.into(),
                },
            };
            self.is_broken = true;
            return Err(Failed { failure, may_have_arrived: true });
        }
    }

    /// Whether another call may use it.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_broken && !self.connection.is_poisoned()
    }

    /// Whether an idle link seems to be good still.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used_last) < LOOKED_AT_AFTER || self.connection.is_quiet()
    }

    /// Since when nobody has used it.
    pub(super) fn used_last(&self) -> Instant {
        self.used_last
    }
}
