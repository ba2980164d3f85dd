//! The command line.

use crate::{group::Group, groups, objects, reopen};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Measures persistent stores side by side. README.md says what is comparable with what.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Group A: what has returned survives the end of the process.
    Stores(Options),
    /// Group B: lines are written back and fenced as if the memory were persistent.
    Instructions(Options),
    /// Group C: what has returned survives a power failure; one operation a commit.
    Commits(Options),
    /// Group D: the same, where 64 operations can share a commit: 64 writers, and batches of 64.
    GroupCommits(Options),
    /// Group E: how long opening takes after the process was killed.
    Reopen(Options),
    /// Group F: shared objects of an embedded store.
    Objects(Options),
    /// All groups, one after the other.
    All(Options),
    /// Fills a store and goes on writing until it is killed.
    #[command(hide = true)]
    Fill(reopen::Child),
    /// Opens a store, and tells how long that took and what is missing.
    #[command(hide = true)]
    Look(reopen::Child),
}

/// Where stores lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// In `--memory-dir`.
    Memory,
    /// In `--disk-dir`.
    Disk,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Machine-readable: one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// A few seconds in all, to see that it runs. The numbers mean nothing.
    #[arg(long)]
    pub(crate) tiny: bool,
    /// How often each cell is measured for each contender. [default: 5, or 1 with --tiny]
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Number of keys; in group E number of objects.
    #[arg(long, value_delimiter = ',')]
    pub(crate) keys: Vec<usize>,
    /// Bytes of a value, from 16 on.
    #[arg(long, value_delimiter = ',')]
    pub(crate) value_bytes: Vec<usize>,
    /// Number of threads.
    #[arg(long, value_delimiter = ',')]
    pub(crate) threads: Vec<usize>,
    /// Operations of a cell, all threads together.
    #[arg(long)]
    pub(crate) operations: Option<usize>,
    /// Only contenders whose name begins like this. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Where stores lie. [default: memory for A, B and F, disk for C and D; both for E, by class]
    #[arg(long, value_delimiter = ',')]
    pub(crate) on: Vec<Place>,
    /// A folder in memory. Stores are made in a new folder in it.
    #[arg(long, value_name = "FOLDER", default_value = "/dev/shm")]
    pub(crate) memory_dir: PathBuf,
    /// A folder on a disk.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) disk_dir: PathBuf,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.tiny { 1 } else { 5 })
    }

    /// The folder, made absolute, for children have folders of their own.
    pub(crate) fn folder(&self, place: Place) -> anyhow::Result<PathBuf> {
        let folder = match place {
            Place::Memory => &self.memory_dir,
            Place::Disk => &self.disk_dir,
        };
        Ok(std::path::absolute(folder)?)
    }
}

impl Command {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Command::Stores(options) => groups::run(Group::Stores, options),
            Command::Instructions(options) => groups::run(Group::Instructions, options),
            Command::Commits(options) => groups::run(Group::Commits, options),
            Command::GroupCommits(options) => groups::run(Group::SharedCommits, options),
            Command::Reopen(options) => reopen::run(options),
            Command::Objects(options) => objects::run(options),
            Command::All(options) => {
                for group in [Group::Stores, Group::Instructions, Group::Commits, Group::SharedCommits] {
                    groups::run(group, options)?;
                }
                reopen::run(options)?;
                objects::run(options)
            }
            Command::Fill(child) => reopen::fill(child),
            Command::Look(child) => reopen::look(child),
        }
    }
}
