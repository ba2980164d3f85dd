//! Opening connections, and taking frames from them.

use crate::{
    remote::{
        frames::{WELCOME_BYTES_MAX, read_welcome},
        node::Node,
        outcome::{Failure, text_of},
        session::Stay,
    },
    transport::set_options,
};
use abide_net::frame::{self, Frame, Next, Welcome};
use socket2::SockRef;
use std::{future::Future, io, net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout_at,
};

/// Least room for what a single read brings.
const READ_BYTES: usize = 16 << 10;

/// Received bytes that are kept room for when there are none.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A connection on which the session was named and the node answered.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    pub(super) received: Received,
}

/// Bytes that came, up to an incomplete frame.
#[derive(Debug, Default)]
pub(super) struct Received(Vec<u8>);

impl Received {
    /// Waits for bytes. An error says why none will come.
    pub(super) async fn more(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
        // Room grows with what came, never with what the peer announces.
        self.0.reserve(READ_BYTES.max(self.0.len()));
        match socket.read_buf(&mut self.0).await {
            Ok(0) => Err(Failure::Passing("the node closed the connection".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Passing(format!("the connection failed: {error}"))),
        }
    }

    /// Hands the whole frames on, as long as `take` takes them.
    pub(super) fn frames(
        &mut self,
        frame_bytes_max: usize,
        mut take: impl FnMut(Frame<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut used = 0;
        let end = loop {
            match frame::next_frame(&self.0[used..], frame_bytes_max) {
                Ok(Next::Incomplete(_)) => break Ok(()),
                Ok(Next::Frame(frame, length)) => {
                    used += length;
                    if let Err(failure) = take(frame) {
                        break Err(failure);
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        self.0.drain(..used);
        if self.0.is_empty() {
            self.0.shrink_to(KEPT_BYTES_MAX);
        }
        end
    }

    /// The first whole frame, without its prefix, which stays there until it is [used](Received::used).
    fn first(&self, frame_bytes_max: usize) -> Result<Option<&[u8]>, Failure> {
        let Some((prefix, rest)) = self.0.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > frame_bytes_max {
            return Err(Failure::Passing("the peer does not speak Abide".to_owned()));
        }
        Ok(rest.get(..length))
    }
}

/// Connects, says HELLO and waits for the WELCOME.
async fn open(address: SocketAddr, hello: &[u8]) -> Result<(Stream, Welcome), Failure> {
    let failed = |error: io::Error| Failure::Passing(format!("cannot connect to {address}: {error}"));
    let mut socket = TcpStream::connect(address).await.map_err(failed)?;
    set_options(SockRef::from(&socket)).map_err(failed)?;
    socket.write_all(hello).await.map_err(failed)?;
    let mut received = Received::default();
    loop {
        if let Some(first) = received.first(WELCOME_BYTES_MAX)? {
            let (welcome, length) = (read_welcome(first)?, first.len() + 4);
            received.0.drain(..length);
            return Ok((Stream { socket, received }, welcome));
        }
        received.more(&mut socket).await?;
    }
}

/// The same within a time limit.
async fn open_until(
    deadline: Instant,
    node_address: SocketAddr,
    hello: &[u8],
) -> Result<(Stream, Welcome), Failure> {
    within(deadline, &format!("{node_address} does not answer"), open(node_address, hello)).await
}

async fn within<T>(
    deadline: Instant,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout_at(deadline.into(), work).await.unwrap_or_else(|_| Err(Failure::Passing(what.to_owned())))
}

/// Tries the addresses that `address` stands for, one after the other.
pub(super) async fn reach(
    address: &str,
    hello: &[u8],
    deadline: Instant,
) -> Result<(SocketAddr, Stream, Welcome), Failure> {
    let failed =
        |error: io::Error| Failure::Passing(format!("cannot resolve {address}: {}", text_of(&error)));
    let look_up = async { lookup_host(address).await.map_err(failed) };
    let resolved = within(deadline, &format!("no answer from the resolver about {address}"), look_up).await?;
    let mut failure = Failure::Passing(format!("{address} stands for no address"));
    for address in resolved {
        match open_until(deadline, address, hello).await {
            Ok((stream, welcome)) => return Ok((address, stream, welcome)),
            Err(Failure::Passing(text)) => failure = Failure::Passing(text),
            Err(other) => return Err(other),
        }
    }
    Err(failure)
}

/// Opens a connection to a core: at its own port, or, if nothing answers there, at the address that the
/// program gave. The latter finds a node that was restarted with other ports, or elsewhere; and a core whose
/// port a firewall hides is reached through any other. Of which incarnation it is matters unless it is for saying goodbye.
pub(super) async fn to_core(
    node: &Node,
    stay: &Stay,
    core: usize,
    hello: &[u8],
    deadline: Instant,
    any_incarnation: bool,
) -> Result<Stream, Failure> {
    let deadline = || deadline.min(Instant::now() + node.settings.connect_timeout);
    let own = stay.incarnation.address_of(core);
    let (address, stream, welcome) = match open_until(deadline(), own, hello).await {
        Ok((stream, welcome)) => (own, stream, welcome),
        Err(Failure::Passing(directly)) => {
            tracing::debug!(core, directly, "a core does not answer at its own port");
            reach(&node.address, hello, deadline()).await.map_err(|failure| match failure {
                Failure::Passing(text) if text != directly => Failure::Passing(format!("{directly}; {text}")),
                other => other,
            })?
        }
        Err(other) => return Err(other),
    };
    if welcome.epoch != stay.epoch() && !any_incarnation {
        node.welcomed(address, &welcome);
        return Err(Failure::OtherIncarnation);
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_handed_on_as_they_become_whole() {
        let mut stream = Vec::new();
        for slot in 0..5 {
            Frame::Cancel { slot, sequence: 1 }.encode(&mut stream);
        }
        let (mut received, mut slots) = (Received::default(), Vec::new());
        for piece in stream.chunks(7) {
            received.0.extend_from_slice(piece);
            let taken = received.frames(100, |frame| {
                let Frame::Cancel { slot, .. } = frame else { panic!("{frame:?}") };
                slots.push(slot);
                Ok(())
            });
            assert!(taken.is_ok());
        }
        assert_eq!(slots, [0, 1, 2, 3, 4]);
        assert!(received.0.is_empty());
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_connection() {
        let mut received = Received(1000u32.to_le_bytes().to_vec());
        assert!(matches!(received.frames(999, |_| Ok(())), Err(Failure::Passing(_))));
        assert!(received.first(999).is_err());
        assert!(matches!(received.first(1000), Ok(None)));
    }
}
