//! What a client says to a node, and how it understands the node's first words.

use super::{outcome::Failure, session::Session, slots::CallName};
use abide_net::{
    Creation, Request,
    frame::{self, Call, Frame, Hello, RejectReason, Welcome},
    route::ShardId,
};

/// Longest first frame of a node: a WELCOME of 65535 cores takes 131 KiB.
pub(crate) const WELCOME_BYTES_MAX: usize = 256 << 10;

/// Bytes of a CALL in front of its key, without the length prefix.
const CALL_HEADER_BYTES: usize = 37;

/// What of a call may differ from one attempt to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) name: CallName,
    pub(crate) shard: ShardId,
    pub(crate) first: bool,
    pub(crate) retry: bool,
}

/// Encodes a session's HELLO.
pub(crate) fn hello(session: &Session, lease_ms: u32) -> Vec<u8> {
    let mut hello = Vec::new();
    let (session, is_seeded) = (session.id, session.is_seeded);
    Frame::Hello(Hello { session, lease_ms, is_seeded }).encode(&mut hello);
    hello
}

/// Bytes of a call's frame, without its length prefix; counted before the frame is made, for making one that
/// is too long is a bug.
pub(crate) fn frame_bytes(request: &Request<'_>) -> usize {
    let creation_bytes = match request.creation {
        Creation::Never => 0,
        Creation::IfAbsent(arguments) | Creation::Exactly(arguments) => arguments.len(),
    };
    CALL_HEADER_BYTES + request.key.len() + creation_bytes + request.arguments.len()
}

/// The frame of a call. The request's key was checked when the call was routed.
pub(crate) fn call_of<'a>(request: &Request<'a>, attempt: Attempt) -> Call<'a> {
    Call {
        retry: attempt.retry,
        first: attempt.first,
        type_id: request.type_id,
        method: request.method,
        shard: attempt.shard,
        slot: attempt.name.slot,
        sequence: attempt.name.sequence,
        epoch: request.epoch,
        replicas: request.replicas,
        key: request.key,
        creation: request.creation.in_frame(),
        arguments: request.arguments,
    }
}

/// What a REJECT means for whoever was turned away.
pub(crate) fn rejected(reason: RejectReason, text: &str) -> Failure {
    let text = format!("the node turned the connection away: {text}");
    match reason {
        RejectReason::Busy | RejectReason::Stopping => Failure::Passing(text),
        RejectReason::Malformed | RejectReason::Version | RejectReason::Other => Failure::Final(text),
    }
}

/// Reads the first frame that a node sends, without its length prefix.
pub(crate) fn read_welcome(bytes: &[u8]) -> Result<Welcome, Failure> {
    match frame::parse(bytes)? {
        Frame::Welcome(welcome) => Ok(welcome),
        Frame::Reject { reason, text } => Err(rejected(reason, text)),
        other => Err(Failure::Passing(format!("the peer answered HELLO with {}", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::node::tests::request;
    use abide_net::{
        MethodKind,
        frame::{MAGIC, VERSION},
    };

    const NAME: CallName = CallName { slot: 3, sequence: 4 };

    #[test]
    fn a_calls_bytes_are_known_before_it_is_encoded() {
        for creation in [Creation::Never, Creation::IfAbsent(b"1234567"), Creation::Exactly(b"")] {
            let request = Request { creation, ..request("a key", MethodKind::Write) };
            let mut frame = Vec::new();
            let attempt = Attempt { name: NAME, shard: 1, first: false, retry: false };
            Frame::Call(call_of(&request, attempt)).encode(&mut frame);
            assert_eq!(frame.len() - 4, frame_bytes(&request));
        }
    }

    #[test]
    fn a_welcome_is_told_from_everything_else() {
        let read = |frame: Frame<'_>| {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            read_welcome(&bytes[4..])
        };
        let welcome =
            Welcome { epoch: 1, lease_ms: 2, frame_bytes_max: 3, shards: 4, core: 0, ports: vec![7400] };
        assert_eq!(read(Frame::Welcome(welcome.clone())).unwrap(), welcome);
        let rejected = |reason| read(Frame::Reject { reason, text: "so" }).unwrap_err();
        assert!(matches!(rejected(RejectReason::Busy), Failure::Passing(text) if text.contains("so")));
        assert!(matches!(rejected(RejectReason::Stopping), Failure::Passing(_)));
        assert!(matches!(rejected(RejectReason::Version), Failure::Final(text) if text.contains("so")));
        assert!(matches!(read(Frame::Heartbeat), Err(Failure::Passing(_))));
        assert!(matches!(read_welcome(b"HTTP/1.1 400 Bad Request"), Err(Failure::Passing(_))));
        assert!(matches!(read_welcome(b""), Err(Failure::Passing(_))));

        let mut other_version = vec![2];
        other_version.extend_from_slice(&MAGIC);
        other_version.extend_from_slice(&(VERSION + 1).to_le_bytes());
        assert!(matches!(read_welcome(&other_version), Err(Failure::Final(_))));
    }
}
