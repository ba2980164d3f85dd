//! A connection on which one thread at a time sends requests and waits for answers.

use super::{
    RequestFate, Transfer, Transport, TransportError, UringUnavailable,
    buffer::{FrameBuffer, PREFIX_BYTES, TooLong},
    kind::Way,
    socket::Socket,
    thread_ring,
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    ops::Range,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// After how much silence the kernel asks the peer whether it is still there, and then how often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How many questions may stay without an answer before the connection counts as lost.
const KEEPALIVE_PROBES: u32 = 3;

/// For how long sent bytes, and keepalive probes, may stay unacknowledged. Without it a request to a vanished
/// machine would be repeated for a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// A blocking TCP connection that carries frames.
///
/// It may move between threads; each uses its own ring. A peer's machine that vanishes is noticed within
/// about 20 seconds, also while waiting without a deadline.
///
/// Invariant: a connection on which anything failed, or during whose use the thread unwound, is poisoned for
/// good: its stream may be in the middle of a frame.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    received: FrameBuffer,
    transport: Transport,
    peer: SocketAddr,
    poisoned: bool,
}

impl Connection {
    /// Connects to `address`. `frame_bytes_max` limits the frames that the peer may send, without their
    /// length prefixes.
    ///
    /// # Errors
    /// [`Connect`](TransportError::Connect), [`DeadlinePassed`](TransportError::DeadlinePassed), or
    /// [`UringUnavailable`](TransportError::UringUnavailable) if `transport` insists on io_uring and this
    /// thread gets no ring.
    pub fn connect(
        address: SocketAddr,
        transport: Transport,
        frame_bytes_max: usize,
        deadline: Instant,
    ) -> Result<Connection, TransportError> {
        if transport.0 == Way::Uring {
            let request = RequestFate::NotDelivered;
            thread_ring::prepare().map_err(|source| TransportError::UringUnavailable { request, source })?;
        }
        let connect_max = deadline.saturating_duration_since(Instant::now());
        if connect_max.is_zero() {
            return Err(TransportError::DeadlinePassed { request: RequestFate::NotDelivered });
        }
        let stream =
            TcpStream::connect_timeout(&address, connect_max).map_err(|source| match source.kind() {
                // Also what the kernel says when it gave up before the deadline.
                io::ErrorKind::TimedOut if deadline <= Instant::now() => {
                    TransportError::DeadlinePassed { request: RequestFate::NotDelivered }
                }
                _ => TransportError::Connect { address, source },
            })?;
        set_options(SockRef::from(&stream)).map_err(|source| TransportError::Connect { address, source })?;
        let (socket, received) = (Socket::new(stream), FrameBuffer::new(frame_bytes_max));
        Ok(Connection { socket, received, transport, peer: address, poisoned: false })
    }

    /// Sends `frames`, whole frames with their prefixes, and does not wait for an answer.
    ///
    /// Nothing is received meanwhile. A peer that answers the first of many large frames before it reads the
    /// last one can therefore come to a stop together with this call, until the deadline.
    ///
    /// # Errors
    /// Any but [`Connect`](TransportError::Connect). The connection is poisoned then.
    pub fn send(&mut self, frames: &[u8], deadline: Option<Instant>) -> Result<(), TransportError> {
        self.run(frames, false, deadline).map(|_| ())
    }

    /// Sends `frames` as [`send`](Connection::send) does, then waits for one whole frame.
    ///
    /// The frame comes without its length prefix and is the next one of the stream: one that an earlier call
    /// left unread comes first.
    ///
    /// # Errors
    /// Any but [`Connect`](TransportError::Connect). The connection is poisoned then.
    pub fn exchange(&mut self, frames: &[u8], deadline: Option<Instant>) -> Result<&[u8], TransportError> {
        let frame = self.run(frames, true, deadline)?;
        Ok(self.received.frame(frame))
    }

