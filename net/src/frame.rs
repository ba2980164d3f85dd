//! Frames: how calls and answers lie on a TCP stream.
//!
//! All integers are little-endian. Every frame begins with the number of bytes that follow the prefix;
//! the next byte says what it is:
//!
//! ```text
//! every frame   0 u32 length   4 u8 kind   5 ...body
//!
//! 1 HELLO       client -> node, first on a connection, at most 64 bytes
//!      5 magic[8] "ABIDE\r\n\x1a"   13 u16 version   15 u128 session   31 u32 lease wanted, ms (0: the node's)
//!     35 u8 flags: 1 the session is seeded
//! 2 WELCOME     node -> client
//!      5 magic[8]   13 u16 version   15 u64 epoch   23 u32 lease, ms   27 u32 frame bytes, at most
//!     31 u32 shards   35 u16 core (the one that answers)   37 u16 cores   39 u16 port of each core
//! 3 CALL        client -> node
//!      5 u8 flags   6 u16 type   8 u16 method   10 u32 shard   14 u32 slot   18 u64 sequence
//!     26 u64 epoch in which the caller last saw the object (0: never)
//!     34 u16 key bytes   36 u32 creation bytes   40 u8 replicas wanted (0: ephemeral)
//!     41 key   .. creation arguments   .. arguments to the end
//!     flags: 1 retry   2 first contact of this session   4 creation arguments are there   8 they must be equal
//!            16 the caller wants so many replicas (without it that byte is 0)
//! 4 REPLY       node -> client
//!      5 u8 status (0 result, 1 error)   6 u32 slot   10 u64 sequence   18 result, or the error in bincode
//! 5 HEARTBEAT   client -> node, renews the session's lease; no body
//! 6 ALIVE       node -> client, answers a HEARTBEAT:  5 u8 (1 the session lives, 0 it expired or never was)
//! 7 GOODBYE     client -> node, ends the session and gives back what it holds; no body
//! 8 CANCEL      client -> node: 5 u32 slot   9 u64 sequence: ends that call if it still waits
//! 9 REJECT      node -> client, then the connection closes: 5 u8 reason   6 text
//! ```
//! A session is named by the HELLO; all calls of the connection are its. Within a session a call is named
//! by (slot, sequence): a slot has one call under way, sequences of a slot only grow, so the node keeps
//! one answer to a slot for retries, whatever the client does (the session and slot scheme of RFC 8881,
//! section 2.10).
//!
//! Bytes from a peer are hostile: [`next_frame`] answers with a frame, with "not all there yet", or with an
//! error after which the connection must close. It never panics and never allocates.

use crate::{
    codec,
    error::CallError,
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX, KEY_BYTES_MAX},
};

/// First bytes of HELLO and WELCOME. The line end and the control byte catch transports that rewrite text.
pub const MAGIC: [u8; 8] = *b"ABIDE\r\n\x1a";

/// Version of the layout above. A node refuses others.
pub const VERSION: u16 = 2;

const LENGTH_BYTES: usize = 4;
const CALL_HEADER_BYTES: usize = 37;
/// Bytes of a REPLY in front of its result, without the length prefix.
pub const REPLY_HEADER_BYTES: usize = 14;

/// Why a connection's bytes make no sense. It must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame announces more bytes than are allowed.
    #[error("a frame of {announced} bytes, but at most {max} are allowed")]
    TooLong {
        /// What its prefix says.
        announced: usize,
        /// The limit at this point of the connection.
        max: usize,
    },
    /// The frame ends before its body does, or after.
    #[error("a malformed {kind} frame")]
    Malformed {
        /// The frame's kind.
        kind: &'static str,
    },
    /// No frame has this kind.
    #[error("an unknown frame kind {kind}")]
    UnknownKind {
        /// The kind byte.
        kind: u8,
    },
    /// A HELLO or WELCOME without the magic: the peer speaks something else.
    #[error("the peer does not speak Abide")]
    NotAbide,
    /// The peer speaks another version.
    #[error("the peer speaks version {peer}, this is version {VERSION}")]
    OtherVersion {
        /// The peer's version.
        peer: u16,
    },
    /// The connection does not begin with a HELLO, or a HELLO comes again.
    #[error("a {kind} frame is out of place here")]
    OutOfPlace {
        /// The frame's kind.
        kind: &'static str,
    },
}

