//! The node: the same shards behind sockets.
//!
//! One glommio executor is pinned to each core, and runs one loop (`core_loop`) over the core's own ring of
//! sockets ([`ring`]), its shards, and its mailbox. Cores share nothing else. A client that knows the map
//! reaches the owner of an object at the owner's own port; a call that arrives elsewhere goes through
//! the owner's mailbox (`mailbox`) and back.
//!
//! [`Node::start`] is the way in; [`config`] says what can be chosen.

pub mod config;
mod connection;
mod core_loop;
mod mailbox;
pub mod ring;
mod start;
mod system;

pub use config::{DEFAULT_PORT, NodeConfig, StartError};
pub use start::{Node, NodeStopped};

#[cfg(test)]
mod tests;
