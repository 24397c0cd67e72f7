//! What a version of a model says beside another one: counted, and a few named.
//!
//! Nothing follows from these scores. A row counts where the live rule would speak: from its parameter `score_min_ppm` in
//! force at the row's time on.

use crate::ingest::id_digest;
use crate::rules::finding::Mode;
use crate::rules::ruleset::RuleSet;
use crate::rules::{player_at_risk, risky_transaction};
use models::model_shadow::{BESIDE_MAX, NAMED_MAX, ShadowExample, ShadowFound, ShadowSubject};
use models::risk_model::ModelKind;
use models::ts::Ts;
use std::collections::HashSet;

/// Name of the live rule that hears scores of a kind.
#[must_use]
pub fn rule_of(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::TransactionRisk => risky_transaction::ABOUT.name,
        ModelKind::PlayerRisk => player_at_risk::ABOUT.name,
    }
}

/// What an alert calls a record or a player, as lists of a day have it.
#[must_use]
pub fn name_of_record(record_id: &str) -> String {
    format!("{:016x}", id_digest(record_id))
}

fn name(subject: &ShadowSubject) -> String {
    let player = || subject.player.map(|player| player.to_string()).unwrap_or_default();
    subject.record_id.as_deref().map_or_else(player, name_of_record)
}

/// From which probability on a version of a rule speaks, and when.
type Spans = Vec<(Ts, Ts, u32)>;

/// From which probability on the live rules speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    records: Spans,
    players: Spans,
    /// Whatever the rules say.
    fixed: Option<u32>,
}

impl Bounds {
    /// Those of a set of rules.
    #[must_use]
    pub fn of(set: &RuleSet) -> Self {
        let spans = |kind| spans(set, rule_of(kind));
        Self { records: spans(ModelKind::TransactionRisk), players: spans(ModelKind::PlayerRisk), fixed: None }
    }

    /// One bound, millionths, whatever rules say.
    #[must_use]
    pub fn fixed(bound_ppm: u32) -> Self {
        Self { fixed: Some(bound_ppm), ..Self::default() }
    }

    /// The bound of a kind for what happened at an instant, millionths; where no version is live, the rule's default.
    #[must_use]
    pub fn at(&self, kind: ModelKind, at: Ts) -> u32 {
        let (spans, default) = match kind {
            ModelKind::PlayerRisk => (&self.players, player_at_risk::Params::default().score_min_ppm),
            _ => (&self.records, risky_transaction::Params::default().score_min_ppm),
        };
        let in_force = spans.iter().find(|(from, to, _)| (*from..*to).contains(&at)).map(|(.., bound)| *bound);
        self.fixed.or(in_force).unwrap_or(default as u32)
    }
}

fn spans(set: &RuleSet, rule: &str) -> Spans {
    let live = set.versions().filter(|version| version.rule == rule && version.mode == Mode::Live);
    let said = live.filter_map(|version| {
        // what a version leaves out has its default
        let bound = version.params.get("score_min_ppm")?.as_u64()?;
        Some((version.effective_from, version.effective_to.unwrap_or(Ts(i64::MAX)), bound as u32))
    });
    said.collect()
}

/// What two versions said of a row, millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Of the version that is tried.
    pub score_ppm: u32,
    /// The version that was promoted, and its score; none where none scored the row.
    pub live: Option<(u32, u32)>,
    /// From where on the live rule speaks.
    pub bound_ppm: u32,
}

impl Scored {
    /// Does the version that is tried have it at or above the bound?
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.score_ppm >= self.bound_ppm
    }

    /// Does the promoted one?
    #[must_use]
    pub fn is_live_high(&self) -> bool {
        self.live.is_some_and(|(_, score_ppm)| score_ppm >= self.bound_ppm)
    }
}

/// A row that may become an example, with its vector: what moved its score is asked for at the end.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    subject: ShadowSubject,
    scored: Scored,
    vector: Vec<f32>,
}

/// Counts rows. Its size is fixed by the number of examples and by [`NAMED_MAX`].
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    examples_max: usize,
    found: ShadowFound,
    candidates: Vec<Candidate>,
    /// What is in one of the lists.
    named: HashSet<String>,
}

