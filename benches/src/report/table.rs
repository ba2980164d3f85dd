//! The table for people, which is also Markdown.

use super::row::{Ratio, Row};
use crate::{load::Waiting, plan::Cell};
use std::fmt::{self, Display, Formatter};

const HEAD: [&str; 15] = [
    "workload",
    "conns",
    "pipe",
    "system",
    "ops/s",
    "(min-max)",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "CPU us/op",
    "server busy",
    "disturbed",
    "ops/s ratio",
    "p99 ratio",
    "CPU ratio",
];

/// Columns that hold text.
const LEFT: [usize; 2] = [0, 3];

/// Rows, until all are there and the columns' widths are known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
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
        self.rows.push(texts);
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head: Vec<String> = HEAD.iter().map(|text| (*text).to_owned()).chain([String::new()]).collect();
        let width = |column: usize| {
            let texts = std::iter::once(&head).chain(&self.rows).filter_map(|row| row.get(column));
            texts.map(String::len).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let left = |column: usize| LEFT.contains(&column) || column == HEAD.len();
        let line = |row: &[String]| {
            let texts = widths.iter().enumerate().map(|(column, &width)| {
                let text = row.get(column).map_or("", String::as_str);
                if left(column) { format!("{text:width$}") } else { format!("{text:>width$}") }
            });
            format!("| {} |", texts.collect::<Vec<_>>().join(" | "))
        };
        let rules = widths.iter().enumerate().map(|(column, &width)| {
            if left(column) { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
        });
        writeln!(f, "{}", line(&head))?;
        writeln!(f, "|{}|", rules.collect::<Vec<_>>().join("|"))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", line(row)))?;
        writeln!(f)?;
        writeln!(
            f,
            "Ratios compare Abide with Redis in the same round; all numbers are medians over rounds."
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// A rate in whole numbers, with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A time with about three digits.
fn three_digits(number: f64) -> String {
    let decimals = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_be_read() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.234, 12.34, 123.4].map(three_digits), ["1.23", "12.3", "123"]);
    }
}
