//! Signs of harm as an operator is told of them: who is newly at high risk, what the operator was told, and what became of it.
//!
//! ```text
//! players are scored ─▶ newly high, and not told of this month? ─▶ a sign ─┐
//! staff gives a sign ──────────────────────────────────────────────────────┴▶ book ─▶ told, revision by revision
//! ```
//! A function of the operator's inputs like the book beside it: whoever hears them again tells the same.

use crate::rules::book::{Book, PLAYERS, Signalled};
use crate::rules::input::Signal;
use crate::rules::table::Key;
use crate::snapshot::{SnapshotError, read, write};
use models::alert::Severity;
use models::harm_signal::{HarmSignal, NamedBy, RECORDS_MAX, SignalSource, id_of};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::ScoredPlayer;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Players whose high level is remembered: as many as histories are kept of. Of more, whoever was told of longest ago gives
/// way.
pub const AT_RISK_MAX: usize = PLAYERS.entries as usize;

/// A player who is at high risk, or was told of this month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AtRisk {
    /// Currencies in which the newest score is high.
    high: Vec<Currency>,
    /// First instant of the month in which the operator was told last.
    signalled: Option<Ts>,
}

/// Who gave a sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Who, and why.
    pub source: SignalSource,
    /// What the player's key was made of, where that is known.
    pub named: Option<NamedBy>,
}

/// A sign as it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    given: Given,
    records: Vec<String>,
    known: Signalled,
    /// How often it was told.
    revision: u32,
    /// Nobody has taken it since it changed. Not in the bytes: they are those of whoever takes it at once.
    #[serde(skip)]
    is_untold: bool,
}

/// What is remembered of signs of harm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    at_risk: BTreeMap<Key, AtRisk>,
    /// By player and instant: those that the book remembers.
    told: BTreeMap<(Key, Ts), Told>,
    forgotten: u64,
}

impl Harm {
    /// Players at high risk who gave way at the limit.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A player was scored at the end of a day of the month that begins at `month`. True: a sign is due, because the level has
    /// become high and none was given this month. Where scores are of a time when nobody was told (`gives` is false) it is
    /// only remembered.
    pub fn scored(&mut self, scored: &ScoredPlayer, month: Ts, gives: bool) -> bool {
        let is_high = RiskLevel::of(scored.score_ppm) == RiskLevel::High;
        let key = scored.player.0;
        if !is_high && !self.at_risk.contains_key(&key) {
            return false;
        }
        let known = self.at_risk.entry(key).or_default();
        let was_high = !known.high.is_empty();
        known.high.retain(|currency| *currency != scored.currency);
        if is_high {
            known.high.push(scored.currency);
        }
        let is_due = gives && is_high && !was_high && known.signalled.is_none_or(|told| told < month);
        if is_due {
            known.signalled = Some(month);
        }
        if known.high.is_empty() && known.signalled.is_none_or(|told| told < month) {
            self.at_risk.remove(&key);
        }
        while self.at_risk.len() > AT_RISK_MAX {
            let oldest = self.at_risk.iter().min_by_key(|(key, known)| (known.signalled, **key)).map(|(key, _)| *key);
            oldest.map(|key| self.at_risk.remove(&key));
            self.forgotten += 1;
        }
        is_due
    }

    /// A sign was taken into the book.
    pub fn given(&mut self, book: &Book, signal: &Signal, given: Given) {
        let place = (signal.player.0, signal.at);
        // one too many for the book: it is counted there
        let Some(known) = book.signals.get(&place).copied() else { return };
        let records = || book.records_of(signal.player.0, RECORDS_MAX);
        let told = || Told { given, records: records(), known, revision: 0, is_untold: false };
        self.told.entry(place).or_insert_with(told);
        self.look(book, signal.player);
        self.forget(book);
    }

