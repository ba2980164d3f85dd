//! The connections of one ring: their places, and the state of each.

use super::{output::Output, token::ConnectionId};
use std::{io, os::fd::OwnedFd};

/// One accepted connection. It keeps its place until the kernel has ended all of its operations.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) output: Output,
    pub(super) phase: Phase,
    pub(super) receive: Receive,
    /// The caller wants no bytes for now.
    pub(super) paused: bool,
    /// The peer has said that it sends no more.
    pub(super) peer_finished: bool,
    /// A cancellation of the send in flight was pushed.
    pub(super) send_cancelled: bool,
    /// It is on the ring's list of connections to attend to.
    pub(super) listed: bool,
}

/// How far a connection is on its way out. It only ever moves down this list.
#[derive(Debug)]
pub(super) enum Phase {
    /// In use.
    Open,
    /// What is queued is still sent; nothing is received any more on the caller's behalf.
    Flushing,
    /// All was sent and our side is shut. Waiting for the peer's side, so that the kernel does not answer
    /// late bytes of the peer with a reset, which would make it lose what we sent.
    Lingering,
    /// The kernel's operations are being ended; then the reason is told and the place is given away.
    Closing(CloseReason),
}

impl Phase {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Phase::Open)
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self, Phase::Closing(_))
    }
}

/// The connection's multishot receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// The kernel has none.
    Idle,
    /// None either, and none will be started before a buffer is free.
    Starved,
    /// The kernel has it.
    Armed,
    /// The kernel has it, and was asked to end it.
    Stopping,
}

/// Why a connection is closed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// `Ring::close` or `Ring::close_after_flush` was called.
    Requested,
    /// The peer is gone, and may not have received what was sent last.
    Reset,
    /// More than `RingConfig::output_bytes_max` was queued.
    OutputFull,
    /// Sending or receiving failed otherwise, for example with `ETIMEDOUT`.
    Failed(io::Error),
}

impl CloseReason {
    pub(super) fn from_error(error: io::Error) -> CloseReason {
        match error.raw_os_error() {
            Some(libc::ECONNRESET | libc::EPIPE) => CloseReason::Reset,
            _ => CloseReason::Failed(error),
        }
    }
}

impl Connection {
    fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            output: Output::default(),
            phase: Phase::Open,
            receive: Receive::Idle,
            paused: false,
            peer_finished: false,
            send_cancelled: false,
            listed: false,
        }
    }

    /// Whether a receive should be under way.
    pub(super) fn wants_receive(&self) -> bool {
        match self.phase {
            _ if self.peer_finished => false,
            Phase::Open | Phase::Flushing => !self.paused,
            Phase::Lingering => true,
            Phase::Closing(_) => false,
        }
    }

    /// Whether the kernel still has an operation of it.
    pub(super) fn is_in_kernel(&self) -> bool {
        matches!(self.receive, Receive::Armed | Receive::Stopping) || self.output.is_in_flight()
    }

    /// Starts to close it, unless that has begun already: the first reason is the one that is told.
    pub(super) fn begin_close(&mut self, reason: CloseReason) {
        if !self.phase.is_closing() {
            self.phase = Phase::Closing(reason);
        }
    }
}

/// The places, by index. A place's generation grows each time it is given away.
#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Vec<Place>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(super) fn insert(&mut self, socket: OwnedFd) -> ConnectionId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, connection: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        assert!(place.connection.is_none(), "place {index} was given away twice");
        place.generation = place.generation.checked_add(1).unwrap_or(1);
        place.connection = Some(Connection::new(socket));
        ConnectionId { index, generation: place.generation }
    }

    /// Takes the connection at `index` away. Its id names nothing from now on.
    pub(super) fn remove(&mut self, index: u32) -> (ConnectionId, Connection) {
        let place = &mut self.places[index as usize];
        let connection = place.connection.take().expect("only a connection that is there is removed");
        self.vacant.push(index);
        (ConnectionId { index, generation: place.generation }, connection)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let place = self.places.get(id.index as usize)?;
        place.connection.as_ref().filter(|_| place.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.index as usize)?;
        place.connection.as_mut().filter(|_| place.generation == id.generation)
    }

    /// The connection that an operation belongs to: it is there as long as the kernel has the operation.
    pub(super) fn of_operation(&mut self, index: u32) -> (ConnectionId, &mut Connection) {
        let place = &mut self.places[index as usize];
        let connection = place.connection.as_mut().expect("its connection outlives each operation");
        (ConnectionId { index, generation: place.generation }, connection)
    }

    /// The connection at `index`, if there is one.
    pub(super) fn at(&mut self, index: u32) -> Option<(ConnectionId, &mut Connection)> {
        let place = self.places.get_mut(index as usize)?;
        let id = ConnectionId { index, generation: place.generation };
        place.connection.as_mut().map(|connection| (id, connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> OwnedFd {
        std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket").into()
    }

    #[test]
    fn an_old_id_never_names_the_next_connection_at_its_place() {
        let mut connections = Connections::default();
        let old = connections.insert(socket());
        connections.remove(old.index);
        let new = connections.insert(socket());
        assert_eq!(old.index, new.index);
        assert!(connections.get(old).is_none());
        assert!(connections.get_mut(old).is_none());
        assert!(connections.get(new).is_some());
        assert_eq!(connections.len(), 1);
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let mut connections = Connections::default();
        let id = connections.insert(socket());
        connections.remove(id.index);
        connections.places[0].generation = u32::MAX;
        assert_eq!(connections.insert(socket()).generation, 1);
    }
}
