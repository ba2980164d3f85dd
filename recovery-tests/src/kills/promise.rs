//! What the region is asked for, and what it must say that it got.

use super::calls::{REGION_RESERVE, geometry};
use abide_pmem::{Persistence, Region, RegionOptions};
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
}

fn persistence(text: &str) -> Result<Persistence, String> {
    match text {
        "process-crash" => Ok(Persistence::ProcessCrash),
        "power-fail" => Ok(Persistence::PowerFail),
        _ => Err("it is process-crash or power-fail".to_owned()),
    }
}

impl Promise {
    /// To survive the end of the process.
    pub(crate) fn process_crash() -> Self {
        Self { persistence: Persistence::ProcessCrash, domain: None }
    }

    pub(crate) fn options(&self) -> RegionOptions {
        RegionOptions {
            geometry: geometry(),
            reserve: REGION_RESERVE,
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
