//! The table of the network benchmarks.

use super::row::{Ratio, Row};
use crate::{load::Waiting, plan::Cell};
use abide_bench_common::table::{
    Column::{self, Number, Text},
    percent, thousands, three_digits,
};
use std::fmt::{self, Display, Formatter};

const COLUMNS: [Column; 16] = [
    Text("workload"),
    Number("conns"),
    Number("pipe"),
    Text("system"),
    Number("ops/s"),
    Number("(min-max)"),
    Number("p50 us"),
    Number("p99 us"),
    Number("p99.9 us"),
    Number("CPU us/op"),
    Number("server busy"),
    Number("disturbed"),
    Number("ops/s ratio"),
    Number("p99 ratio"),
    Number("CPU ratio"),
    Text(""),
];

/// Rows, until all are there.
#[derive(Debug)]
pub(crate) struct Table(abide_bench_common::table::Table);

impl Default for Table {
    fn default() -> Table {
        let mut table = abide_bench_common::table::Table::new(&COLUMNS);
        table.note(
            "Ratios compare Abide with Redis in the same round; all numbers are medians over rounds."
                .to_owned(),
        );
        Table(table)
    }
}

impl Table {
    pub(crate) fn add(&mut self, cell: &Cell, row: &Row, to_redis: Option<&Ratio>) {
        let polls = if cell.waiting == Waiting::Poll { ", client polls" } else { "" };
        let mut texts = vec![
            format!("{}{polls}", cell.kind.name()),
            cell.connections.to_string(),
            cell.pipeline.to_string(),
            row.system.to_owned(),
            thousands(row.operations_per_s.median),
            format!("{}-{}", thousands(row.operations_per_s.min), thousands(row.operations_per_s.max)),
            three_digits(row.p50_us.median),
            three_digits(row.p99_us.median),
            three_digits(row.p999_us.median),
            format!("{:.2}", row.server_cpu_us.median),
            percent(row.server_busy.median),
            percent(row.disturbed.median),
        ];
        if let Some(ratio) = to_redis {
            texts.extend(
                [ratio.operations_per_s, ratio.p99, ratio.server_cpu].map(|ratio| format!("{ratio:.2}")),
            );
            let ahead = ratio.redis_ahead();
            if !ahead.is_empty() {
                texts.push(format!("Redis ahead: {}", ahead.join(", ")));
            }
        }
        self.0.row(texts);
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.0.note(note);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
