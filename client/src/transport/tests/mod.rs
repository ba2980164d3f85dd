//! Both ways of moving bytes against peers that behave and peers that do not.
//!
//! `suite` holds the promises that both must keep, `forbidden` what happens where io_uring may not be used.

mod forbidden;
mod suite;

use super::{Connection, Transport, TransportKind};
use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::ffi::OsStrExt,
    thread,
    time::{Duration, Instant},
};

/// Limit of the tests' connections.
const FRAME_BYTES_MAX: usize = 32 << 20;

/// A prefix and a body.
fn encode(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

/// A body that shows when bytes are lost, repeated or swapped.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect()
}

fn soon(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

fn connect(address: SocketAddr, transport: Transport) -> Connection {
    let deadline = Instant::now() + Duration::from_secs(5);
    Connection::connect(address, transport, FRAME_BYTES_MAX, deadline).expect("the test's peer listens")
}

/// A peer that treats each connection with `behave`, on threads that end with the test process.
fn peer(behave: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, behave) = (stream.unwrap(), behave.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || behave(stream));
        }
    });
    address
}

/// Reads one frame, or nothing at the end of the stream.
fn read_frame(mut stream: &TcpStream) -> Option<Vec<u8>> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).ok()?;
    let mut body = vec![0; u32::from_le_bytes(prefix) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// Answers each frame with itself.
fn echo(mut stream: TcpStream) {
    while let Some(body) = read_frame(&stream) {
        if stream.write_all(&encode(&body)).is_err() {
            return;
        }
    }
}

/// Keeps the connection open without reading until the other side closes it.
fn hold_until_closed(mut stream: &TcpStream) {
    while matches!(stream.read(&mut [0; 1024]), Ok(count) if count > 0) {}
}

#[test]
fn the_environment_names_the_transport() {
    let read = |value: &str| TransportKind::from_value(OsStr::new(value));
    assert_eq!(read(""), Ok(TransportKind::Auto));
    for kind in [TransportKind::Auto, TransportKind::Uring, TransportKind::Socket] {
        assert_eq!(read(&kind.to_string()), Ok(kind));
    }
    for unknown in ["io_uring", "Auto", " socket", "1"] {
        let message = read(unknown).unwrap_err().to_string();
        for expected in [unknown, "auto", "uring", "socket", "ABIDE_TRANSPORT"] {
            assert!(message.contains(expected), "{message}");
        }
    }
    assert!(TransportKind::from_value(OsStr::from_bytes(b"\xff")).is_err());
}
