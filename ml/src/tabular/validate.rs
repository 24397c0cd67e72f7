//! Whether a model would hold elsewhere and later, and whether its figures can be believed.
//!
//! The pipeline learns again: without the rows of an operator, which then judge it; without the newest month; and from
//! columns that say nothing of the label (the canary), where an area under the ROC curve off a half says that rows of one
//! person are on both sides of a fold, so that the figures of the model itself flatter it. Whoever has rows among those that
//! judge is not learnt from. The cost is bounded: once drawn folds, one booster, [`ROWS_MAX`] rows, [`OPERATORS_MAX`]
//! operators.
//!
//! For the newest month that must not mean that everybody who is still there is left out of the months before: what is
//! learnt would be of those who stopped, and judged by those who went on. So where rows have groups, persons are drawn into
//! [`PERSON_FOLDS`] parts: the newest month of each part is judged by what the earlier months of the other parts teach. On
//! neither side does it matter who went on. Where rows in order of time have groups, folds are of persons and not of time
//! (`folds`): this figure is then the only one that speaks of later rows. Operators are left out without such parts: whoever
//! plays at one is not learnt from at any other, so what is asked about it has learnt from fewer of those who play at several.

use super::chance::Chance;
use super::dataset::Labelled;
use super::metrics::{Metrics, ranking};
use super::model::{Model, Order, Params};
use super::sides;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Rows that are learnt from once, and rows that judge once.
pub const ROWS_MAX: usize = 20_000;
/// Parts that persons are drawn into for the newest month.
pub const PERSON_FOLDS: usize = 3;
/// Operators that are left out, those with most positives.
pub const OPERATORS_MAX: usize = 10;
/// Standard errors that the canary may be off a half: by chance once in 16,000 models.
pub const CANARY_ERRORS: f64 = 4.0;
/// Columns of the canary that are the same in all rows of an id, and as many in all rows of a group.
const CANARY_COLUMNS: usize = 4;

/// A figure, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<T> {
    /// It was measured.
    Found(T),
    /// It was not, and why.
    Not(String),
}

/// How rows were held out for the model's own metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOutBy {
    /// All rows of a group together; so many groups.
    Group(usize),
    /// Blocks of time.
    Time,
    /// Rows, drawn: whoever has several rows is on both sides.
    Row,
}

/// How good a model is on rows of elsewhere or later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Code of the operator, or the month.
    pub what: String,
    /// Rows that judged.
    pub rows: usize,
    /// Of these, positives.
    pub positives: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Area under the precision-recall curve, as average precision.
    pub average_precision: f64,
    /// Why parts of the persons are not in it, one a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts_not: Vec<String>,
}

/// What is learnt from columns that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Area under the ROC curve, on rows held out as the model's were.
    pub auc: f64,
    /// Persons (ids where there is no group) with a positive row.
    pub positives: usize,
    /// Persons with a negative row.
    pub negatives: usize,
    /// Least that is chance.
    pub low: f64,
    /// Most that is chance.
    pub high: f64,
}

impl Canary {
    /// The interval of chance is [`CANARY_ERRORS`] standard errors of the Mann–Whitney statistic (1947)
    /// about a half, counted in persons: rows of one person are no evidence of their own.
    fn new(auc: f64, positives: usize, negatives: usize) -> Self {
        let (p, n) = (positives.max(1) as f64, negatives.max(1) as f64);
        let reach = CANARY_ERRORS * ((p + n + 1.0) / (12.0 * p * n)).sqrt();
        Self { auc, positives, negatives, low: (0.5 - reach).max(0.0), high: (0.5 + reach).min(1.0) }
    }

    /// Does it say no more than chance does?
    pub fn is_quiet(&self) -> bool {
        (self.low..=self.high).contains(&self.auc)
    }
}

