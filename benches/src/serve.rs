//! `abide-benches serve`: the node that is measured.

use crate::multiplier::Multiplier;
use abide_shards::{
    Persistence, Registry,
    node::{Node, NodeConfig, StartError},
    regions::DataOptions,
};
use clap::Args;
use std::{io::Write, net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where to listen. Port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many cores to use.
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// How long a core polls for work before it sleeps, in microseconds.
    #[arg(long, default_value_t = 0)]
    busy_poll_us: u64,
    /// The file of persistent objects, which survive the death of the process. Without it there are none.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

/// Runs a node until it is killed. Its first line says `ready ADDRESS`, or `unavailable WHY` where this
/// machine allows no node.
pub(crate) fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let config = NodeConfig {
        listen: options.listen,
        cores: Some(options.cores),
        registry: Registry::built_in().with::<Multiplier>(),
        busy_poll: Duration::from_micros(options.busy_poll_us),
        data: options.data.as_ref().map(|path| DataOptions::new(path, Persistence::ProcessCrash)),
        ..NodeConfig::default()
    };
    let (line, node) = match Node::start(&config) {
        Ok(node) => (format!("ready {}", node.address()), Some(node)),
        Err(error @ StartError::Forbidden(_)) => (format!("unavailable {error}"), None),
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    match node {
        Some(node) => Ok(node.wait()?),
        None => Ok(()),
    }
}
