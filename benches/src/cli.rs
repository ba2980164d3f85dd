//! The command line.

use crate::{plan::Plan, restart, run, serve};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Measures Abide, and Redis beside it where `redis-server` is installed.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How long one call takes: few connections, no pipeline.
    Latency(Options),
    /// How many calls one core serves: 1 to 200 connections, pipelines of 1 to 32.
    Throughput(Options),
    /// How soon a node that was killed serves again, by the number of its persistent objects.
    Restart(restart::RestartOptions),
    /// Makes persistent objects, and counts until it is killed.
    #[command(hide = true)]
    Fill(restart::FillOptions),
    /// Runs a node with the built-in types and `Multiplier`, which is what the others measure.
    Serve(serve::ServeOptions),
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Machine-readable: one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// A second or two in all, to see that it runs. The numbers mean nothing.
    #[arg(long)]
    pub(crate) tiny: bool,
    /// How often each cell is measured for each system. [default: 5, or 1 with --tiny]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// How long each cell is measured for each system in each round, in seconds.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// How long, all in all, to repeat measurements that other work on this machine disturbed by more than 5%, in
    /// seconds. Of each one's repetitions the least disturbed is kept.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) patience: u64,
    /// Only cells whose name begins like this, for example `get`, `get/50` or `get/50/1`. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Measures the node of another build of this program too, interleaved with this one's.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) against: Option<PathBuf>,
}

impl Command {
    pub(crate) fn is_tiny(&self) -> bool {
        match self {
            Command::Latency(options) | Command::Throughput(options) => options.tiny,
            Command::Restart(options) => options.tiny,
            Command::Serve(_) | Command::Fill(_) => false,
        }
    }

    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Command::Latency(options) => run::run(&Plan::latency(options)?, options),
            Command::Throughput(options) => run::run(&Plan::throughput(options)?, options),
            Command::Restart(options) => restart::run(options),
            Command::Fill(options) => restart::fill(options),
            Command::Serve(options) => serve::serve(options),
        }
    }
}
