//! `abide serve`: a node.

use super::Failure;
use abide::node::{Node, NodeConfig, StartError};
use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    io::Write,
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen. Core n listens n ports further; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", env = "ABIDE_SERVE_LISTEN")]
    listen: String,
    /// How many cores to use, each with an executor pinned to it. [default: all that are allowed]
    #[arg(long, env = "ABIDE_SERVE_CORES")]
    cores: Option<usize>,
    /// How many shards to keep objects in. [default: one for each core]
    #[arg(long, env = "ABIDE_SERVE_SHARDS")]
    shards: Option<u32>,
    /// How long a session lives without a sign of life, in milliseconds, unless its client asks for another lease.
    #[arg(long, value_name = "MS", default_value_t = 10_000, env = "ABIDE_SERVE_LEASE_MS")]
    lease_ms: u64,
    /// How long a core polls for work before it sleeps, in microseconds. Answers come sooner, at the price of the CPU.
    #[arg(long, value_name = "US", default_value_t = 0, env = "ABIDE_SERVE_BUSY_POLL_US")]
    busy_poll_us: u64,
    /// Most connections of one core.
    #[arg(long, default_value_t = NodeConfig::default().connections_max, env = "ABIDE_SERVE_CONNECTIONS_MAX")]
    connections_max: usize,
}

impl ServeArguments {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = NodeConfig {
            listen: resolve(&self.listen)?,
            cores: self.cores,
            shards: self.shards,
            lease: Duration::from_millis(self.lease_ms),
            busy_poll: Duration::from_micros(self.busy_poll_us),
            connections_max: self.connections_max,
            ..NodeConfig::default()
        };
        // Before any thread is there, so that none of them is interrupted by what this one waits for.
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let node = Node::start(&config).map_err(|error| match error {
            StartError::Config(reason) => Failure::Misuse(reason),
            other => other.into(),
        })?;
        eprintln!(
            "abide {}: {} cores, {} shards, objects in memory (volatile), leases of {} ms",
            env!("CARGO_PKG_VERSION"),
            node.addresses().len(),
            node.shards(),
            self.lease_ms
        );
        let mut out = std::io::stdout();
        writeln!(out, "ready {}", node.address())?;
        out.flush()?;
        let stop = node.stopper();
        let waiting = signals.handle();
        let listener = std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                tracing::info!(signal, "stopping");
                stop();
            }
        });
        let ended = node.wait();
        waiting.close();
        let _ = listener.join();
        Ok(ended?)
    }
}

fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let mut found =
        address.to_socket_addrs().map_err(|error| Failure::Misuse(format!("--listen {address}: {error}")))?;
    found.next().ok_or_else(|| Failure::Misuse(format!("--listen {address}: no such address")))
}
