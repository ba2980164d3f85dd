//! The data path of one core: an io_uring of our own that runs inside a glommio executor.
//!
//! It knows connections and bytes, no frames and no objects. One ring has one listener; each core has its own
//! of both. One turn of the core's loop is:
//!
//! ```text
//! loop {
//!     while let Some(event) = ring.next_event() { .. ring.output(connection) .. }   // no system call
//!     ring.ready().await?;                                  // submits, then polls or sleeps for completions
//! }
//! ```
//!
//! so all bytes that a turn answers with leave in one system call, and the same call brings the next ones.
//!
//! Read in this order: this file (what callers use), `config` (the bounds), `connections` and `output` (the
//! state of a connection), `serve` (what a turn submits and what completions mean), then the files that touch
//! memory shared with the kernel, which alone are unsafe: `kernel`, `buffers`, and `bell` (how it sleeps).
//!
//! What is deliberately absent: time limits (the caller has the clock: `close` what takes too long), fairness
//! between connections beyond one turn (each gets what it sent; `pause_receive` the greedy), and connecting
//! (a core's peers have transports of their own).

mod bell;
mod buffers;
mod config;
mod connections;
mod kernel;
mod output;
mod serve;
#[cfg(test)]
mod tests;
mod token;

pub use self::{
    bell::{PREEMPT_TIMER, RingWaker},
    buffers::ReceivedBuffer,
    config::{RingConfig, RingError},
    connections::CloseReason,
    token::ConnectionId,
};

