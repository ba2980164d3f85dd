//! What a core remembers of a connection.

use super::ring::ConnectionId;
use crate::shard::{SessionId, SessionTerms};
use std::collections::HashMap;

/// A connection of a core.
#[derive(Debug)]
pub(super) struct Connection {
    /// The session that its HELLO named, and on what terms it lives. None until then.
    pub(super) session: Option<(SessionId, SessionTerms)>,
    /// Received bytes that no call was made of yet: an incomplete frame, or frames that wait because the
    /// client does not read its answers.
    pub(super) partial: Vec<u8>,
    /// The client does not read its answers, or has many calls under way elsewhere: none more are made.
    pub(super) stalled: bool,
    /// The client has sent all that it will.
    pub(super) finished: bool,
    /// Calls of it that other cores have yet to get through.
    pub(super) elsewhere: u32,
}

/// The connections of a core.
///
/// Invariant: `partial_bytes` is the sum of the capacities of all `partial`.
#[derive(Debug, Default)]
pub(super) struct Connections {
    connections: HashMap<ConnectionId, Connection>,
    partial_bytes: usize,
}

impl Connections {
    pub(super) fn open(&mut self, id: ConnectionId) {
        let connection =
            Connection { session: None, partial: Vec::new(), stalled: false, finished: false, elsewhere: 0 };
        let before = self.connections.insert(id, connection);
        assert!(before.is_none(), "{id:?} was opened twice");
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.partial_bytes -= connection.partial.capacity();
        }
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Takes the bytes out that were kept for a connection.
    pub(super) fn take_partial(&mut self, id: ConnectionId) -> Vec<u8> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        self.partial_bytes -= connection.partial.capacity();
        std::mem::take(&mut connection.partial)
    }

    /// Keeps bytes for a connection that has none kept. If all connections together then keep more than the
    /// bound, returns the one that keeps most.
    #[must_use]
    pub(super) fn keep_partial(
        &mut self,
        id: ConnectionId,
        partial: Vec<u8>,
        bytes_max: usize,
    ) -> Option<ConnectionId> {
        if let Some(connection) = self.connections.get_mut(&id) {
            self.partial_bytes = self.partial_bytes + partial.capacity() - connection.partial.capacity();
            connection.partial = partial;
        }
        if self.partial_bytes <= bytes_max {
            return None;
        }
        let most = self.connections.iter().max_by_key(|(_, connection)| connection.partial.capacity());
        most.map(|(id, _)| *id)
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }
}
