use super::*;
use crate::tabular::batch_data::table;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

fn unlabelled(text: &str) -> String {
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n").collect()
}

#[test]
fn a_table_in_scores_out() {
    let (training, later) = (table(200, 1), unlabelled(&table(50, 2)));
    let mut out = Vec::new();
    let artefact = train_and_score(Kind::PlayerRisk, training.as_bytes(), later.as_bytes(), &mut out, 1).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (51, "player,score"));
    for (row, line) in lines[1..].iter().enumerate() {
        let (id, score) = line.split_once(',').unwrap();
        assert_eq!(id, format!("p{row}"));
        assert!((0.0..=1.0).contains(&score.parse::<f64>().unwrap()), "{line}");
    }
    let metrics = evaluate(&artefact, table(300, 3).as_bytes()).unwrap();
    assert!(metrics.rows == 300 && metrics.auc > 0.85, "{metrics:?}");
    let one =
        table(300, 3).lines().filter(|line| !line.ends_with(",1")).map(|l| l.to_owned() + "\n").collect::<String>();
    assert!(matches!(evaluate(&artefact, one.as_bytes()), Err(BatchError::OneClass)));
}

#[test]
fn rows_are_known_again_however_they_are_written() {
    let training = table(200, 1);
    let artefact = train(Kind::PlayerRisk, training.as_bytes(), None, 1).unwrap();
    let mut lines: Vec<Vec<String>> =
        training.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    // columns in another order, other ids, numbers with a digit more, rows from the end
    for cells in &mut lines {
        cells.swap(1, 3);
        cells[5] = if cells[5] == "4" { "4.0".to_owned() } else { cells[5].clone() };
    }
    lines[1..].reverse();
    lines[1..].iter_mut().enumerate().for_each(|(n, cells)| cells[0] = format!("q{n}"));
    let rewritten = lines.iter().map(|cells| cells.join(",") + "\n").collect::<String>();
    let later = table(300, 3);
    let half = later.clone() + &training.lines().skip(1).take(3).map(|line| line.to_owned() + "\n").collect::<String>();
    for (what, text, rows, seen) in [
        ("the table itself", &training, 200, 200),
        ("with a line more at its end", &(training.clone() + "\n"), 200, 200),
        ("written otherwise", &rewritten, 200, 200),
        ("another one", &later, 300, 0),
        ("another one with three rows of it", &half, 303, 3),
    ] {
        let judged = judge(&artefact, text.as_bytes()).unwrap();
        assert_eq!(judged.compared, Compared { rows, seen }, "{what}");
        assert_eq!(judged.data_sha256 == artefact.data_sha256, what == "the table itself", "{what}");
    }
}

#[test]
fn an_error_says_which_table() {
    let mut out = Vec::new();
    let mut run = |a: &str, b: &str| {
        train_and_score(Kind::PlayerRisk, a.as_bytes(), b.as_bytes(), &mut out, 1).unwrap_err().to_string()
    };
    let good = table(100, 1);
    assert_eq!(
        run("id,x,y\n1,1,1\n", ""),
        "training table: column y: both labels are needed, there are only rows of Some(\"1\")"
    );
    assert_eq!(run(&good, "player,signal\n1,2\n"), "table to score: the table has no column part");
}

#[test]
fn cost_is_told_by_the_callers_clock() {
    let mut now = Duration::ZERO;
    let clock = || {
        now += Duration::from_micros(7);
        now
    };
    let cost = cost(Kind::PlayerRisk, table(100, 1).as_bytes(), unlabelled(&table(30, 2)).as_bytes(), clock).unwrap();
    let tick = Duration::from_micros(7);
    assert_eq!(cost, Cost { train: tick, rows: 30, score_p50: tick, score_p99: tick, score_max: tick });
}

/// The columns of a file by id: all behind the first.
fn truth(path: &str) -> HashMap<String, Vec<String>> {
    let text = std::fs::read_to_string(shared(path)).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    text.lines().skip(1).map(cells).map(|mut cells| (cells.remove(0), cells)).collect()
}

/// Learns and scores; the scores by id, and what was learnt.
fn scored(kind: Kind, folder: &str) -> (Artefact, Vec<(String, f64)>) {
    let open = |name: &str| std::fs::File::open(shared(&format!("{folder}/{name}"))).unwrap();
    let mut out = Vec::new();
    let artefact = train_and_score(kind, open("train.csv"), open("test.csv"), &mut out, 1).unwrap();
    let text = String::from_utf8(out).unwrap();
    let pair = |line: &str| line.split_once(',').map(|(id, score)| (id.to_owned(), score.parse().unwrap())).unwrap();
    (artefact, text.lines().skip(1).map(pair).collect())
}

/// As score.py: of the 100 cards of the highest scores a day, the share that is defrauded; cards found are left out.
fn card_precision(scores: &[(String, f64)], truth: &HashMap<String, Vec<String>>) -> f64 {
    let mut days: BTreeMap<u32, HashMap<&str, (f64, bool)>> = BTreeMap::new();
    for (id, score) in scores {
        let [fraud, card, day] = truth[id].as_slice() else { panic!("three columns") };
        let cards = days.entry(day.parse().unwrap()).or_default();
        let best = cards.entry(card).or_insert((f64::NEG_INFINITY, false));
        *best = (best.0.max(*score), best.1 || fraud == "1");
    }
    let (mut found, mut sum, n) = (HashSet::new(), 0.0, days.len() as f64);
    for cards in days.into_values() {
        let mut cards: Vec<_> = cards.into_iter().filter(|(card, _)| !found.contains(card)).collect();
        cards.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(b.0)));
        let hits: Vec<&str> = cards.iter().take(100).filter(|(_, (_, fraud))| *fraud).map(|(card, _)| *card).collect();
        sum += hits.len() as f64 / 100.0;
        found.extend(hits);
    }
    sum / n
}

#[test]
fn fraud_of_the_development_week() {
    let (artefact, scores) = scored(Kind::TransactionRisk, "fraud/dev0");
    let truth = truth("fraud/dev0/truth.csv");
    let labels: Vec<bool> = scores.iter().map(|(id, _)| truth[id][0] == "1").collect();
    let values: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
    let metrics = Metrics::of(&values, &labels).unwrap();
    let cards = card_precision(&scores, &truth);
    let inner = artefact.metrics;
    let reached = metrics.auc >= 0.898 && metrics.average_precision >= 0.715 && cards >= 0.30;
    assert!(reached && metrics.calibration_error <= 0.005, "{metrics:?}, cards {cards}, held out {inner:?}");
}

#[test]
fn risk_of_the_development_players() {
    let (artefact, scores) = scored(Kind::PlayerRisk, "risk/dev");
    let truth = truth("risk/dev/truth.csv");
    let labels: Vec<bool> = scores.iter().map(|(id, _)| truth[id][0] == "1").collect();
    let values: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
    let metrics = Metrics::of(&values, &labels).unwrap();
    let inner = artefact.metrics;
    let reached = metrics.auc >= 0.865 && metrics.calibration_error <= 0.05;
    assert!(reached && inner.auc >= 0.83, "{metrics:?}, held out {inner:?}");
}

/// Development data beside the workspace; none of it may be committed.
fn shared(path: &str) -> PathBuf {
    let folder = std::env::var_os("MLINZI_SHARED_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let file = folder.join(path);
    assert!(
        file.exists(),
        "{} is not there: set MLINZI_SHARED_DATA or put ../shared/data beside the workspace",
        file.display()
    );
    file
}
