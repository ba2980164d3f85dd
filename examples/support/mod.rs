//! What the examples share: where the objects are, how many cloud threads, and of what kind.
#![allow(dead_code, reason = "each example uses the part that it needs")]

use abide::{Backend, Counter, Store, node::Node, node::NodeConfig};
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Options that every example has.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// A node's address. Without it the objects are in this process.
    #[arg(long, value_name = "ADDR", env = "ABIDE")]
    pub(crate) server: Option<String>,
    /// How many cloud threads. [default: one for each core]
    #[arg(long)]
    pub(crate) threads: Option<u64>,
    /// Where cloud threads run: threads, or processes.
    #[arg(long, default_value = "threads")]
    pub(crate) backend: Backend,
}

/// A store and, where the example had to start one for its child processes, the node that serves it.
pub(crate) struct Place {
    /// The store.
    pub(crate) store: Store,
    _node: Option<Node>,
}

impl Common {
    /// Opens the store. Processes cannot share the memory of this one: for them a node is started here.
    pub(crate) fn open(&self) -> anyhow::Result<Place> {
        match (&self.server, &self.backend) {
            (Some(address), _) => {
                let store =
                    Store::connect(address).with_context(|| format!("cannot use the node at {address}"))?;
                Ok(Place { store, _node: None })
            }
            (None, Backend::Processes) => {
                let node =
                    Node::start(&NodeConfig { listen: "127.0.0.1:0".parse()?, ..NodeConfig::default() })
                        .context("cannot start a node for the processes to share")?;
                Ok(Place { store: Store::connect(&node.address().to_string())?, _node: Some(node) })
            }
            (None, _) => Ok(Place { store: Store::in_memory(), _node: None }),
        }
    }

    /// How many cloud threads to use.
    pub(crate) fn threads(&self) -> u64 {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        self.threads.unwrap_or_else(cores).max(1)
    }
}

/// A prefix for the keys of one run, so that two runs on one node do not meet.
pub(crate) fn run_name(example: &str) -> String {
    format!("{example}/{:08x}", fastrand::u32(..))
}

/// A progress bar on a terminal, and nothing elsewhere.
pub(crate) fn progress(length: u64, unit: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    }
    let style =
        ProgressStyle::with_template(&format!("{{bar:40}} {{percent:>3}}% {{human_pos}} {unit} {{per_sec}}"));
    ProgressBar::new(length).with_style(style.expect("the template is sound"))
}

/// Does the work while the bar follows the counter, and clears the bar.
pub(crate) fn watched<T>(bar: &ProgressBar, counter: &Counter, work: impl FnOnce() -> T) -> T {
    let working = AtomicBool::new(true);
    std::thread::scope(|scope| {
        if !bar.is_hidden() {
            scope.spawn(|| {
                while working.load(Ordering::Relaxed) {
                    // A bar that stands still is no reason to fail.
                    bar.set_position(counter.tally().map_or(0, |count| count as u64));
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let result = work();
        working.store(false, Ordering::Relaxed);
        bar.finish_and_clear();
        result
    })
}
