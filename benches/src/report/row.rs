//! One cell of one system: what its rounds come to.

use crate::load::Measured;
use abide_bench_common::spread::{Spread, median_ratio};
use serde::Serialize;

/// What one round measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Round {
    operations_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// CPU time of the server for one operation, all its threads together.
    server_cpu_us: f64,
    /// Shares of the time in which they used their processors.
    server_busy: f64,
    generator_busy: f64,
    /// See [`Measured::disturbed`]. More than a few percent: the machine had other things to do.
    disturbed: f64,
}

impl Round {
    fn new(measured: &Measured) -> Round {
        let (seconds, usage) = (measured.time.as_secs_f64(), &measured.usage);
        let quantile_us = |quantile| measured.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        Round {
            operations_per_s: measured.operations as f64 / seconds,
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            p999_us: quantile_us(0.999),
            server_cpu_us: usage.server_cpu.as_secs_f64() * 1e6 / measured.operations.max(1) as f64,
            server_busy: usage.server_cpu.as_secs_f64() / seconds,
            generator_busy: usage.generator_cpu.as_secs_f64() / seconds,
            disturbed: measured.disturbed(),
        }
    }
}

/// One cell of one system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) system: &'static str,
    /// Operations measured, and checked, in all rounds together.
    pub(crate) operations: u64,
    pub(crate) operations_per_s: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) p999_us: Spread,
    pub(crate) server_cpu_us: Spread,
    pub(crate) server_busy: Spread,
    pub(crate) generator_busy: Spread,
    pub(crate) disturbed: Spread,
    rounds: Vec<Round>,
}

impl Row {
    pub(crate) fn new(system: &'static str, measured: &[Measured]) -> Row {
        let rounds: Vec<Round> = measured.iter().map(Round::new).collect();
        let spread = |number: fn(&Round) -> f64| Spread::of(rounds.iter().map(number));
        Row {
            system,
            operations: measured.iter().map(|round| round.operations).sum(),
            operations_per_s: spread(|round| round.operations_per_s),
            p50_us: spread(|round| round.p50_us),
            p99_us: spread(|round| round.p99_us),
            p999_us: spread(|round| round.p999_us),
            server_cpu_us: spread(|round| round.server_cpu_us),
            server_busy: spread(|round| round.server_busy),
            generator_busy: spread(|round| round.generator_busy),
            disturbed: spread(|round| round.disturbed),
            rounds,
        }
    }

    pub(crate) fn is_redis(&self) -> bool {
        self.system == "redis"
    }

    /// Compares them round by round.
    pub(crate) fn ratio_to(&self, redis: &Row) -> Ratio {
        let ratio = |number: fn(&Round) -> f64| median_ratio(&self.rounds, &redis.rounds, number);
        Ratio {
            operations_per_s: ratio(|round| round.operations_per_s),
            p99: ratio(|round| round.p99_us),
            server_cpu: ratio(|round| round.server_cpu_us),
        }
    }
}

/// One system's numbers divided by those of Redis in the same round: the medians of that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) operations_per_s: f64,
    pub(crate) p99: f64,
    pub(crate) server_cpu: f64,
}

impl Ratio {
    /// In what Redis is ahead.
    pub(crate) fn redis_ahead(&self) -> Vec<&'static str> {
        let all =
            [("ops/s", self.operations_per_s < 1.0), ("p99", self.p99 > 1.0), ("CPU", self.server_cpu > 1.0)];
        all.into_iter().filter(|(_, ahead)| *ahead).map(|(what, _)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_ahead_where_it_does_more_or_takes_less() {
        let ratio = Ratio { operations_per_s: 0.9, p99: 0.8, server_cpu: 1.2 };
        assert_eq!(ratio.redis_ahead(), ["ops/s", "CPU"]);
    }
}
