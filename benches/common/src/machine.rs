//! The machine that measures: what it is, and its processors.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use std::{fs, path::Path, time::Duration};

/// The processors that this thread may use, in ascending order: at least one.
pub fn processors() -> anyhow::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect())
}

/// Pins this thread, and the threads that it starts from now on.
pub fn pin(processors: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    Ok(sched_setaffinity(None, &set)?)
}

/// For how long the threads of a process, so far, were ready to run while something else ran on their processor.
/// Threads that have ended are not counted. Zero where the kernel does not tell (`CONFIG_SCHED_INFO`).
pub fn in_line(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.map(|task| waited(&task.path().join("schedstat"))).sum()
}

/// The same of this thread alone.
pub fn thread_in_line() -> Duration {
    waited(Path::new("/proc/thread-self/schedstat"))
}

/// CPU time that this thread has used, so far. What else runs on its processor does not show in it.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn waited(schedstat: &Path) -> Duration {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    Duration::from_nanos(text.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// What a folder lies on: "tmpfs", "ext4", or the kernel's number of it.
pub fn file_system(folder: &Path) -> anyhow::Result<String> {
    // As in statfs(2).
    Ok(match rustix::fs::statfs(folder)?.f_type {
        0x0102_1994 => "tmpfs".to_owned(),
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        other => format!("file system {other:#x}"),
    })
}

/// The machine, as far as it explains numbers. Names no host.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model.
    pub processor: String,
    /// How many processors there are for us.
    pub processors: usize,
    /// Whether this is a virtual machine.
    pub hypervisor: bool,
    /// How the machine's TCP decides how fast to send.
    pub congestion_control: String,
    /// How many threads wanted to run in the last minute, which should be none but ours.
    pub load: f64,
}

impl Machine {
    /// Looks at the machine. What it does not tell stays empty.
    pub fn look() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
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

    /// "2-processor virtual machine, AMD EPYC, Linux 6.18".
    pub fn describe(&self) -> String {
        let kind = if self.hypervisor { "virtual machine" } else { "machine" };
        format!("{}-processor {kind}, {}, Linux {}", self.processors, self.processor, self.kernel)
    }
}
