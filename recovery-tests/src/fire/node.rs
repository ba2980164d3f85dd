//! The node: the process that is killed and started again on the same data.

use super::Guarded;
use abide::{
    Persistence,
    node::{DataOptions, Node, NodeConfig},
};
use anyhow::{Context as _, bail};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What `fire-node` is told.
#[derive(Debug, clap::Args)]
pub struct FireNode {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// How many shards to keep objects in.
    #[arg(long)]
    shards: u32,
    /// The region.
    #[arg(long)]
    data: PathBuf,
}

/// Starts a node on one core; prints `ready`.
///
/// # Errors
/// Why it does not start, or why it stopped.
pub fn fire_node(arguments: &FireNode) -> anyhow::Result<()> {
    super::die_with_parent();
    let node = Node::start(&NodeConfig {
        listen: arguments.listen,
        // One port: there is one proxy.
        cores: Some(1),
        shards: Some(arguments.shards),
        data: Some(DataOptions::new(&arguments.data, Persistence::ProcessCrash)),
        ..NodeConfig::default()
    })?;
    println!("ready");
    std::io::stdout().flush()?;
    Ok(node.wait()?)
}

/// A node, from outside.
#[derive(Debug)]
pub(super) struct NodeProcess {
    process: Guarded,
}

impl NodeProcess {
    /// Starts it, and does not wait until it is ready.
    pub(super) fn spawn(listen: SocketAddr, shards: u32, data: &Path) -> anyhow::Result<NodeProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["fire-node", "--listen", &listen.to_string(), "--shards", &shards.to_string()]);
        command.arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(NodeProcess { process: Guarded(command.spawn().context("cannot start a node")?) })
    }

    /// Waits until it is ready.
    pub(super) fn ready(mut self) -> anyhow::Result<NodeProcess> {
        let output = self.process.0.stdout.take().context("a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("the node ended by itself before it was ready, {}", self.process.0.wait()?);
        }
        Ok(self)
    }

    /// Kills it; fails if it has ended by itself before.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.check()?;
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }

    /// Fails if it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.process.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the node ended by itself, {status}"),
        }
    }
}
