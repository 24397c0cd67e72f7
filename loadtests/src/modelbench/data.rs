//! Models on the development parts of public data, through `mlinzi model`, scored by the scorer beside the data.
//!
//! The data is no part of the repository: `MLINZI_SHARED_DATA` names its folder, which holds `score.py` and what its
//! README says.

use crate::node::binaries;
use crate::report::{Report, say};
use anyhow::{Context, bail, ensure};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The threshold of the product's default, for all series.
const THRESHOLD: &str = "0.5";
/// Bins of equal width that a calibration error is taken over.
const BINS: usize = 10;

fn folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("MLINZI_SHARED_DATA").map(PathBuf::from);
    let folder =
        folder.context("MLINZI_SHARED_DATA is not set: it names the folder of the public data with its score.py")?;
    ensure!(folder.join("score.py").is_file(), "no score.py in {}", folder.display());
    Ok(folder.canonicalize()?)
}

/// A table of the data.
///
/// # Errors
/// It is not there.
pub fn table(path: &str) -> anyhow::Result<BufReader<File>> {
    let path = folder()?.join(path);
    File::open(&path).map(BufReader::new).with_context(|| path.display().to_string())
}

fn mlinzi(args: &[&str], files: &[(&str, &Path)]) -> anyhow::Result<()> {
    let mut command = Command::new(binaries()?.join("mlinzi"));
    command.arg("model").args(args);
    files.iter().for_each(|(name, path)| {
        command.arg(name).arg(path);
    });
    let output = command.output().context("the mlinzi binary beside this one")?;
    ensure!(output.status.success(), "mlinzi model {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the scorer says, by its words: the number behind each.
fn score(args: &[&str], path: &Path, more: &[&str]) -> anyhow::Result<HashMap<String, f64>> {
    let scorer = folder()?.join("score.py");
    let output = Command::new("python3").arg(scorer).args(args).arg(path).args(more).output().context("python3")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "score.py: {text}{}", String::from_utf8_lossy(&output.stderr));
    say(&format!("  {}", text.trim_end().replace('\n', "\n  ")));
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| Some((pair[0].trim_end_matches(':'), pair[1].parse().ok()?)));
    Ok(pairs.map(|(name, value): (&str, f64)| (name.to_owned(), value)).collect())
}

fn get(scores: &HashMap<String, f64>, name: &str) -> anyhow::Result<f64> {
    scores.get(name).copied().with_context(|| format!("the scorer does not say {name}"))
}

fn series(folder: &Path) -> anyhow::Result<Vec<String>> {
    let windows: serde_json::Value = serde_json::from_reader(File::open(folder.join("nab/windows.json"))?)?;
    let names = windows.as_object().context("nab/windows.json: no object")?;
    Ok(names.keys().cloned().collect())
}

/// The Numenta Anomaly Benchmark, with one threshold for all.
///
/// # Errors
/// Data, binary or scorer are not there.
pub fn nab(report: &mut Report) -> anyhow::Result<()> {
    let scores = nab_scores(&["anomaly"])?;
    let rows = [
        ("nab_dev_standard", "standard", "≥ 72"),
        ("nab_dev_low_fp", "low_false_positive", "≥ 64"),
        ("nab_dev_low_fn", "low_false_negative", "≥ 77"),
    ];
    for (name, word, to_reach) in rows {
        let reference = format!("{to_reach}; 22 series, one threshold, {THRESHOLD}, the default");
        report.add(name, get(&scores, word)?, "points", &reference)?;
    }
    Ok(())
}

/// What the scorer says of all series.
fn nab_scores(args: &[&str]) -> anyhow::Result<HashMap<String, f64>> {
    let (folder, dir) = (folder()?, tempfile::tempdir()?);
    for name in series(&folder)? {
        let to = dir.path().join(&name);
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        mlinzi(args, &[("--input", &folder.join("nab").join(&name)), ("--output", &to)])?;
    }
    score(&["nab"], dir.path(), &["--threshold", THRESHOLD])
}