/// Why a node turns a connection away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// A frame was malformed, too long, unknown or out of place.
    Malformed = 1,
    /// Another protocol version.
    Version = 2,
    /// The node has as many connections, or as many bytes under way, as it can.
    Busy = 3,
    /// The node is stopping.
    Stopping = 4,
    /// A reason of a later version.
    Other = 255,
}

/// Opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The client's session. Chosen by the client, at random or from a seed.
    pub session: u128,
    /// The lease that the client wants, in milliseconds; 0 for the node's default.
    pub lease_ms: u32,
    /// The session's id and its sequences come from a seed: the node keeps its answers for another run of the same program.
    pub is_seeded: bool,
}

/// Answers a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The node's incarnation.
    pub epoch: u64,
    /// The session's lease in milliseconds: without a sign of life for this long it ends.
    pub lease_ms: u32,
    /// The longest frame that the node takes.
    pub frame_bytes_max: u32,
    /// Number of shards.
    pub shards: u32,
    /// The core that this connection reached.
    pub core: u16,
    /// The TCP port of each core. Shard `s` is owned by core `s % ports.len()`.
    pub ports: Vec<u16>,
}

/// One call on an object, or on a shard itself (type 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The call was sent before. It is told apart by its slot and sequence; this only informs, also those who
    /// read a capture.
    pub retry: bool,
    /// The session has not had an answer from this shard yet: it may begin there.
    pub first: bool,
    /// The object's type.
    pub type_id: u16,
    /// The method.
    pub method: u16,
    /// The shard that the client believes to own the object.
    pub shard: u32,
    /// The slot of the session that this call uses.
    pub slot: u32,
    /// The call's number within its slot. Greater than any before.
    pub sequence: u64,
    /// The epoch in which the caller last saw the object, or 0.
    pub epoch: u64,
    /// On how many nodes the caller wants the object: 0 for an ephemeral one, nothing if it takes it as it is.
    pub replicas: Option<u8>,
    /// The object's key.
    pub key: &'a str,
    /// Encoded arguments to create the object with, and whether an existing one must have been created with equal ones.
    pub creation: Option<(&'a [u8], bool)>,
    /// Encoded arguments of the method.
    pub arguments: &'a [u8],
}

/// Answers a [`Call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The slot of the call.
    pub slot: u32,
    /// The sequence of the call.
    pub sequence: u64,
    /// The encoded result, or the encoded [`crate::CallError`].
    pub result: Result<&'a [u8], &'a [u8]>,
}

