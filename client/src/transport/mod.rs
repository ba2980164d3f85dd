//! The blocking byte transport: a thread sends one request and waits for one answer frame.
//!
//! A frame is a little-endian `u32` with the number of bytes that follow, and then those bytes. What they
//! mean is the business of `abide_net::frame`; here they are only moved.
//!
//! Read in this order:
//! - `kind`: which of the two ways to move bytes is asked for, and which one this machine permits;
//! - `error`: how a transfer can end, and what then is known about the request;
//! - `connection`: the connection, the one loop over both ways;
//! - `buffer`: received bytes, which grow as they arrive and never as they are announced;
//! - `socket`: plain `send` and `recv`;
//! - `thread_ring` and `uring`: one `io_uring_enter` for the whole round trip, on a ring that belongs to the
//!   thread.
//!
//! ```text
//! Connection::exchange(frames, deadline)
//!   repeat until `frames` are out and one whole frame is in:
//!     socket::transfer   send(2) until all is out, then recv(2) once          2 system calls a round trip
//!     uring::transfer    SEND linked with RECV, one io_uring_enter(2)         1 system call a round trip
//! ```
//! For one small request at a time the saved system call does not pay for what a ring does around it: on one
//! core of Linux 6.18 a round trip costs the client 6.4 us of CPU with sockets and 7.3 us with io_uring, and
//! the waiting is the same. Large frames move at the same speed.
//!
//! Both move bytes on the same blocking TCP socket, so a connection can change its way between two steps:
//! that is how `auto` carries on when one thread gets no ring.
//!
//! Deliberately absent: what to do after an error (retries, routing, other nodes), threads, and several
//! requests under way on one connection. A thread that waits sleeps in the kernel; there is no busy polling.
//!
//! A process that was forked without `exec` must not use the connections of its parent, as with any TCP
//! socket. Rings are not mapped in such a child, so it cannot submit for its parent by mistake.

mod buffer;
mod connection;
mod error;
mod kind;
mod socket;
#[cfg(test)]
mod tests;
mod thread_ring;
mod uring;

pub use connection::Connection;
#[cfg(feature = "tokio")]
pub(crate) use connection::{is_quiet, set_options};
pub use error::{RequestFate, TransportError};
pub use kind::{Transport, TransportKind, UnknownTransport, UringUnavailable};

/// What one step of either way did: it sends what it is given and then receives at least one byte, unless it
/// stops.
#[derive(Debug, Default)]
struct Transfer {
    /// Bytes of the outgoing frames that the kernel took, always from their beginning.
    sent_bytes: usize,
    /// Bytes that were put at the beginning of the receive buffer. Can be 0 without a stop: then the step is
    /// repeated.
    received_bytes: usize,
    /// Why the step cannot be continued by another one.
    stop: Option<Stop>,
}

/// Why bytes stopped moving.
#[derive(Debug)]
enum Stop {
    /// The deadline passed.
    Deadline,
    /// The peer ended its direction of the stream.
    PeerClosed,
    /// The kernel refused.
    Failed(std::io::Error),
}
