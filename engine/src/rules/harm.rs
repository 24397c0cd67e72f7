//! Signs of harm as an operator is told of them: who is newly at high risk, what the operator was told, and what became of it.
//!
//! ```text
//! players are scored ─▶ newly high, and not told of this month? ─▶ a sign ─┐
//! staff gives a sign ──────────────────────────────────────────────────────┴▶ book ─▶ told, revision by revision
//! ```
//! A function of the operator's inputs like the book beside it: whoever hears them again tells the same. The first telling of
//! a sign goes into the commit of the input that it follows from, so that no time runs while nobody can read it.

use crate::rules::book::{Book, PLAYERS, SIGNALS_OF_ONE_MAX, Signalled};
use crate::rules::input::Signal;
use crate::rules::table::Key;
use crate::snapshot::{SnapshotError, read, write};
use models::alert::Severity;
use models::harm_signal::{HarmSignal, NamedBy, RECORDS_MAX, SignalSource, id_of};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::{PlayersScored, ScoredPlayer};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Players whose high level is remembered: as many as histories are kept of. Of more, whoever was told of longest ago gives
/// way.
pub const AT_RISK_MAX: usize = PLAYERS.entries as usize;

/// How long after a day's end, or before it, its scores have to be said to be of today: those of an archive that is loaded
/// now are not.
pub const RECENT: i64 = 2 * DAY;

/// Is a day of today's, as scores of it are said? What lies in an archive is no sign of harm to be answered now.
#[must_use]
pub fn is_recent(said_at: Ts, day_end: Ts) -> bool {
    said_at.0.abs_diff(day_end.0) <= RECENT.unsigned_abs()
}

/// Why an operator is not told of a player whose level has become high. They are looked at again with their next score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Withheld {
    /// Nobody can name the player to it.
    Nameless,
    /// As many signs of the model are remembered as may be.
    Full,
}

/// How a score is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// The operator is told where a sign is due.
    Told,
    /// Nobody is told anything, as of scores from before anybody was, or of who is suspended; the level is remembered.
    Untold,
    /// A sign that is due is not given.
    Withheld(Withheld),
}

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

/// A sign as it is told first, when it is given.
#[must_use]
pub fn first_telling(operator_no: OperatorNo, book: &Book, signal: &Signal, given: Given) -> HarmSignal {
    let Signal { player, level, at } = *signal;
    HarmSignal {
        id: id_of(operator_no, player, at),
        operator_no,
        player,
        named: given.named,
        records: book.records_of(player.0, RECORDS_MAX),
        level,
        since: at,
        source: given.source,
        answered_at: None,
        revision: 1,
    }
}

/// What is remembered of signs of harm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    at_risk: BTreeMap<Key, AtRisk>,
    /// By player and instant: those that the book remembers.
    told: BTreeMap<(Key, Ts), Told>,
    forgotten: u64,
    /// Signs that were not given, because nobody could be named, and because there was no room.
    nameless: u64,
    full: u64,
}

impl Harm {
    /// Players at high risk who gave way at the limit.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Signs of a model that were not given: because nobody could name the player, and because there was no room.
    #[must_use]
    pub fn withheld(&self) -> (u64, u64) {
        (self.nameless, self.full)
    }

    /// How many more signs of the model, or else of staff, may be given.
    #[must_use]
    pub fn room(&self, of_model: bool) -> usize {
        let is_of_model = |told: &&Told| matches!(told.given.source, SignalSource::Model { .. });
        let count = self.told.values().filter(|told| is_of_model(told) == of_model).count();
        SIGNALS_OF_ONE_MAX.saturating_sub(count)
    }

    /// As much of it as says which signs follow from some scores.
    #[must_use]
    pub fn excerpt(&self, scored: &PlayersScored) -> Self {
        let known = |one: &ScoredPlayer| Some((one.player.0, self.at_risk.get(&one.player.0)?.clone()));
        let at_risk = scored.players.iter().filter_map(known).collect();
        Self { at_risk, told: self.told.clone(), ..Self::default() }
    }

    /// Signs that follow from scores at the end of a day of the month that begins at `month`: of whose level has become high.
    /// They are to be given, in this order.
    pub fn due(&mut self, book: &Book, month: Ts, scored: &PlayersScored) -> Vec<Signal> {
        if scored.said_at.is_some_and(|at| !is_recent(at, scored.as_of)) {
            return Vec::new();
        }
        // the keys of whoever is suspended or closed read nothing
        let told_at = scored.said_at.filter(|at| book.trades(*at));
        let (room, mut due) = (self.room(true), Vec::new());
        for one in &scored.players {
            let telling = match told_at {
                None => Telling::Untold,
                Some(_) if scored.nameless.contains(&one.player) => Telling::Withheld(Withheld::Nameless),
                Some(_) if due.len() >= room => Telling::Withheld(Withheld::Full),
                Some(_) => Telling::Told,
            };
            let is_due = self.scored(one, month, telling);
            if let Some(at) = told_at.filter(|_| is_due) {
                due.push(Signal { player: one.player, level: Severity::High, at });
            }
        }
        due
    }

