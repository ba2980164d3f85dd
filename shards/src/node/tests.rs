//! The node, from outside: raw frames over TCP.

use super::*;
use abide_net::{
    CallError, codec,
    frame::{self, Call, Frame, Hello, Next, RejectReason, Welcome},
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX},
    route::shard_of,
};
use abide_schema::{
    Method, ObjectType,
    types::{atomic_byte_array, atomic_long, count_down_latch, cyclic_barrier, mutex, shard},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A node on a free port, or nothing where io_uring is forbidden.
fn node_with(change: impl FnOnce(&mut NodeConfig)) -> Option<Node> {
    let mut config = NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() };
    change(&mut config);
    match Node::start(&config) {
        Ok(node) => Some(node),
        Err(StartError::Forbidden(error)) => {
            eprintln!("SKIPPED: io_uring is forbidden here ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn node() -> Option<Node> {
    node_with(|_| ())
}

/// Reads, though the kernel may interrupt a read with a time limit when this thread once had an io_uring.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A client that speaks frames and nothing else.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    welcome: Welcome,
    sequence: u64,
}

impl Client {
    fn new(address: SocketAddr, session: u128) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let welcome =
            Welcome { epoch: 0, lease_ms: 0, frame_bytes_max: 0, shards: 1, core: 0, ports: vec![0] };
        let mut client = Client { stream, received: Vec::new(), welcome, sequence: 0 };
        client.send(&Frame::Hello(Hello { session, lease_ms: 0, is_seeded: false }));
        client.welcome = client.receive(|frame| match frame {
            Frame::Welcome(welcome) => welcome,
            other => panic!("{other:?}"),
        });
        client
    }

    fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    fn receive<T>(&mut self, look: impl FnOnce(Frame<'_>) -> T) -> T {
        loop {
            if let Next::Frame(frame, used) = frame::next_frame(&self.received, FRAME_BYTES_MAX).unwrap() {
                let result = look(frame);
                self.received.drain(..used);
                return result;
            }
            let mut bytes = [0; 65_536];
            let count = read(&mut self.stream, &mut bytes).unwrap();
            assert!(count > 0, "the node closed the connection");
            self.received.extend_from_slice(&bytes[..count]);
        }
    }

    fn start<M: Method>(
        &mut self,
        slot: u32,
        key: &str,
        method: &M,
        creation: &<M::Object as ObjectType>::Creation,
    ) {
        let (creation, arguments) = (codec::encode(creation).unwrap(), codec::encode(method).unwrap());
        self.sequence += 1;
        let call = Call {
            retry: false,
            first: true,
            type_id: M::Object::ID,
            method: M::ID,
            shard: 0,
            slot,
            sequence: self.sequence,
            epoch: 0,
            replicas: None,
            key,
            creation: Some((&creation, false)),
            arguments: &arguments,
        };
        self.send(&Frame::Call(call));
    }

    fn answer<M: Method>(&mut self) -> (u32, Result<M::Output, CallError>) {
        self.receive(|frame| match frame {
            Frame::Reply(reply) => {
                let result = match reply.result {
                    Ok(body) => Ok(codec::decode(body).unwrap()),
                    Err(body) => Err(codec::decode(body).unwrap()),
                };
                (reply.slot, result)
            }
            other => panic!("{other:?}"),
        })
    }

    fn call<M: Method>(
        &mut self,
        key: &str,
        method: &M,
        creation: &<M::Object as ObjectType>::Creation,
    ) -> Result<M::Output, CallError> {
        self.start(0, key, method, creation);
        self.answer::<M>().1
    }

    fn add(&mut self, key: &str, delta: i64) -> i64 {
        self.call(key, &atomic_long::AddAndGet { delta }, &atomic_long::Creation { initial: 0 }).unwrap()
    }
}

#[test]
fn any_core_answers_for_any_object() {
    let Some(node) = node_with(|config| config.shards = Some(7)) else { return };
    for (n, address) in node.addresses().iter().enumerate() {
        let mut client = Client::new(*address, n as u128);
        assert_eq!(client.welcome.core as usize, n);
        assert_eq!(client.welcome.ports.len(), node.addresses().len());
        for key in 0..100 {
            assert_eq!(client.add(&format!("key {key}"), 1), n as i64 + 1);
        }
    }
    let owner = |key: &str| shard_of(atomic_long::Type::ID, key, 7) as usize % node.addresses().len();
    let reached: std::collections::BTreeSet<_> = (0..100).map(|key| owner(&format!("key {key}"))).collect();
    assert_eq!(reached.len(), node.addresses().len(), "not every core had an object");
    node.stop().unwrap();
}

#[test]
fn a_barrier_joins_callers_of_different_cores() {
    let Some(node) = node() else { return };
    let parties = 2 * node.addresses().len();
    let creation = cyclic_barrier::Creation { parties: parties as u32 };
    for round in 0..20 {
        let mut clients: Vec<_> = (0..parties)
            .map(|n| Client::new(node.addresses()[n % node.addresses().len()], (round * 100 + n) as u128))
            .collect();
        clients
            .iter_mut()
            .for_each(|c| c.start(0, "b", &cyclic_barrier::Await { timeout_ms: None }, &creation));
        let mut indexes: Vec<u32> =
            clients.iter_mut().map(|client| client.answer::<cyclic_barrier::Await>().1.unwrap()).collect();
        indexes.sort_unstable();
        assert!(indexes.into_iter().eq(0..parties as u32));
    }
}

#[test]
fn a_wait_times_out_on_a_node_with_nothing_else_to_do() {
    let Some(node) = node() else { return };
    for address in node.addresses() {
        let mut client = Client::new(*address, 1);
        let wait = count_down_latch::Await { timeout_ms: Some(30) };
        let outcome = client.call("latch", &wait, &count_down_latch::Creation { count: 1 });
        assert_eq!(outcome, Err(CallError::TimedOut));
    }
}

#[test]
fn a_lock_outlives_its_holders_connection_and_ends_with_its_lease() {
    let Some(node) = node_with(|config| config.lease = Duration::from_millis(400)) else { return };
    let mut holder = Client::new(node.address(), 1);
    let lock = |owner| mutex::Lock { owner, timeout_ms: None };
    holder.call("m", &lock(1), &mutex::Creation {}).unwrap();
    drop(holder);
    let mut next = Client::new(node.addresses()[node.addresses().len() - 1], 2);
    assert_eq!(
        next.call("m", &mutex::TryLock { owner: 1 }, &mutex::Creation {}),
        Ok(None),
        "given back too early"
    );
    next.start(1, "m", &lock(1), &mutex::Creation {});
    // The waiter has to show signs of life itself.
    next.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut heartbeats = 0;
    loop {
        let mut bytes = [0; 1024];
        match read(&mut next.stream, &mut bytes) {
            Ok(count) => next.received.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(heartbeats < 1_000, "the lock was never given back");
                heartbeats += 1;
                next.send(&Frame::Heartbeat);
            }
            Err(error) => panic!("{error}"),
        }
        let mut granted = false;
        while let Ok(Next::Frame(frame, used)) = frame::next_frame(&next.received, FRAME_BYTES_MAX) {
            match frame {
                Frame::Alive { alive } => assert!(alive),
                Frame::Reply(reply) => granted = reply.slot == 1 && reply.result.is_ok(),
                other => panic!("{other:?}"),
            }
            next.received.drain(..used);
        }
        if granted {
            break;
        }
    }
}

#[test]
fn goodbye_gives_back_at_once_on_every_core() {
    let Some(node) = node_with(|config| config.lease = Duration::from_secs(600)) else { return };
    let mut holder = Client::new(node.address(), 1);
    let keys: Vec<_> = (0..20).map(|n| format!("lock {n}")).collect();
    let try_lock = mutex::TryLock { owner: 1 };
    for key in &keys {
        assert!(holder.call(key, &try_lock, &mutex::Creation {}).unwrap().is_some());
    }
    holder.send(&Frame::Goodbye);
    let mut next = Client::new(node.address(), 2);
    for key in &keys {
        next.call(key, &mutex::Lock { owner: 1, timeout_ms: None }, &mutex::Creation {}).unwrap();
    }
}

fn rejected(address: SocketAddr, bytes: &[u8]) -> RejectReason {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The node may close while this still writes.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match read(&mut stream, &mut buffer) {
            Ok(0) => panic!("closed without a word: {answer:?}"),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error}"),
        }
        while let Ok(Next::Frame(frame, used)) = frame::next_frame(&answer, FRAME_BYTES_MAX) {
            if let Frame::Reject { reason, .. } = frame {
                return reason;
            }
            answer.drain(..used);
        }
    }
}

