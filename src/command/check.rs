//! `abide check`.

use super::{Failure, print};
use abide_pmem::{
    Persistence, RegionOptions,
    check::{Finding, check_file},
};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The region's file. Nobody may have it open for writing.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Look also into a region that a power loss may have left in any state, as one finding is otherwise all that there is.
    #[arg(long)]
    accept_power_loss: bool,
}

impl CheckArguments {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        // The promise plays no part in reading.
        let accept_power_loss = self.accept_power_loss;
        let options = RegionOptions { accept_power_loss, ..RegionOptions::new(Persistence::ProcessCrash) };
        let report = check_file(&self.path, &options, &[])
            .with_context(|| format!("cannot check {}", self.path.display()))?;
        if json {
            let findings: Vec<_> = report.findings.iter().map(finding_as_json).collect();
            let facts = json!({
                "clean": report.is_clean(),
                "findings": findings,
                "names": report.names,
                "blocks": report.blocks,
                "unattributed": report.unattributed,
            });
            print(format_args!("{facts}\n"))?;
        } else if report.is_clean() {
            print(format_args!(
                "clean: {} names, {} blocks, {} of them unattributed\n",
                report.names, report.blocks, report.unattributed
            ))?;
        } else {
            for finding in &report.findings {
                print(format_args!("{finding}\n"))?;
            }
        }
        if report.is_clean() { Ok(()) } else { Err(Failure::Told) }
    }
}

pub(super) fn finding_as_json(finding: &Finding) -> serde_json::Value {
    json!({
        "kind": finding.kind.name(),
        "offset": finding.offset,
        "shard": finding.shard,
        "text": finding.text,
    })
}