impl Tally {
    /// With so many examples at most.
    #[must_use]
    pub fn new(examples_max: usize) -> Self {
        let (candidates, named) = (Vec::new(), HashSet::new());
        Self { examples_max, found: ShadowFound::default(), candidates, named }
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.found.counts.rows
    }

    /// Counts a row. Whom it is of, and its vector, are asked for where it is named.
    pub fn add(&mut self, scored: Scored, vector: &[f32], subject: impl FnOnce() -> ShadowSubject) {
        let (is_high, is_live_high) = (scored.is_high(), scored.is_live_high());
        let counts = &mut self.found.counts;
        counts.rows += 1;
        counts.rows_beside += u64::from(scored.live.is_some());
        counts.high += u64::from(is_high);
        counts.live_high += u64::from(is_live_high);
        counts.both_high += u64::from(is_high && is_live_high);
        self.found.bound_ppm = scored.bound_ppm;
        if let Some((version, _)) = scored.live
            && !self.found.beside.contains(&version)
            && self.found.beside.len() < BESIDE_MAX
        {
            self.found.beside.push(version);
        }
        match (is_high, is_live_high) {
            (_, true) => self.name(name(&subject()), is_high),
            (true, false) => self.offer(scored, vector, subject),
            (false, false) => {}
        }
    }

    fn name(&mut self, name: String, is_had: bool) {
        if self.named.contains(&name) {
            return;
        }
        if self.named.len() >= NAMED_MAX {
            self.found.unnamed += 1;
            return;
        }
        self.named.insert(name.clone());
        let list = if is_had { &mut self.found.had } else { &mut self.found.missed };
        list.push(name);
    }

    /// Keeps the highest ones; of equal ones the first.
    fn offer(&mut self, scored: Scored, vector: &[f32], subject: impl FnOnce() -> ShadowSubject) {
        let place = self.candidates.partition_point(|known| known.scored.score_ppm >= scored.score_ppm);
        if place >= self.examples_max {
            return;
        }
        self.candidates.truncate(self.examples_max.saturating_sub(1));
        self.candidates.insert(place, Candidate { subject: subject(), scored, vector: vector.to_vec() });
    }

    /// What was counted, with what moved the scores of the examples; counting begins anew.
    pub fn take(&mut self, reasons: impl Fn(&[f32]) -> Vec<String>) -> ShadowFound {
        let Self { mut found, candidates, .. } = std::mem::replace(self, Self::new(self.examples_max));
        let example = |Candidate { subject, scored, vector }| ShadowExample {
            subject,
            score_ppm: scored.score_ppm,
            live_ppm: scored.live.map(|(_, score_ppm)| score_ppm),
            reasons: reasons(&vector),
        };
        found.examples = candidates.into_iter().map(example).collect();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::RuleVersion;
    use models::match_key::MatchKey;
    use models::money::Currency;
    use serde_json::json;

    fn subject(n: u32) -> ShadowSubject {
        let record_id = Some(format!("r{n}"));
        ShadowSubject { record_id, player: Some(MatchKey(n.into())), currency: Currency::KES, at: Ts(n.into()) }
    }

    fn tally(rows: &[(u32, Option<u32>)], examples_max: usize) -> ShadowFound {
        let mut tally = Tally::new(examples_max);
        for (n, (score_ppm, live)) in (0..).zip(rows) {
            let scored = Scored { score_ppm: *score_ppm, live: live.map(|score| (1, score)), bound_ppm: 500 };
            tally.add(scored, &[n as f32], || subject(n));
        }
        let found = tally.take(|vector| vec![format!("row {}", vector[0])]);
        assert_eq!(tally, Tally::new(examples_max), "it begins anew");
        found
    }

    #[test]
    fn rows_are_counted_by_who_had_them() {
        // what | rows: (shadow, promoted) | rows, beside, shadow, promoted, both | examples | had | missed
        type Case<'a> = (&'a str, &'a [(u32, Option<u32>)], [u64; 5], &'a [u32], usize, usize);
        let table: [Case<'_>; 7] = [
            ("nothing", &[], [0; 5], &[], 0, 0),
            ("none is promoted", &[(500, None), (499, None)], [2, 0, 1, 0, 0], &[0], 0, 0),
            ("both, at the bound", &[(500, Some(500))], [1, 1, 1, 1, 1], &[], 1, 0),
            ("the shadow alone", &[(500, Some(499))], [1, 1, 1, 0, 0], &[0], 0, 0),
            ("the promoted one alone", &[(499, Some(500))], [1, 1, 0, 1, 0], &[], 0, 1),
            ("neither", &[(499, Some(499))], [1, 1, 0, 0, 0], &[], 0, 0),
            (
                "the highest that it alone had, the first of equal ones",
                &[(600, None), (900, Some(0)), (700, Some(800)), (800, None), (900, None), (700, None)],
                [6, 2, 6, 1, 1],
                &[1, 4, 3],
                1,
                0,
            ),
        ];
        for (what, rows, counts, examples, had, missed) in table {
            let found = tally(rows, 3);
            let ShadowFound { counts: of, .. } = found;
            assert_eq!([of.rows, of.rows_beside, of.high, of.live_high, of.both_high], counts, "{what}");
            let named: Vec<_> = examples.iter().map(|n| subject(*n)).collect();
            assert_eq!(found.examples.iter().map(|one| one.subject.clone()).collect::<Vec<_>>(), named, "{what}");
            assert_eq!((found.had.len(), found.missed.len(), found.unnamed), (had, missed, 0), "{what}");
            let is_beside = rows.iter().any(|(_, live)| live.is_some());
            assert_eq!(found.beside, if is_beside { vec![1] } else { Vec::new() }, "{what}");
            for (example, n) in found.examples.iter().zip(examples) {
                let (score, live) = rows[*n as usize];
                assert_eq!((example.score_ppm, example.live_ppm), (score, live), "{what}");
                assert_eq!(example.reasons, [format!("row {n}")], "{what}");
            }
        }
    }

