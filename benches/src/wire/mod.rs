//! What differs between systems: requests and answers as bytes.

pub(crate) mod abide;
pub(crate) mod redis;
mod resp;

use crate::workload::{Answer, Operation};
use std::{net::SocketAddr, net::TcpStream, rc::Rc, time::Duration};

/// How long a server may take for anything that is not measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One answer among the bytes that a server sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split<'a> {
    /// How many bytes it takes.
    pub(crate) used: usize,
    /// The place in the pipeline whose request it answers.
    pub(crate) place: usize,
    /// Its content.
    pub(crate) body: &'a [u8],
}

/// One connection to a system, without its socket.
pub(crate) trait Wire: Sized {
    /// What all connections share: requests, as far as they can be built beforehand.
    type Prebuilt;

    /// Connects, and says what has to be said before the first request.
    fn open(
        address: SocketAddr,
        prebuilt: &Rc<Self::Prebuilt>,
        pipeline: usize,
    ) -> anyhow::Result<(TcpStream, Self)>;

    /// Appends the request of a place in the pipeline.
    fn encode(&mut self, place: usize, operation: &Operation, out: &mut Vec<u8>);

    /// The first whole answer of `bytes`, if it is all there. An answer that reports an error is an error.
    fn split<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<Option<Split<'a>>>;

    /// What an answer's content says to an operation.
    fn answer<'a>(&self, operation: &Operation, body: &'a [u8]) -> anyhow::Result<Answer<'a>>;

    /// Says farewell, if that is the custom. The answer to the last request has arrived.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// A socket for small requests that must not wait for one another.
fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Requests one after the other in one piece of memory.
#[derive(Debug, Default)]
struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Adds the next request: `build` appends it.
    fn push(&mut self, build: impl FnOnce(&mut Vec<u8>)) {
        build(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}
