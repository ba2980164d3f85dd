//! What a program may choose about its connection, and what then runs.

use crate::transport::TransportKind;
use abide_net::CallError;
use std::{env, fmt::Display, str::FromStr, time::Duration};

/// Longest [`RemoteOptions::retry_for`]. A shard remembers for 600 seconds that a session expired; a call that
/// were repeated after that could be taken for the first one of a new session and be made a second time.
pub const RETRY_FOR_MAX: Duration = Duration::from_secs(300);

/// How a node is reached, and for how long. Touches nothing; the environment is read by
/// [`from_env`](RemoteOptions::from_env) alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// How the blocking client moves bytes. Environment: `ABIDE_TRANSPORT` (`auto`, `uring`, `socket`).
    pub transport: TransportKind,
    /// How long one attempt to connect, with its HELLO and WELCOME, may take. Default 5 s: a SYN that was lost
    /// is repeated by Linux after 1 and 3 seconds. What a blocking client's resolver takes to look a name up
    /// comes on top of it. Environment: `ABIDE_CLIENT_CONNECT_TIMEOUT_MS`.
    pub connect_timeout: Duration,
    /// How long a call is tried again while nothing answers. Then it ends as `Unavailable`, or as `Unknown` if
    /// it may have been made. Default 30 s, the time that a node takes to be started again elsewhere; at most
    /// [`RETRY_FOR_MAX`]. A call that waits on a connection that works is not being tried: that time does not
    /// count. Environment: `ABIDE_CLIENT_RETRY_FOR_MS`.
    pub retry_for: Duration,
    /// How long the answer to a call that does not wait may take before its connection is given up and the
    /// call is sent again on another. Default 10 s: a node answers within a millisecond, so this is about nodes
    /// that hang. Large requests get another second for each MiB. Environment: `ABIDE_CLIENT_REQUEST_TIMEOUT_MS`.
    pub request_timeout: Duration,
    /// How long the session lives without a sign of life; the node may grant another lease. None for the
    /// node's default (10 s). Environment: `ABIDE_CLIENT_LEASE_MS`.
    pub lease: Option<Duration>,
    /// Most connections to one core of the blocking client's session, at least 2. A call that waits in its
    /// object keeps its connection to itself, so this also bounds the threads that wait at one core; a
    /// sixteenth is kept for calls that do not wait, for they end the others' waits. Callers beyond it wait
    /// for a connection, as long as [`retry_for`](RemoteOptions::retry_for). Default 1024, which still fits
    /// twice into a node's 8192 for each core when four processes do the same. Environment:
    /// `ABIDE_CLIENT_CONNECTIONS_MAX`.
    pub connections_max: usize,
    /// Whether sessions are kept alive in the background while they make no calls. Default true. Without it a
    /// session ends when its shards hear no call within a lease: for tests, and for programs that can do
    /// without what they acquire.
    pub heartbeats: bool,
}

impl Default for RemoteOptions {
    fn default() -> RemoteOptions {
        RemoteOptions {
            transport: TransportKind::Auto,
            connect_timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            lease: None,
            connections_max: 1024,
            heartbeats: true,
        }
    }
}

impl RemoteOptions {
    /// The defaults, changed by what the environment says. `BadArgument` names a variable that makes no sense.
    pub fn from_env() -> Result<RemoteOptions, CallError> {
        let transport = TransportKind::from_env().map_err(CallError::bad_argument)?;
        RemoteOptions { transport, ..RemoteOptions::default() }.changed_by(|name| match env::var(name) {
            Ok(value) if value.is_empty() => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(error @ env::VarError::NotUnicode(_)) => Err(bad(name, error)),
        })
    }

