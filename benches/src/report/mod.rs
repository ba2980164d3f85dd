//! What is printed: a table for people, or a JSON object a line.

mod row;
mod table;

pub(crate) use row::Row;

use crate::{load::Waiting, plan::Cell};
use abide_bench_common::{machine::Machine, print, print_json};
use row::Ratio;
use serde::Serialize;
use table::Table;

/// What all numbers of a run have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Setup {
    pub(crate) title: &'static str,
    pub(crate) tiny: bool,
    pub(crate) machine: Machine,
    /// Server and generator run on one processor, for there is only one.
    pub(crate) shared_processor: bool,
    /// Its version, if it is installed.
    pub(crate) redis: Option<String>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
    /// How the objects are kept, in all systems.
    pub(crate) objects: &'static str,
}

/// What a server contained at the end of a round, which was what it had to contain.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    pub(crate) round: usize,
    pub(crate) system: &'static str,
    pub(crate) objects: usize,
    /// XXH3 over the contents, in the order of the keys.
    pub(crate) hash: String,
}

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
        cell: String,
        workload: &'static str,
        connections: usize,
        pipeline: usize,
        client_polls: bool,
        #[serde(flatten)]
        row: &'a Row,
        /// How it compares with Redis.
        to_redis: Option<Ratio>,
    },
    Verified(&'a Verified),
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report { json, table: Table::default() }
    }

    pub(crate) fn setup(&mut self, setup: &Setup) -> anyhow::Result<()> {
        if self.json {
            return print_json(&Line::Setup(setup));
        }
        let machine = setup.machine.describe();
        let Machine { congestion_control, load, .. } = &setup.machine;
        let mut text = format!(
            "{}: {machine}, TCP {congestion_control}, load {load}\n\
             Rounds: {}, with new servers; in each, each system has {} s a cell after {} s of warm-up, in turn; objects \
             {}\n",
            setup.title, setup.rounds, setup.seconds, setup.warm_up_seconds, setup.objects
        );
        text += &match &setup.redis {
            Some(version) => format!("Redis {version} on one core, without persistence; Abide on one core\n"),
            None => "redis-server is not installed: Abide alone is measured, on one core\n".to_owned(),
        };
        if setup.shared_processor {
            text += "There is one processor: servers and load generator share it, so the rates mean little\n";
        }
        if cfg!(debug_assertions) {
            text += "This is a debug build: measure with --release\n";
        }
        if setup.tiny {
            text += "--tiny: this shows that the benchmark runs; its numbers mean nothing\n";
        }
        print(&text)
    }

    /// What a long run says meanwhile, for whoever wants to look at the servers, too.
    pub(crate) fn round(&self, round: usize, rounds: usize, servers: &[(&'static str, u32)]) {
        let named = |(system, process): &(&str, u32)| format!("{system} is process {process}");
        let servers: Vec<String> = servers.iter().map(named).collect();
        eprintln!("round {round} of {rounds}: {}", servers.join("; "));
    }

    pub(crate) fn cell(&mut self, cell: &Cell, rows: &[Row]) -> anyhow::Result<()> {
        let redis = rows.iter().find(|row| row.is_redis());
        for row in rows {
            let to_redis = redis.filter(|_| !row.is_redis()).map(|redis| row.ratio_to(redis));
            if self.json {
                print_json(&Line::Measured {
                    cell: cell.name(),
                    workload: cell.kind.name(),
                    connections: cell.connections,
                    pipeline: cell.pipeline,
                    client_polls: cell.waiting == Waiting::Poll,
                    row,
                    to_redis,
                })?;
            } else {
                self.table.add(cell, row, to_redis.as_ref());
            }
        }
        Ok(())
    }

    pub(crate) fn verified(&mut self, verified: &Verified) -> anyhow::Result<()> {
        if self.json {
            return print_json(&Line::Verified(verified));
        }
        let Verified { round, system, objects, hash } = verified;
        self.table
            .note(format!("round {round}, {system}: all {objects} objects are as they must be, XXH3 {hash}"));
        Ok(())
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { print(&self.table.to_string()) }
    }
}
