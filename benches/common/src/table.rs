//! Tables for people, which are also Markdown.

use std::fmt::{self, Display, Formatter};

/// A column's head, and how it is aligned.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Text, aligned left.
    Text(&'static str),
    /// Numbers, aligned right.
    Number(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        let (Column::Text(head) | Column::Number(head)) = self;
        head
    }

    fn cell(self, text: &str, width: usize) -> String {
        match self {
            Column::Text(_) => format!("{text:width$}"),
            Column::Number(_) => format!("{text:>width$}"),
        }
    }

    fn rule(self, width: usize) -> String {
        match self {
            Column::Text(_) => "-".repeat(width + 2),
            Column::Number(_) => format!("{}:", "-".repeat(width + 1)),
        }
    }
}

/// Rows, until all are there and the columns' widths are known.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one.
    pub fn new(columns: &[Column]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row. Cells that it lacks are empty.
    ///
    /// # Panics
    /// If it has more cells than there are columns.
    pub fn row(&mut self, cells: Vec<String>) {
        assert!(cells.len() <= self.columns.len(), "{} cells in {} columns", cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |row: &[String], number: usize| row.get(number).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|number| {
                let cells = self.rows.iter().map(|row| text(row, number).chars().count());
                cells.chain([self.columns[number].head().len()]).max().unwrap_or_default()
            })
            .collect();
        let line = |row: &[String]| {
            let columns = self.columns.iter().zip(&widths).enumerate();
            let cells = columns.map(|(number, (column, width))| column.cell(&text(row, number), *width));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let heads: Vec<String> = self.columns.iter().map(|column| column.head().to_owned()).collect();
        let rules = self.columns.iter().zip(&widths).map(|(column, width)| column.rule(*width));
        writeln!(f, "{}", line(&heads))?;
        writeln!(f, "|{}|", rules.collect::<Vec<_>>().join("|"))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", line(row)))?;
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// A rate in whole numbers, with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// A share of one.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A time with about three digits.
pub fn three_digits(number: f64) -> String {
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

    #[test]
    fn a_table_is_markdown_and_pads_what_is_missing() {
        let mut table = Table::new(&[Column::Text("who"), Column::Number("ns")]);
        table.row(vec!["a store".to_owned(), "7".to_owned()]);
        table.row(vec!["b".to_owned()]);
        table.note("note".to_owned());
        let expected = "| who     | ns |\n|---------|---:|\n| a store |  7 |\n| b       |    |\n\nnote\n";
        assert_eq!(table.to_string(), expected);
    }
}