    /// Something of a player was heard that may have changed a sign.
    pub fn look(&mut self, book: &Book, player: MatchKey) {
        let all = (player.0, Ts(i64::MIN))..=(player.0, Ts(i64::MAX));
        for (place, told) in self.told.range_mut(all) {
            let Some(known) = book.signals.get(place) else { continue };
            if told.revision == 0 || told.known != *known {
                (told.known, told.is_untold) = (*known, true);
                told.revision += 1;
            }
        }
    }

    /// Forgets what the book has forgotten.
    pub fn forget(&mut self, book: &Book) {
        if self.told.len() > book.signals.len() {
            self.told.retain(|place, _| book.signals.contains_key(place));
        }
    }

    /// Signs that nobody has answered: since when, and how strong.
    pub fn open(&self) -> impl Iterator<Item = (Ts, Severity)> {
        let open = self.told.iter().filter(|(_, told)| told.known.answered_at.is_none());
        open.map(|((_, since), told)| (*since, told.known.level))
    }

    /// Signs that changed since somebody asked last. They are given once: whoever takes them behind an input commits them.
    /// Their numbers follow from the inputs alone.
    pub fn take_changed(&mut self, operator_no: OperatorNo) -> Vec<HarmSignal> {
        let changed = |((player, since), told): (&(Key, Ts), &mut Told)| {
            std::mem::take(&mut told.is_untold).then(|| {
                let (player, since) = (MatchKey(*player), *since);
                HarmSignal {
                    id: id_of(operator_no, player, since),
                    operator_no,
                    player,
                    named: told.given.named,
                    records: told.records.clone(),
                    level: told.known.level,
                    since,
                    source: told.given.source.clone(),
                    answered_at: told.known.answered_at,
                    revision: told.revision,
                }
            })
        };
        self.told.iter_mut().filter_map(changed).collect()
    }

