//! What is printed: a table for people, or a JSON object a line.

use crate::{
    cli::Place,
    store::Durability,
    workload::{Load, Measured},
};
use abide_bench_common::{
    machine::Machine,
    print, print_json,
    spread::{Spread, median_ratio},
    table::{
        Column::{self, Number, Text},
        Table, percent, thousands, three_digits,
    },
};
use serde::Serialize;

/// What all numbers of a group have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Setup {
    pub(crate) title: &'static str,
    pub(crate) tiny: bool,
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    /// Contenders that are not measured, and why.
    pub(crate) absent: Vec<(&'static str, &'static str)>,
}

/// One thing that was measured for all contenders.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) phase: &'static str,
    pub(crate) place: Place,
    /// The file system.
    pub(crate) on: String,
    pub(crate) load: Load,
}

/// What a round's contenders contained in the end, which was what they had to contain.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    pub(crate) round: usize,
    pub(crate) contenders: usize,
    pub(crate) keys: usize,
    /// Hashes of what was read, and of the contents; the same for all.
    pub(crate) answers: String,
    pub(crate) contents: String,
}

/// What one round measured.
#[derive(Debug, Clone, Serialize)]
struct Round {
    /// What one thread needed for an operation, on average.
    ns: f64,
    cpu_ns: f64,
    operations_per_s: f64,
    p50_ns: f64,
    p99_ns: f64,
    p999_ns: f64,
    syncs: f64,
    fences: Option<f64>,
    disturbed: f64,
}

impl Round {
    fn new(measured: &Measured) -> Round {
        let operations = measured.operations.max(1) as f64;
        let quantile = |quantile| measured.latency_ns.value_at_quantile(quantile) as f64;
        Round {
            ns: measured.time.as_nanos() as f64 * measured.threads as f64 / operations,
            cpu_ns: measured.cpu.as_nanos() as f64 / operations,
            operations_per_s: operations / measured.time.as_secs_f64(),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            syncs: measured.syncs as f64 / operations,
            fences: measured.fences.map(|fences| fences as f64 / operations),
            disturbed: measured.disturbed,
        }
    }
}

/// One cell of one contender.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    contender: &'static str,
    class: Durability,
    ns: Spread,
    /// CPU time of the calling threads: what other work on the machine does not disturb.
    cpu_ns: Spread,
    operations_per_s: Spread,
    p50_ns: Spread,
    p99_ns: Spread,
    p999_ns: Spread,
    /// Calls of `fdatasync` and its like by operation.
    syncs: Spread,
    fences: Option<Spread>,
    disturbed: Spread,
    #[serde(skip)]
    rounds: Vec<Round>,
}

impl Row {
    pub(crate) fn new(contender: &'static str, class: Durability, measured: &[Measured]) -> Row {
        let rounds: Vec<Round> = measured.iter().map(Round::new).collect();
        let spread = |number: fn(&Round) -> f64| Spread::of(rounds.iter().map(number));
        let fences: Option<Vec<f64>> = rounds.iter().map(|round| round.fences).collect();
        Row {
            contender,
            class,
            ns: spread(|round| round.ns),
            cpu_ns: spread(|round| round.cpu_ns),
            operations_per_s: spread(|round| round.operations_per_s),
            p50_ns: spread(|round| round.p50_ns),
            p99_ns: spread(|round| round.p99_ns),
            p999_ns: spread(|round| round.p999_ns),
            syncs: spread(|round| round.syncs),
            fences: fences.map(Spread::of),
            disturbed: spread(|round| round.disturbed),
            rounds,
        }
    }

    /// Its time divided by that of the first contender, round by round. Above 1: it takes longer.
    fn time_ratio(&self, first: &Row) -> f64 {
        median_ratio(&self.rounds, &first.rounds, |round| round.ns)
    }
}

const COLUMNS: [Column; 18] = [
    Text("operation"),
    Text("on"),
    Number("keys"),
    Number("bytes"),
    Number("threads"),
    Number("batch"),
    Text("contender"),
    Text("class"),
    Number("ns/op"),
    Number("(min-max)"),
    Number("ratio"),
    Number("CPU ns/op"),
    Number("ops/s"),
    Number("p50 ns"),
    Number("p99 ns"),
    Number("p99.9 ns"),
    Number("syncs, fences/op"),
    Number("disturbed"),
];

