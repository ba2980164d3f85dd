//! How a transfer can end other than well, and what is then known about the request.

use super::{Stop, kind::UringUnavailable};
use std::{io, net::SocketAddr};

/// What is known about a request when the call that carried it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFate {
    /// No whole frame of this call's request can have reached the peer, so the peer cannot have acted on it.
    /// Sending it again, on another connection, is safe.
    NotDelivered,
    /// The peer may or may not have acted on it. After a failed `receive` it is about the requests sent
    /// before.
    Unknown,
}

/// Why a [`Connection`](super::Connection) could not be made, or moved a request or an answer only in part.
///
/// After any of these the connection is poisoned: its socket is shut down and every later call ends with
/// [`Poisoned`](TransportError::Poisoned).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The connection could not be made. Nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the kernel said, such as "connection refused".
        source: io::Error,
    },
    /// The deadline passed, while connecting, sending or waiting.
    #[error("the deadline passed")]
    DeadlinePassed {
        /// Whether the request may have been delivered.
        request: RequestFate,
    },
    /// The peer closed or reset the connection before a whole frame had arrived.
    #[error("the peer closed the connection")]
    PeerClosed {
        /// Whether the request may have been delivered.
        request: RequestFate,
        /// Absent for an orderly close.
        source: Option<io::Error>,
    },
    /// The peer announces a frame that this side does not accept. No memory was set aside for it.
    #[error(
        "the peer announces a frame of {announced_bytes} bytes, but at most {frame_bytes_max} are allowed"
    )]
    FrameTooLong {
        /// What the length prefix says.
        announced_bytes: u32,
        /// The limit of this connection.
        frame_bytes_max: usize,
        /// Whether the request may have been delivered.
        request: RequestFate,
    },
    /// io_uring was demanded, but this thread cannot use it.
    #[error("io_uring was asked for and cannot be used")]
    UringUnavailable {
        /// Whether the request may have been delivered.
        request: RequestFate,
        /// What was refused.
        source: UringUnavailable,
    },
    /// An earlier call on this connection failed or unwound. Nothing of this call's request was sent.
    #[error("the connection failed earlier and must not be used again")]
    Poisoned,
    /// Anything else. `ETIMEDOUT` means that the peer's machine does not answer any more.
    #[error("input or output failed")]
    Io {
        /// Whether the request may have been delivered.
        request: RequestFate,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TransportError {
    /// Whether the request of the call that returned this error may have been delivered.
    pub fn request(&self) -> RequestFate {
        match self {
            TransportError::Connect { .. } | TransportError::Poisoned => RequestFate::NotDelivered,
            TransportError::DeadlinePassed { request }
            | TransportError::PeerClosed { request, .. }
            | TransportError::FrameTooLong { request, .. }
            | TransportError::UringUnavailable { request, .. }
            | TransportError::Io { request, .. } => *request,
        }
    }

    pub(super) fn from_stop(stop: Stop, request: RequestFate) -> TransportError {
        match stop {
            Stop::Deadline => TransportError::DeadlinePassed { request },
            Stop::PeerClosed => TransportError::PeerClosed { request, source: None },
            Stop::Failed(source) => match source.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => TransportError::PeerClosed { request, source: Some(source) },
                _ => TransportError::Io { request, source },
            },
        }
    }
}
