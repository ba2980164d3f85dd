//! What a measurement used of the processors, and how long it had to wait for them.

use super::cpu;
use abide_bench_common::machine::in_line;
use std::time::Duration;

/// Times that a server and this process, its load generator, have had: so far, or between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// CPU time, all threads together.
    pub(crate) server_cpu: Duration,
    pub(crate) generator_cpu: Duration,
    /// For how long they were ready to run, and something else ran on their processor.
    pub(crate) server_in_line: Duration,
    pub(crate) generator_in_line: Duration,
}

impl Usage {
    pub(super) fn look(server: u32, server_cpu: cpu::Clock) -> anyhow::Result<Usage> {
        Ok(Usage {
            server_cpu: server_cpu.now()?,
            generator_cpu: cpu::Clock::own().now()?,
            server_in_line: in_line(server),
            generator_in_line: in_line(std::process::id()),
        })
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(&self, before: &Usage) -> Usage {
        Usage {
            server_cpu: self.server_cpu - before.server_cpu,
            generator_cpu: self.generator_cpu - before.generator_cpu,
            server_in_line: self.server_in_line.saturating_sub(before.server_in_line),
            generator_in_line: self.generator_in_line.saturating_sub(before.generator_in_line),
        }
    }
}
