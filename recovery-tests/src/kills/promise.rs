//! What the region is asked for, and what it must say that it got.

use super::calls::{REGION_RESERVE, geometry};
use abide_pmem::{Persistence, Region, RegionOptions, line_log};
use anyhow::ensure;

/// The promise under which a region is opened.
#[derive(Debug, Clone, clap::Args)]
pub struct Promise {
    /// What the region must survive: `process-crash` or `power-fail`.
    #[arg(long, value_parser = persistence, default_value = "process-crash")]
    persistence: Persistence,
    /// The domain that the region must report: `processcrash`, `dax`, `eadr` or `file`. [default: any]
    #[arg(long)]
    domain: Option<String>,
    /// Does not ask whether the file system survives power losses.
    #[arg(long)]
    any_file_system: bool,
}

fn persistence(text: &str) -> Result<Persistence, String> {
    match text {
        "process-crash" => Ok(Persistence::ProcessCrash),
        "power-fail" => Ok(Persistence::PowerFail),
        _ => Err("it is process-crash or power-fail".to_owned()),
    }
}

impl Promise {
    /// What a killed process leaves must be whole in both: shared pages of the page cache, and private pages with a log. A kill
    /// does not ask whether a tmpfs survives power losses, and where a sync costs nothing more happens before it.
    pub(crate) fn of_kills() -> [Self; 2] {
        [Persistence::ProcessCrash, Persistence::PowerFail].map(|persistence| Self {
            persistence,
            domain: None,
            any_file_system: persistence == Persistence::PowerFail,
        })
    }

    /// As the writer is told.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["--persistence", self.name()];
        arguments.extend(self.domain.iter().flat_map(|domain| ["--domain", domain]));
        arguments.extend(self.any_file_system.then_some("--any-file-system"));
        arguments
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.persistence {
            Persistence::PowerFail => "power-fail",
            _ => "process-crash",
        }
    }

    pub(crate) fn options(&self) -> RegionOptions {
        RegionOptions {
            geometry: geometry(),
            reserve: REGION_RESERVE,
            force_file_system: self.any_file_system,
            // Soon full.
            log: line_log::Options::new(1 << 20, 512).expect("sizes that a log can have"),
            ..RegionOptions::new(self.persistence)
        }
    }

    /// Refuses a region that keeps the promise in another way than is expected here.
    pub(crate) fn expect_domain(&self, region: &Region) -> anyhow::Result<()> {
        let found = format!("{:?}", region.domain()).to_lowercase();
        if let Some(expected) = &self.domain {
            ensure!(found == *expected, "the region's domain is {found}, and not {expected}");
        }
        Ok(())
    }
}
