//! The process that looks at the region after a cut, where the one that kills cannot: inside of the machine that was cut.
//!
//! It says `opening`, and then `checked PROGRESS`, which is what the next writer goes on after; or it fails.

use super::{Expected, Progress, Promise, writer::say};
use abide_pmem::{
    Region,
    check::{FindingKind, check_file},
    region::OpenError,
};
use anyhow::{Context as _, bail, ensure};
use std::{fs::File, os::fd::AsFd as _, path::PathBuf};

/// What `pmem-inspect` is told.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The region.
    #[arg(long)]
    path: PathBuf,
    /// What the calls follow from.
    #[arg(long)]
    seed: u64,
    /// What was acknowledged. [default: nothing]
    #[arg(long)]
    after: Option<Progress>,
    /// Some process has said that it opened the region, so that it must be there.
    #[arg(long)]
    exists: bool,
    /// Closes the region in order, instead of leaving it as a crash of this process would.
    #[arg(long)]
    close: bool,
    #[command(flatten)]
    promise: Promise,
}

/// Checks the region without opening it, opens it, and checks that what was acknowledged is there once.
///
/// # Errors
/// The first thing that is wrong.
pub fn inspect(arguments: &Inspect) -> anyhow::Result<()> {
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let Inspect { path, seed, promise, .. } = arguments;
    let after = arguments.after.clone().unwrap_or_else(|| Progress::none(super::THREADS));
    let (options, mut expected) = (promise.options(), Expected::new(*seed, after.names.len()));
    say(&output, format_args!("opening"))?;
    let report = match check_file(path, &options, &[]) {
        Err(OpenError::NotFound { .. }) if after.is_none() && !arguments.exists => {
            return say(&output, format_args!("checked {after}"));
        }
        report => report.context("the region cannot be checked")?,
    };
    if let Some(finding) = report.findings.first() {
        if finding.kind == FindingKind::PowerLoss {
            // Right, but it does not tell whether anything was lost.
            let mut options = options;
            options.accept_power_loss = true;
            let region = Region::open_read_only(path, &options).context("a power loss that was accepted")?;
            expected.look(region.heap(), &after).context("a power loss that was accepted")?;
        }
        bail!("{} findings, the first: {finding}", report.findings.len());
    }
    ensure!(report.unattributed == 0, "{} blocks that are owned by nothing", report.unattributed);
    let region = Region::open(path, &options).context("the region cannot be opened")?;
    promise.expect_domain(&region)?;
    let progress = expected.check(region.heap(), &after)?;
    say(&output, format_args!("checked {progress}"))?;
    if arguments.close {
        region.close()?;
    }
    Ok(())
}
