//! Columns for a terminal: as wide as what is in them, numbers to the right.

use std::fmt;

/// Rows under a head.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&title| title.to_owned()).collect()])
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    /// The width of a column, and whether it has nothing but numbers.
    fn column(&self, index: usize) -> (usize, bool) {
        let width = self.0.iter().map(|row| row[index].chars().count()).max().unwrap_or_default();
        let is_number = self.0.iter().skip(1).all(|row| row[index].parse::<f64>().is_ok());
        (width, is_number)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<(usize, bool)> = (0..self.0[0].len()).map(|index| self.column(index)).collect();
        for row in &self.0 {
            let cells = row.iter().zip(&columns).map(|(cell, &(width, is_number))| match is_number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&["NAME", "SEQ"]);
        table.row(vec!["a".to_owned(), "12345".to_owned()]);
        table.row(vec!["größer".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "NAME      SEQ\na       12345\ngrößer      1\n");
    }
}