#[test]
fn garbage_is_turned_away_and_others_are_served() {
    let Some(node) = node() else { return };
    let mut hello = Vec::new();
    Frame::Hello(Hello { session: 9, lease_ms: 0, is_seeded: false }).encode(&mut hello);
    assert!(hello.len() <= HELLO_BYTES_MAX);
    let mut other_version = hello.clone();
    other_version[13] = 77;
    let after_hello = |bytes: &[u8]| [&hello[..], bytes].concat();
    assert_eq!(rejected(node.address(), b"GET / HTTP/1.1\r\n\r\n"), RejectReason::Malformed);
    assert_eq!(rejected(node.address(), &[0xff; 64]), RejectReason::Malformed);
    assert_eq!(rejected(node.address(), &other_version), RejectReason::Version);
    assert_eq!(rejected(node.address(), &after_hello(&hello)), RejectReason::Malformed);
    assert_eq!(rejected(node.address(), &after_hello(&[0xff; 4])), RejectReason::Malformed);
    assert_eq!(rejected(node.address(), &after_hello(&[0, 0, 0, 0])), RejectReason::Malformed);
    assert_eq!(rejected(node.address(), &after_hello(&[1, 0, 0, 0, 99])), RejectReason::Malformed);
    assert_eq!(Client::new(node.address(), 1).add("x", 1), 1);
}