    /// Its bytes (postcard), not compressed. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        write(self)
    }

    /// What bytes are of.
    ///
    /// # Errors
    /// [`SnapshotError`]: not all of the bytes are a state's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::RuleSet;
    use crate::rules::run::OperatorRules;
    use crate::rules::scenario::{Story, minutes};
    use jiff::tz::TimeZone;
    use models::ts::DAY;

    const MARCH: Ts = Ts(100 * DAY);
    const APRIL: Ts = Ts(131 * DAY);

    fn score(currency: Currency, score_ppm: u32) -> ScoredPlayer {
        ScoredPlayer { player: MatchKey(7), currency, score_ppm, reasons: Vec::new() }
    }

    #[test]
    fn a_level_that_becomes_high_is_told_once_a_month_and_not_while_it_stays() {
        let (kes, eur) = (|ppm| score(Currency::KES, ppm), |ppm| score(Currency::EUR, ppm));
        // scores by month and whether anybody was told in those days | which of them give a sign
        type Row = (&'static str, Vec<(ScoredPlayer, Ts, bool)>, Vec<bool>);
        let table: Vec<Row> = vec![
            ("low, then high", vec![(kes(100_000), MARCH, true), (kes(500_000), MARCH, true)], vec![false, true]),
            ("moderate is not high", vec![(kes(499_999), MARCH, true)], vec![false]),
            (
                "it stays high, also in the next month",
                vec![(kes(600_000), MARCH, true), (kes(700_000), MARCH, true), (kes(600_000), APRIL, true)],
                vec![true, false, false],
            ),
            (
                "it falls and rises within the month",
                vec![(kes(600_000), MARCH, true), (kes(100), MARCH, true), (kes(600_000), MARCH, true)],
                vec![true, false, false],
            ),
            (
                "it falls and rises in the next month",
                vec![(kes(600_000), MARCH, true), (kes(100), MARCH, true), (kes(600_000), APRIL, true)],
                vec![true, false, true],
            ),
            (
                "a second currency is the same player",
                vec![(kes(600_000), MARCH, true), (eur(600_000), MARCH, true)],
                vec![true, false],
            ),
            (
                "one of two currencies falls: they are still at high risk",
                vec![
                    (kes(600_000), MARCH, true),
                    (eur(600_000), MARCH, true),
                    (kes(1), MARCH, true),
                    (kes(600_000), APRIL, true),
                ],
                vec![true, false, false, false],
            ),
            (
                "high since before anybody was told",
                vec![(kes(600_000), MARCH, false), (kes(600_000), MARCH, true)],
                vec![false, false],
            ),
        ];
        for (what, scores, wanted) in table {
            let mut harm = Harm::default();
            let said: Vec<bool> =
                scores.iter().map(|(scored, month, gives)| harm.scored(scored, *month, *gives)).collect();
            assert_eq!(said, wanted, "{what}");
        }
    }

    #[test]
    fn nobody_is_remembered_who_is_not_at_risk() {
        let mut harm = Harm::default();
        for (ppm, month) in [(600_000, MARCH), (100, APRIL)] {
            harm.scored(&score(Currency::KES, ppm), month, true);
        }
        assert_eq!(harm, Harm::default());
    }

    /// Rules and what is told, behind a story: signs are given by staff.
    fn told(story: &Story) -> (Harm, Vec<HarmSignal>) {
        let set = RuleSet::new("KE", Vec::new()).unwrap();
        let mut rules = OperatorRules::new(OperatorNo(1), TimeZone::get("Africa/Nairobi").unwrap(), &set);
        let (mut harm, mut said) = (Harm::default(), Vec::new());
        for (_, input) in story.inputs() {
            rules.hear(&input, &mut Vec::new());
            match input {
                crate::rules::input::Input::Signal(signal) => {
                    let source = SignalSource::Regulator { by: None, reason: Some("a relative called".to_owned()) };
                    harm.given(rules.book(), &signal, Given { source, named: None });
                }
                crate::rules::input::Input::Play { record, .. } => {
                    record.player.into_iter().for_each(|player| harm.look(rules.book(), player));
                }
                _ => harm.forget(rules.book()),
            }
            said.extend(harm.take_changed(OperatorNo(1)));
        }
        (harm, said)
    }

    #[test]
    fn every_change_of_a_sign_is_told_once() {
        use Severity::{High, Medium};
        let sign = || Story::at(100).deposit("anna", 5).after(minutes(1)).signal("anna", Medium);
        // what happens | level, answered, revision of each telling
        type Row = (&'static str, Story, Vec<(Severity, bool, u32)>);
        let table: Vec<Row> = vec![
            ("nobody answers", sign().after(minutes(61)).tick(), vec![(Medium, false, 1)]),
            (
                "somebody answers, twice",
                sign().after(minutes(5)).intervention("anna").after(minutes(5)).intervention("anna"),
                vec![(Medium, false, 1), (Medium, true, 2)],
            ),
            (
                "an earlier answer comes later",
                sign().after(minutes(50)).intervention("anna").before(minutes(20)).intervention("anna"),
                vec![(Medium, false, 1), (Medium, true, 2), (Medium, true, 3)],
            ),
            ("it grows", sign().signal("anna", High), vec![(Medium, false, 1), (High, false, 2)]),
            ("somebody else is called", sign().after(minutes(5)).intervention("ben"), vec![(Medium, false, 1)]),
        ];
        for (what, story, wanted) in table {
            let (_, said) = told(&story);
            let seen: Vec<_> = said.iter().map(|s| (s.level, s.answered_at.is_some(), s.revision)).collect();
            assert_eq!(seen, wanted, "{what}");
            assert!(said.iter().all(|signal| signal.id == said[0].id && signal.records.len() == 1), "{what}: {said:?}");
        }
    }

    #[test]
    fn it_comes_back_from_its_bytes_and_forgets_with_the_book() {
        let story = || Story::at(100).signal("anna", Severity::High).after(minutes(5));
        let (harm, _) = told(&story());
        assert_eq!(harm.open().count(), 1);
        assert_eq!(Harm::from_bytes(&harm.to_bytes().unwrap()).unwrap(), harm);
        let (harm, _) = told(&story().after(15 * DAY).tick());
        assert_eq!(harm, Harm::default());
    }
}
