//! What a turn submits for each connection, and what each completion means for it.

use super::{
    Ring, RingEvent,
    buffers::ReceivedBuffer,
    connections::{CloseReason, Connection, Phase, Receive},
    kernel::Completion,
    output::ToSend,
    token::Operation,
};
use socket2::SockRef;
use std::{
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, OwnedFd},
};

/// Operations that attending to one connection can push: one of its send, one of its receive.
const CONNECTION_OPERATIONS_MAX: usize = 2;

/// The listener's multishot accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepting {
    /// To be started with the next submission.
    Due,
    /// The kernel has it.
    Armed,
    /// It failed. It is due again when a connection has closed, or when the timer fires.
    Failed,
    /// No more is wanted: to be cancelled.
    Stopping,
    /// No more is wanted.
    Stopped,
}

impl Accepting {
    pub(super) fn stop(&mut self) {
        *self = match self {
            Accepting::Armed | Accepting::Stopping => Accepting::Stopping,
            _ => Accepting::Stopped,
        };
    }

    /// There is reason to think that accepting would not fail again.
    fn retry(&mut self) {
        if *self == Accepting::Failed {
            *self = Accepting::Due;
        }
    }
}

impl Ring {
    /// Puts the connection at `index` on the list of those to attend to.
    pub(super) fn attend(&mut self, index: u32) {
        if let Some((_, connection)) = self.connections.at(index)
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.attention.push(index);
        }
    }

    // ---- submitting -------------------------------------------------------------------------------------

    /// Pushes what the ring and its connections want from the kernel. What finds no room stays for the next
    /// time.
    pub(super) fn serve(&mut self) {
        self.feed_starved();
        // Attending to one connection never lists another.
        let mut attention = std::mem::take(&mut self.attention);
        let mut attended = 0;
        for &index in &attention {
            if self.kernel.reserve(CONNECTION_OPERATIONS_MAX).is_err() {
                break;
            }
            self.serve_connection(index);
            attended += 1;
        }
        attention.drain(..attended);
        self.attention = attention;
        self.serve_accept();
    }

    fn serve_accept(&mut self) {
        if self.kernel.reserve(1).is_err() {
            return;
        }
        match self.accepting {
            Accepting::Due => {
                self.kernel.accept();
                self.accepting = Accepting::Armed;
            }
            Accepting::Failed if !self.accept_timer => {
                self.kernel.accept_retry();
                self.accept_timer = true;
            }
            Accepting::Stopping => {
                self.kernel.cancel(Operation::Accept, 0);
                self.accepting = Accepting::Stopped;
            }
            _ => {}
        }
    }

    /// Lets as many waiting connections receive again as there are buffers. More would only fail again.
    fn feed_starved(&mut self) {
        for _ in 0..self.kernel.free_buffers() {
            let Some(index) = self.starved.pop_front() else { break };
            // Its place may have been given away meanwhile.
            if let Some((_, connection)) = self.connections.at(index)
                && connection.receive == Receive::Starved
            {
                connection.receive = Receive::Idle;
                self.attend(index);
            }
        }
    }

    /// Brings what the kernel does for a connection in line with what is wanted.
    fn serve_connection(&mut self, index: u32) {
        let Ring { kernel, connections, spares, config, .. } = self;
        let Some((_, connection)) = connections.at(index) else { return };
        connection.listed = false;

        connection.output.note_backlog(config.backlog_bytes);
        if connection.output.bytes() > config.output_bytes_max {
            connection.begin_close(CloseReason::OutputFull);
        }
        if connection.phase.is_closing() {
            connection.output.abandon(spares);
            if connection.output.is_in_flight() && !connection.send_cancelled {
                kernel.cancel(Operation::Send, index);
                connection.send_cancelled = true;
            }
        } else if let Some(send) = connection.output.start_send() {
            kernel.send(index, connection.socket.as_fd(), send);
        }
        if matches!(connection.phase, Phase::Flushing) && connection.output.bytes() == 0 {
            finish_flush(connection);
        }
        match (connection.wants_receive(), connection.receive) {
            (true, Receive::Idle) => {
                kernel.receive(index, connection.socket.as_fd());
                connection.receive = Receive::Armed;
            }
            (false, Receive::Armed) => {
                kernel.cancel(Operation::Receive, index);
                connection.receive = Receive::Stopping;
            }
            _ => {}
        }
        if connection.phase.is_closing() && !connection.is_in_kernel() {
            self.finish_close(index);
        }
    }

    /// Gives the place of a connection away: the kernel has nothing of it any more.
    fn finish_close(&mut self, index: u32) {
        let (id, connection) = self.connections.remove(index);
        let Phase::Closing(reason) = connection.phase else { unreachable!("only closing connections end") };
        self.closed.push_back((id, reason));
        drop(connection.socket);
        self.accepting.retry();
    }

    // ---- completing -------------------------------------------------------------------------------------

    pub(super) fn on_completion(&mut self, completion: Completion) -> Option<RingEvent> {
        match completion {
            Completion::Accept { result, armed } => self.on_accept(result, armed),
            Completion::AcceptRetry => {
                self.accept_timer = false;
                self.accepting.retry();
                None
            }
            Completion::Receive { index, result, armed } => self.on_receive(index, result, armed),
            Completion::Sent { index, result, rest } => self.on_sent(index, result, rest),
        }
    }

    fn on_accept(&mut self, result: io::Result<OwnedFd>, armed: bool) -> Option<RingEvent> {
        if !armed && self.accepting == Accepting::Armed {
            self.accepting = Accepting::Due;
        }
        let socket = match result {
            Ok(socket) => socket,
            Err(error) => {
                self.on_accept_error(error);
                return None;
            }
        };
        if self.connections.len() >= self.config.connections_max as usize {
            self.stats.refused += 1;
            return None;
        }
        // A client that is gone already has no address.
        let peer: SocketAddr = SockRef::from(&socket).peer_addr().ok()?.as_socket()?;
        self.stats.accepted += 1;
        let connection = self.connections.insert(socket);
        self.attend(connection.index);
        Some(RingEvent::Accepted { connection, peer })
    }

    fn on_accept_error(&mut self, error: io::Error) {
        match error.raw_os_error() {
            // A client gave up before it was accepted, or we cancelled.
            Some(libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED) => {}
            // Mostly EMFILE, ENFILE, ENOBUFS or ENOMEM: trying again at once would spin.
            _ => {
                self.stats.accept_failures += 1;
                tracing::warn!(%error, retry = ?self.config.accept_retry, "cannot accept connections for now");
                if self.accepting == Accepting::Due {
                    self.accepting = Accepting::Failed;
                }
            }
        }
    }
    fn on_receive(
        &mut self,
        index: u32,
        result: io::Result<Option<ReceivedBuffer>>,
        armed: bool,
    ) -> Option<RingEvent> {
        let (id, connection) = self.connections.of_operation(index);
        let open = connection.phase.is_open();
        let mut event = None;
        if !armed {
            connection.receive = Receive::Idle;
        }
        match result {
            Ok(Some(bytes)) => {
                self.stats.received_bytes += bytes.len() as u64;
                event = open.then_some(RingEvent::Received { connection: id, bytes });
            }
            Ok(None) => {
                connection.peer_finished = true;
                event = open.then_some(RingEvent::PeerFinished { connection: id });
                if matches!(connection.phase, Phase::Lingering) {
                    connection.begin_close(CloseReason::Requested);
                }
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => {
                    connection.receive = Receive::Starved;
                    self.starved.push_back(index);
                    self.stats.starved += 1;
                }
                // We cancelled it, or it may simply be started again.
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => connection.begin_close(CloseReason::from_error(error)),
            },
        }
        if !armed {
            self.attend(index);
        }
        event
    }

    fn on_sent(&mut self, index: u32, result: io::Result<usize>, rest: ToSend) -> Option<RingEvent> {
        let (id, connection) = self.connections.of_operation(index);
        let sent = match result {
            Ok(sent) => sent,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                    _ => connection.begin_close(CloseReason::from_error(error)),
                }
                0
            }
        };
        self.stats.sent_bytes += sent as u64;
        connection.output.on_sent(sent, rest, &mut self.spares);
        let drained = connection.output.take_drained() && connection.phase.is_open();
        if connection.output.bytes() > 0 || !connection.phase.is_open() {
            self.attend(index);
        }
        drained.then_some(RingEvent::SendDrained { connection: id })
    }
}

/// All was sent: shuts our side, or ends the connection if the peer has shut its side already.
fn finish_flush(connection: &mut Connection) {
    if !connection.peer_finished && SockRef::from(&connection.socket).shutdown(Shutdown::Write).is_ok() {
        connection.phase = Phase::Lingering;
    } else {
        connection.begin_close(CloseReason::Requested);
    }
}