    #[test]
    fn what_the_promoted_one_had_is_named_up_to_a_limit_and_once() {
        let rows = vec![(900, Some(900)); NAMED_MAX + 7];
        let found = tally(&rows, 3);
        assert_eq!((found.had.len(), found.unnamed), (NAMED_MAX, 7));
        assert_eq!(found.had[0], name_of_record("r0"));
        let (mut tally, scored) = (Tally::new(1), Scored { score_ppm: 1, live: Some((2, 600)), bound_ppm: 500 });
        (0..2).for_each(|_| tally.add(scored, &[], || ShadowSubject { record_id: None, ..subject(9) }));
        let found = tally.take(|_| Vec::new());
        assert_eq!((found.missed, found.unnamed, found.beside), (vec![MatchKey(9).to_string()], 0, vec![2]));
    }

    #[test]
    fn the_bound_is_that_of_the_live_rule_in_force() {
        let version = |number, mode, from, to: Option<i64>, params| RuleVersion {
            rule: "risky_transaction".to_owned(),
            version: number,
            jurisdiction: "KE".to_owned(),
            effective_from: Ts(from),
            effective_to: to.map(Ts),
            mode,
            params,
        };
        let set = RuleSet::new(
            "KE",
            vec![
                version(1, Mode::Live, 10, Some(20), json!({"score_min_ppm": 700_000})),
                version(2, Mode::Live, 20, None, json!({"score_min_ppm": 300_000})),
                version(3, Mode::Shadow, 10, None, json!({"score_min_ppm": 200_000})),
            ],
        );
        let bounds = Bounds::of(&set.expect("a set"));
        let (records, players) = (ModelKind::TransactionRisk, ModelKind::PlayerRisk);
        for (kind, at, wanted) in [
            (records, 9, 500_000),
            (records, 10, 700_000),
            (records, 19, 700_000),
            (records, 20, 300_000),
            (players, 20, 500_000),
        ] {
            assert_eq!(bounds.at(kind, Ts(at)), wanted, "{kind:?} at {at}");
        }
        assert_eq!(Bounds::fixed(5).at(players, Ts(20)), 5);
        assert_eq!(Bounds::default().at(records, Ts(20)), 500_000);
    }
}
