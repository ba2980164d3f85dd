//! The `abide` command: serves objects, and calls them from a shell.
//!
//! Results go to standard output, errors to standard error. The exit status is 0, 1 for a call that
//! failed, or 2 for a command line that makes no sense.

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("ABIDE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match command::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(command::Failure::Misuse(reason)) => {
            eprintln!("abide: {reason}");
            ExitCode::from(2)
        }
        Err(command::Failure::Told) => ExitCode::FAILURE,
        Err(command::Failure::Failed(error)) => {
            eprintln!("abide: {error:#}");
            ExitCode::FAILURE
        }
    }
}
