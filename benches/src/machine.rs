//! The machine that measures: which processors do what, and what it is.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Who runs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processors {
    pub(crate) server: usize,
    /// The same one where there is no other.
    pub(crate) generator: usize,
}

/// Chooses among the processors that this process may use.
pub(crate) fn processors() -> anyhow::Result<Processors> {
    let allowed = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    // A running thread is allowed at least one.
    let first = allowed.next().unwrap_or_default();
    Ok(Processors { server: allowed.next().unwrap_or(first), generator: first })
}

/// Pins this thread, the generator.
pub(crate) fn pin(processor: usize) -> anyhow::Result<()> {
    let mut processors = CpuSet::new();
    processors.set(processor);
    Ok(sched_setaffinity(None, &processors)?)
}

/// The machine, as far as it explains numbers. Names no host.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) hypervisor: bool,
    /// How the machine's TCP decides how fast to send.
    pub(crate) congestion_control: String,
    /// How many threads wanted to run in the last minute, which should be none but ours.
    pub(crate) load: f64,
}

impl Machine {
    pub(crate) fn look() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, text)| text.to_owned()).unwrap_or_default()
        };
        Machine {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            processor: field("model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            hypervisor: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim_end().to_owned(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
        }
    }
}
