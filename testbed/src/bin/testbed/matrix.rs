//! What became of ten containers at every event, on every engine: notes of the tests, and a table of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The longest that all ten may take to run again, in seconds.
const LIMIT: f32 = 20.0;

/// A row: network and event.
type Row = (String, String);

/// What the tests have noted.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// Engines with their image stores, in the order in which they were tested.
    engines: Vec<String>,
    /// Rows, in the order in which they were noted first.
    rows: Vec<Row>,
    rounds: BTreeSet<u32>,
    /// By engine, row and round.
    cells: BTreeMap<(usize, Row, u32), Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    kept: bool,
    seconds: f32,
}

impl Matrix {
    /// Adds an engine and the lines that its tests have written: network, event, round, `kept` or `LOST`, seconds, with tabs between
    /// them. The first line that is none of these is the error.
    pub(crate) fn add(&mut self, engine: String, notes: &str) -> Result<(), String> {
        let number = self.engines.len();
        self.engines.push(engine);
        for line in notes.lines() {
            let (row, round, cell) = read(line).ok_or_else(|| line.to_owned())?;
            if !self.rows.contains(&row) {
                self.rows.push(row.clone());
            }
            self.rounds.insert(round);
            self.cells.insert((number, row, round), cell);
        }
        Ok(())
    }

    /// Whether every engine kept what there is in every row and round that any of them came to.
    pub(crate) fn is_kept(&self) -> bool {
        let mut cells = self.rows.iter().flat_map(|row| self.line(row).collect::<Vec<_>>());
        cells.all(|(_, cells)| cells.iter().all(|cell| cell.is_some_and(|cell| cell.kept)))
    }

    /// Engines in the order in which they were tested, with a row's cells of each round.
    fn line<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (&'a str, Vec<Option<Cell>>)> {
        self.engines.iter().enumerate().map(move |(number, engine)| {
            let cell = |round: &u32| self.cells.get(&(number, row.clone(), *round)).copied();
            (engine.as_str(), self.rounds.iter().map(cell).collect())
        })
    }

    /// One line an engine, network and event: in how many of the rounds all were kept, and the seconds until all ten ran, each round.
    /// Empty if nothing was noted.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        if self.rows.is_empty() {
            return table;
        }
        let _ = writeln!(
            table,
            "{:<24} {:<8} {:<34} {:<8} SECONDS UNTIL ALL TEN RAN",
            "ENGINE", "NETWORK", "EVENT", "KEPT"
        );
        for number in 0..self.engines.len() {
            for row in &self.rows {
                let Some((engine, cells)) = self.line(row).nth(number) else { continue };
                let kept = cells.iter().flatten().filter(|cell| cell.kept).count();
                let kept = format!("{kept} of {}", cells.len());
                let seconds: Vec<String> = cells.into_iter().map(shown).collect();
                let (network, event) = row;
                let _ =
                    writeln!(table, "{engine:<24} {network:<8} {event:<34} {kept:<8} {}", seconds.join("  "));
            }
        }
        table
    }
}

fn read(line: &str) -> Option<(Row, u32, Cell)> {
    let words: Vec<&str> = line.split('\t').collect();
    let [network, event, round, outcome, seconds] = words.as_slice() else { return None };
    let kept = match *outcome {
        "kept" => true,
        "LOST" => false,
        _ => return None,
    };
    let row = ((*network).to_owned(), (*event).to_owned());
    Some((row, round.parse().ok()?, Cell { kept, seconds: seconds.parse().ok()? }))
}

fn shown(cell: Option<Cell>) -> String {
    match cell {
        None => "not run".to_owned(),
        Some(Cell { kept: false, seconds }) => format!("LOST after {seconds:.1}"),
        Some(Cell { seconds, .. }) if seconds > LIMIT => format!("{seconds:.1} (over {LIMIT:.0})"),
        Some(Cell { seconds, .. }) => format!("{seconds:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Matrix {
        let mut matrix = Matrix::default();
        let first = "bridge\tboot\t1\tkept\t9.0\nbridge\tboot\t2\tkept\t20.5\nipam\tboot\t1\tkept\t8.0\nipam\tboot\t2\tkept\t8.25\n";
        matrix.add("20.10.24 graphdriver".into(), first).unwrap();
        matrix.add("28.5.2 containerd".into(), "bridge\tboot\t1\tLOST\t45.0\n").unwrap();
        matrix
    }

    #[test]
    fn what_is_lost_or_was_not_come_to_is_not_kept() {
        let mut matrix = Matrix::default();
        assert!(matrix.is_kept() && matrix.table().is_empty(), "nothing was noted");
        matrix.add("a".into(), "bridge\tboot\t1\tkept\t9.0\n").unwrap();
        assert!(matrix.is_kept());
        matrix.add("b".into(), "").unwrap();
        assert!(!matrix.is_kept(), "the second did not come to it");
        assert!(!both().is_kept());
    }

    #[test]
    fn a_line_has_all_rounds_of_one_event() {
        let table = both().table();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1..],
            [
                vec![
                    "20.10.24",
                    "graphdriver",
                    "bridge",
                    "boot",
                    "2",
                    "of",
                    "2",
                    "9.0",
                    "20.5",
                    "(over",
                    "20)"
                ],
                vec!["20.10.24", "graphdriver", "ipam", "boot", "2", "of", "2", "8.0", "8.2"],
                vec![
                    "28.5.2",
                    "containerd",
                    "bridge",
                    "boot",
                    "0",
                    "of",
                    "2",
                    "LOST",
                    "after",
                    "45.0",
                    "not",
                    "run"
                ],
                vec!["28.5.2", "containerd", "ipam", "boot", "0", "of", "2", "not", "run", "not", "run"],
            ]
        );
    }

    #[test]
    fn what_is_no_note_is_an_error() {
        for line in ["bridge\tboot\t1\tkept", "bridge\tboot\t1\tperhaps\t1.0", "bridge\tboot\tone\tkept\t1.0"]
        {
            assert_eq!(Matrix::default().add("a".into(), line), Err(line.to_owned()));
        }
    }
}
