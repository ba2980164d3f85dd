//! Persistent stores side by side: Abide's regions, and what else one would use in their place.
//!
//! Read in this order:
//! - [`store`]: what a contender must do, and the classes of durability; nothing is compared across classes;
//! - [`contenders`]: one file each;
//! - [`group`]: the groups A to D: which loads, on which class;
//! - [`workload`] and [`values`]: what is asked of a store, and how every answer is checked;
//! - [`groups`]: rounds over all loads and contenders, interleaved;
//! - [`reopen`]: group E, which kills processes;
//! - [`objects`]: group F, shared objects of an embedded store;
//! - [`syncs`]: counts `fdatasync` and its like, whoever calls them;
//! - [`report`]: tables and JSON.

mod cli;
mod contenders;
mod group;
mod groups;
mod objects;
mod reopen;
mod report;
mod store;
mod syncs;
mod values;
mod workload;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet. libpmemobj then treats every file as persistent memory: it writes lines back
    // and fences, where it would call msync.
    unsafe { std::env::set_var("PMEM_IS_PMEM_FORCE", "1") };
    match cli::Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("abide-bench-engines: {error:#}");
            ExitCode::FAILURE
        }
    }
}
