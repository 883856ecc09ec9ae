//! Tables that can be read as they are and pasted into a Markdown file.

use std::fmt;

/// A table; the first column is text, the others are numbers and stand to the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        self.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column: usize| {
            // Three is what the line below the header needs.
            self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0).max(3)
        };
        for (number, row) in self.rows.iter().enumerate() {
            for column in 0..columns {
                let (text, width) = (cell(row, column), width(column));
                if column == 0 { write!(f, "| {text:<width$} ")? } else { write!(f, "| {text:>width$} ")? }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for column in 0..columns {
                    let dashes = "-".repeat(width(column));
                    if column == 0 { write!(f, "|-{dashes}-")? } else { write!(f, "|-{dashes}:")? }
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// Milliseconds, without digits that mean nothing.
pub(super) fn ms(value: f64) -> String {
    if value.abs() < 20.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// One duration as a multiple of another.
pub(super) fn times(value: f64, of: f64) -> String {
    // A cost that is lost in the noise has no ratio to another.
    if value >= 0.0 && of > 0.0 { format!("{:.2}", value / of) } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(&["network", "median"]);
        table.row("none", [ms(123.4)]);
        table.row("a longer name", [ms(9.87)]);
        let expected = "\
| network       | median |
|---------------|-------:|
| none          |    123 |
| a longer name |    9.9 |
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn nothing_is_compared_with_noise() {
        assert_eq!(times(10.0, 4.0), "2.50");
        assert_eq!(times(10.0, -0.3), "-");
        assert_eq!(times(-0.3, 10.0), "-");
        assert_eq!(times(10.0, f64::NAN), "-");
    }
}