    fn changed_by(
        mut self,
        look_up: impl Fn(&str) -> Result<Option<String>, CallError>,
    ) -> Result<RemoteOptions, CallError> {
        fn parsed<T: FromStr<Err: Display>>(
            name: &str,
            value: Option<String>,
        ) -> Result<Option<T>, CallError> {
            value.map(|value| value.parse().map_err(|error| bad(name, error))).transpose()
        }
        let number = |name| parsed::<u64>(name, look_up(name)?);
        let milliseconds = |name| Ok::<_, CallError>(number(name)?.map(Duration::from_millis));
        self.connect_timeout =
            milliseconds("ABIDE_CLIENT_CONNECT_TIMEOUT_MS")?.unwrap_or(self.connect_timeout);
        self.retry_for = milliseconds("ABIDE_CLIENT_RETRY_FOR_MS")?.unwrap_or(self.retry_for);
        self.request_timeout =
            milliseconds("ABIDE_CLIENT_REQUEST_TIMEOUT_MS")?.unwrap_or(self.request_timeout);
        self.lease = milliseconds("ABIDE_CLIENT_LEASE_MS")?.or(self.lease);
        let connections_max =
            parsed("ABIDE_CLIENT_CONNECTIONS_MAX", look_up("ABIDE_CLIENT_CONNECTIONS_MAX")?)?;
        self.connections_max = connections_max.unwrap_or(self.connections_max);
        Ok(self)
    }

    /// Decides what runs.
    pub(crate) fn resolve(&self) -> Result<Settings, CallError> {
        let refuse = |reason: String| Err(CallError::BadArgument { reason });
        if self.retry_for > RETRY_FOR_MAX {
            return refuse(format!(
                "retry_for is {:?}, but at most {RETRY_FOR_MAX:?} are safe",
                self.retry_for
            ));
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return refuse("a time-out of zero leaves no time to connect, or for an answer".to_owned());
        }
        if self.connections_max < 2 {
            return refuse(format!("{} connections to a core: at least 2 are needed", self.connections_max));
        }
        // 0 would mean the node's default, and a lease beyond 49 days is cut by the node anyway.
        let lease_ms = self.lease.map_or(0, |lease| lease.as_millis().clamp(1, u32::MAX.into()) as u32);
        Ok(Settings {
            connect_timeout: self.connect_timeout,
            retry_for: self.retry_for,
            request_timeout: self.request_timeout,
            lease_ms,
            connections_max: self.connections_max,
            heartbeats: self.heartbeats,
        })
    }
}

fn bad(name: &str, error: impl Display) -> CallError {
    CallError::bad_argument(format!("the environment variable {name}: {error}"))
}

/// What runs. Only [`RemoteOptions::resolve`] makes one.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) retry_for: Duration,
    pub(crate) request_timeout: Duration,
    /// As HELLO says it: 0 for the node's default.
    pub(crate) lease_ms: u32,
    pub(crate) connections_max: usize,
    pub(crate) heartbeats: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_changes_what_it_names_and_nothing_else() {
        let changed = RemoteOptions::default().changed_by(|name| {
            Ok(match name {
                "ABIDE_CLIENT_RETRY_FOR_MS" => Some("1500".to_owned()),
                "ABIDE_CLIENT_LEASE_MS" => Some("300".to_owned()),
                _ => None,
            })
        });
        let (retry_for, lease) = (Duration::from_millis(1500), Some(Duration::from_millis(300)));
        assert_eq!(changed, Ok(RemoteOptions { retry_for, lease, ..RemoteOptions::default() }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let error = RemoteOptions::default().changed_by(|_| Ok(Some("soon".to_owned()))).unwrap_err();
        assert!(error.to_string().contains("ABIDE_CLIENT_CONNECT_TIMEOUT_MS"), "{error}");
        let zero = Duration::ZERO;
        for refused in [
            RemoteOptions { connections_max: 1, ..RemoteOptions::default() },
            RemoteOptions { request_timeout: zero, ..RemoteOptions::default() },
            RemoteOptions { connect_timeout: zero, ..RemoteOptions::default() },
            RemoteOptions { retry_for: 2 * RETRY_FOR_MAX, ..RemoteOptions::default() },
        ] {
            assert!(matches!(refused.resolve(), Err(CallError::BadArgument { .. })), "{refused:?}");
        }
    }

    #[test]
    fn no_lease_is_the_nodes_and_a_tiny_one_is_not() {
        let lease_ms =
            |lease| RemoteOptions { lease, ..RemoteOptions::default() }.resolve().unwrap().lease_ms;
        assert_eq!(lease_ms(None), 0);
        assert_eq!(lease_ms(Some(Duration::from_nanos(1))), 1);
        assert_eq!(lease_ms(Some(Duration::MAX)), u32::MAX);
    }
}
