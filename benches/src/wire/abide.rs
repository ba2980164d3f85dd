//! Abide's frames. See `abide_net::frame` for their layout.
//!
//! Each connection has a session of its own, and each place of its pipeline a slot. Calls carry what a
//! handle's calls carry: the default creation arguments, and the epoch in which the object was last seen.

use super::{PATIENCE, Requests, Split, Wire, connect};
use crate::{
    multiplier::multiplier,
    values::{VALUE_BYTES, Values},
    workload::{Answer, COMPLEX_TIMES, FACTOR, Operation},
};
use abide_net::{
    Bytes, CallError, codec,
    frame::{self, Call, Frame, Hello, Next, Welcome},
    limits::FRAME_BYTES_MAX,
    route::shard_of,
};
use abide_schema::{
    Method, ObjectType,
    types::{atomic_byte_array, shard},
};
use anyhow::{Context as _, bail, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    rc::Rc,
    time::Instant,
};

/// What a prebuilt call leaves open: where in its frame that is.
const FLAGS: usize = 5;
const FLAG_FIRST: u8 = 2;
const SLOT: Range<usize> = 14..18;
const SEQUENCE: Range<usize> = 18..26;
const EPOCH: Range<usize> = 26..34;

/// Calls, but for the fields above and, at the end of a set, the value.
#[derive(Debug)]
pub(crate) struct Prebuilt {
    values: Rc<Values>,
    sets: Requests,
    gets: Requests,
    /// Zero times, once, [`COMPLEX_TIMES`].
    multiplies: [Requests; 3],
    /// What an encoded value begins with: its length.
    value_prefix: Vec<u8>,
}

impl Prebuilt {
    pub(crate) fn new(
        values: Rc<Values>,
        keys: usize,
        multipliers: usize,
        shards: u32,
    ) -> anyhow::Result<Prebuilt> {
        let zeros = Bytes(vec![0; VALUE_BYTES]);
        let mut value_prefix = codec::encode(&zeros)?;
        value_prefix.truncate(value_prefix.len() - VALUE_BYTES);
        let (mut sets, mut gets, mut multiplies) =
            (Requests::default(), Requests::default(), <[Requests; 3]>::default());
        let set = atomic_byte_array::Set { bytes: zeros };
        for key in 0..keys {
            let key = format!("key:{key:05}");
            sets.push(|out| {
                call(&key, &set, shards, out);
                out.truncate(out.len() - VALUE_BYTES);
            });
            gets.push(|out| call(&key, &atomic_byte_array::Get {}, shards, out));
        }
        for (requests, times) in multiplies.iter_mut().zip([0, 1, COMPLEX_TIMES]) {
            let multiply = multiplier::Multiply { factor: FACTOR, times };
            for key in 0..multipliers {
                requests.push(|out| call(&format!("mul:{key:05}"), &multiply, shards, out));
            }
        }
        Ok(Prebuilt { values, sets, gets, multiplies, value_prefix })
    }
}

/// Appends a call as a handle makes it, with nothing yet in the fields that a connection fills in.
fn call<M: Method>(key: &str, method: &M, shards: u32, out: &mut Vec<u8>) {
    let creation = M::Object::info().default_creation.map(|encoded| encoded());
    let arguments = codec::encode(method).expect("arguments can be encoded");
    Frame::Call(Call {
        retry: false,
        first: false,
        type_id: M::Object::ID,
        method: M::ID,
        shard: shard_of(M::Object::ID, key, shards),
        slot: 0,
        sequence: 0,
        epoch: 0,
        replicas: None,
        key,
        creation: creation.as_deref().map(|creation| (creation, false)),
        arguments: &arguments,
    })
    .encode(out);
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Abide {
    prebuilt: Rc<Prebuilt>,
    /// The node's incarnation, once it has answered a call.
    epoch: u64,
    welcome: Welcome,
    sequence: u64,
    /// The sequence of the call under way in each slot.
    under_way: Vec<u64>,
}

impl Wire for Abide {
    type Prebuilt = Prebuilt;

    fn open(
        address: SocketAddr,
        prebuilt: &Rc<Prebuilt>,
        pipeline: usize,
    ) -> anyhow::Result<(TcpStream, Abide)> {
        let (stream, welcome) = hello(address)?;
        let under_way = vec![0; pipeline];
        Ok((stream, Abide { prebuilt: prebuilt.clone(), epoch: 0, welcome, sequence: 0, under_way }))
    }

    fn encode(&mut self, place: usize, operation: &Operation, out: &mut Vec<u8>) {
        let start = out.len();
        let prebuilt = &*self.prebuilt;
        let request = match *operation {
            Operation::Set { key, .. } => prebuilt.sets.get(key),
            Operation::Get { key, .. } => prebuilt.gets.get(key),
            Operation::Multiply { object, times, .. } => {
                prebuilt.multiplies[times.min(2) as usize].get(object)
            }
        };
        out.extend_from_slice(request);
        self.sequence += 1;
        self.under_way[place] = self.sequence;
        let head = &mut out[start..start + EPOCH.end];
        if self.epoch == 0 {
            head[FLAGS] |= FLAG_FIRST;
        }
        head[SLOT].copy_from_slice(&(place as u32).to_le_bytes());
        head[SEQUENCE].copy_from_slice(&self.sequence.to_le_bytes());
        head[EPOCH].copy_from_slice(&self.epoch.to_le_bytes());
        if let Operation::Set { key, version } = *operation {
            prebuilt.values.write(key, version, out);
        }
    }

    fn split<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<Option<Split<'a>>> {
        let (reply, used) = match frame::next_frame(bytes, FRAME_BYTES_MAX)? {
            Next::Incomplete(_) => return Ok(None),
            Next::Frame(Frame::Reply(reply), used) => (reply, used),
            Next::Frame(other, _) => bail!("the node sent {other:?}"),
        };
        let place = reply.slot as usize;
        let expected = self.under_way.get(place).copied();
        ensure!(expected == Some(reply.sequence), "an answer to call {} of slot {place}", reply.sequence);
        let body =
            reply.result.map_err(|error| anyhow::anyhow!("{:?}", codec::decode::<CallError>(error)))?;
        self.epoch = self.welcome.epoch;
        Ok(Some(Split { used, place, body }))
    }

    fn answer<'a>(&self, operation: &Operation, body: &'a [u8]) -> anyhow::Result<Answer<'a>> {
        match operation {
            Operation::Set { .. } => {
                ensure!(body.is_empty(), "a set answered with {} bytes", body.len());
                Ok(Answer::Done)
            }
            Operation::Get { .. } => {
                let value = body.strip_prefix(&self.prebuilt.value_prefix[..]);
                Ok(Answer::Bytes(value.context("not a value of the right length")?))
            }
            Operation::Multiply { .. } => Ok(Answer::Float(codec::decode(body)?)),
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        Frame::Goodbye.encode(out);
    }
}

