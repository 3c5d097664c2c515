//! Figures of several runs, and how they are written.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The middle of several runs, and how far they lay apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one run.
    pub fn of(runs: impl IntoIterator<Item = f64>) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let middle = runs.len() / 2;
        let median = if runs.len() % 2 == 1 { runs[middle] } else { (runs[middle - 1] + runs[middle]) / 2.0 };
        Self { median, min: runs[0], max: runs[runs.len() - 1] }
    }

    /// The ratio of each run to the run of the other beside it: what both suffered alike drops out.
    pub fn of_ratios(runs: &[f64], others: &[f64]) -> Self {
        Self::of(runs.iter().zip(others).map(|(run, other)| run / other))
    }

    /// Written as `12.3 (11.9–14.0)`, each by the same rule.
    pub fn with(&self, write: impl Fn(f64) -> String) -> String {
        format!("{} ({}–{})", write(self.median), write(self.min), write(self.max))
    }
}

/// `4.03 M`, `240 k`, `87`.
pub fn count(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{:.2} M", value / 1e6),
        large if large >= 1e4 => format!("{:.0} k", value / 1e3),
        large if large >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// `19,500`, of what is counted and below a million.
pub fn thousands(value: f64) -> String {
    let count = value.round() as u64;
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

/// With so many digits that two per cent are seen.
pub fn ratio(value: f64) -> String {
    match value.abs() {
        large if large >= 10.0 => format!("{value:.0}"),
        large if large >= 0.1 || large == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn percent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

/// Microseconds as milliseconds.
pub fn millis(micros: f64) -> String {
    format!("{:.1}", micros / 1e3)
}

/// Figures by name. A program of ours says them as words of the form `name=number`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub fn read(text: &str) -> Self {
        let words = text.split_whitespace().filter_map(|word| word.split_once('='));
        Self(words.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// One that is no number, because nothing was there to divide by, is left out.
    pub fn put(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub fn get(&self, name: &str) -> Result<f64> {
        self.find(name).with_context(|| format!("no {name} in {:?}", self.0))
    }

    pub fn find(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.write_str(&words.join(" "))
    }
}

/// A table in Markdown, its columns filled up so that it can also be read as it stands.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0[0].len();
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.0.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(out, "| {cell:width$} ")?;
            }
            writeln!(out, "|")?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let (dashes, end) = ("-".repeat(width + 1), if column == 0 { '-' } else { ':' });
                    write!(out, "|{dashes}{end}")?;
                }
                writeln!(out, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_and_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
        assert_eq!(Spread::of_ratios(&[2.0, 9.0, 4.0], &[1.0, 3.0, 1.0]).median, 3.0);
    }

    #[test]
    fn ratios_near_one_are_told_apart_and_large_ones_are_short() {
        for (value, written) in
            [(36.6, "37"), (9.996, "10.00"), (1.04, "1.04"), (0.96, "0.96"), (0.0, "0.00"), (0.04, "0.040")]
        {
            assert_eq!(ratio(value), written);
        }
        for (value, written) in [(50.0, "50"), (1000.0, "1,000"), (19_500.0, "19,500")] {
            assert_eq!(thousands(value), written);
        }
    }

    #[test]
    fn words_and_tables_are_read_and_written() {
        let figures = Figures::read("a=1 b=2.5\nnoise");
        assert_eq!(figures.get("b").unwrap(), 2.5);
        assert!(figures.get("c").is_err());
        assert_eq!(figures.to_string(), "a=1 b=2.5");
        let mut figures = Figures::default();
        figures.put("a", 1.0 / 0.0);
        assert_eq!(figures, Figures::default());
        let mut table = Table::new(&["what", "n"]);
        table.row(["copy".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "| what | n |\n|------|--:|\n| copy | 1 |\n");
    }
}