/// What learning again has shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// How rows were held out.
    pub held_out_by: HeldOutBy,
    /// Each operator left out, most positives first.
    pub operators: Outcome<Vec<LeftOut>>,
    /// Operators that were not: too few rows of a label here or elsewhere, or beyond [`OPERATORS_MAX`].
    pub operators_not: usize,
    /// The newest month, judged by what was learnt from those before; with groups, from other persons (the module says
    /// how): areas are then means over the parts, weighted by the pairs of a positive and a negative row, or by positives.
    pub later_month: Outcome<LeftOut>,
    /// The canary.
    pub canary: Outcome<Canary>,
}

impl Validation {
    /// Learns again from the rows of a model.
    pub fn of(data: &Labelled, params: &Params) -> Self {
        let params = cheap(params);
        let (operators, operators_not) = operators(data, &params);
        let held_out_by = match (&data.sides.groups, params.order) {
            (Some(groups), _) => HeldOutBy::Group(groups.iter().collect::<BTreeSet<_>>().len()),
            (None, Order::InTime) => HeldOutBy::Time,
            (None, Order::Shuffled(_)) => HeldOutBy::Row,
        };
        let (later_month, canary) = (later_month(data, &params), canary(data, &params));
        Self { held_out_by, operators, operators_not, later_month, canary }
    }

    /// What whoever promotes should know first; None where nothing is off.
    pub fn warning(&self) -> Option<String> {
        let Outcome::Found(canary) = &self.canary else { return None };
        let Canary { auc, low, high, .. } = canary;
        (!canary.is_quiet()).then(|| {
            format!(
                "the noise canary says {auc:.3}, chance lies in {low:.3} to {high:.3}: \
                 the figures of rows held out are not to be believed"
            )
        })
    }

    /// Means of AUC and average precision over the operators left out.
    pub fn operators_mean(&self) -> Option<(f64, f64)> {
        let Outcome::Found(all) = &self.operators else { return None };
        let n = all.len() as f64;
        let sum = |of: fn(&LeftOut) -> f64| all.iter().map(of).sum::<f64>() / n;
        (!all.is_empty()).then(|| (sum(|one| one.auc), sum(|one| one.average_precision)))
    }

    /// A section of the model card: it tells no operator from another, for every jurisdiction reads it.
    pub(super) fn write(&self, order: Order, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Validation\n")?;
        if let Some(warning) = self.warning() {
            writeln!(out, "**Warning: {warning}.**\n")?;
        }
        self.write_held_out(order, out)?;
        match &self.canary {
            Outcome::Found(Canary { auc, positives, negatives, low, high }) => writeln!(
                out,
                "- Noise canary: AUC {auc:.4}, chance lies in {low:.4} to {high:.4} ({positives} persons with a positive \
                 row, {negatives} with a negative one)."
            )?,
            Outcome::Not(why) => writeln!(out, "- Noise canary: not measured, {why}.")?,
        }
        match (&self.later_month, self.held_out_by) {
            (Outcome::Not(why), _) => writeln!(out, "- Later month: not measured, {why}.")?,
            (Outcome::Found(month), HeldOutBy::Group(_)) => {
                writeln!(
                    out,
                    "- Later month: of each of {PERSON_FOLDS} parts of the persons, drawn by lot, judged by what the \
                     months before it taught of the other parts."
                )?;
                if let [first, ..] = month.parts_not.as_slice() {
                    let not = month.parts_not.len();
                    writeln!(out, "- {not} of these parts were not judged, and are not in the figures: {first}.")?;
                }
            }
            (Outcome::Found(_), _) => writeln!(
                out,
                "- Later month: judged by what the months before it taught; a person may have rows in both."
            )?,
        }
        match (&self.operators, self.held_out_by) {
            (Outcome::Not(why), _) => writeln!(out, "- Operators left out: not measured, {why}.")?,
            (Outcome::Found(_), HeldOutBy::Group(_)) => writeln!(
                out,
                "- Operators left out: nobody who plays at one was learnt from elsewhere, so fewer of those who play at several."
            )?,
            (Outcome::Found(_), _) => {}
        }
        if self.operators_not > 0 {
            writeln!(
                out,
                "- {} operators were not left out: too few rows, or too many operators.",
                self.operators_not
            )?;
        }
        self.write_left_out(out)
    }