    /// Waits for the next whole frame, without its length prefix.
    ///
    /// # Errors
    /// Any but [`Connect`](TransportError::Connect). The connection is poisoned then.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<&[u8], TransportError> {
        self.exchange(&[], deadline)
    }

    /// Changes the limit that [`connect`](Connection::connect) was given, for the frames to come.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.received.set_frame_bytes_max(frame_bytes_max);
    }

    /// Whether an earlier call failed, so that every further one will.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Whether the peer, as far as is known here, keeps the connection open and has sent nothing that nobody
    /// has received yet. Does not wait. A user between two requests expects just that.
    pub fn is_quiet(&self) -> bool {
        !self.poisoned && self.received.is_empty() && is_quiet(SockRef::from(&self.socket))
    }

    /// The other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What it was connected with.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Sends `frames` and then, if asked to, receives until a whole frame is there. Poisons unless all went
    /// well.
    fn run(
        &mut self,
        frames: &[u8],
        answered: bool,
        deadline: Option<Instant>,
    ) -> Result<Range<usize>, TransportError> {
        if self.poisoned {
            return Err(TransportError::Poisoned);
        }
        self.poisoned = true;
        let result = self.try_run(frames, answered, deadline);
        match result {
            Ok(_) => self.poisoned = false,
            Err(_) => self.socket.shut_down(),
        }
        result
    }

    fn try_run(
        &mut self,
        frames: &[u8],
        answered: bool,
        deadline: Option<Instant>,
    ) -> Result<Range<usize>, TransportError> {
        let mut sent_bytes = 0;
        let mut answer = if answered { self.next_frame(frames, sent_bytes)? } else { Some(0..0) };
        loop {
            if let Some(answer) = &answer
                && sent_bytes == frames.len()
            {
                return Ok(answer.clone());
            }
            let transfer =
                self.transfer(&frames[sent_bytes..], answer.is_none(), deadline).map_err(|source| {
                    TransportError::UringUnavailable { request: fate(frames, sent_bytes), source }
                })?;
            sent_bytes += transfer.sent_bytes;
            if transfer.received_bytes > 0 {
                self.received.filled(transfer.received_bytes);
                answer = self.next_frame(frames, sent_bytes)?;
            }
            if let Some(stop) = transfer.stop {
                return Err(TransportError::from_stop(stop, fate(frames, sent_bytes)));
            }
        }
    }

    /// One step, in the way that was chosen.
    fn transfer(
        &mut self,
        outgoing: &[u8],
        receives: bool,
        deadline: Option<Instant>,
    ) -> Result<Transfer, UringUnavailable> {
        let incoming = if receives { self.received.spare() } else { &mut [] };
        if self.transport.0 != Way::Socket {
            match thread_ring::transfer(self.socket.as_fd(), outgoing, incoming, deadline) {
                Err(_) if self.transport.0 == Way::UringOrSocket => {}
                result => return result,
            }
        }
        Ok(self.socket.transfer(outgoing, incoming, deadline))
    }

    fn next_frame(
        &mut self,
        frames: &[u8],
        sent_bytes: usize,
    ) -> Result<Option<Range<usize>>, TransportError> {
        self.received.next_frame().map_err(|TooLong { announced_bytes, frame_bytes_max }| {
            TransportError::FrameTooLong {
                announced_bytes,
                frame_bytes_max,
                request: fate(frames, sent_bytes),
            }
        })
    }

    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.received.allocated_bytes()
    }

    #[cfg(test)]
    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }
}

/// What can be said about a request of which `sent_bytes` left: a peer cannot act on a frame that it has only
/// in part.
fn fate(frames: &[u8], sent_bytes: usize) -> RequestFate {
    let first_frame_bytes = match frames.first_chunk::<PREFIX_BYTES>() {
        Some(prefix) => frames.len().min(PREFIX_BYTES + u32::from_le_bytes(*prefix) as usize),
        None => frames.len(),
    };
    // With no frames at all (0 < 0) the question is about the requests of earlier calls.
    if sent_bytes < first_frame_bytes { RequestFate::NotDelivered } else { RequestFate::Unknown }
}

/// Whether a socket is open and has nothing to receive. Does not wait.
pub(crate) fn is_quiet(socket: SockRef<'_>) -> bool {
    let peeked = socket.recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_PEEK | libc::MSG_DONTWAIT);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// What every connection to a node is set to: requests leave at once, and a machine that vanished is noticed.
pub(crate) fn set_options(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_INTERVAL)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}