/// Prints.
pub(crate) struct Report {
    json: bool,
    table: Table,
}

/// One line of JSON.
#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line<'a> {
    Setup(&'a Setup),
    Measured {
        operation: &'static str,
        place: Place,
        file_system: &'a str,
        keys: usize,
        value_bytes: usize,
        threads: usize,
        batch: usize,
        #[serde(flatten)]
        row: &'a Row,
        /// Time divided by that of the first contender of the class.
        ratio: Option<f64>,
    },
    Verified(&'a Verified),
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report { json, table: Table::new(&COLUMNS) }
    }

    pub(crate) fn setup(&mut self, setup: &Setup) -> anyhow::Result<()> {
        if self.json {
            return print_json(&Line::Setup(setup));
        }
        print(&describe(setup))
    }

    /// What a long run says meanwhile.
    pub(crate) fn progress(&self, round: usize, rounds: usize, contender: &str, load: &Load) {
        let Load { keys, value_bytes, threads, .. } = load;
        let round = round + 1;
        eprintln!(
            "round {round} of {rounds}: {contender}, {keys} keys of {value_bytes} bytes, {threads} threads"
        );
    }

    /// The first row of the class is what the others of the class are compared with.
    pub(crate) fn cell(&mut self, cell: &Cell, class: Durability, rows: &[Row]) -> anyhow::Result<()> {
        let mut compared = rows.iter().filter(|row| row.class == class);
        let first = compared.next();
        for row in rows {
            let ratio = first.filter(|_| row.class == class).map(|first| row.time_ratio(first));
            let Load { keys, value_bytes, threads, batch, .. } = cell.load;
            if self.json {
                let (operation, place, file_system) = (cell.phase, cell.place, cell.on.as_str());
                print_json(&Line::Measured {
                    operation,
                    place,
                    file_system,
                    keys,
                    value_bytes,
                    threads,
                    batch,
                    row,
                    ratio,
                })?;
                continue;
            }
            let fences = row.fences.map(|fences| format!(", {:.2}", fences.median)).unwrap_or_default();
            self.table.row(vec![
                cell.phase.to_owned(),
                cell.on.clone(),
                thousands(keys as f64),
                value_bytes.to_string(),
                threads.to_string(),
                batch.to_string(),
                row.contender.to_owned(),
                class_name(row.class).to_owned(),
                thousands(row.ns.median),
                format!("{}-{}", thousands(row.ns.min), thousands(row.ns.max)),
                ratio.map(three_digits).unwrap_or_default(),
                thousands(row.cpu_ns.median),
                thousands(row.operations_per_s.median),
                thousands(row.p50_ns.median),
                thousands(row.p99_ns.median),
                thousands(row.p999_ns.median),
                format!("{:.2}{fences}", row.syncs.median),
                percent(row.disturbed.median),
            ]);
        }
        Ok(())
    }

    pub(crate) fn verified(&mut self, verified: &Verified) -> anyhow::Result<()> {
        if self.json {
            return print_json(&Line::Verified(verified));
        }
        let Verified { round, contenders, keys, answers, contents } = verified;
        self.table.note(format!(
            "round {round}: the {keys} keys of all {contenders} stores are as they must be, XXH3 {contents}, answers {answers}"
        ));
        Ok(())
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { print(&self.table.to_string()) }
    }
}

pub(crate) fn class_name(class: Durability) -> &'static str {
    match class {
        Durability::Volatile => "volatile",
        Durability::ProcessCrash => "process crash",
        Durability::Instructions => "instructions",
        Durability::PowerFail => "power failure",
    }
}

/// What stands above a table.
pub(crate) fn describe(setup: &Setup) -> String {
    let Setup { title, tiny, machine, rounds, absent } = setup;
    let mut text =
        format!("{title}\n{}, load {}; {rounds} rounds, medians\n", machine.describe(), machine.load);
    for (name, why) in absent {
        text += &format!("SKIPPED: {name}: {why}\n");
    }
    if cfg!(debug_assertions) {
        text += "This is a debug build: measure with --release\n";
    }
    if *tiny {
        text += "--tiny: this shows that the benchmark runs; its numbers mean nothing\n";
    }
    text
}
