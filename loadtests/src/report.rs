//! What was measured: lines for people, `target/bench.json` for machines.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What came out.
    pub value: f64,
    /// Unit of the value: `1/s`, `ms`, `ratio`, `count`.
    pub unit: String,
    /// What it is to be held against, and under which circumstances it was taken.
    pub reference: String,
    /// Repeats it.
    pub command: String,
}

/// Figures by name.
pub type Figures = BTreeMap<String, Figure>;

/// Collects figures of one run into the file.
pub struct Report {
    path: PathBuf,
    figures: Figures,
    command: String,
}

impl Report {
    /// Goes on with the file's figures: a run of one measure leaves the others standing.
    pub fn open(path: &Path, command: &str) -> anyhow::Result<Self> {
        let figures = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Figures::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), figures, command: command.to_owned() })
    }

    /// What it holds.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Takes figures out before they are measured anew: one that fails must leave no older one standing.
    pub fn forget(&mut self, names: &[&str]) -> anyhow::Result<()> {
        self.figures.retain(|name, _| !names.contains(&name.as_str()));
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.figures)?;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(&self.path, text + "\n")?)
    }

    /// Takes a figure in, says it and writes the file.
    pub fn add(&mut self, name: &str, value: f64, unit: &str, reference: &str) -> anyhow::Result<()> {
        say(&format!("{name:<32} {value:>14.3} {unit:<6} ({reference})"));
        let command = format!("{} NAME={name}", self.command);
        let figure = Figure { value, unit: unit.to_owned(), reference: reference.to_owned(), command };
        self.figures.insert(name.to_owned(), figure);
        self.write()
    }
}

/// A line for people.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The median; of an even number of values the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let table: [(&[f64], f64); 3] = [(&[3.0], 3.0), (&[5.0, 1.0, 3.0], 3.0), (&[4.0, 1.0, 2.0, 3.0], 2.5)];
        for (values, expected) in table {
            assert!((median(values) - expected).abs() < f64::EPSILON, "{values:?}");
        }
    }

    #[test]
    fn a_run_of_one_measure_leaves_the_others_standing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("target/bench.json");
        Report::open(&path, "make bench").unwrap().add("a", 1.0, "count", "0").unwrap();
        Report::open(&path, "make bench").unwrap().add("b", 2.0, "ms", "≤ 10").unwrap();
        let figures: Figures = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(figures.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(figures["b"].command, "make bench NAME=b");
    }
}