use self::{
    bell::{Bell, Doorbell},
    connections::{Connections, Phase},
    kernel::Kernel,
    output::Spares,
    serve::Accepting,
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often busy polling looks before it looks at the clock, which costs about as much as some looks.
const POLLS_PER_CLOCK: usize = 16;

/// What happened on a ring. Closed on purpose: to know what a transport can tell, read this.
///
/// For each connection: `Accepted` first, `Closed` last and exactly once, nothing after it.
#[derive(Debug)]
pub enum RingEvent {
    /// A client connected.
    Accepted {
        /// Its name from now on.
        connection: ConnectionId,
        /// Its address.
        peer: SocketAddr,
    },
    /// Bytes arrived, in order, cut anywhere.
    Received {
        /// From whom.
        connection: ConnectionId,
        /// The bytes, where the kernel put them. Dropping it gives the buffer back.
        bytes: ReceivedBuffer,
    },
    /// The peer sends no more, but may still read. The caller answers what is left to answer and then calls
    /// `Ring::close_after_flush`; until then the connection stays.
    PeerFinished {
        /// Who.
        connection: ConnectionId,
    },
    /// A backlog of more than `RingConfig::backlog_bytes` has been sent completely.
    SendDrained {
        /// Whose.
        connection: ConnectionId,
    },
    /// The connection is gone, and its name with it.
    Closed {
        /// Whose.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
}

/// What a ring has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStats {
    /// Connections accepted and given a name.
    pub accepted: u64,
    /// Connections closed at once because there were `RingConfig::connections_max`.
    pub refused: u64,
    /// How often accepting failed, mostly for want of file descriptors, and was put off.
    pub accept_failures: u64,
    /// How often a connection had to wait because no receive buffer was free.
    pub starved: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// System calls made to submit and to collect.
    pub enters: u64,
    /// How often it went to sleep.
    pub sleeps: u64,
}

/// One core's sockets. See the module's documentation.
///
/// A ring stays on the thread that opened it. Dropping it closes its listener and all connections, after the
/// kernel has stopped to use its memory.
pub struct Ring {
    // Before the connections: what is dropped first. The kernel must have ended the operations of a
    // connection before its socket is closed.
    kernel: Kernel,
    doorbell: Arc<Doorbell>,
    bell: Option<Bell>,
    /// When the rest of the executor last had a turn.
    executor_had_turn: Instant,
    config: RingConfig,
    connections: Connections,
    accepting: Accepting,
    /// The timer after which a failed accept is tried again is running.
    accept_timer: bool,
    spares: Spares,
    /// Connections to attend to before the next system call: places, each at most once.
    attention: Vec<u32>,
    /// Places of connections that wait for a receive buffer, the longest first.
    starved: VecDeque<u32>,
    /// Ends of connections that are to be told.
    closed: VecDeque<(ConnectionId, CloseReason)>,
    stats: RingStats,
}

impl Ring {
    /// Opens a ring that accepts from `listener`. Call it on the thread that will use the ring.
    pub fn new(listener: TcpListener, config: RingConfig) -> Result<Ring, RingError> {
        config.check()?;
        prepare(&listener, &config)
            .map_err(|source| RingError::System { action: "preparing the listener", source })?;
        let doorbell =
            Doorbell::new().map_err(|source| RingError::System { action: "making an eventfd", source })?;
        let kernel = Kernel::new(listener, &config, doorbell.as_fd())?;
        Ok(Ring {
            kernel,
            doorbell,
            bell: None,
            executor_had_turn: Instant::now(),
            connections: Connections::default(),
            accepting: Accepting::Due,
            accept_timer: false,
            spares: Spares::new(config.spare_output_buffers, config.spare_output_bytes_max),
            attention: Vec::new(),
            starved: VecDeque::new(),
            closed: VecDeque::new(),
            stats: RingStats::default(),
            config,
        })
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.kernel.local_addr()
    }

    /// What makes `ready` return, for other threads and tasks.
    pub fn waker(&self) -> RingWaker {
        RingWaker::new(&self.doorbell)
    }

    /// The next thing that happened, without a system call and without waiting.
    pub fn next_event(&mut self) -> Option<RingEvent> {
        loop {
            if let Some((connection, reason)) = self.closed.pop_front() {
                return Some(RingEvent::Closed { connection, reason });
            }
            let completion = self.kernel.reap()?;
            if let Some(event) = self.on_completion(completion) {
                return Some(event);
            }
        }
    }

    /// Where to append what is to be sent to `connection`; it leaves with the next `submit`. `None` if the
    /// connection is gone or on its way out. Append only: what is in there already was not sent yet.
    pub fn output(&mut self, connection: ConnectionId) -> Option<&mut Vec<u8>> {
        let found = self.connections.get_mut(connection).filter(|found| found.phase.is_open())?;
        if !std::mem::replace(&mut found.listed, true) {
            self.attention.push(connection.index);
        }
        Some(found.output.queue(&mut self.spares))
    }

    /// Queues `bytes` for `connection`. Answers whether it is there to receive them.
    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> bool {
        match self.output(connection) {
            Some(output) => output.extend_from_slice(bytes),
            None => return false,
        }
        true
    }

    /// Bytes that wait to be taken by the kernel for `connection`; zero if it is gone. A large send is taken
    /// in pieces, so this falls as the peer reads.
    pub fn queued_bytes(&self, connection: ConnectionId) -> usize {
        self.connections.get(connection).map_or(0, |found| found.output.bytes())
    }

    /// Stops to receive from `connection`, so that the peer is slowed down by TCP. What the kernel has
    /// received already still comes, at most a few buffers. While paused, the loss of the peer goes unnoticed
    /// until something is sent.
    pub fn pause_receive(&mut self, connection: ConnectionId) {
        self.set_paused(connection, true);
    }

    /// Receives from `connection` again.
    pub fn resume_receive(&mut self, connection: ConnectionId) {
        self.set_paused(connection, false);
    }

    fn set_paused(&mut self, connection: ConnectionId, paused: bool) {
        if let Some(found) = self.connections.get_mut(connection)
            && found.paused != paused
        {
            found.paused = paused;
            self.attend(connection.index);
        }
    }

    /// Closes `connection` without sending what is queued. Nothing but `Closed` follows.
    pub fn close(&mut self, connection: ConnectionId) {
        if let Some(found) = self.connections.get_mut(connection) {
            found.begin_close(CloseReason::Requested);
            self.attend(connection.index);
        }
    }

    /// Sends what is queued, shuts our side, and closes `connection` when the peer has shut its side too.
    /// Nothing more can be sent, and what still arrives is discarded. A peer may take its time with that: the
    /// caller calls `close` when its patience ends.
    pub fn close_after_flush(&mut self, connection: ConnectionId) {
        if let Some(found) = self.connections.get_mut(connection)
            && found.phase.is_open()
        {
            found.phase = Phase::Flushing;
            self.attend(connection.index);
        }
    }

    /// Accepts no more connections. Those that the kernel has accepted already may still be told of; the
    /// listener stays open until the ring is dropped, so that clients wait rather than fail.
    pub fn stop_accepting(&mut self) {
        self.accepting.stop();
    }

    /// Connections whose end was not told yet.
    pub fn connections(&self) -> usize {
        self.connections.len() + self.closed.len()
    }

    /// What the ring has done so far.
    pub fn stats(&self) -> RingStats {
        RingStats { enters: self.kernel.enters(), ..self.stats }
    }

    /// Hands everything that was queued in this turn to the kernel, and collects what has completed: one
    /// system call, or none if there is nothing to do. An error means that the ring is unusable.
    pub fn submit(&mut self) -> io::Result<()> {
        self.serve();
        if self.kernel.needs_enter() { self.kernel.enter() } else { Ok(()) }
    }

    /// Submits, and waits until `next_event` may have something or a `RingWaker` called: not at all if that
    /// is so already, else by polling for `RingConfig::busy_poll`, else asleep. May return for nothing.
    /// Dropping the future, as a race with other wake-ups does, loses nothing.
    ///
    /// Must be called inside a glommio executor, which must have been built with `PREEMPT_TIMER`. It gives the rest of the executor its turn (tasks, timers,
    /// other wake-ups) whenever it sleeps, and at least each `RingConfig::executor_interval`.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.submit()?;
        let start = Instant::now();
        self.yield_if_due(start).await?;
        if self.is_ready() {
            return Ok(());
        }
        let mut now = start;
        while now - start < self.config.busy_poll {
            for _ in 0..POLLS_PER_CLOCK {
                // No system call until the kernel has something.
                if self.kernel.needs_enter() {
                    self.kernel.enter()?;
                }
                if self.is_ready() {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
            now = Instant::now();
            self.yield_if_due(now).await?;
        }
        self.sleep().await
    }

    fn is_ready(&mut self) -> bool {
        !self.closed.is_empty() || self.kernel.has_completions() || self.doorbell.take_call()
    }

    /// Waits for the bell, which the kernel and wakers ring. See `bell` for why that loses no wake-up.
    async fn sleep(&mut self) -> io::Result<()> {
        let bell = listening(&mut self.bell, &self.doorbell)?;
        {
            let sleeper = Sleeper::new(&mut self.kernel, &self.doorbell);
            sleeper.kernel.enter()?;
            // Nor may it sleep when the kernel would not take everything, for want of memory.
            let rest = sleeper.kernel.has_submissions() || !self.attention.is_empty();
            if rest || sleeper.kernel.has_completions() || self.doorbell.take_call_before_sleep() {
                return Ok(());
            }
            self.stats.sleeps += 1;
            bell.rung().await?;
        }
        self.executor_had_turn = Instant::now();
        self.doorbell.take_call();
        self.kernel.enter()
    }

    /// Lets everything else in the executor run, if that is due. For that this task has to wait for
    /// something that comes through glommio's own ring: glommio looks at its ring and its timers only when no
    /// task is runnable, or when its preemption timer fires.
    async fn yield_if_due(&mut self, now: Instant) -> io::Result<()> {
        if now - self.executor_had_turn >= self.config.executor_interval {
            let bell = listening(&mut self.bell, &self.doorbell)?;
            bell.hush();
            self.doorbell.ring();
            bell.rung().await?;
            self.executor_had_turn = Instant::now();
        }
        Ok(())
    }
}

/// The bell, which needs the executor and so is made when it is first used.
fn listening<'bell>(bell: &'bell mut Option<Bell>, doorbell: &Doorbell) -> io::Result<&'bell Bell> {
    if bell.is_none() {
        *bell = Some(Bell::new(doorbell)?);
    }
    Ok(bell.as_ref().expect("was made just now"))
}