    fn write_held_out(&self, order: Order, out: &mut String) -> std::fmt::Result {
        match (self.held_out_by, order) {
            (HeldOutBy::Group(groups), Order::Shuffled(_)) => {
                writeln!(out, "- Rows were held out by person: {groups} groups.")
            }
            (HeldOutBy::Group(groups), Order::InTime) => writeln!(
                out,
                "- Rows were held out by person: {groups} groups. They are in order of time, and were not held out by it: \
                 rows before and behind those that judge were learnt from. Of later rows the later month alone speaks."
            ),
            (HeldOutBy::Time, _) => {
                writeln!(out, "- Rows were held out in blocks of time; no column says whose they are.")
            }
            (HeldOutBy::Row, _) => writeln!(out, "- Rows were held out one by one; no column says whose they are."),
        }
    }

    fn write_left_out(&self, out: &mut String) -> std::fmt::Result {
        let operators = match &self.operators {
            Outcome::Found(all) => all.as_slice(),
            Outcome::Not(_) => &[],
        };
        let month = match &self.later_month {
            Outcome::Found(month) => Some(month),
            Outcome::Not(_) => None,
        };
        if operators.is_empty() && month.is_none() {
            return Ok(());
        }
        writeln!(out, "\n| left out | rows | positive | AUC | average precision |\n|---|---|---|---|---|")?;
        // whoever reads the card may be a supervisor of others than these: no code, no count of cases
        for (n, LeftOut { auc, average_precision, .. }) in operators.iter().enumerate() {
            writeln!(out, "| operator {} | | | {auc:.4} | {average_precision:.4} |", n + 1)?;
        }
        if let Some(LeftOut { what, rows, positives, auc, average_precision, .. }) = month {
            writeln!(out, "| {what} | {rows} | {positives} | {auc:.4} | {average_precision:.4} |")?;
        }
        if let Some((auc, average_precision)) = self.operators_mean() {
            writeln!(out, "| mean of operators | | | {auc:.4} | {average_precision:.4} |")?;
        }
        Ok(())
    }
}

/// The same pipeline at less cost.
fn cheap(params: &Params) -> Params {
    let order = match params.order {
        Order::InTime => Order::InTime,
        Order::Shuffled(_) => Order::Shuffled(1),
    };
    Params { order, bags: 1, ..params.clone() }
}

/// At most [`ROWS_MAX`] of them to learn from, of the smaller class as many as can be.
fn to_learn(rows: &[usize], labels: &[bool], seed: u64) -> Vec<usize> {
    let (ones, others): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| labels[**row]);
    let half = ROWS_MAX / 2;
    let most = [ROWS_MAX - others.len().min(half), ROWS_MAX - ones.len().min(half)];
    let mut chance = Chance::new(seed, 200);
    let mut kept = Vec::new();
    for (class, most) in [ones, others].into_iter().zip(most) {
        kept.extend(chance.sample(class.len(), most).into_iter().map(|at| class[at]));
    }
    kept.sort_unstable();
    kept
}

/// Learns from the rows that are not left out, nor of anybody who is, and judges by those that are.
fn left_out(data: &Labelled, params: &Params, what: &str, is_out: &[bool]) -> Result<LeftOut, String> {
    let all = || 0..data.labels.len();
    let outer: Vec<usize> = all().filter(|row| is_out[*row]).collect();
    let groups = data.sides.groups.as_deref();
    let who: BTreeSet<usize> = outer.iter().filter_map(|row| Some(groups?[*row])).collect();
    let is_known = |row: &usize| groups.is_some_and(|groups| who.contains(&groups[*row]));
    let inner: Vec<usize> = all().filter(|row| !is_out[*row] && !is_known(row)).collect();
    judged(data, params, what, &inner, &outer)
}