/// The first three fifths of each series give the same scores as the whole: a score never looks ahead.
///
/// # Errors
/// Data or binary are not there.
pub fn nab_prefix(report: &mut Report) -> anyhow::Result<()> {
    let (folder, dir) = (folder()?, tempfile::tempdir()?);
    let (mut rows, mut differ) = (0, 0);
    for name in series(&folder)? {
        let whole = std::fs::read_to_string(folder.join("nab").join(&name))?;
        let lines: Vec<&str> = whole.lines().collect();
        let kept = 1 + (lines.len() - 1) * 3 / 5;
        let part = dir.path().join("part.csv");
        std::fs::write(&part, lines[..kept].join("\n") + "\n")?;
        let (of_part, of_whole) = (dir.path().join("of_part.csv"), dir.path().join("of_whole.csv"));
        mlinzi(&["anomaly"], &[("--input", &part), ("--output", &of_part)])?;
        mlinzi(&["anomaly"], &[("--input", &folder.join("nab").join(&name)), ("--output", &of_whole)])?;
        let (of_part, of_whole) = (std::fs::read_to_string(of_part)?, std::fs::read_to_string(of_whole)?);
        rows += kept - 1;
        differ += of_part.lines().zip(of_whole.lines()).filter(|(part, whole)| part != whole).count();
        ensure!(of_part.lines().count() == kept, "{name}: not a score for each row");
    }
    let reference = format!("0; scores of the first 60 % of 22 series that differ, of {rows}");
    report.add("nab_prefix", differ as f64, "rows", &reference)
}

/// Transaction risk.
///
/// # Errors
/// Data, binary or scorer are not there.
pub fn fraud(report: &mut Report) -> anyhow::Result<()> {
    let (folder, dir) = (folder()?.join("fraud/dev0"), tempfile::tempdir()?);
    let out = dir.path().join("out.csv");
    let files = [("--train", &*folder.join("train.csv")), ("--test", &*folder.join("test.csv")), ("--output", &*out)];
    mlinzi(&["fraud"], &files)?;
    let scores = score(&["fraud"], &out, &[])?;
    report.add("fraud_dev0_auc", get(&scores, "auc")?, "ratio", "≥ .900")?;
    report.add("fraud_dev0_ap", get(&scores, "average_precision")?, "ratio", "≥ .710")?;
    report.add("fraud_dev0_card_precision", get(&scores, "card_precision_at_100")?, "ratio", "≥ .300")
}

/// Player risk.
///
/// # Errors
/// Data, binary or scorer are not there.
pub fn risk(report: &mut Report) -> anyhow::Result<()> {
    let (folder, dir) = (folder()?.join("risk/dev"), tempfile::tempdir()?);
    let out = dir.path().join("out.csv");
    let files = [("--train", &*folder.join("train.csv")), ("--test", &*folder.join("test.csv")), ("--output", &*out)];
    mlinzi(&["risk"], &files)?;
    let scores = score(&["risk"], &out, &[])?;
    report.add("risk_dev_auc", get(&scores, "auc")?, "ratio", "≥ .865")?;
    let labels = column(&folder.join("truth.csv"), &["id"], "label")?;
    let said = column(&out, &["id"], "score")?;
    let pairs: Vec<(f64, f64)> = said.iter().filter_map(|(id, score)| Some((*score, *labels.get(id)?))).collect();
    ensure!(pairs.len() == labels.len(), "{} players have no score", labels.len() - pairs.len());
    let reference =
        format!("≤ .05; expected calibration error over {BINS} bins of equal width, {} players", pairs.len());
    report.add("risk_dev_calibration_error", calibration_error(&pairs), "ratio", &reference)
}

