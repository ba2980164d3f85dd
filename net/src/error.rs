//! How a call can end other than with its result.

use crate::codec::CodecError;
use serde::{Deserialize, Serialize};

/// Every error of a call on a shared object, the same embedded and over the network.
///
/// It travels as bincode: the variant's number (in the order below, from 0) and then its fields, so
/// variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such object, and the call carried no arguments to create it with.
    #[error("there is no such object")]
    NotFound,
    /// The object was lost together with the node that held it in memory. Every call says so until
    /// someone creates the object again on purpose.
    #[error("the object was lost with its node (it lived in epoch {epoch}); create it again on purpose")]
    Lost {
        /// The node's incarnation in which this caller last saw the object.
        epoch: u64,
    },
    /// The object exists and was created with other arguments.
    #[error("the object exists already, created with {with}")]
    AlreadyExists {
        /// The arguments that it was created with, readable.
        with: String,
    },
    /// A value is not of the type that the operation needs.
    #[error("wrong type: the value is {is}")]
    WrongType {
        /// What it is.
        is: String,
    },
    /// An argument is outside of what the method accepts.
    #[error("bad argument: {reason}")]
    BadArgument {
        /// Which, and why.
        reason: String,
    },
    /// An index or a range lies outside of the object.
    #[error("out of bounds: the length is {len}")]
    OutOfBounds {
        /// The object's length.
        len: u64,
    },
    /// A key, value, frame or answer is larger than its limit, or the answers kept for a session's retries are.
    #[error("too large: at most {max} are allowed")]
    TooLarge {
        /// The limit, in bytes or entries as the method's documentation says.
        max: u64,
    },
    /// The time given with the call passed. Nothing was consumed.
    #[error("timed out")]
    TimedOut,
    /// The barrier's generation was broken, or the object was deleted while the caller waited.
    #[error("broken: another party timed out, died, or the object was reset or deleted")]
    Broken,
    /// The session's lease ended: what it held was given back. The next call begins a new session.
    #[error("the session expired, and what it held was given back")]
    SessionExpired,
    /// The node keeps as many sessions, or the session as many calls under way, as it can.
    #[error("too many sessions, or too many calls under way in one session (at most {max})")]
    SessionsFull {
        /// The limit.
        max: u64,
    },
    /// The call is older than one that the same slot of the session made since.
    #[error("stale sequence: the slot has moved on to {last}")]
    StaleSequence {
        /// The slot's newest sequence number.
        last: u64,
    },
    /// No node could be reached; nothing was executed. Safe to retry.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What was tried.
        reason: String,
    },
    /// The call was sent, no answer came, and the session that would know is gone.
    #[error("unknown outcome: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The store is full. Nothing was written.
    #[error("no space left in the store")]
    NoSpace,
    /// The caller may not do this: it does not hold what it gives back, for example.
    #[error("denied: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
    /// The object's method panicked. The object answers nothing else until it is deleted.
    #[error("the method panicked: {message}")]
    MethodPanicked {
        /// The panic's message.
        message: String,
    },
    /// The object's type has no such method, or the node knows no such type.
    #[error("no such method: {name}")]
    NoSuchMethod {
        /// What was asked for.
        name: String,
    },
    /// A future was completed with an error.
    #[error("the future failed: {message}")]
    Failed {
        /// The error that it was completed with.
        message: String,
    },
    /// A future was cancelled, or this call was.
    #[error("cancelled")]
    Cancelled,
    /// As many calls wait in the object as may. Nothing was done.
    #[error("as many calls wait in the object as may ({max})")]
    WaitersFull {
        /// The limit.
        max: u64,
    },
    /// The stored bytes of the object, or of the shard's books, are damaged. Nothing was changed.
    #[error("damaged: {reason}")]
    Damaged {
        /// Where and how.
        reason: String,
    },
}

impl CallError {
    /// A [`CallError::BadArgument`] with this reason.
    pub fn bad_argument(reason: impl std::fmt::Display) -> Self {
        CallError::BadArgument { reason: reason.to_string() }
    }

    /// A [`CallError::Denied`] with this reason.
    pub fn denied(reason: impl std::fmt::Display) -> Self {
        CallError::Denied { reason: reason.to_string() }
    }
}

impl From<CodecError> for CallError {
    fn from(error: CodecError) -> Self {
        CallError::bad_argument(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    /// One that is sent to a client of another version must be read as the same.
    #[test]
    fn errors_keep_their_numbers() {
        use CallError::*;
        let text = || "why".to_owned();
        let all = [
            NotFound,
            Lost { epoch: 1 },
            AlreadyExists { with: text() },
            WrongType { is: text() },
            BadArgument { reason: text() },
            OutOfBounds { len: 1 },
            TooLarge { max: 1 },
            TimedOut,
            Broken,
            SessionExpired,
            SessionsFull { max: 1 },
            StaleSequence { last: 1 },
            Unavailable { reason: text() },
            Unknown { reason: text() },
            NoSpace,
            Denied { reason: text() },
            MethodPanicked { message: text() },
            NoSuchMethod { name: text() },
            Failed { message: text() },
            Cancelled,
            WaitersFull { max: 1 },
            Damaged { reason: text() },
        ];
        for (number, error) in all.iter().enumerate() {
            let bytes = codec::encode(error).unwrap();
            assert_eq!(usize::from(bytes[0]), number, "{error:?}");
            assert_eq!(codec::decode::<CallError>(&bytes).as_ref(), Ok(error));
        }
        let mut next = vec![all.len() as u8];
        next.extend_from_slice(&[0; 64]);
        let next = codec::decode_prefix::<CallError>(&next);
        assert!(next.is_err(), "a new error belongs at the end of this list too: {next:?}");
    }
}