/// Opens a connection with a new session.
fn hello(address: SocketAddr) -> anyhow::Result<(TcpStream, Welcome)> {
    let mut stream = connect(address)?;
    let hello = Frame::Hello(Hello { session: fastrand::u128(..), lease_ms: 0, is_seeded: false });
    let welcome = exchange(&mut stream, &hello, |frame| match frame {
        Frame::Welcome(welcome) => Ok(welcome),
        other => bail!("the node answers {other:?} to a HELLO"),
    })?;
    Ok((stream, welcome))
}

/// Sends a frame and waits for the one that answers it.
fn exchange<T>(
    stream: &mut TcpStream,
    frame: &Frame<'_>,
    look: impl FnOnce(Frame<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    stream.write_all(&bytes)?;
    bytes.clear();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Next::Frame(frame, _) = frame::next_frame(&bytes, FRAME_BYTES_MAX)? {
            return look(frame);
        }
        ensure!(Instant::now() < until, "the node does not answer");
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).context("the node does not answer")?;
        ensure!(count > 0, "the node closed the connection");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// How many shards the node has.
pub(crate) fn shards(address: SocketAddr) -> anyhow::Result<u32> {
    Ok(hello(address)?.1.shards)
}

/// How many calls the node says that it has made, this one not counted.
pub(crate) fn calls(address: SocketAddr) -> anyhow::Result<u64> {
    let (mut stream, welcome) = hello(address)?;
    ensure!(welcome.shards == 1, "a benchmark's node has one core and one shard");
    let arguments = codec::encode(&shard::Info {})?;
    let info = Frame::Call(Call {
        retry: false,
        first: true,
        type_id: shard::Type::ID,
        method: <shard::Info as Method>::ID,
        shard: 0,
        slot: 0,
        sequence: 1,
        epoch: 0,
        replicas: None,
        key: "",
        creation: None,
        arguments: &arguments,
    });
    let info: abide_schema::ShardInfo = exchange(&mut stream, &info, |frame| match frame {
        Frame::Reply(reply) => Ok(codec::decode(reply.result.map_err(|_| anyhow::anyhow!("no shard 0"))?)?),
        other => bail!("the node answers {other:?} to a call"),
    })?;
    let mut goodbye = Vec::new();
    Frame::Goodbye.encode(&mut goodbye);
    stream.write_all(&goodbye)?;
    Ok(info.calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_call_is_the_call_that_it_should_be() {
        let values = Rc::new(Values::new());
        let prebuilt = Rc::new(Prebuilt::new(values.clone(), 20, 3, 1).unwrap());
        let welcome =
            Welcome { epoch: 9, lease_ms: 0, frame_bytes_max: 0, shards: 1, core: 0, ports: vec![1] };
        let mut wire = Abide { prebuilt, epoch: 0, welcome, sequence: 0, under_way: vec![0; 4] };
        let mut out = Vec::new();
        wire.encode(3, &Operation::Set { key: 17, version: 5 }, &mut out);
        let Next::Frame(Frame::Call(call), used) = frame::next_frame(&out, FRAME_BYTES_MAX).unwrap() else {
            panic!("no call");
        };
        assert_eq!(used, out.len());
        assert_eq!((call.slot, call.sequence, call.epoch, call.first, call.retry), (3, 1, 0, true, false));
        assert_eq!((call.type_id, call.key), (atomic_byte_array::Type::ID, "key:00017"));
        let set: atomic_byte_array::Set = codec::decode(call.arguments).unwrap();
        assert!(values.matches(17, 5, &set.bytes.0));
        let mut reply = Vec::new();
        frame::encode_reply(&mut reply, 3, 1, Ok(&[]));
        assert_eq!(wire.split(&reply).unwrap().map(|split| split.place), Some(3));
        wire.split(&reply[..5]).unwrap().ok_or(()).unwrap_err();
        out.clear();
        wire.encode(3, &Operation::Multiply { object: 2, times: COMPLEX_TIMES, above: 0.0 }, &mut out);
        let Next::Frame(Frame::Call(call), _) = frame::next_frame(&out, FRAME_BYTES_MAX).unwrap() else {
            panic!("no call");
        };
        assert_eq!((call.slot, call.sequence, call.epoch, call.first), (3, 2, 9, false));
        let multiply: multiplier::Multiply = codec::decode(call.arguments).unwrap();
        assert_eq!((call.key, multiply.times), ("mul:00002", COMPLEX_TIMES));
        wire.split(&reply).unwrap_err();
    }
}
