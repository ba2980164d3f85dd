//! Clients that misbehave harm themselves: the node stays up, its memory bounded, and others are served.

mod support;

use abide::Store;
use abide_net::frame::{Call, Frame, Hello, Next, next_frame};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};
use support::Server;

const MIB: u64 = 1 << 20;

fn frame(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// A connection that has been welcomed.
fn welcomed(server: &Server, session: u128) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(&frame(&Frame::Hello(Hello { session, lease_ms: 0, is_seeded: false }))).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "turned away");
        bytes.extend_from_slice(&buffer[..count]);
        if let Ok(Next::Frame(Frame::Welcome(_), _)) = next_frame(&bytes, 1 << 16) {
            return stream;
        }
    }
}

fn serves(server: &Server, key: &str) {
    let store = Store::connect(&server.address).unwrap();
    let counter = store.atomic_long(key);
    let before = counter.get().unwrap();
    for n in 1..=100 {
        assert_eq!(counter.increment_and_get().unwrap(), before + n);
    }
}

/// Random bytes that another run can have again.
struct Random(u64);

impl Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0 as u8;
        }
    }
}

#[test]
fn ten_megabytes_of_random_bytes() {
    let Some(server) = Server::start(10_000) else { return };
    let seed = 0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id());
    println!("SEED={seed}");
    let mut random = Random(seed);
    let mut sent = 0;
    let mut connections = 0_u64;
    while sent < 10 * MIB as usize {
        // Some as strangers, some after a proper HELLO; some behind a length that looks right.
        let mut stream = match connections % 3 {
            0 => TcpStream::connect(&server.address).unwrap(),
            _ => welcomed(&server, connections.into()),
        };
        let mut bytes = vec![0; 65_536];
        random.fill(&mut bytes);
        if connections % 3 == 2 {
            bytes[..4].copy_from_slice(&60_000_u32.to_le_bytes());
            bytes[4] = (connections / 3 % 11) as u8;
        }
        sent += bytes.len();
        // The node may close in the middle of it.
        let _ = stream.write_all(&bytes);
        connections += 1;
    }
    assert!(server.process.resident_bytes() < 300 * MIB);
    serves(&server, "after garbage");
}

#[test]
fn frames_that_announce_more_than_is_allowed_or_more_than_comes() {
    let Some(server) = Server::start(10_000) else { return };
    let mut kept = Vec::new();
    for n in 0..500_u128 {
        let mut stream = welcomed(&server, n);
        let announced = if n % 2 == 0 { u32::MAX } else { 32 << 20 };
        let mut bytes = announced.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[3; 2_000]);
        let _ = stream.write_all(&bytes);
        kept.push(stream);
    }
    serves(&server, "beside giants");
    assert!(server.process.resident_bytes() < 300 * MIB, "memory was taken for what was only announced");
    // 4 GiB are refused at once; 32 MiB may still come.
    for (n, mut stream) in kept.into_iter().enumerate() {
        stream
            .set_read_timeout(Some(if n % 2 == 0 {
                Duration::from_secs(60)
            } else {
                Duration::from_millis(1)
            }))
            .unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => assert!(n % 2 == 0, "a frame of 32 MiB was refused"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => assert!(n % 2 == 0),
            Err(_) => assert!(n % 2 == 1, "a frame of 4 GiB was not refused"),
        }
    }
}

#[test]
fn five_thousand_idle_connections() {
    if support::open_files() < 5_500 {
        eprintln!("SKIPPED: this process may not open 5000 sockets (see `ulimit -Hn`)");
        return;
    }
    let Some(server) = Server::start(10_000) else { return };
    let before = server.process.resident_bytes();
    let connections: Vec<_> = (0..5_000).map(|n| welcomed(&server, n)).collect();
    serves(&server, "beside the idle");
    let grown = server.process.resident_bytes().saturating_sub(before);
    println!("{} bytes for each idle connection", grown / connections.len() as u64);
    assert!(grown < 5_000 * 16 * 1024, "{grown} bytes for 5000 idle connections");
}

#[test]
fn clients_that_stop_reading() {
    let Some(server) = Server::start(10_000) else { return };
    let store = Store::connect(&server.address).unwrap();
    // Enough for one on each core: some are where the clients connect, some are not.
    for key in 0..8 {
        store.atomic_byte_array(&format!("big {key}")).set(vec![7; MIB as usize]).unwrap();
    }
    let mut deaf = Vec::new();
    for n in 0..20 {
        let key = format!("big {}", n % 8);
        let mut stream = welcomed(&server, 1_000 + n);
        stream.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        for sequence in 1..=2_000 {
            let call = Call {
                retry: false,
                first: true,
                type_id: 6,
                method: 0,
                shard: 0,
                slot: 0,
                sequence,
                epoch: 0,
                replicas: None,
                key: &key,
                creation: None,
                arguments: &[],
            };
            Frame::Call(call).encode(&mut bytes);
        }
        let _ = stream.write(&bytes);
        deaf.push(stream);
    }
    // 20 clients that ask for 2 GB each and read nothing.
    for _ in 0..20 {
        serves(&server, "beside the deaf");
    }
    let resident = server.process.resident_bytes();
    assert!(resident < 600 * MIB, "{resident} bytes are kept for clients that do not read");
}
