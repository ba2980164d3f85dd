//! Names: of connections for callers, and of operations for the kernel.

/// Names one connection of one ring. Ids are reused, names are not: after the connection has closed, its
/// name names nothing, even when a newer connection has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Its place in the ring's table.
    pub(super) index: u32,
    /// How often that place was given away. Never zero, so that no name is `u64` zero.
    pub(super) generation: u32,
}

impl From<ConnectionId> for u64 {
    fn from(id: ConnectionId) -> u64 {
        u64::from(id.generation) << 32 | u64::from(id.index)
    }
}

impl From<u64> for ConnectionId {
    /// Any number is a name; one that did not come from a name names no connection.
    fn from(number: u64) -> ConnectionId {
        ConnectionId { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// What an operation is. It travels through the kernel in the upper half of `user_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// The ring's one multishot accept.
    Accept = 1,
    /// The timer after which a failed accept is tried again.
    AcceptRetry = 2,
    /// A connection's multishot receive.
    Receive = 3,
    /// A connection's one send.
    Send = 4,
    /// The request to cancel one of the above.
    Cancel = 5,
}

/// An operation together with the place of its connection (zero where it has none). There is never more
/// than one operation with the same token in the kernel, and the place is not given away before all of its
/// operations have ended, so a token needs no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) operation: Operation,
    pub(super) index: u32,
}

impl Token {
    pub(super) fn new(operation: Operation, index: u32) -> Token {
        Token { operation, index }
    }

    pub(super) fn to_user_data(self) -> u64 {
        (self.operation as u64) << 32 | u64::from(self.index)
    }

    pub(super) fn from_user_data(user_data: u64) -> Token {
        let operation = match user_data >> 32 {
            1 => Operation::Accept,
            2 => Operation::AcceptRetry,
            3 => Operation::Receive,
            4 => Operation::Send,
            5 => Operation::Cancel,
            other => panic!("the kernel completed an operation of kind {other}, which was never submitted"),
        };
        Token { operation, index: user_data as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_survives_the_way_through_a_number() {
        let id = ConnectionId { index: 7, generation: u32::MAX };
        assert_eq!(ConnectionId::from(u64::from(id)), id);
    }

    #[test]
    fn a_token_survives_the_way_through_the_kernel() {
        let operations = [
            Operation::Accept,
            Operation::AcceptRetry,
            Operation::Receive,
            Operation::Send,
            Operation::Cancel,
        ];
        for operation in operations {
            let token = Token::new(operation, u32::MAX);
            assert_eq!(Token::from_user_data(token.to_user_data()), token);
        }
    }
}