/// Learns from the inner rows and judges by the outer ones.
fn judged(data: &Labelled, params: &Params, what: &str, inner: &[usize], outer: &[usize]) -> Result<LeftOut, String> {
    // every row of it as likely: the average precision is of its own share of positives
    let judges = Chance::new(params.seed, 201).sample(outer.len(), ROWS_MAX);
    let judges = data.select(&judges.into_iter().map(|at| outer[at]).collect::<Vec<_>>());
    if judges.labels.iter().all(|y| *y) || !judges.labels.contains(&true) {
        return Err(format!("{what} has rows of one label alone"));
    }
    let learnt = Model::fit(&data.select(&to_learn(inner, &data.labels, params.seed)), params);
    let model = learnt.map_err(|error| error.to_string())?.model;
    let scores = model.scores(judges.table.values.view());
    let (auc, average_precision) = ranking(&scores, &judges.labels).unwrap_or_default();
    let positives = judges.labels.iter().filter(|y| **y).count();
    let (what, rows) = (what.to_owned(), judges.labels.len());
    Ok(LeftOut { what, rows, positives, auc, average_precision, parts_not: Vec::new() })
}

fn operators(data: &Labelled, params: &Params) -> (Outcome<Vec<LeftOut>>, usize) {
    let Some(of) = &data.sides.operators else {
        return (Outcome::Not(format!("the table has no column {}", sides::OPERATOR)), 0);
    };
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (code, label) in of.iter().zip(&data.labels).filter(|(code, _)| !code.is_empty()) {
        let (positives, negatives) = counts.entry(code).or_default();
        *(if *label { positives } else { negatives }) += 1;
    }
    let known = counts.len();
    let mut asked: Vec<(&str, (usize, usize))> =
        counts.into_iter().filter(|(_, (positives, negatives))| *positives > 0 && *negatives > 0).collect();
    if asked.len() < 2 {
        return (Outcome::Not("there are no two operators with rows of both labels".to_owned()), known);
    }
    asked.sort_by_key(|(_, (positives, _))| Reverse(*positives));
    asked.truncate(OPERATORS_MAX);
    let mut found = Vec::new();
    let mut why = String::new();
    for (code, _) in asked {
        let is_out: Vec<bool> = of.iter().map(|operator| operator == code).collect();
        match left_out(data, params, code, &is_out) {
            Ok(one) => found.push(one),
            Err(error) => why = error,
        }
    }
    let not = known - found.len();
    if found.is_empty() { (Outcome::Not(why), not) } else { (Outcome::Found(found), not) }
}

fn later_month(data: &Labelled, params: &Params) -> Outcome<LeftOut> {
    let Some(months) = &data.sides.months else {
        return Outcome::Not(format!("the table has no column {}", sides::DAY));
    };
    let known: BTreeSet<&str> = months.iter().map(String::as_str).filter(|month| !month.is_empty()).collect();
    let Some(newest) = known.last().filter(|_| known.len() > 1) else {
        return Outcome::Not("the rows are of one month".to_owned());
    };
    let all = || 0..data.labels.len();
    // a row that says no day may be of the newest month, too: it neither judges nor is learnt from
    let earlier: Vec<usize> = all().filter(|row| !months[*row].is_empty() && months[*row] != **newest).collect();
    let newer: Vec<usize> = all().filter(|row| months[*row] == **newest).collect();
    let found = match &data.sides.groups {
        Some(groups) => later_of_others(data, params, newest, &parts(groups, params.seed), (&earlier, &newer)),
        None => judged(data, params, newest, &earlier, &newer),
    };
    found.map_or_else(Outcome::Not, Outcome::Found)
}

/// The part of each row: all of a group are in the same one, and nothing of them but chance says in which.
fn parts(groups: &[usize], seed: u64) -> Vec<usize> {
    let mut known: Vec<usize> = groups.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    Chance::new(seed, 203).shuffle(&mut known);
    let of: HashMap<usize, usize> =
        known.into_iter().enumerate().map(|(at, group)| (group, at % PERSON_FOLDS)).collect();
    groups.iter().map(|group| of[group]).collect()
}

