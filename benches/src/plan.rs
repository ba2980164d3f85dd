//! What is measured: the cells, and how long and how often each.

use crate::{cli::Options, load::Waiting, workload::Kind};
use anyhow::ensure;
use std::time::Duration;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    /// How many calls a connection sends at once; it sends the next ones when all are answered.
    pub(crate) pipeline: usize,
    pub(crate) waiting: Waiting,
}

impl Cell {
    /// Its name, as `--only` takes it.
    pub(crate) fn name(&self) -> String {
        let polls = if self.waiting == Waiting::Poll { "/polls" } else { "" };
        format!("{}/{}/{}{polls}", self.kind.name(), self.connections, self.pipeline)
    }
}

/// All that one run measures.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) title: &'static str,
    pub(crate) cells: Vec<Cell>,
    pub(crate) rounds: usize,
    /// How long a cell runs before it is measured, and how long it is measured.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// How many byte arrays there are, and how many multipliers.
    pub(crate) keys: usize,
    pub(crate) multipliers: usize,
    /// Whether a node that polls before it sleeps is measured too.
    pub(crate) busy_polling: bool,
}

/// As in section 3.3.1 of the CRUCIAL paper.
const MULTIPLIERS: usize = 800;
const MULTIPLIER_CONNECTIONS: usize = 200;

impl Plan {
    /// One call at a time: the client asleep until the answer is there, or polling for it; and 50 clients.
    pub(crate) fn latency(options: &Options) -> anyhow::Result<Plan> {
        let clients = [(1, Waiting::Sleep), (1, Waiting::Poll), (50, Waiting::Sleep)];
        let mut cells = Vec::new();
        for kind in [Kind::Set, Kind::Get] {
            cells.extend(clients.map(|(connections, waiting)| Cell {
                kind,
                connections,
                pipeline: 1,
                waiting,
            }));
        }
        Plan { busy_polling: true, ..Plan::new("latency", cells, 1.0, options) }.narrowed(options)
    }

    /// The whole matrix.
    pub(crate) fn throughput(options: &Options) -> anyhow::Result<Plan> {
        let (connections, pipelines): (&[usize], &[usize]) =
            if options.tiny { (&[1, 50], &[1, 16]) } else { (&[1, 50, 200], &[1, 16, 32]) };
        let waiting = Waiting::Sleep;
        let mut cells = Vec::new();
        for kind in [Kind::Set, Kind::Get] {
            for &connections in connections {
                let deep = |&pipeline: &usize| Cell { kind, connections, pipeline, waiting };
                cells.extend(pipelines.iter().map(deep));
            }
        }
        for kind in [Kind::Simple, Kind::Complex] {
            cells.push(Cell { kind, connections: MULTIPLIER_CONNECTIONS, pipeline: 1, waiting });
        }
        Plan::new("throughput", cells, 0.6, options).narrowed(options)
    }

    fn new(title: &'static str, cells: Vec<Cell>, seconds: f64, options: &Options) -> Plan {
        let (rounds, seconds, keys) = if options.tiny { (1, 0.02, 2_000) } else { (5, seconds, 10_000) };
        let measured = Duration::from_secs_f64(options.seconds.unwrap_or(seconds).clamp(0.001, 3600.0));
        Plan {
            title,
            cells,
            rounds: options.rounds.unwrap_or(rounds),
            warm_up: measured / 4,
            measured,
            keys,
            multipliers: MULTIPLIERS,
            busy_polling: false,
        }
    }

    fn narrowed(mut self, options: &Options) -> anyhow::Result<Plan> {
        let wanted = |cell: &Cell| {
            let name = format!("{}/", cell.name());
            options.only.is_empty() || options.only.iter().any(|only| name.starts_with(&format!("{only}/")))
        };
        self.cells.retain(wanted);
        ensure!(!self.cells.is_empty() && self.rounds > 0, "nothing is left to measure");
        Ok(self)
    }
}
