//! Which way bytes are moved: what the user asked for, and what this machine permits.

use super::thread_ring;
use std::{env, ffi::OsStr, fmt, io, str::FromStr, sync::Arc};

/// What the user asked for. Touches nothing; [`resolve`](TransportKind::resolve) decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransportKind {
    /// io_uring where the kernel permits it, plain sockets elsewhere (AWS Lambda, default container
    /// profiles).
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// Plain sockets.
    Socket,
}

impl TransportKind {
    /// The environment variable that [`from_env`](TransportKind::from_env) reads.
    pub const ENVIRONMENT_VARIABLE: &str = "ABIDE_TRANSPORT";

    /// Reads `ABIDE_TRANSPORT`. Absent or empty means `auto`.
    pub fn from_env() -> Result<TransportKind, UnknownTransport> {
        match env::var_os(TransportKind::ENVIRONMENT_VARIABLE) {
            Some(value) => TransportKind::from_value(&value),
            None => Ok(TransportKind::Auto),
        }
    }

    pub(super) fn from_value(value: &OsStr) -> Result<TransportKind, UnknownTransport> {
        match value.to_str() {
            Some("") => Ok(TransportKind::Auto),
            Some(name) => name.parse(),
            None => Err(UnknownTransport { value: value.to_string_lossy().into_owned() }),
        }
    }

    /// Decides what will run. Unless sockets are asked for, tries io_uring on a socket pair, on the calling
    /// thread: it may be absent, switched off (`kernel.io_uring_disabled`), or forbidden by the sandbox in
    /// any of its calls.
    pub fn resolve(self) -> Result<Transport, UringUnavailable> {
        match self {
            TransportKind::Socket => Ok(Transport::SOCKET),
            TransportKind::Uring => thread_ring::try_out().map(|()| Transport(Way::Uring)),
            TransportKind::Auto => Ok(match thread_ring::try_out() {
                Ok(()) => Transport(Way::UringOrSocket),
                Err(unavailable) => {
                    let cause = unavailable.cause();
                    tracing::debug!(%unavailable, %cause, "moving bytes with plain sockets");
                    Transport::SOCKET
                }
            }),
        }
    }
}

impl FromStr for TransportKind {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<TransportKind, UnknownTransport> {
        match name {
            "auto" => Ok(TransportKind::Auto),
            "uring" => Ok(TransportKind::Uring),
            "socket" => Ok(TransportKind::Socket),
            _ => Err(UnknownTransport { value: name.to_owned() }),
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransportKind::Auto => "auto",
            TransportKind::Uring => "uring",
            TransportKind::Socket => "socket",
        })
    }
}

/// What will run. Only [`TransportKind::resolve`] makes one that uses io_uring, after it has seen it work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport(pub(super) Way);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A thread that gets no ring fails.
    Uring,
    /// A thread that gets no ring, for want of memory or file descriptors, uses the socket.
    UringOrSocket,
    Socket,
}

impl Transport {
    /// Plain sockets, which work everywhere.
    pub const SOCKET: Transport = Transport(Way::Socket);
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Uring | Way::UringOrSocket => "uring",
            Way::Socket => "socket",
        })
    }
}

/// No transport has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown transport {value:?}: use auto, uring or socket (environment variable ABIDE_TRANSPORT)")]
pub struct UnknownTransport {
    /// What was given.
    pub value: String,
}

/// The kernel or the sandbox does not let this thread use io_uring. `auto` and `socket` work regardless.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this kernel or sandbox does not permit io_uring: {what}")]
pub struct UringUnavailable {
    what: &'static str,
    source: Arc<io::Error>,
}

impl UringUnavailable {
    /// `what` failed or is missing, as a part of a sentence.
    pub(super) fn new(what: &'static str, source: io::Error) -> UringUnavailable {
        UringUnavailable { what, source: Arc::new(source) }
    }

    /// What the kernel said.
    pub fn cause(&self) -> &io::Error {
        &self.source
    }
}