/// Any frame, borrowed from the bytes that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Opens a connection.
    Hello(Hello),
    /// Answers it.
    Welcome(Welcome),
    /// A call.
    Call(Call<'a>),
    /// Its answer.
    Reply(Reply<'a>),
    /// Renews the session's lease.
    Heartbeat,
    /// Answers a heartbeat.
    Alive {
        /// Whether the session lives.
        alive: bool,
    },
    /// Ends the session.
    Goodbye,
    /// Ends a call that still waits.
    Cancel {
        /// The slot of the call.
        slot: u32,
        /// The sequence of the call.
        sequence: u64,
    },
    /// Turns the connection away.
    Reject {
        /// Why.
        reason: RejectReason,
        /// The same in words.
        text: &'a str,
    },
}

impl Frame<'_> {
    /// The frame's kind, as errors name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Frame::Hello(_) => "HELLO",
            Frame::Welcome(_) => "WELCOME",
            Frame::Call(_) => "CALL",
            Frame::Reply(_) => "REPLY",
            Frame::Heartbeat => "HEARTBEAT",
            Frame::Alive { .. } => "ALIVE",
            Frame::Goodbye => "GOODBYE",
            Frame::Cancel { .. } => "CANCEL",
            Frame::Reject { .. } => "REJECT",
        }
    }

    /// Appends the frame, with its length prefix, to `out`.
    ///
    /// Lengths are the caller's duty: a key of more than [`KEY_BYTES_MAX`] bytes or a frame of more than
    /// [`FRAME_BYTES_MAX`] is a bug here (it was checked when the call was made), and stops the program.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = begin(out);
        match self {
            Frame::Hello(hello) => {
                out.push(1);
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&VERSION.to_le_bytes());
                out.extend_from_slice(&hello.session.to_le_bytes());
                out.extend_from_slice(&hello.lease_ms.to_le_bytes());
                out.push(u8::from(hello.is_seeded));
            }
            Frame::Welcome(welcome) => {
                out.push(2);
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&VERSION.to_le_bytes());
                out.extend_from_slice(&welcome.epoch.to_le_bytes());
                out.extend_from_slice(&welcome.lease_ms.to_le_bytes());
                out.extend_from_slice(&welcome.frame_bytes_max.to_le_bytes());
                out.extend_from_slice(&welcome.shards.to_le_bytes());
                out.extend_from_slice(&welcome.core.to_le_bytes());
                let cores = u16::try_from(welcome.ports.len()).expect("a node has fewer than 65536 cores");
                out.extend_from_slice(&cores.to_le_bytes());
                welcome.ports.iter().for_each(|port| out.extend_from_slice(&port.to_le_bytes()));
            }
            Frame::Call(call) => {
                assert!(call.key.len() <= KEY_BYTES_MAX, "a key of {} bytes", call.key.len());
                let (creation, exactly) = call.creation.unwrap_or_default();
                let creation_bytes = u32::try_from(creation.len()).expect("creation arguments fit a frame");
                let flags = u8::from(call.retry)
                    | u8::from(call.first) << 1
                    | u8::from(call.creation.is_some()) << 2
                    | u8::from(exactly) << 3
                    | u8::from(call.replicas.is_some()) << 4;
                out.reserve(CALL_HEADER_BYTES + call.key.len() + creation.len() + call.arguments.len());
                out.extend_from_slice(&[3, flags]);
                out.extend_from_slice(&call.type_id.to_le_bytes());
                out.extend_from_slice(&call.method.to_le_bytes());
                out.extend_from_slice(&call.shard.to_le_bytes());
                out.extend_from_slice(&call.slot.to_le_bytes());
                out.extend_from_slice(&call.sequence.to_le_bytes());
                out.extend_from_slice(&call.epoch.to_le_bytes());
                out.extend_from_slice(&(call.key.len() as u16).to_le_bytes());
                out.extend_from_slice(&creation_bytes.to_le_bytes());
                out.push(call.replicas.unwrap_or(0));
                out.extend_from_slice(call.key.as_bytes());
                out.extend_from_slice(creation);
                out.extend_from_slice(call.arguments);
            }
            Frame::Reply(reply) => {
                let (status, body) = match reply.result {
                    Ok(body) => (0, body),
                    Err(body) => (1, body),
                };
                out.extend_from_slice(&[4, status]);
                out.extend_from_slice(&reply.slot.to_le_bytes());
                out.extend_from_slice(&reply.sequence.to_le_bytes());
                out.extend_from_slice(body);
            }
            Frame::Heartbeat => out.push(5),
            Frame::Alive { alive } => out.extend_from_slice(&[6, u8::from(*alive)]),
            Frame::Goodbye => out.push(7),
            Frame::Cancel { slot, sequence } => {
                out.push(8);
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
            }
            Frame::Reject { reason, text } => {
                out.extend_from_slice(&[9, *reason as u8]);
                out.extend_from_slice(text.as_bytes());
            }
        }
        finish(out, start);
    }
}

