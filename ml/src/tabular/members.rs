//! The members of a model and the committee that they are: each answers with log-odds.

use super::axes::{Axes, Scale};
use super::bins::Binned;
use super::booster::{Booster, HoldOut};
use super::chance::Chance;
use super::design::Design;
use super::forest::Forest;
use super::linear::Linear;
use super::model::{Params, TrainError};
use super::stack::held;
use super::steps;
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// Which learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// Boosters of several seeds, averaged.
    Booster,
    /// Logistic regression on standardised values.
    Logistic,
    /// Logistic regression on standardised ranks.
    LogisticOfRanks,
    /// Follow the regularised leader on standardised values and on steps of the ranks.
    Ftrl,
    /// Balanced forest on standardised ranks.
    Forest,
}

impl MemberKind {
    /// As it is written in cards.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booster => "booster",
            Self::Logistic => "logistic",
            Self::LogisticOfRanks => "logistic_of_ranks",
            Self::Ftrl => "ftrl",
            Self::Forest => "forest",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Member {
    Boosters(Vec<Booster>),
    OfValues(Linear),
    OfRanks(Linear),
    OfSteps(Linear),
    Forest(Forest),
}

/// A row as each member wants it.
struct Views {
    features: Vec<f64>,
    values: Vec<f64>,
    ranks: Vec<f64>,
}

/// Members over one design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Committee {
    design: Design,
    values: Axes,
    ranks: Axes,
    members: Vec<Member>,
}

impl Committee {
    /// Fits design and members. `values`: rows × features. With a hold-out also its mean log loss after 0, 1, 2, …
    /// trees of the boosters.
    pub(super) fn fit(
        values: ArrayView2<'_, f64>,
        labels: &[bool],
        params: &Params,
        hold_out: Option<HoldOut<'_>>,
    ) -> Result<(Self, Vec<f64>), TrainError> {
        let design = Design::learn(values, labels, params.design, params.seed);
        let features = design.table(values);
        let watched = hold_out.map(|h| (design.table(h.values), h.labels));
        let [values, ranks] = [Scale::Values, Scale::Ranks].map(|scale| Axes::fit(features.view(), scale));
        // the linear members' weights are as good from fewer rows of the greater class, and sooner there
        let rows = balanced_rows(labels, params.linear_rows, params.seed, 9);
        let drawn = features.select(Axis(0), &rows);
        let drawn_labels: Vec<bool> = rows.iter().map(|row| labels[*row]).collect();
        let logistic = |axes: &Axes| Linear::logistic(axes.table(drawn.view()).view(), &drawn_labels, params.linear_l2);
        let (mut members, mut losses) = (Vec::new(), Vec::new());
        for kind in &params.members {
            let fitted = match kind {
                MemberKind::Booster => {
                    let (bag, curve) = boosters(features.view(), labels, params, watched.as_ref());
                    losses = curve;
                    Ok(Member::Boosters(bag))
                }
                MemberKind::Logistic => logistic(&values).map(Member::OfValues),
                MemberKind::LogisticOfRanks => logistic(&ranks).map(Member::OfRanks),
                MemberKind::Ftrl => {
                    let columns = steps::table(values.table(drawn.view()).view(), ranks.table(drawn.view()).view());
                    Linear::ftrl(columns.view(), &drawn_labels, params.seed).map(Member::OfSteps)
                }
                MemberKind::Forest => {
                    let columns = ranks.table(features.view());
                    Forest::fit(columns.view(), labels, &params.forest, params.seed).map(Member::Forest)
                }
            };
            members.push(fitted.map_err(|reason| TrainError::Member { name: kind.as_str(), reason })?);
        }
        Ok((Self { design, values, ranks, members }, losses))
    }

    /// The same with the boosters' first trees alone.
    pub(super) fn truncated(mut self, rounds: usize) -> Self {
        for member in &mut self.members {
            if let Member::Boosters(bag) = member {
                *bag = std::mem::take(bag).into_iter().map(|booster| booster.truncated(rounds)).collect();
            }
        }
        self
    }

    /// Log-odds of each member for a row of features.
    pub(super) fn predict(&self, row: &[f64]) -> Vec<f64> {
        let views = self.views(row);
        self.members.iter().map(|member| member.predict(&views)).collect()
    }