/// The newer rows of each part, judged by what the earlier ones of the other parts teach.
fn later_of_others(
    data: &Labelled,
    params: &Params,
    what: &str,
    parts: &[usize],
    (earlier, newer): (&[usize], &[usize]),
) -> Result<LeftOut, String> {
    let (mut found, mut parts_not) = (Vec::new(), Vec::new());
    for part in 0..PERSON_FOLDS {
        let others: Vec<usize> = earlier.iter().copied().filter(|row| parts[*row] != part).collect();
        let own: Vec<usize> = newer.iter().copied().filter(|row| parts[*row] == part).collect();
        match judged(data, params, what, &others, &own) {
            Ok(one) => found.push(one),
            Err(error) => parts_not.push(error),
        }
    }
    if found.is_empty() {
        return Err(parts_not.pop().unwrap_or_default());
    }
    Ok(LeftOut { parts_not, ..together(what, &found) })
}

/// One figure of several, each of rows of both labels: a pair of rows counts where both were judged by the same model.
fn together(what: &str, found: &[LeftOut]) -> LeftOut {
    let [mut pairs, mut auc, mut average_precision] = [0.0; 3];
    let (mut rows, mut positives) = (0, 0);
    for one in found {
        let here = (one.positives * (one.rows - one.positives)) as f64;
        pairs += here;
        auc += here * one.auc;
        average_precision += one.positives as f64 * one.average_precision;
        rows += one.rows;
        positives += one.positives;
    }
    let (auc, average_precision) = (auc / pairs, average_precision / positives as f64);
    LeftOut { what: what.to_owned(), rows, positives, auc, average_precision, parts_not: Vec::new() }
}

fn canary(data: &Labelled, params: &Params) -> Outcome<Canary> {
    let rows: Vec<usize> = (0..data.labels.len()).collect();
    let mut noise = data.select(&to_learn(&rows, &data.labels, params.seed));
    noise.table.values = says_nothing(&noise, params.seed);
    let fitted = match Model::fit(&noise, params) {
        Ok(fitted) => fitted,
        Err(error) => return Outcome::Not(error.to_string()),
    };
    let Metrics { auc, .. } = fitted.metrics;
    let [positives, negatives] = [true, false].map(|label| persons(&noise, label));
    Outcome::Found(Canary::new(auc, positives, negatives))
}

/// Draws that are the same in all rows of an id or of a group, and know nothing of label and features.
fn says_nothing(data: &Labelled, seed: u64) -> Array2<f64> {
    let mut chance = Chance::new(seed, 202);
    let mut draw = || [(); CANARY_COLUMNS].map(|()| chance.below(1 << 30) as f64 / f64::from(1 << 30));
    let mut of_ids: HashMap<&str, [f64; CANARY_COLUMNS]> = HashMap::new();
    let mut of_groups: HashMap<usize, [f64; CANARY_COLUMNS]> = HashMap::new();
    let mut out = Array2::zeros((data.labels.len(), 2 * CANARY_COLUMNS));
    for (row, id) in data.table.ids.iter().enumerate() {
        let of_id = *of_ids.entry(id).or_insert_with(&mut draw);
        let of_group = match &data.sides.groups {
            Some(groups) => *of_groups.entry(groups[row]).or_insert_with(&mut draw),
            None => draw(),
        };
        for (column, value) in of_id.into_iter().chain(of_group).enumerate() {
            out[[row, column]] = value;
        }
    }
    out
}

/// Groups, or ids where there are none, with a row of a label.
fn persons(data: &Labelled, label: bool) -> usize {
    let rows = (0..data.labels.len()).filter(|row| data.labels[*row] == label);
    match &data.sides.groups {
        Some(groups) => rows.map(|row| groups[row]).collect::<BTreeSet<_>>().len(),
        None => rows.map(|row| data.table.ids[row].as_str()).collect::<BTreeSet<_>>().len(),
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
