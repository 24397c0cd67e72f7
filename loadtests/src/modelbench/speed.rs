//! What models cost: points a second, microseconds a record, seconds of training. One core, in this process.

use super::data::table;
use crate::measures::scoring;
use crate::report::{Report, median};
use ml::tabular::artefact::Kind;
use std::time::Instant;

/// Points that the detector of series takes in a second.
///
/// # Errors
/// The report cannot be written.
pub fn anomaly(report: &mut Report) -> anyhow::Result<()> {
    const POINTS: u32 = 3_000_000;
    const ROUNDS: usize = 5;
    let round = |_| {
        let start = Instant::now();
        std::hint::black_box(ml::anomaly::bench::observe_points(POINTS));
        f64::from(POINTS) / start.elapsed().as_secs_f64()
    };
    let rates: Vec<f64> = (0..ROUNDS).map(round).collect();
    let reference = format!("≥ 1,000,000; one core, median of {ROUNDS} runs over {POINTS} points of one series");
    report.add("anomaly_points_per_s", median(&rates), "1/s", &reference)
}

/// A record on the live path: rules, histories, model, drift.
///
/// # Errors
/// The report cannot be written.
pub fn live(report: &mut Report) -> anyhow::Result<()> {
    scoring::live(20_000, 400_000, report)
}

/// Training on the fraud table, and scores of its test table one by one.
///
/// # Errors
/// The tables are not there, or not to be learnt from.
pub fn transaction_risk(report: &mut Report) -> anyhow::Result<()> {
    let start = Instant::now();
    let clock = || start.elapsed();
    let (train, test) = (table("fraud/dev0/train.csv")?, table("fraud/dev0/test.csv")?);
    let cost = ml::tabular::batch::cost(Kind::TransactionRisk, train, test, clock)?;
    let rows = cost.rows;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    let reference = format!("≤ 100; p99 of {rows} rows scored one by one, longest {:.0} µs", micros(cost.score_max));
    report.add("fraud_score_us", micros(cost.score_p99), "µs", &reference)?;
    report.add("fraud_score_us_p50", micros(cost.score_p50), "µs", "half of the same rows")?;
    report.add("fraud_train_s", cost.train.as_secs_f64(), "s", "≤ 10; 58,000 rows, 15 features, from CSV to artefact")
}
