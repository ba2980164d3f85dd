//! Measures Abide, and Redis beside it.
//!
//! One load generator drives a node of Abide and a `redis-server`, each a child process pinned to one
//! processor, from another processor. README.md says what is measured, how, and what came out.
//!
//! Read in this order:
//! - [`plan`]: which cells there are: a workload, so many connections, so deep a pipeline;
//! - [`run`]: rounds over all cells and systems, interleaved;
//! - [`contender`]: one system under test: its server, its objects, and what they must contain by now;
//! - [`load`]: the generator, which is the same for all systems;
//! - [`wire`]: what differs between them: requests and answers as bytes;
//! - [`workload`] and [`values`]: what is asked, and how every answer is checked;
//! - [`server`] and [`serve`]: the child processes;
//! - [`restart`]: how soon a node serves that was killed;
//! - [`report`]: tables and JSON.

mod cli;
mod contender;
mod load;
mod multiplier;
mod plan;
mod report;
mod restart;
mod run;
mod serve;
mod server;
mod values;
mod wire;
mod workload;

use clap::Parser;
use server::Unavailable;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let tiny = cli.command.is_tiny();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Unavailable>() {
            Some(unavailable) if tiny => {
                println!("SKIPPED: {unavailable}");
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("abide-benches: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
