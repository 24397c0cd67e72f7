//! The detector on the development part of the Numenta Anomaly Benchmark: what it reaches is held here.

use super::nab::{PROFILES, Scored, score};
use super::{Params, THRESHOLD, batch};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("MLINZI_SHARED_DATA").map_or(workspace, PathBuf::from).join("nab");
    assert!(
        folder.join("windows.json").is_file(),
        "no {}: set MLINZI_SHARED_DATA to the folder of the development data, or put it at ../shared/data beside the \
         workspace",
        folder.display()
    );
    folder
}

/// Times and scores of a series as `mlinzi model anomaly` writes them.
fn run(input: &str) -> (Vec<String>, Vec<f64>) {
    let mut output = Vec::new();
    batch::run(Params::default(), input.as_bytes(), &mut output).unwrap();
    let mut reader = csv::Reader::from_reader(output.as_slice());
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[2].parse::<f64>().unwrap())).unzip()
}

/// Name, labelled windows and text of each file.
fn series() -> Vec<(String, Vec<[String; 2]>, String)> {
    let windows = std::fs::read_to_string(folder().join("windows.json")).unwrap();
    let windows: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&windows).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    windows.into_iter().map(|(name, windows)| (name.clone(), windows, read(&name))).collect()
}

#[test]
fn the_frozen_threshold_reaches_the_goals_on_the_development_part() {
    let scored: Vec<Scored> = series()
        .into_iter()
        .map(|(_, windows, text)| {
            let (times, scores) = run(&text);
            let find = |time: &str| times.iter().position(|t| time.starts_with(t.as_str())).unwrap();
            Scored { windows: windows.iter().map(|[first, last]| (find(first), find(last))).collect(), scores }
        })
        .collect();
    assert_eq!(scored.len(), 22);
    let reached = PROFILES.map(|profile| (profile.name, score(profile, &scored, THRESHOLD)));
    for ((name, reached), wanted) in reached.iter().zip([75.0, 67.0, 79.0]) {
        assert!(*reached >= wanted, "{name}: {reached:.2}, {wanted} wanted; all: {reached:?}");
    }
}

#[test]
fn the_first_part_of_a_file_scores_as_the_whole_does() {
    for (name, _, text) in series() {
        let rows = text.lines().count() - 1;
        let part: String = text.split_inclusive('\n').take(1 + rows * 6 / 10).collect();
        let (whole, part) = (run(&text).1, run(&part).1);
        assert_eq!(part.len(), rows * 6 / 10);
        assert!(part.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
}