/// Someone who is about to sleep: the kernel and wakers ring for him. No longer so when this is dropped, also
/// with the future that holds it; while awake, each completion would ring for nothing.
struct Sleeper<'ring> {
    kernel: &'ring mut Kernel,
    doorbell: &'ring Doorbell,
}

impl<'ring> Sleeper<'ring> {
    fn new(kernel: &'ring mut Kernel, doorbell: &'ring Doorbell) -> Sleeper<'ring> {
        kernel.set_bell(true);
        doorbell.set_asleep(true);
        Sleeper { kernel, doorbell }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.kernel.set_bell(false);
        self.doorbell.set_asleep(false);
    }
}

/// Sets what accepted connections inherit from their listener (on Linux they inherit these).
fn prepare(listener: &TcpListener, config: &RingConfig) -> io::Result<()> {
    // A non-blocking socket would make io_uring answer EAGAIN instead of waiting.
    listener.set_nonblocking(false)?;
    let socket = SockRef::from(listener);
    // Replies leave whole; waiting for more to send would only delay them.
    socket.set_tcp_nodelay(true)?;
    let probe = config.keepalive_idle / 6;
    let keepalive = TcpKeepalive::new()
        .with_time(config.keepalive_idle)
        .with_interval(probe.max(Duration::from_secs(1)))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(config.unacknowledged_max))
}
