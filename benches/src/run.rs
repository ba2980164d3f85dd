//! Rounds over all cells and systems, interleaved.

use crate::{
    cli::Options,
    contender::{Contender, contenders},
    load::Measured,
    plan::{Cell, Plan},
    report::{Report, Row, Setup, Verified},
    server::{Server, redis_version},
};
use abide_bench_common::machine::{self, Machine};
use anyhow::Context as _;
use std::time::{Duration, Instant};

/// Measures all that the plan says, and reports.
///
/// Each round starts all servers anew: where a process happens to lie in memory makes it some percent faster or
/// slower for life.
pub(crate) fn run(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let processors = machine::processors()?;
    // One for the load generator, one for the server: the same where there is no other.
    let (generator, server) = (processors[0], processors[processors.len().min(2) - 1]);
    let machine = Machine::look();
    machine::pin(&[generator])?;
    // Where no node can run this says so, before anything is printed.
    drop(Server::abide(&std::env::current_exe()?, Duration::ZERO, server)?);
    let mut report = Report::new(options.json);
    report.setup(&Setup {
        title: plan.title,
        tiny: options.tiny,
        machine,
        shared_processor: server == generator,
        redis: redis_version(),
        rounds: plan.rounds,
        seconds: plan.measured.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        objects: "volatile",
    })?;
    let mut patience = Duration::from_secs(options.patience);
    let mut labels = Vec::new();
    // By cell, then by contender, then by round.
    let mut measured: Vec<Vec<Vec<Measured>>> = vec![Vec::new(); plan.cells.len()];
    for round in 0..plan.rounds {
        let mut contenders = contenders(plan, options.against.as_deref(), server)?;
        labels = contenders.iter().map(|contender| contender.label()).collect();
        let servers: Vec<_> =
            contenders.iter().map(|contender| (contender.label(), contender.process())).collect();
        report.round(round + 1, plan.rounds, &servers);
        for (cell, measured) in plan.cells.iter().zip(&mut measured) {
            measured.resize(contenders.len(), Vec::new());
            // Who comes first changes from round to round.
            for turn in 0..contenders.len() {
                let nth = (turn + round) % contenders.len();
                let found = undisturbed(&mut *contenders[nth], cell, plan, &mut patience);
                measured[nth].push(found.with_context(|| format!("{}, {}", labels[nth], cell.name()))?);
            }
        }
        for contender in &mut contenders {
            let (objects, hash) = contender.read_back().context(contender.label())?;
            report.verified(&Verified { round: round + 1, system: contender.label(), objects, hash })?;
        }
    }
    for (cell, measured) in plan.cells.iter().zip(&measured) {
        let rows = labels.iter().zip(measured).map(|(label, rounds)| Row::new(label, rounds));
        report.cell(cell, &rows.collect::<Vec<_>>())?;
    }
    report.finish()
}

/// What may be disturbed of a measurement before it is repeated.
const DISTURBED_MAX: f64 = 0.05;

/// How often one is repeated, so that patience lasts for others too.
const REPETITIONS_MAX: usize = 10;

/// Measures, and as long as there is patience again if that was disturbed. Which measurement counts is decided by
/// how disturbed it was, never by what it found.
fn undisturbed(
    contender: &mut dyn Contender,
    cell: &Cell,
    plan: &Plan,
    patience: &mut Duration,
) -> anyhow::Result<Measured> {
    let mut best = contender.measure(cell, plan)?;
    for _ in 0..REPETITIONS_MAX {
        if best.disturbed() <= DISTURBED_MAX || patience.is_zero() {
            break;
        }
        let start = Instant::now();
        let again = contender.measure(cell, plan)?;
        if again.disturbed() < best.disturbed() {
            best = again;
        }
        *patience = patience.saturating_sub(start.elapsed());
    }
    Ok(best)
}
