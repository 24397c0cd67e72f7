//! Signs of harm as an operator is told of them: who is newly at high risk, what the operator was told, and what became of it.
//!
//! ```text
//! players are scored ─▶ newly high, and not told of this month? ─▶ a sign ─┐
//! staff gives a sign ──────────────────────────────────────────────────────┴▶ book ─▶ told, revision by revision
//! ```
//! A function of the operator's inputs like the book beside it: whoever hears them again tells the same. The first telling of
//! a sign goes into the commit of the input that it follows from, so that no time runs while nobody can read it.

use crate::rules::at_risk::{AtRisk, is_high};
use crate::rules::book::{Book, SIGNALS_OF_ONE_MAX, Signalled};
use crate::rules::input::Signal;
use crate::rules::table::Key;
use crate::snapshot::{SnapshotError, read, write};
use models::alert::Severity;
use models::harm_signal::{HarmSignal, NamedBy, RECORDS_MAX, SignalSource, id_of};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::score::PlayersScored;
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// How long after a day's end, or before it, its scores have to be said to be of today: those of an archive that is loaded
/// now are not.
pub const RECENT: i64 = 2 * DAY;

/// Is a day of today's, as scores of it are said? What lies in an archive is no sign of harm to be answered now.
#[must_use]
pub fn is_recent(said_at: Ts, day_end: Ts) -> bool {
    said_at.0.abs_diff(day_end.0) <= RECENT.unsigned_abs()
}

/// Who gave a sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Who, and why.
    pub source: SignalSource,
    /// What the player's key was made of, where that is known.
    pub named: Option<NamedBy>,
}

impl Given {
    fn is_of_model(&self) -> bool {
        matches!(self.source, SignalSource::Model { .. })
    }
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

/// Since when the operator can know what some scores say. None: nobody is told of them, because they are from before anybody
/// was or of an archive, or because the operator is suspended or closed and its keys read nothing.
fn told_at(book: &Book, scored: &PlayersScored) -> Option<Ts> {
    scored.said_at.filter(|at| is_recent(*at, scored.as_of) && book.trades(*at))
}

/// What is remembered of signs of harm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    at_risk: AtRisk,
    /// By player and instant: those that the book remembers.
    told: BTreeMap<(Key, Ts), Told>,
    /// How many of them a model gave.
    of_models: usize,
    /// Signs that were not given, because nobody could be named, and because there was no room.
    nameless: u64,
    full: u64,
}