/// Appends a REPLY whose result may be too long for a frame: it becomes the error `TooLarge` then.
/// Returns where in `out` the body (result or error) begins, and whether it is a result.
pub fn encode_reply(
    out: &mut Vec<u8>,
    slot: u32,
    sequence: u64,
    result: Result<&[u8], &CallError>,
) -> (usize, bool) {
    let longest = FRAME_BYTES_MAX - REPLY_HEADER_BYTES;
    let too_large = CallError::TooLarge { max: longest as u64 };
    let result = match result {
        Ok(body) if body.len() > longest => Err(&too_large),
        other => other,
    };
    let error = result.err().map(|error| codec::encode(error).expect("an error can be encoded"));
    let start = out.len();
    let result = match &error {
        None => result.map_err(|_| &[][..]),
        Some(error) => Err(&error[..]),
    };
    Frame::Reply(Reply { slot, sequence, result }).encode(out);
    (start + LENGTH_BYTES + REPLY_HEADER_BYTES, result.is_ok())
}

/// Appends a REPLY with an error that is encoded already. Returns as [`encode_reply`].
pub fn encode_reply_error(out: &mut Vec<u8>, slot: u32, sequence: u64, error: &[u8]) -> (usize, bool) {
    let start = out.len();
    Frame::Reply(Reply { slot, sequence, result: Err(error) }).encode(out);
    (start + LENGTH_BYTES + REPLY_HEADER_BYTES, false)
}

fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    start
}

fn finish(out: &mut [u8], start: usize) {
    let length = out.len() - start - LENGTH_BYTES;
    assert!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes was about to be sent");
    out[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
}

/// What is at the front of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole frame, which took this many bytes.
    Frame(Frame<'a>, usize),
    /// Not all there yet: the frame will be complete when this many bytes are there (at least).
    Incomplete(usize),
}

/// Reads the first frame of `bytes`. `frame_bytes_max` bounds what the length prefix may announce:
/// [`HELLO_BYTES_MAX`] before the peer was welcomed, [`FRAME_BYTES_MAX`] after.
pub fn next_frame(bytes: &[u8], frame_bytes_max: usize) -> Result<Next<'_>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(Next::Incomplete(LENGTH_BYTES));
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > frame_bytes_max {
        // Of a stranger, say what matters more: that these bytes are no HELLO at all.
        let stranger = frame_bytes_max == HELLO_BYTES_MAX;
        return Err(if stranger {
            FrameError::NotAbide
        } else {
            FrameError::TooLong { announced: length, max: frame_bytes_max }
        });
    }
    match rest.get(..length) {
        None => Ok(Next::Incomplete(LENGTH_BYTES + length)),
        Some(frame) => Ok(Next::Frame(parse(frame)?, LENGTH_BYTES + length)),
    }
}

/// Reads one frame without its length prefix.
pub fn parse(frame: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (&kind, body) = frame.split_first().ok_or(FrameError::Malformed { kind: "empty" })?;
    let mut fields = Fields { bytes: body };
    let (name, parsed) = match kind {
        1 => ("HELLO", hello(&mut fields)?),
        2 => ("WELCOME", welcome(&mut fields)?),
        3 => ("CALL", call(&mut fields)),
        4 => ("REPLY", reply(&mut fields)),
        5 => ("HEARTBEAT", Some(Frame::Heartbeat)),
        6 => ("ALIVE", fields.take().map(|[alive]| Frame::Alive { alive: alive != 0 })),
        7 => ("GOODBYE", Some(Frame::Goodbye)),
        8 => ("CANCEL", cancel(&mut fields)),
        9 => ("REJECT", reject(&mut fields)),
        _ => return Err(FrameError::UnknownKind { kind }),
    };
    match parsed {
        Some(frame) if fields.bytes.is_empty() => Ok(frame),
        _ => Err(FrameError::Malformed { kind: name }),
    }
}

/// Takes fields off the front of a frame's body.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*field)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(field)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The magic and the version; `None` where the frame is too short for them.
    fn preamble(&mut self) -> Result<Option<()>, FrameError> {
        match self.take() {
            Some(MAGIC) => {}
            Some(_) => return Err(FrameError::NotAbide),
            None => return Ok(None),
        }
        match self.u16() {
            Some(VERSION) => Ok(Some(())),
            Some(peer) => Err(FrameError::OtherVersion { peer }),
            None => Ok(None),
        }
    }
}

