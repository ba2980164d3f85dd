//! Where a shard puts its answers.

use abide_net::{CallError, frame};

/// Where the answer to a call must go. Opaque to the shard; the executor chose it when the call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The core that has the connection.
    pub core: u32,
    /// The connection on that core.
    pub connection: u64,
}

/// One answer in an [`Outbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingReply {
    /// Where it must go.
    pub origin: Origin,
    /// The slot of the call that it answers.
    pub slot: u32,
    /// The sequence of the call that it answers.
    pub sequence: u64,
    /// Whether it is a result (else an error).
    pub ok: bool,
    frame: std::ops::Range<usize>,
    body_start: usize,
}

/// The answers that a shard gave since the executor last took them. Each is a whole REPLY frame.
///
/// Answers to calls that changed persistent objects can be read only after [`Shard::commit`](super::Shard::commit) has made
/// those changes durable: no executor can send an acknowledgement too early.
#[derive(Debug, Default)]
pub struct Outbox {
    replies: Vec<OutgoingReply>,
    bytes: Vec<u8>,
    /// Shards that have yet to commit what is answered here.
    pub(super) uncommitted: u32,
}

impl Outbox {
    /// Adds an answer.
    pub(super) fn reply(
        &mut self,
        origin: Origin,
        slot: u32,
        sequence: u64,
        result: Result<&[u8], &CallError>,
    ) {
        let start = self.bytes.len();
        let (body_start, ok) = frame::encode_reply(&mut self.bytes, slot, sequence, result);
        let frame = start..self.bytes.len();
        self.replies.push(OutgoingReply { origin, slot, sequence, ok, frame, body_start });
    }

    /// Adds an answer whose result or error is encoded already. Gives what became of it: a result may be too long for a frame.
    pub(super) fn reply_encoded(
        &mut self,
        origin: Origin,
        slot: u32,
        sequence: u64,
        ok: bool,
        body: &[u8],
    ) -> (bool, &[u8]) {
        let start = self.bytes.len();
        let (body_start, ok) = if ok {
            frame::encode_reply(&mut self.bytes, slot, sequence, Ok(body))
        } else {
            frame::encode_reply_error(&mut self.bytes, slot, sequence, body)
        };
        let frame = start..self.bytes.len();
        self.replies.push(OutgoingReply { origin, slot, sequence, ok, frame, body_start });
        (ok, &self.bytes[body_start..])
    }

    /// The answers, in the order in which they were given.
    ///
    /// # Panics
    /// If a shard has yet to commit what they acknowledge: a mistake of the executor.
    pub fn replies(&self) -> &[OutgoingReply] {
        assert!(self.uncommitted == 0, "answers are read before what they acknowledge is durable");
        &self.replies
    }

    /// The whole frame of an answer.
    pub fn frame(&self, reply: &OutgoingReply) -> &[u8] {
        &self.bytes[reply.frame.clone()]
    }

    /// The result or the encoded error of an answer.
    pub fn body(&self, reply: &OutgoingReply) -> &[u8] {
        &self.bytes[reply.body_start..reply.frame.end]
    }

    /// How many bytes of answers there are.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the answers, which have been sent. Keeps a moderate amount of memory for the next ones.
    pub fn clear(&mut self) {
        const KEPT_BYTES_MAX: usize = 1 << 20;
        self.replies.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.replies.shrink_to(KEPT_BYTES_MAX / size_of::<OutgoingReply>());
    }
}