#[test]
fn incomplete_frames_are_bounded_for_all_connections_together() {
    let Some(node) = node_with(|config| config.partial_bytes_max = 4 << 20) else { return };
    let part = [&((16 << 20) as u32).to_le_bytes()[..], &[3]].concat();
    let mut hogs: Vec<_> = (0..8).map(|n| Client::new(node.address(), n)).collect();
    for hog in &mut hogs {
        // The node may turn it away in the middle of this.
        let _ = hog.stream.write_all(&part).and_then(|()| hog.stream.write_all(&vec![7; 2 << 20]));
    }
    // Others can still send frames that come in parts.
    let mut other = Client::new(node.address(), 99);
    let bytes = vec![7; 200_000];
    let creation = atomic_byte_array::Creation { initial: bytes[..0].into() };
    for _ in 0..20 {
        let append = atomic_byte_array::Set { bytes: bytes[..].into() };
        other.call("x", &append, &creation).unwrap();
    }
    let mut turned_away = 0;
    for hog in &mut hogs {
        hog.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        turned_away += usize::from(read(&mut hog.stream, &mut [0; 64]).is_ok());
    }
    assert!(turned_away > 0, "16 MiB of incomplete frames were kept, though 4 MiB are the bound");
}

/// The client's last calls are on their way when it says that it will send no more.
#[test]
fn a_client_that_closes_its_side_gets_the_answers_that_are_left() {
    let Some(node) = node() else { return };
    let mut client = Client::new(node.address(), 1);
    let keys: Vec<_> = (0..200).map(|n| format!("key {n}")).collect();
    for (slot, key) in keys.iter().enumerate() {
        let creation = atomic_long::Creation { initial: 0 };
        client.start(slot as u32, key, &atomic_long::AddAndGet { delta: 1 }, &creation);
    }
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    for _ in &keys {
        assert_eq!(client.answer::<atomic_long::AddAndGet>().1, Ok(1));
    }
    assert_eq!(read(&mut client.stream, &mut [0; 16]).unwrap(), 0, "the node closes when it has answered");
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_stops_nobody() {
    let Some(node) = node() else { return };
    for place in 0..node.addresses().len() {
        deaf_client(&node, place);
    }
}

/// The object is on the given core, the client on the first.
fn deaf_client(node: &Node, place: usize) {
    let shards = node.shards();
    let at = |key: &String| {
        shard_of(atomic_byte_array::Type::ID, key, shards) as usize % node.addresses().len() == place
    };
    let key = (0..).map(|n| format!("big {n}")).find(at).unwrap();
    let mut deaf = Client::new(node.address(), 1 + place as u128);
    let creation = atomic_byte_array::Creation { initial: vec![7; 1 << 20].as_slice().into() };
    // Two thousand answers of 1 MiB would be 2 GB.
    deaf.stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let (creation, arguments) =
        (codec::encode(&creation).unwrap(), codec::encode(&atomic_byte_array::Get {}).unwrap());
    for sequence in 1..=2_000 {
        let creation = (sequence == 1).then_some((&creation[..], false));
        Frame::Call(Call {
            retry: false,
            first: true,
            type_id: atomic_byte_array::Type::ID,
            method: <atomic_byte_array::Get as Method>::ID,
            shard: 0,
            slot: 0,
            sequence,
            epoch: 0,
            replicas: None,
            key: &key,
            creation,
            arguments: &arguments,
        })
        .encode(&mut bytes);
    }
    let mut sent = 0;
    let mut other = Client::new(node.address(), 100 + place as u128);
    let counter = format!("x {place}");
    for n in 1..=200 {
        match deaf.stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)),
        }
        assert_eq!(other.add(&counter, 1), n);
    }
    other.sequence += 1;
    other.send(&Frame::Call(Call {
        retry: false,
        first: true,
        type_id: shard::Type::ID,
        method: <shard::Info as Method>::ID,
        shard: place as u32,
        slot: 0,
        sequence: other.sequence,
        epoch: 0,
        replicas: None,
        key: "",
        creation: None,
        arguments: &[],
    }));
    let made = other.answer::<shard::Info>().1.unwrap().calls;
    assert!(made < 500, "{made} calls were made for a client that reads no answer");
    // It may still come to its senses.
    deaf.stream.set_nonblocking(false).unwrap();
    let mut writer = deaf.stream.try_clone().unwrap();
    let rest = bytes.split_off(sent);
    let writing = std::thread::spawn(move || writer.write_all(&rest));
    for _ in 0..2_000 {
        deaf.receive(|frame| assert!(matches!(frame, Frame::Reply(reply) if reply.result.is_ok())));
    }
    writing.join().unwrap().unwrap();
}