    /// A player was scored at the end of a day of the month that begins at `month`. True: a sign is due, because the level has
    /// become high and none was given this month.
    fn scored(&mut self, scored: &ScoredPlayer, month: Ts, telling: Telling) -> bool {
        let is_high = RiskLevel::of(scored.score_ppm) == RiskLevel::High;
        let key = scored.player.0;
        if !is_high && !self.at_risk.contains_key(&key) {
            return false;
        }
        let is_untold = |known: &AtRisk| known.high.is_empty() && known.signalled.is_none_or(|told| told < month);
        let becomes_high = is_high && self.at_risk.get(&key).is_none_or(is_untold);
        if let (true, Telling::Withheld(why)) = (becomes_high, telling) {
            match why {
                Withheld::Nameless => self.nameless += 1,
                Withheld::Full => self.full += 1,
            }
            return false;
        }
        let known = self.at_risk.entry(key).or_default();
        known.high.retain(|currency| *currency != scored.currency);
        if is_high {
            known.high.push(scored.currency);
        }
        let is_due = becomes_high && telling == Telling::Told;
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
    use models::ts::HOUR;

    const MARCH: Ts = Ts(100 * DAY);
    const APRIL: Ts = Ts(131 * DAY);

    fn score(currency: Currency, score_ppm: u32) -> ScoredPlayer {
        ScoredPlayer { player: MatchKey(7), currency, score_ppm, reasons: Vec::new() }
    }

    #[test]
    fn a_level_that_becomes_high_is_told_once_a_month_and_not_while_it_stays() {
        use Telling::{Told, Untold};
        let (kes, eur) = (|ppm| score(Currency::KES, ppm), |ppm| score(Currency::EUR, ppm));
        let (nameless, full) = (Telling::Withheld(Withheld::Nameless), Telling::Withheld(Withheld::Full));
        // scores by month and how they are told of | which of them give a sign
        type Row = (&'static str, Vec<(ScoredPlayer, Ts, Telling)>, Vec<bool>);
        let table: Vec<Row> = vec![
            ("low, then high", vec![(kes(100_000), MARCH, Told), (kes(500_000), MARCH, Told)], vec![false, true]),
            ("moderate is not high", vec![(kes(499_999), MARCH, Told)], vec![false]),
            (
                "it stays high, also in the next month",
                vec![(kes(600_000), MARCH, Told), (kes(700_000), MARCH, Told), (kes(600_000), APRIL, Told)],
                vec![true, false, false],
            ),
            (
                "it falls and rises within the month",
                vec![(kes(600_000), MARCH, Told), (kes(100), MARCH, Told), (kes(600_000), MARCH, Told)],
                vec![true, false, false],
            ),
            (
                "it falls and rises in the next month",
                vec![(kes(600_000), MARCH, Told), (kes(100), MARCH, Told), (kes(600_000), APRIL, Told)],
                vec![true, false, true],
            ),
            (
                "a second currency is the same player",
                vec![(kes(600_000), MARCH, Told), (eur(600_000), MARCH, Told)],
                vec![true, false],
            ),
            (
                "one of two currencies falls: they are still at high risk",
                vec![
                    (kes(600_000), MARCH, Told),
                    (eur(600_000), MARCH, Told),
                    (kes(1), MARCH, Told),
                    (kes(600_000), APRIL, Told),
                ],
                vec![true, false, false, false],
            ),
            (
                "high since before anybody was told",
                vec![(kes(600_000), MARCH, Untold), (kes(600_000), MARCH, Told)],
                vec![false, false],
            ),
            (
                "nobody can name them; then somebody can",
                vec![(kes(600_000), MARCH, nameless), (kes(600_000), MARCH, nameless), (kes(600_000), MARCH, Told)],
                vec![false, false, true],
            ),
            (
                "no room; then there is",
                vec![(kes(600_000), MARCH, full), (kes(600_000), MARCH, Told)],
                vec![false, true],
            ),
        ];
        for (what, scores, wanted) in table {
            let withheld = |wanted| scores.iter().filter(|(_, _, telling)| *telling == wanted).count() as u64;
            let counts = (withheld(nameless), withheld(full));
            let mut harm = Harm::default();
            let said: Vec<bool> =
                scores.iter().map(|(scored, month, telling)| harm.scored(scored, *month, *telling)).collect();
            assert_eq!((said, harm.withheld()), (wanted, counts), "{what}");
        }
    }

    #[test]
    fn nobody_is_remembered_who_is_not_at_risk() {
        let mut harm = Harm::default();
        for (ppm, month) in [(600_000, MARCH), (100, APRIL)] {
            harm.scored(&score(Currency::KES, ppm), month, Telling::Told);
        }
        assert_eq!(harm, Harm::default());
    }

    #[test]
    fn a_day_of_an_archive_is_no_day_of_today() {
        // hours from the day's end to when its scores are said
        for (hours, wanted) in
            [(0, true), (1, true), (48, true), (49, false), (300 * 24, false), (-1, true), (-49, false)]
        {
            assert_eq!(is_recent(MARCH.plus(hours * HOUR), MARCH), wanted, "{hours} hours");
        }
    }

    /// Scores of so many players at the end of the first of March.
    fn many(players: u128, said_at: Option<Ts>) -> PlayersScored {
        let players = (0..players).map(|n| ScoredPlayer { player: MatchKey(n), ..score(Currency::KES, 600_000) });
        PlayersScored { version: 3, as_of: MARCH, said_at, nameless: Vec::new(), players: players.collect() }
    }

    #[test]
    fn what_is_due_is_of_today_of_who_can_be_named_and_not_too_much() {
        let book = Book::default();
        let at = MARCH.plus(HOUR);
        let names_one = PlayersScored { nameless: vec![MatchKey(0), MatchKey(2)], ..many(3, Some(at)) };
        let all = SIGNALS_OF_ONE_MAX;
        // scores | how many are due, and how many were withheld for want of a name, and of room
        for (what, scored, wanted) in [
            ("today", many(3, Some(at)), (3, (0, 0))),
            ("two of them have no name", names_one, (1, (2, 0))),
            ("from before anybody was told", many(3, None), (0, (0, 0))),
            ("loaded a year later", many(3, Some(at.plus(365 * DAY))), (0, (0, 0))),
            ("a flood", many(all as u128 + 7, Some(at)), (all, (0, 7))),
        ] {
            let mut harm = Harm::default();
            let mut excerpt = harm.excerpt(&scored);
            let due = harm.due(&book, MARCH, &scored);
            assert_eq!((due.len(), harm.withheld()), wanted, "{what}");
            assert!(due.iter().all(|signal| signal.at == at && signal.level == Severity::High), "{what}");
            assert_eq!(excerpt.due(&book, MARCH, &scored), due, "{what}: foretold");
        }
        // what an archive says is not held against what is said today
        let mut harm = Harm::default();
        assert!(harm.due(&book, MARCH, &many(1, Some(at.plus(365 * DAY)))).is_empty());
        assert_eq!(harm.due(&book, MARCH, &many(1, Some(at))).len(), 1);
    }

    #[test]
    fn a_models_flood_takes_no_room_from_staff() {
        let set = RuleSet::new("KE", Vec::new()).unwrap();
        let mut rules = OperatorRules::new(OperatorNo(1), TimeZone::get("Africa/Nairobi").unwrap(), &set);
        let mut harm = Harm::default();
        let mut give = |harm: &mut Harm, n: usize, source: &SignalSource| {
            let signal = Signal { player: MatchKey(n as u128), level: Severity::High, at: MARCH.plus(n as i64) };
            rules.hear(&crate::rules::input::Input::Signal(signal), &mut Vec::new());
            harm.given(rules.book(), &signal, Given { source: source.clone(), named: None });
        };
        let staff = SignalSource::Regulator { by: None, reason: None };
        give(&mut harm, 0, &staff);
        (1..=SIGNALS_OF_ONE_MAX).for_each(|n| give(&mut harm, n, &SignalSource::Model { version: 3 }));
        assert_eq!((harm.room(true), harm.room(false)), (0, SIGNALS_OF_ONE_MAX - 1));
        assert_eq!(harm.open().count(), SIGNALS_OF_ONE_MAX + 1, "all of them are waited for");
        // some of staff's were under way
        (0..SIGNALS_OF_ONE_MAX + 9).for_each(|n| give(&mut harm, 10_000 + n, &staff));
        assert_eq!((harm.room(false), harm.open().count()), (0, 2 * SIGNALS_OF_ONE_MAX + 10));
        assert_eq!(rules.book().counted().signals_forgotten, 0);
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
