//! How a call ends: from what happened on the way to what its caller may conclude.

use crate::transport::{RequestFate, TransportError};
use abide_net::{CallError, MethodKind, codec, frame::FrameError};
use std::error::Error;

/// What is known about the delivery of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    kind: MethodKind,
    /// Some attempt may have reached the node, which may have made the call. Sent again it carries RETRY.
    pub(crate) may_have_arrived: bool,
}

impl Delivery {
    pub(crate) fn new(kind: MethodKind) -> Delivery {
        Delivery { kind, may_have_arrived: false }
    }

    /// Whether the answer may take any time.
    pub(crate) fn waits(self) -> bool {
        self.kind == MethodKind::Wait
    }

    /// Whether sending it twice does no harm.
    pub(crate) fn is_read(self) -> bool {
        self.kind == MethodKind::Read
    }

    /// The call is given up without an answer.
    pub(crate) fn given_up(self, reason: String) -> CallError {
        if self.is_unknown() {
            CallError::Unknown { reason: format!("the call was sent and no answer came: {reason}") }
        } else {
            CallError::Unavailable { reason }
        }
    }

    /// The session ended before an answer came.
    fn session_ended(self) -> CallError {
        if self.is_unknown() {
            let reason = "the call was sent, and its session ended before an answer came".to_owned();
            CallError::Unknown { reason }
        } else {
            CallError::SessionExpired
        }
    }

    /// What the node's error means for this call.
    pub(crate) fn error(self, error: CallError) -> CallError {
        match error {
            // To a retry: the node knows nothing of the first time any more.
            CallError::SessionExpired => self.session_ended(),
            error => error,
        }
    }

    /// The call cannot be sent again, for this reason.
    pub(crate) fn refused(self, error: CallError) -> CallError {
        if self.is_unknown() { self.given_up(error.to_string()) } else { error }
    }

    /// In which epoch the caller has last seen the object of this call, which is about to be sent to another incarnation
    /// than before, of that epoch. The object may have been made by the call itself, or have had its effect: if it is
    /// gone with its node, then it is lost to this caller, and must not come back empty for it.
    pub(crate) fn seen_in(self, seen: u64, before: u64) -> u64 {
        if seen == 0 && self.is_unknown() { before } else { seen }
    }

    /// A read that was made and not answered has changed nothing.
    fn is_unknown(self) -> bool {
        self.may_have_arrived && !self.is_read()
    }
}

/// Reads the error of a REPLY.
pub(crate) fn read_error(encoded: &[u8]) -> CallError {
    codec::decode(encoded).unwrap_or_else(|error| CallError::Unknown {
        reason: format!("the node's error is unreadable: {error}"),
    })
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// No attempt will.
    Final(String),
    /// The node was restarted: it has another map perhaps, and no connection of before.
    OtherIncarnation,
}

impl Failure {
    pub(crate) fn into_text(self) -> String {
        match self {
            Failure::Passing(text) | Failure::Final(text) => text,
            Failure::OtherIncarnation => "the node was restarted".to_owned(),
        }
    }
}

/// With the causes, which the text of a transport's error leaves out.
pub(crate) fn text_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<&TransportError> for Failure {
    fn from(error: &TransportError) -> Failure {
        match error {
            // It was demanded, so a plain socket will not do, and it does not come back.
            TransportError::UringUnavailable { request: RequestFate::NotDelivered, .. } => {
                Failure::Final(text_of(error))
            }
            _ => Failure::Passing(text_of(error)),
        }
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Failure {
        match error {
            FrameError::OtherVersion { .. } => Failure::Final(error.to_string()),
            _ => Failure::Passing(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(kind: MethodKind, may_have_arrived: bool) -> Delivery {
        Delivery { kind, may_have_arrived }
    }

    #[test]
    fn only_a_change_that_may_have_been_made_is_unknown() {
        use MethodKind::*;
        for (kind, may_have_arrived, unknown) in [
            (Write, false, false),
            (Write, true, true),
            (Wait, false, false),
            (Wait, true, true),
            (Read, false, false),
            (Read, true, false),
        ] {
            let delivery = delivery(kind, may_have_arrived);
            let given_up = delivery.given_up("why".to_owned());
            let ended = delivery.session_ended();
            if unknown {
                assert!(matches!(given_up, CallError::Unknown { .. }), "{delivery:?}");
                assert!(matches!(ended, CallError::Unknown { .. }), "{delivery:?}");
            } else {
                assert_eq!(given_up, CallError::Unavailable { reason: "why".to_owned() });
                assert_eq!(ended, CallError::SessionExpired);
            }
        }
    }

    #[test]
    fn a_change_that_may_have_been_made_before_a_restart_has_seen_its_object() {
        use MethodKind::*;
        assert_eq!(delivery(Write, true).seen_in(0, 7), 7);
        assert_eq!(delivery(Wait, true).seen_in(0, 7), 7);
        assert_eq!(delivery(Write, true).seen_in(5, 7), 5);
        assert_eq!(delivery(Write, false).seen_in(0, 7), 0);
        assert_eq!(delivery(Read, true).seen_in(0, 7), 0);
        assert!(matches!(delivery(Write, true).refused(CallError::NoSpace), CallError::Unknown { .. }));
        assert_eq!(delivery(Write, false).refused(CallError::NoSpace), CallError::NoSpace);
    }

    #[test]
    fn the_nodes_errors_are_passed_on() {
        let retried = delivery(MethodKind::Write, true);
        assert_eq!(retried.error(CallError::TimedOut), CallError::TimedOut);
        assert!(matches!(retried.error(CallError::SessionExpired), CallError::Unknown { .. }));
        let new = delivery(MethodKind::Write, false);
        assert_eq!(new.error(CallError::SessionExpired), CallError::SessionExpired);
        assert_eq!(read_error(&codec::encode(&CallError::TimedOut).unwrap()), CallError::TimedOut);
        assert!(matches!(read_error(b"\xff\xff\xff"), CallError::Unknown { .. }));
    }
}