/// More calls for another core than its mailbox holds: the connection stalls, and goes on.
#[test]
fn a_flood_of_calls_for_another_core_is_answered_whole() {
    let Some(node) = node() else { return };
    let cores = node.addresses().len();
    if cores < 2 {
        eprintln!("SKIPPED: one core has no other");
        return;
    }
    let shards = node.shards();
    let elsewhere =
        |key: &String| !(shard_of(atomic_long::Type::ID, key, shards) as usize).is_multiple_of(cores);
    let key = (0..).map(|n| format!("key {n}")).find(elsewhere).unwrap();
    let mut client = Client::new(node.address(), 1);
    let (creation, arguments) = (codec::encode(&0_i64), codec::encode(&atomic_long::AddAndGet { delta: 1 }));
    let (creation, arguments) = (creation.unwrap(), arguments.unwrap());
    let calls = 50_000;
    let mut bytes = Vec::new();
    for sequence in 1..=calls {
        Frame::Call(Call {
            retry: false,
            first: true,
            type_id: atomic_long::Type::ID,
            method: <atomic_long::AddAndGet as Method>::ID,
            shard: 0,
            slot: 0,
            sequence,
            epoch: 0,
            replicas: None,
            key: &key,
            creation: Some((&creation, false)),
            arguments: &arguments,
        })
        .encode(&mut bytes);
    }
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    for n in 1..=calls as i64 {
        assert_eq!(client.answer::<atomic_long::AddAndGet>().1, Ok(n));
    }
    writing.join().unwrap().unwrap();
}

#[test]
fn strangers_get_no_shard_that_is_not_there() {
    let Some(node) = node() else { return };
    let mut client = Client::new(node.address(), 1);
    client.send(&Frame::Call(Call {
        retry: false,
        first: true,
        type_id: shard::Type::ID,
        method: <shard::Info as Method>::ID,
        shard: u32::MAX,
        slot: 0,
        sequence: 1,
        epoch: 0,
        replicas: None,
        key: "",
        creation: None,
        arguments: &[],
    }));
    client.answer::<shard::Info>().1.unwrap_err();
}

#[test]
fn a_node_that_stops_tells_its_clients() {
    let Some(node) = node() else { return };
    let mut client = Client::new(node.address(), 1);
    node.stop().unwrap();
    let reason = client.receive(|frame| match frame {
        Frame::Reject { reason, .. } => reason,
        other => panic!("{other:?}"),
    });
    assert_eq!(reason, RejectReason::Stopping);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |change: fn(&mut NodeConfig)| {
        let mut config = NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() };
        change(&mut config);
        matches!(Node::start(&config), Err(StartError::Config(_) | StartError::Forbidden(_)))
    };
    assert!(refused(|config| config.cores = Some(0)));
    assert!(refused(|config| config.cores = Some(100_000)));
    assert!(refused(|config| config.shards = Some(0)));
    assert!(refused(|config| config.lease = Duration::from_millis(1)));
}