fn hello<'a>(fields: &mut Fields<'a>) -> Result<Option<Frame<'a>>, FrameError> {
    let Some(()) = fields.preamble()? else { return Ok(None) };
    let read = |fields: &mut Fields<'a>| {
        let (session, lease_ms) = (u128::from_le_bytes(fields.take()?), fields.u32()?);
        let [flags] = fields.take()?;
        (flags < 2).then_some(Frame::Hello(Hello { session, lease_ms, is_seeded: flags & 1 != 0 }))
    };
    Ok(read(fields))
}

fn welcome<'a>(fields: &mut Fields<'a>) -> Result<Option<Frame<'a>>, FrameError> {
    let Some(()) = fields.preamble()? else { return Ok(None) };
    let read = |fields: &mut Fields<'a>| {
        let (epoch, lease_ms) = (fields.u64()?, fields.u32()?);
        let (frame_bytes_max, shards, core) = (fields.u32()?, fields.u32()?, fields.u16()?);
        let cores = usize::from(fields.u16()?);
        let ports =
            fields.slice(cores * 2)?.chunks_exact(2).map(|port| u16::from_le_bytes([port[0], port[1]]));
        let welcome = Welcome { epoch, lease_ms, frame_bytes_max, shards, core, ports: ports.collect() };
        (welcome.shards > 0 && !welcome.ports.is_empty()).then_some(Frame::Welcome(welcome))
    };
    Ok(read(fields))
}

fn call<'a>(fields: &mut Fields<'a>) -> Option<Frame<'a>> {
    let [flags] = fields.take()?;
    let (type_id, method) = (fields.u16()?, fields.u16()?);
    let (shard, slot) = (fields.u32()?, fields.u32()?);
    let (sequence, epoch) = (fields.u64()?, fields.u64()?);
    let key_bytes = usize::from(fields.u16()?);
    let creation_bytes = fields.u32()? as usize;
    let [replicas] = fields.take()?;
    if flags >= 32 || key_bytes > KEY_BYTES_MAX {
        return None;
    }
    let replicas = match (flags & 16 != 0, replicas) {
        (true, replicas) => Some(replicas),
        (false, 0) => None,
        (false, _) => return None,
    };
    let key = std::str::from_utf8(fields.slice(key_bytes)?).ok()?;
    let creation = fields.slice(creation_bytes)?;
    let creation = match (flags & 4 != 0, flags & 8 != 0) {
        (true, exactly) => Some((creation, exactly)),
        (false, false) if creation.is_empty() => None,
        _ => return None,
    };
    Some(Frame::Call(Call {
        retry: flags & 1 != 0,
        first: flags & 2 != 0,
        type_id,
        method,
        shard,
        slot,
        sequence,
        epoch,
        replicas,
        key,
        creation,
        arguments: fields.rest(),
    }))
}

fn reply<'a>(fields: &mut Fields<'a>) -> Option<Frame<'a>> {
    let [status] = fields.take()?;
    let (slot, sequence) = (fields.u32()?, fields.u64()?);
    let body = fields.rest();
    let result = match status {
        0 => Ok(body),
        1 => Err(body),
        _ => return None,
    };
    Some(Frame::Reply(Reply { slot, sequence, result }))
}

fn cancel<'a>(fields: &mut Fields<'a>) -> Option<Frame<'a>> {
    Some(Frame::Cancel { slot: fields.u32()?, sequence: fields.u64()? })
}

fn reject<'a>(fields: &mut Fields<'a>) -> Option<Frame<'a>> {
    use RejectReason::*;
    let [code] = fields.take()?;
    let known = [Malformed, Version, Busy, Stopping].into_iter().find(|reason| *reason as u8 == code);
    let text = std::str::from_utf8(fields.rest()).ok()?;
    Some(Frame::Reject { reason: known.unwrap_or(Other), text })
}

#[cfg(test)]
mod tests;