/// Score and label: the mean distance of both in bins of equal width, by their rows.
fn calibration_error(pairs: &[(f64, f64)]) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    for (score, label) in pairs {
        let bin = &mut bins[((score * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + score, bin.1 + label);
    }
    bins.iter().map(|(scores, labels)| (scores - labels).abs()).sum::<f64>() / pairs.len().max(1) as f64
}

/// A column of numbers by the columns that name a row.
fn column(path: &Path, ids: &[&str], name: &str) -> anyhow::Result<HashMap<String, f64>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|h| h == name).with_context(|| format!("no column {name}"));
    let (ids, value) = (ids.iter().map(|id| place(id)).collect::<anyhow::Result<Vec<_>>>()?, place(name)?);
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row?;
        let key = ids.iter().map(|id| &row[*id]).collect::<Vec<_>>().join("\0");
        Ok((key, row[value].parse().with_context(|| format!("{}: {}", path.display(), &row[value]))?))
    };
    reader.records().map(row).collect()
}

/// Forecasts with their intervals.
///
/// # Errors
/// Data, binary or scorer are not there.
pub fn forecasts(report: &mut Report) -> anyhow::Result<()> {
    const SETS: [(&str, &str, &str); 4] =
        [("m3", "18", "12"), ("m1", "18", "12"), ("tourism", "24", "12"), ("ny", "13", "52")];
    let dir = tempfile::tempdir()?;
    for (name, horizon, period) in SETS {
        let folder = folder()?.join("forecast").join(name);
        let out = dir.path().join("out.csv");
        let files = [("--train", &*folder.join("train.csv")), ("--output", &*out)];
        mlinzi(&["forecast", "--horizon", horizon, "--period", period], &files)?;
        let scores = score(&["forecast", name], &out, &[])?;
        let how = format!("{horizon} steps, period {period}");
        if name == "m3" {
            report.add("forecast_m3_smape", get(&scores, "smape")?, "%", &format!("≤ 13.6; {how}"))?;
        }
        let to_reach = match name {
            "m3" => "≤ .84; ",
            "tourism" => "≤ 1.45; ",
            "ny" => "≤ .80; ",
            _ => "",
        };
        report.add(&format!("forecast_{name}_mase"), get(&scores, "mase")?, "ratio", &format!("{to_reach}{how}"))?;
        let (share, steps) = coverage(&folder.join("truth.csv"), &out)?;
        let reference = format!("0.76 to 0.84; 80 % intervals, {steps} steps");
        report.add(&format!("forecast_{name}_coverage"), share, "ratio", &reference)?;
    }
    Ok(())
}

/// The share of what came that lies within the interval said of it.
fn coverage(truth: &Path, said: &Path) -> anyhow::Result<(f64, usize)> {
    let ids = ["series_id", "step"];
    let (truth, low, high) = (column(truth, &ids, "y")?, column(said, &ids, "low_80")?, column(said, &ids, "high_80")?);
    let mut within = 0;
    for (step, y) in &truth {
        let (Some(low), Some(high)) = (low.get(step), high.get(step)) else { bail!("a step without an interval") };
        within += usize::from((*low..=*high).contains(y));
    }
    Ok((within as f64 / truth.len().max(1) as f64, truth.len()))
}

#[cfg(test)]
mod tests {
    use super::calibration_error;

    #[test]
    fn calibration_is_the_distance_of_score_and_label() {
        // told | score and label | error
        type Row<'a> = (&'a str, &'a [(f64, f64)], f64);
        let table: [Row<'_>; 4] = [
            ("nobody", &[], 0.0),
            ("right every time", &[(1.0, 1.0), (0.0, 0.0)], 0.0),
            ("half of those at one half", &[(0.5, 1.0), (0.5, 0.0)], 0.0),
            ("all of those at a fifth", &[(0.2, 1.0), (0.2, 1.0), (0.9, 1.0), (0.9, 1.0)], 0.45),
        ];
        for (what, pairs, wanted) in table {
            assert!((calibration_error(pairs) - wanted).abs() < 1e-9, "{what}");
        }
    }
}
