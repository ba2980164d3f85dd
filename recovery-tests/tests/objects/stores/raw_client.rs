//! A client that speaks frames and nothing else.

use super::{Envelope, PATIENCE};
use crate::model::{Answer, Session};
use abide_net::{
    CallError, codec,
    frame::{self, Call, Frame, Hello, Next, Welcome},
    limits::FRAME_BYTES_MAX,
    route::shard_of,
};
use abide_schema::{Method, ObjectType, types::shard};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

/// What a node said.
#[derive(Debug)]
pub(crate) enum Said {
    Reply {
        session: Session,
        slot: u32,
        sequence: u64,
        answer: Answer,
    },
    Alive(bool),
    /// Something that it should not have said.
    Odd(String),
}

/// One connection of one session. What the node says goes to a channel, read by a thread.
pub(crate) struct RawClient {
    stream: TcpStream,
    reader: Option<JoinHandle<()>>,
    shards: u32,
}

/// Slots from here on are for looks at shards.
pub(crate) const LOOK_SLOT: u32 = 1_000;

/// Sessions that do not end while a test runs, though nobody renews them.
const LEASE_MS: u32 = 600_000;

fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 16_384];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => {
                received.extend_from_slice(&bytes[..count]);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

impl RawClient {
    /// Connects, and goes on with the session if the node knows it.
    pub(crate) fn connect(address: SocketAddr, session: Session, said: Sender<Said>) -> RawClient {
        let mut stream = TcpStream::connect(address).expect("the node listens");
        stream.set_nodelay(true).expect("a socket");
        let mut hello = Vec::new();
        let session_id = u128::from(session);
        Frame::Hello(Hello { session: session_id, lease_ms: LEASE_MS, is_seeded: false }).encode(&mut hello);
        stream.write_all(&hello).expect("the node reads");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut received = Vec::new();
        let welcome: Welcome = loop {
            match frame::next_frame(&received, FRAME_BYTES_MAX).expect("frames") {
                Next::Frame(Frame::Welcome(welcome), used) => {
                    received.drain(..used);
                    break welcome;
                }
                Next::Frame(other, _) => panic!("{other:?} instead of a WELCOME"),
                Next::Incomplete(_) => assert!(read(&mut stream, &mut received), "no WELCOME came"),
            }
        };
        stream.set_read_timeout(None).expect("a socket");
        let mut reading = stream.try_clone().expect("a socket");
        let reader = std::thread::spawn(move || {
            loop {
                while let Next::Frame(frame, used) = match frame::next_frame(&received, FRAME_BYTES_MAX) {
                    Ok(next) => next,
                    Err(error) => {
                        drop(said.send(Said::Odd(error.to_string())));
                        return;
                    }
                } {
                    let news = match frame {
                        Frame::Reply(reply) => {
                            let answer = match reply.result {
                                Ok(body) => Ok(body.to_vec()),
                                Err(body) => Err(codec::decode(body).expect("an error can be decoded")),
                            };
                            Said::Reply { session, slot: reply.slot, sequence: reply.sequence, answer }
                        }
                        Frame::Alive { alive } => Said::Alive(alive),
                        other => Said::Odd(format!("{other:?}")),
                    };
                    received.drain(..used);
                    if said.send(news).is_err() {
                        return;
                    }
                }
                if !read(&mut reading, &mut received) {
                    return;
                }
            }
        });
        RawClient { stream, reader: Some(reader), shards: welcome.shards }
    }

    fn write(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).expect("the node reads");
    }

    pub(crate) fn send(&mut self, envelope: &Envelope, retry: bool) {
        let shard = shard_of(envelope.asked.type_id, &envelope.key, self.shards);
        self.write(&Frame::Call(Call {
            retry,
            first: true,
            type_id: envelope.asked.type_id,
            method: envelope.asked.method,
            shard,
            slot: envelope.slot,
            sequence: envelope.sequence,
            epoch: 0,
            replicas: Some(envelope.replicas),
            key: &envelope.key,
            creation: Some((&envelope.creation, false)),
            arguments: &envelope.asked.arguments,
        }));
    }

    /// Asks each shard about itself, behind whatever was asked before. Says how many answers will come.
    pub(crate) fn look(&mut self, sequence: u64) -> u32 {
        let shards = self.shards;
        for shard in 0..shards {
            self.write(&Frame::Call(Call {
                retry: false,
                first: true,
                type_id: shard::Type::ID,
                method: shard::Info::ID,
                shard,
                slot: LOOK_SLOT + shard,
                sequence,
                epoch: 0,
                replicas: None,
                key: "",
                creation: None,
                arguments: &[],
            }));
        }
        shards
    }

    pub(crate) fn cancel(&mut self, envelope: &Envelope) {
        self.write(&Frame::Cancel { slot: envelope.slot, sequence: envelope.sequence });
    }

    pub(crate) fn goodbye(&mut self) {
        self.write(&Frame::Goodbye);
    }

    pub(crate) fn heartbeat(&mut self) {
        self.write(&Frame::Heartbeat);
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.reader.take().map(JoinHandle::join);
    }
}

/// A client that makes one call after the other.
pub(crate) struct OneByOne {
    client: RawClient,
    said: Receiver<Said>,
}

impl OneByOne {
    pub(crate) fn connect(address: SocketAddr, session: Session) -> OneByOne {
        let (sender, said) = channel();
        OneByOne { client: RawClient::connect(address, session, sender), said }
    }

    pub(crate) fn call(&mut self, envelope: &Envelope) -> Answer {
        self.client.send(envelope, false);
        match self.said.recv_timeout(PATIENCE) {
            Ok(Said::Reply { slot, sequence, answer, .. })
                if (slot, sequence) == (envelope.slot, envelope.sequence) =>
            {
                answer
            }
            other => Err(CallError::Unknown { reason: format!("the node said {other:?}") }),
        }
    }
}