    /// Parts of Σ weight × log-odds by feature of the design, and what belongs to none.
    pub(super) fn explain(&self, row: &[f64], weights: &[f64]) -> (Vec<f64>, f64) {
        let views = self.views(row);
        let mut parts = vec![0.0; self.design.width()];
        let mut rest = 0.0;
        for (member, weight) in self.members.iter().zip(weights) {
            // whoever is surer than counts has its parts cut alike
            let said = member.predict(&views);
            let weight = if said == 0.0 { *weight } else { weight * held(said) / said };
            match member {
                Member::Boosters(bag) => {
                    let each = weight / bag.len() as f64;
                    rest += bag.iter().map(|b| b.explain(&views.features, each, &mut parts)).sum::<f64>();
                }
                Member::OfValues(linear) => {
                    let part = |column, value: f64| parts[self.values.feature(column)] += weight * value;
                    rest += weight * linear.explain(&views.values, part);
                }
                Member::OfRanks(linear) => {
                    let part = |column, value: f64| parts[self.ranks.feature(column)] += weight * value;
                    rest += weight * linear.explain(&views.ranks, part);
                }
                Member::OfSteps(linear) => {
                    let feature = |column| match steps::source(self.values.width(), column) {
                        steps::Source::Value(column) => self.values.feature(column),
                        steps::Source::Rank(column) => self.ranks.feature(column),
                    };
                    // steps stand high or low in every row: what they say of the middle is no feature's
                    let middle = steps::row(&vec![0.0; self.values.width()], &vec![0.0; self.ranks.width()]);
                    linear.explain(&middle, |column, value| parts[feature(column)] -= weight * value);
                    let here = steps::row(&views.values, &views.ranks);
                    linear.explain(&here, |column, value| parts[feature(column)] += weight * value);
                    rest += weight * linear.predict(&middle);
                }
                Member::Forest(forest) => {
                    let part = |column, value: f64| parts[self.ranks.feature(column)] += weight * value;
                    rest += weight * forest.explain(&views.ranks, part);
                }
            }
        }
        (parts, rest)
    }

    fn views(&self, row: &[f64]) -> Views {
        let features = self.design.row(row);
        let (values, ranks) = (self.values.row(&features), self.ranks.row(&features));
        Views { features, values, ranks }
    }

    /// Share of each feature of the design in the boosters' gain.
    pub(super) fn gains(&self) -> Vec<f64> {
        let mut gains = vec![0.0; self.design.width()];
        for member in &self.members {
            let Member::Boosters(bag) = member else { continue };
            for booster in bag {
                gains.iter_mut().zip(booster.importance(self.design.width())).for_each(|(sum, gain)| *sum += gain);
            }
        }
        let all = gains.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        gains.iter().map(|gain| gain / all).collect()
    }

    pub(super) fn design(&self) -> &Design {
        &self.design
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_sound(&self, features: usize) -> bool {
        let width = self.design.width();
        self.design.is_sound(features)
            && self.values.is_sound(width)
            && self.ranks.is_sound(width)
            && self.members.iter().all(|member| match member {
                Member::Boosters(bag) => !bag.is_empty() && bag.iter().all(|booster| booster.is_sound(width)),
                Member::OfValues(linear) => linear.is_sound(self.values.width()),
                Member::OfRanks(linear) => linear.is_sound(self.ranks.width()),
                Member::OfSteps(linear) => linear.is_sound(steps::width(self.values.width(), self.ranks.width())),
                Member::Forest(forest) => forest.is_sound(self.ranks.width()),
            })
    }
}

/// Boosters of different seeds and their mean hold-out loss by round.
fn boosters(
    features: ArrayView2<'_, f64>,
    labels: &[bool],
    params: &Params,
    watched: Option<&(Array2<f64>, &[bool])>,
) -> (Vec<Booster>, Vec<f64>) {
    let binned = Binned::new(features, labels, params.booster.bins_max);
    let (mut bag, mut losses) = (Vec::new(), Vec::new());
    for i in 0..params.bags {
        let hold_out = watched.map(|(values, labels)| HoldOut { values: values.view(), labels });
        let seed = params.seed.wrapping_add(i as u64);
        let (booster, curve) = Booster::fit(&binned, labels, &params.booster, seed, hold_out);
        losses.resize(curve.len(), 0.0);
        losses.iter_mut().zip(&curve).for_each(|(sum, loss)| *sum += loss / params.bags as f64);
        bag.push(booster);
    }
    (bag, losses)
}

/// All rows of the smaller class and at most `greater` times as many of the other, in their order.
pub(super) fn balanced_rows(labels: &[bool], greater: usize, seed: u64, stream: u64) -> Vec<usize> {
    let positives = labels.iter().filter(|y| **y).count();
    let smaller = positives < labels.len() - positives;
    let of = |class: bool| (0..labels.len()).filter(move |row| labels[*row] == class).collect::<Vec<_>>();
    let (small, great) = (of(smaller), of(!smaller));
    let chosen = Chance::new(seed, stream).sample(great.len(), small.len().saturating_mul(greater));
    let mut rows: Vec<usize> = chosen.into_iter().map(|i| great[i]).chain(small).collect();
    rows.sort_unstable();
    rows
}

impl Member {
    fn predict(&self, views: &Views) -> f64 {
        match self {
            Self::Boosters(bag) => bag.iter().map(|b| b.predict(&views.features)).sum::<f64>() / bag.len() as f64,
            Self::OfValues(linear) => linear.predict(&views.values),
            Self::OfRanks(linear) => linear.predict(&views.ranks),
            Self::OfSteps(linear) => linear.predict(&steps::row(&views.values, &views.ranks)),
            Self::Forest(forest) => forest.predict(&views.ranks),
        }
    }
}