impl Harm {
    /// Players at high risk who gave way at the limit.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.at_risk.forgotten()
    }

    /// Signs of a model that were not given: because nobody could name the player, and because there was no room.
    #[must_use]
    pub fn withheld(&self) -> (u64, u64) {
        (self.nameless, self.full)
    }

    /// How many more signs of the model, or else of staff, may be given.
    #[must_use]
    pub fn room(&self, of_model: bool) -> usize {
        let count = if of_model { self.of_models } else { self.told.len() - self.of_models };
        SIGNALS_OF_ONE_MAX.saturating_sub(count)
    }

    /// Of whom the operator is to be told with scores at the end of a day of the month that begins at `month`: whose level
    /// becomes high, and of whom nobody was told this month. Of whom nobody can be named, or there is no room for, it is told
    /// nothing.
    #[must_use]
    pub fn foretell(&self, book: &Book, month: Ts, scored: &PlayersScored) -> Vec<MatchKey> {
        if told_at(book, scored).is_none() {
            return Vec::new();
        }
        let (mut at_risk, room, mut told) = (self.at_risk.excerpt(scored), self.room(true), Vec::new());
        for one in &scored.players {
            let becomes_high = at_risk.becomes_high(one, month);
            if becomes_high && (scored.nameless.contains(&one.player) || told.len() >= room) {
                continue;
            }
            at_risk.hear(one, month, becomes_high);
            if becomes_high {
                told.push(one.player);
            }
        }
        told
    }

    /// Signs that follow from scores at the end of a day of the month that begins at `month`: those that the operator was told
    /// of with them ([`Harm::foretell`]), whatever was heard since. They are to be given, in this order.
    pub fn due(&mut self, book: &Book, month: Ts, scored: &PlayersScored) -> Vec<Signal> {
        let mut told: BTreeSet<MatchKey> = scored.told.iter().copied().collect();
        let is_told_of = told_at(book, scored).is_some();
        let (room, mut due) = (self.room(true), Vec::new());
        for one in &scored.players {
            let is_told = is_high(one) && told.remove(&one.player);
            if let (true, Some(at)) = (is_told, scored.said_at) {
                self.at_risk.hear(one, month, true);
                due.push(Signal { player: one.player, level: Severity::High, at });
                continue;
            }
            if is_told_of && self.at_risk.becomes_high(one, month) {
                // they are looked at again with their next score
                if scored.nameless.contains(&one.player) {
                    self.nameless += 1;
                } else if due.len() >= room {
                    self.full += 1;
                }
                continue;
            }
            let is_of_today = scored.said_at.is_none_or(|at| is_recent(at, scored.as_of));
            if is_of_today {
                self.at_risk.hear(one, month, false);
            }
        }
        due
    }

    /// A sign was taken into the book.
    pub fn given(&mut self, book: &Book, signal: &Signal, given: Given) {
        let place = (signal.player.0, signal.at);
        // one too many for the book: it is counted there
        let Some(known) = book.signals.get(&place).copied() else { return };
        if let Entry::Vacant(free) = self.told.entry(place) {
            self.of_models += usize::from(given.is_of_model());
            free.insert(Told {
                given,
                records: book.records_of(signal.player.0, RECORDS_MAX),
                known,
                revision: 0,
                is_untold: false,
            });
        }
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
            self.of_models = self.told.values().filter(|told| told.given.is_of_model()).count();
        }
    }

    /// Signs that nobody has answered, and since when.
    pub fn open(&self) -> impl Iterator<Item = (Ts, Signalled)> {
        let open = self.told.iter().filter(|(_, told)| told.known.answered_at.is_none());
        open.map(|((_, since), told)| (*since, told.known))
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
    use crate::rules::input::Input;
    use crate::rules::ruleset::RuleSet;
    use crate::rules::run::OperatorRules;
    use crate::rules::scenario::{Story, minutes};
    use jiff::tz::TimeZone;
    use models::money::Currency;
    use models::operator::OperatorState;
    use models::score::ScoredPlayer;
    use models::ts::HOUR;

    const MARCH: Ts = Ts(100 * DAY);
    const APRIL: Ts = Ts(131 * DAY);

    fn score(currency: Currency, score_ppm: u32) -> ScoredPlayer {
        ScoredPlayer { player: MatchKey(7), currency, score_ppm, reasons: Vec::new() }
    }

    /// How a score is said.
    #[derive(Clone, Copy, PartialEq)]
    enum Telling {
        /// The operator is told where a sign is due.
        Told,
        /// From before anybody was told.
        Untold,
        /// Nobody can name the player.
        Nameless,
        /// As many signs are remembered as may be.
        Full,
    }

    /// Scores as they are stored: with those of whom the operator is told.
    fn stored(harm: &Harm, book: &Book, month: Ts, scored: PlayersScored) -> PlayersScored {
        let told = harm.foretell(book, month, &scored);
        PlayersScored { told, ..scored }
    }

    /// Says a score. True: a sign follows.
    fn say(harm: &mut Harm, (one, month, telling): &(ScoredPlayer, Ts, Telling)) -> bool {
        let book = Book::default();
        harm.of_models = if *telling == Telling::Full { SIGNALS_OF_ONE_MAX } else { 0 };
        let scored = PlayersScored {
            version: 3,
            as_of: *month,
            said_at: (*telling != Telling::Untold).then_some(*month),
            nameless: if *telling == Telling::Nameless { vec![one.player] } else { Vec::new() },
            told: Vec::new(),
            players: vec![one.clone()],
        };
        let scored = stored(harm, &book, *month, scored);
        !harm.due(&book, *month, &scored).is_empty()
    }

    #[test]
    fn a_level_that_becomes_high_is_told_once_a_month_and_not_while_it_stays() {
        use Telling::{Full, Nameless, Told, Untold};
        let (kes, eur) = (|ppm| score(Currency::KES, ppm), |ppm| score(Currency::EUR, ppm));
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
                vec![(kes(600_000), MARCH, Nameless), (kes(600_000), MARCH, Nameless), (kes(600_000), MARCH, Told)],
                vec![false, false, true],
            ),
            (
                "no room; then there is",
                vec![(kes(600_000), MARCH, Full), (kes(600_000), MARCH, Told)],
                vec![false, true],
            ),
        ];
        for (what, scores, wanted) in table {
            let withheld = |wanted| scores.iter().filter(|(_, _, telling)| *telling == wanted).count() as u64;
            let counts = (withheld(Nameless), withheld(Full));
            let mut harm = Harm::default();
            let said: Vec<bool> = scores.iter().map(|one| say(&mut harm, one)).collect();
            assert_eq!((said, harm.withheld()), (wanted, counts), "{what}");
        }
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
        let (nameless, told, players) = (Vec::new(), Vec::new(), players.collect());
        PlayersScored { version: 3, as_of: MARCH, said_at, nameless, told, players }
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
            let scored = stored(&harm, &book, MARCH, scored);
            let due = harm.due(&book, MARCH, &scored);
            assert_eq!((due.len(), harm.withheld()), wanted, "{what}");
            assert!(due.iter().all(|signal| signal.at == at && signal.level == Severity::High), "{what}");
            assert_eq!(due.iter().map(|signal| signal.player).collect::<Vec<_>>(), scored.told, "{what}: foretold");
        }
        // what an archive says is not held against what is said today
        let mut harm = Harm::default();
        for (said_at, wanted) in [(at.plus(365 * DAY), 0), (at, 1)] {
            let scored = stored(&harm, &book, MARCH, many(1, Some(said_at)));
            assert_eq!(harm.due(&book, MARCH, &scored).len(), wanted);
        }
    }

    #[test]
    fn what_was_told_is_followed_whatever_is_heard_in_between() {
        let set = RuleSet::new("KE", Vec::new()).unwrap();
        let at = MARCH.plus(HOUR);
        let state = |state| Input::OperatorState { at: at.plus(-1), state };
        let suspended = || vec![state(OperatorState::Suspended)];
        let again = || vec![state(OperatorState::Suspended), state(OperatorState::Active)];
        // heard before the scores are made, and before they are heard | signs that are told and followed, and with the next score
        for (what, before, between, wanted) in [
            ("nothing happens", vec![], vec![], (1, 0)),
            ("suspended before: nobody is told", suspended(), vec![], (0, 0)),
            ("suspended in between: it was told", vec![], suspended(), (1, 0)),
            ("let in again in between: nobody was told, and is with the next score", suspended(), again(), (0, 1)),
        ] {
            let mut rules = OperatorRules::new(OperatorNo(1), TimeZone::get("Africa/Nairobi").unwrap(), &set);
            let mut harm = Harm::default();
            before.iter().for_each(|input| rules.hear(input, &mut Vec::new()));
            let scored = stored(&harm, rules.book(), MARCH, many(1, Some(at)));
            between.iter().for_each(|input| rules.hear(input, &mut Vec::new()));
            let due = harm.due(rules.book(), MARCH, &scored);
            assert_eq!(due.iter().map(|signal| signal.player).collect::<Vec<_>>(), scored.told, "{what}");
            let next = stored(&harm, rules.book(), MARCH, many(1, Some(at.plus(HOUR))));
            assert_eq!((due.len(), harm.due(rules.book(), MARCH, &next).len()), wanted, "{what}");
            assert_eq!(harm.withheld(), (0, 0), "{what}");
        }
    }

    #[test]
    fn a_models_flood_takes_no_room_from_staff() {
        let set = RuleSet::new("KE", Vec::new()).unwrap();
        let mut rules = OperatorRules::new(OperatorNo(1), TimeZone::get("Africa/Nairobi").unwrap(), &set);
        let mut harm = Harm::default();
        let mut give = |harm: &mut Harm, n: usize, source: &SignalSource| {
            let signal = Signal { player: MatchKey(n as u128), level: Severity::High, at: MARCH.plus(n as i64) };
            rules.hear(&Input::Signal { signal, behind: 0 }, &mut Vec::new());
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
                Input::Signal { signal, .. } => {
                    let source = SignalSource::Regulator { by: None, reason: Some("a relative called".to_owned()) };
                    harm.given(rules.book(), &signal, Given { source, named: None });
                }
                Input::Play { record, .. } => {
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
