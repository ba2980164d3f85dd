//! One connection of the test's node: a thread that reads, and one that writes.

use super::{
    faults::{Act, Moment},
    node::{SeenCall, Shared},
};
use abide_net::{
    frame::{self, Frame, Next, RejectReason, Reply},
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX},
};
use abide_shards::{
    Event,
    shard::{SessionId, SessionTerms},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// The connection is over.
struct Over;

struct Connection {
    shared: Arc<Shared>,
    core: usize,
    id: u64,
    socket: TcpStream,
    writer: mpsc::Sender<Vec<u8>>,
    /// What its HELLO said: the session, and its terms.
    session: Option<(SessionId, SessionTerms)>,
}

/// Takes the connection into the node, and serves it in the background.
pub(super) fn serve(shared: &Arc<Shared>, core: usize, socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let (writer, frames) = mpsc::channel::<Vec<u8>>();
    let (mut written, to_cut) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
    let mut state = shared.state();
    state.last_connection += 1;
    let id = state.last_connection;
    state.connections.insert(id, (writer.clone(), to_cut));
    drop(state);
    let mut connection = Connection { shared: shared.clone(), core, id, socket, writer, session: None };
    thread::spawn(move || {
        let _: Over = connection.run();
        connection.shared.state().connections.remove(&id);
        let _ = connection.socket.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        while let Ok(mut bytes) = frames.recv() {
            // What has gathered goes out together, as a node does it.
            while let Ok(more) = frames.try_recv() {
                bytes.extend_from_slice(&more);
            }
            if written.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}

impl Connection {
    fn run(&mut self) -> Over {
        if let Err(over) = self.obey(self.shared.choice(Moment::Accepted { core: self.core }), &[]) {
            return over;
        }
        let (mut bytes, mut used) = (Vec::new(), 0);
        let mut piece = vec![0; 64 << 10];
        loop {
            let longest = if self.session.is_some() { FRAME_BYTES_MAX } else { HELLO_BYTES_MAX };
            match frame::next_frame(&bytes[used..], longest) {
                Ok(Next::Frame(frame, length)) => {
                    if self.frame(frame).is_err() {
                        return Over;
                    }
                    used += length;
                }
                Ok(Next::Incomplete(_)) => {
                    bytes.drain(..used);
                    used = 0;
                    match self.socket.read(&mut piece) {
                        Ok(0) | Err(_) => return Over,
                        Ok(count) => bytes.extend_from_slice(&piece[..count]),
                    }
                }
                Err(error) => {
                    let Err(over) = self.reject(RejectReason::Malformed, &error.to_string()) else {
                        continue;
                    };
                    return over;
                }
            }
        }
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), Over> {
        let shared = self.shared.clone();
        match (self.session, frame) {
            (None, Frame::Hello(hello)) => {
                shared.seen().sessions.push(hello.session);
                let default_ms = shared.options.lock().unwrap().lease.as_millis() as u32;
                let lease_ms = if hello.lease_ms == 0 { default_ms } else { hello.lease_ms };
                let mut welcome = Vec::new();
                Frame::Welcome(shared.welcome(self.core, lease_ms)).encode(&mut welcome);
                self.obey(shared.choice(Moment::Hello { core: self.core }), &welcome)?;
                let terms =
                    SessionTerms { lease_us: u64::from(lease_ms) * 1_000, is_seeded: hello.is_seeded };
                self.session = Some((SessionId(hello.session), terms));
                self.send(welcome);
            }
            (Some((session, terms)), Frame::Call(call)) => {
                let core = self.core;
                shared.seen().calls.push(SeenCall {
                    core,
                    shard: call.shard,
                    slot: call.slot,
                    sequence: call.sequence,
                    retry: call.retry,
                    first: call.first,
                    method: call.method,
                    session: session.0,
                });
                self.obey(shared.choice(Moment::BeforeCall { core, call: &call }), &[])?;
                let reply = shared.call(self.id, session, terms, call);
                self.obey(shared.choice(Moment::AfterCall { core, call: &call }), &reply)?;
                self.send(reply);
                self.obey(shared.choice(Moment::AfterReply { core, call: &call }), &[])?;
            }
            (Some((session, _)), Frame::Heartbeat) => {
                shared.seen().heartbeats += 1;
                self.obey(shared.choice(Moment::Heartbeat), &[])?;
                shared.apply_everywhere(Event::Heartbeat { session });
                let alive = shared.state().shards.iter_mut().all(|shard| shard.may_be_alive(session));
                self.send_frame(&Frame::Alive { alive });
            }
            (Some((session, _)), Frame::Goodbye) => {
                shared.seen().goodbyes += 1;
                self.obey(shared.choice(Moment::Goodbye), &[])?;
                shared.apply_everywhere(Event::Goodbye { session });
            }
            (Some((session, _)), Frame::Cancel { slot, sequence }) => {
                shared.seen().cancels += 1;
                self.obey(shared.choice(Moment::Cancel), &[])?;
                shared.apply_everywhere(Event::Cancel { session, slot, sequence });
            }
            (_, other) => panic!("a client sent {}", other.kind()),
        }
        Ok(())
    }

    /// Does what the test wants; `answer` is what the node is about to send.
    fn obey(&mut self, act: Act, answer: &[u8]) -> Result<(), Over> {
        match act {
            Act::Go => Ok(()),
            Act::Cut => Err(Over),
            Act::CutMidReply => {
                self.write_now(&answer[..answer.len() / 2]);
                Err(Over)
            }
            Act::Reject(reason, text) => self.reject(reason, text),
            Act::Garbage => {
                self.write_now(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                Err(Over)
            }
            Act::Noise => {
                self.send_frame(&Frame::Reply(Reply { slot: 99, sequence: 99, result: Ok(b"for nobody") }));
                self.send_frame(&Frame::Alive { alive: true });
                Ok(())
            }
            Act::FallSilent => {
                // Until the node cuts it, or the client gives it up.
                self.shared.state().connections.remove(&self.id);
                let mut nothing = [0];
                while !matches!(self.socket.peek(&mut nothing), Ok(0) | Err(_)) {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(Over)
            }
            Act::Delay(duration) => {
                thread::sleep(duration);
                Ok(())
            }
        }
    }

    fn reject(&mut self, reason: RejectReason, text: &str) -> Result<(), Over> {
        let mut bytes = Vec::new();
        Frame::Reject { reason, text }.encode(&mut bytes);
        self.write_now(&bytes);
        Err(Over)
    }

    fn send_frame(&self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send(bytes);
    }

    fn send(&self, bytes: Vec<u8>) {
        let _ = self.writer.send(bytes);
    }

    /// Past the writer, right before the end of the connection.
    fn write_now(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }
}
