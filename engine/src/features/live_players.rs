//! Histories of players while they play, and whose vector is to be scored.
//!
//! ```text
//! record ─▶ hear ─▶ who has played ─ the day is over ─▶ due ─▶ (scored by the caller) ─▶ stored as an input ─▶ said
//! ```
//! An operator's actor keeps those of its players, a jurisdiction's actor those of whoever plays at several operators.
//!
//! A vector as of a day's end has every record of before that was heard until the day was told over, and none from behind
//! the end, whenever it is asked for: who is heard of again while they are due has it written before, and of whoever is
//! heard of behind the end of a day that is not yet told over a copy is kept that hears on for that day alone. What comes
//! later than that for a day makes its player due at the next end.
//!
//! **Across operators** nobody is heard of before the rules over all operators know them at two of them, in one currency
//! ([`crate::rules::nation`]: a bet, a deposit or a withdrawal at each). From then on everything is, and operators count
//! from before; bets, deposits and days from before do not: they are lost to the history, which begins with the first record
//! at the second operator. It takes no room for the many who play at one.

use super::behaviour::Behaviour;
use super::details::Details;
use super::due::{Due, DuePlayers};
use super::played::{PLAYED_MAX, Played};
use super::player::{self, Extractor, write_of};
use crate::rules::book::player_key;
use crate::rules::calendar::Spans;
use crate::rules::nation::Place;
use crate::rules::ruleset::RuleSet;
use crate::rules::table::{Key, Limit};
use models::alert::Window;
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::score::PlayersScored;
use models::ts::{HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long after its end a day is over for a jurisdiction: the last operators have told of it by then.
pub const DAY_SETTLED_AFTER: i64 = HOUR;
/// Copies of histories that are kept between a day's end and when it is told over; who is one too many has no score of it.
pub const COPIES_MAX: usize = 1 << 14;

/// The state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LivePlayers {
    histories: Extractor,
    /// Whoever was seen at fewer operators is nobody to score.
    operators_min: usize,
    /// Who has played, by the end of the day; of whom was heard late stand under the end of the newest day that is over.
    played: Played,
    /// Who is to be scored.
    due: DuePlayers,
    /// End of the newest day that is over.
    closed_until: Ts,
    /// End of the day that is not over, where days are told by [`LivePlayers::settled`]; 0 = none was.
    open_until: Ts,
    /// Histories without what was heard from behind the end of that day, by key with currency.
    copies: BTreeMap<Key, Behaviour>,
    /// Those for whom there was no room.
    unscored: u64,
}

fn bits(vector: &[f32; player::WIDTH]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

impl LivePlayers {
    /// Those of one operator.
    #[must_use]
    pub fn of_operator() -> Self {
        Self::new(player::OPERATOR_PLAYERS, 1)
    }

    /// Those of a jurisdiction: whoever plays at two operators or more has a vector across them.
    #[must_use]
    pub fn across_operators() -> Self {
        Self::new(player::NATION_PLAYERS, 2)
    }

    fn new(limit: Limit, operators_min: usize) -> Self {
        Self {
            histories: Extractor::new(player::Params::default(), limit),
            operators_min,
            played: Played::default(),
            due: DuePlayers::default(),
            closed_until: Ts(0),
            open_until: Ts(0),
            copies: BTreeMap::new(),
            unscored: 0,
        }
    }

    /// What the rules say of vectors from now on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.histories.set_params(player::Params::of(set));
    }

    /// Takes a record in. `is_scored`: a model is promoted, and who plays is scored when the day is over.
    pub fn hear(&mut self, operator: OperatorNo, record: &Record, spans: &Spans, is_scored: bool) {
        // what is nobody's needs no details
        if record.player.is_some() {
            self.hear_with(operator, (record, &Details::of(record)), spans, is_scored);
        }
    }

    /// The same across operators, of a player whom the rules know at some places, this one among them: below two it says
    /// nothing, unless they have been heard of before.
    pub fn hear_across(
        &mut self,
        (operator, places): (OperatorNo, &[Place]),
        record: &Record,
        spans: &Spans,
        is_scored: bool,
    ) {
        let Some(player) = record.player.filter(|_| record.kind.is_play()) else { return };
        if self.histories.known(player.0, record.currency).is_none() {
            if places.len() < self.operators_min {
                return;
            }
            let operators = places.iter().map(|place| place.operator);
            self.histories.been_at(player.0, record.currency, operators);
        }
        self.hear(operator, record, spans, is_scored);
    }

    /// Takes in a record whose details are read already.
    pub(super) fn hear_with(
        &mut self,
        operator: OperatorNo,
        of: (&Record, &Details<'_>),
        spans: &Spans,
        is_scored: bool,
    ) {
        let (record, _) = of;
        let Some(player) = record.player.filter(|_| record.kind.is_play()) else { return };
        self.write_before(player.0, record.currency);
        self.copy(player.0, operator, of, spans);
        let operators = self.histories.hear_with(operator, of, spans);
        if is_scored && operators >= self.operators_min {
            let end = spans.day.end.max(self.closed_until);
            self.unscored += u64::from(!self.played.note((player.0, record.currency), end));
        }
    }

    /// Who is due is scored as they were when their day was told over: the vector is written before more is heard of them.
    fn write_before(&mut self, player: Key, currency: Currency) {
        let Some(due) = self.due.get(player, currency).filter(|due| due.vector.is_empty()) else { return };
        if let Some(known) = self.histories.known(player, currency) {
            let mut vector = [0.0; player::WIDTH];
            write_of(known, due.has_low_balance, due.as_of, &mut vector);
            self.due.write(player, currency, bits(&vector));
        } else {
            // forgotten at the limit: what comes now is the beginning of another history
            self.unscored += 1;
            self.no_longer_due(MatchKey(player), currency, Ts(i64::MAX));
        }
    }

    /// Keeps a history as of the end of the day that is not told over, apart from one that goes on behind it.
    fn copy(&mut self, player: Key, operator: OperatorNo, of: (&Record, &Details<'_>), spans: &Spans) {
        let (record, _) = of;
        if self.open_until.0 == 0 {
            return;
        }
        let key = player_key(player, record.currency);
        if record.occurred_at < self.open_until {
            if let Some(copy) = self.copies.get_mut(&key) {
                self.histories.hear_copy(copy, operator, of, spans);
            }
        } else if self.copies.len() < COPIES_MAX && !self.copies.contains_key(&key) {
            let copy = self.histories.known(player, record.currency).cloned().unwrap_or_default();
            self.copies.insert(key, copy);
        }
    }

    /// A day is over: whoever has played until its end is due, who has played behind it is not yet.
    pub fn close_day(&mut self, end: Ts) {
        let over = self.played.take_until(end);
        let mut copies = std::mem::take(&mut self.copies);
        if end != self.open_until {
            // as of the end of another day
            copies.clear();
        }
        for (player, currency) in over {
            self.make_due((player, currency), end, copies.get(&player_key(player, currency)));
        }
        self.closed_until = self.closed_until.max(end);
    }

    fn make_due(&mut self, (player, currency): (Key, Currency), as_of: Ts, copy: Option<&Behaviour>) {
        let has_low_balance = self.histories.has_low_balance(currency);
        let vector = match copy {
            // at the others they were seen behind the end
            Some(copy) if copy.operators.len() < self.operators_min => return,
            Some(copy) => {
                let mut vector = [0.0; player::WIDTH];
                write_of(copy, has_low_balance, as_of, &mut vector);
                bits(&vector)
            }
            None => Vec::new(),
        };
        let goes_on = copy.is_none() && self.played.holds(player, currency);
        let is_full = self.due.len() >= PLAYED_MAX && !self.due.contains(player);
        if goes_on || is_full {
            self.unscored += 1;
            return;
        }
        self.due.insert(player, Due { currency, as_of, has_low_balance, vector });
    }

    /// Everything before this day is told: where another one was open, it is over. Clocks that run behind say nothing.
    pub fn settled(&mut self, day: Window) {
        if day.start > self.closed_until {
            let is_between = |end: &Ts| *end > self.closed_until && *end < day.start;
            let ends: Vec<Ts> = self.played.ends().filter(is_between).collect();
            ends.into_iter().for_each(|end| self.close_day(end));
            self.close_day(day.start);
        }
        self.open_until = self.open_until.max(day.end);
    }

    /// Somebody is to be scored: as of when, the oldest first, and the first ones, at most `max`.
    #[must_use]
    pub fn due(&self, max: usize) -> Option<(Ts, Vec<(MatchKey, Currency)>)> {
        self.due.oldest(max)
    }

    /// Is anybody to be scored?
    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// In which currencies a player is due.
    pub fn due_in(&self, player: MatchKey) -> impl Iterator<Item = Currency> {
        self.due.of(player.0).iter().map(|due| due.currency)
    }

    /// The vector of a player who is due. False: they are not, or are forgotten, and `out` stays as it is.
    pub fn write(&self, player: MatchKey, currency: Currency, out: &mut [f32; player::WIDTH]) -> bool {
        let Some(due) = self.due.get(player.0, currency) else { return false };
        if due.vector.is_empty() {
            let Some(known) = self.histories.known(player.0, currency) else { return false };
            write_of(known, due.has_low_balance, due.as_of, out);
            return true;
        }
        for (place, bits) in out.iter_mut().zip(&due.vector) {
            *place = f32::from_bits(*bits);
        }
        true
    }

    /// The vector of a player by all that was heard of them, as of an instant. False: they are forgotten, or nothing was
    /// heard, and `out` stays as it is.
    pub fn write_at(
        &self,
        (player, currency): (MatchKey, Currency),
        as_of: Ts,
        out: &mut [f32; player::WIDTH],
    ) -> bool {
        let Some(known) = self.histories.known(player.0, currency) else { return false };
        write_of(known, self.histories.has_low_balance(currency), as_of, out);
        true
    }

    /// Scores are stored.
    pub fn said(&mut self, scored: &PlayersScored) {
        for player in &scored.players {
            self.no_longer_due(player.player, player.currency, scored.as_of);
        }
    }

    /// Somebody is not to be scored any more as of an instant; a later day of theirs is.
    pub fn no_longer_due(&mut self, player: MatchKey, currency: Currency, as_of: Ts) {
        self.due.remove(player.0, currency, as_of);
    }

    /// No model of player risk is promoted any more: nobody is due.
    pub fn forget_due(&mut self) {
        self.due.clear();
        self.played.clear();
    }

    /// Players whose history was forgotten at the limit, and those who went without a score.
    #[must_use]
    pub fn forgotten(&self) -> (u64, u64) {
        (self.histories.players().1, self.unscored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::calendar::Calendar;
    use crate::rules::input::{Facts, Input};
    use crate::rules::nation::NationRules;
    use crate::windows::tests::record;
    use jiff::tz::TimeZone;
    use models::jurisdiction::JurisdictionNo;
    use models::record::RecordKind;
    use models::ts::{DAY, MINUTE};

    const BEGIN: Ts = Ts(1_772_398_800_000_000);

    fn stake(player: u128, hour: i64) -> Record {
        record(RecordKind::Stake, BEGIN.plus(hour * HOUR), 100, player)
    }

    fn zone() -> TimeZone {
        TimeZone::get("Africa/Nairobi").unwrap()
    }

    /// A jurisdiction's players, with what the rules know of them.
    struct Across {
        rules: NationRules,
        players: LivePlayers,
        calendar: Calendar,
    }

    impl Across {
        fn new() -> Self {
            let rules = NationRules::new(JurisdictionNo(0), zone(), &RuleSet::new("KE", Vec::new()).unwrap());
            Self { rules, players: LivePlayers::across_operators(), calendar: Calendar::new(zone()) }
        }

        fn hear(&mut self, operator: u16, record: &Record, is_scored: bool) {
            let (operator, facts) = (OperatorNo(operator), Facts { is_identified: true, ..Facts::default() });
            self.rules.hear(operator, &Input::Play { record, facts: &facts }, &mut Vec::new());
            let spans = self.calendar.spans(record.occurred_at);
            let places = self.rules.places(record.player.unwrap(), record.currency);
            self.players.hear_across((operator, places), record, &spans, is_scored);
        }

        /// The operators have told of everything before the day of an hour.
        fn settled(&mut self, hour: i64) {
            let day = self.calendar.spans(BEGIN.plus(hour * HOUR)).day;
            self.players.settled(day);
        }

        /// The bits of a vector.
        fn vector(&self, player: u128) -> Option<Vec<u32>> {
            let (player, mut out) = (stake(player, 0).player.unwrap(), [0.0; player::WIDTH]);
            self.players.write(player, Currency::KES, &mut out).then(|| bits(&out))
        }
    }

    /// (player, operator, hour) of stakes; who is due when the day's end is settled.
    fn due_after(plays: &[(u128, u16, i64)], is_scored: bool) -> Vec<MatchKey> {
        let mut all = Across::new();
        all.settled(0);
        for (player, operator, hour) in plays {
            all.hear(*operator, &stake(*player, *hour), is_scored);
        }
        assert_eq!(all.players.due(9), None, "the day is not over");
        all.settled(1);
        assert_eq!(all.players.due(9), None, "nor is it now");
        all.settled(24);
        let Some((as_of, due)) = all.players.due(9) else { return Vec::new() };
        assert_eq!(as_of, BEGIN.plus(DAY));
        due.into_iter().map(|(player, _)| player).collect()
    }

    #[test]
    fn who_plays_at_several_operators_is_due() {
        for (what, plays, is_scored, wanted) in [
            ("one operator", &[(1, 1, 1), (1, 1, 2)][..], true, &[][..]),
            ("two", &[(1, 1, 1), (1, 2, 2)], true, &[1]),
            ("two people at one each", &[(1, 1, 1), (2, 2, 2)], true, &[]),
            ("nothing is promoted", &[(1, 1, 1), (1, 2, 2)], false, &[]),
            ("two, of which the first is heard of late", &[(1, 1, 1), (1, 2, -30)], true, &[1]),
            ("the second one behind midnight, before the day is told over", &[(1, 1, 1), (1, 2, 24)], true, &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().filter_map(|player| stake(*player, 1).player).collect();
            assert_eq!(due_after(plays, is_scored), wanted, "{what}");
        }
    }

    #[test]
    fn a_day_told_over_later_has_its_own_records_and_no_others() {
        // hours of stakes as they are told, at two operators in turn, before the day is told over; hours of the day
        for (what, hours, own) in [
            ("all of the day", &[1, 2, 3, 23][..], &[1, 2, 3, 23][..]),
            ("one of the next day at the end", &[1, 2, 3, 24], &[1, 2, 3]),
            ("one of the next day in between", &[1, 2, 24, 3, 23, 24], &[1, 2, 3, 23]),
            ("late ones of the day before", &[1, 2, -5, 24, -7, 3], &[1, 2, -5, -7, 3]),
        ] {
            let turn = |n: usize| 1 + n as u16 % 2;
            let (mut all, mut alone) = (Across::new(), Across::new());
            all.settled(-24);
            alone.settled(-24);
            // known at both from the day before on
            for (n, hour) in [-20, -19].into_iter().enumerate() {
                all.hear(turn(n), &stake(1, hour), true);
                alone.hear(turn(n), &stake(1, hour), true);
            }
            all.settled(0);
            alone.settled(0);
            for (n, hour) in hours.iter().enumerate() {
                all.hear(turn(n), &stake(1, *hour), true);
                if own.contains(hour) {
                    alone.hear(turn(n), &stake(1, *hour), true);
                }
            }
            all.settled(24);
            alone.settled(24);
            let wanted = alone.vector(1);
            assert!(wanted.is_some() && all.vector(1) == wanted, "{what}");
            // and it stays so whatever is heard until it is scored, also across a restart
            let bytes = crate::snapshot::write(&all.players).unwrap();
            all.players = crate::snapshot::read(&bytes).unwrap();
            for hour in [25, 2, 26] {
                all.hear(1, &stake(1, hour), true);
            }
            assert_eq!((all.vector(1), all.players.due(9).map(|due| due.0)), (wanted, Some(BEGIN.plus(DAY))), "{what}");
            // who has played behind midnight is due at the next end
            let as_of = BEGIN.plus(DAY);
            all.players.no_longer_due(stake(1, 0).player.unwrap(), Currency::KES, as_of);
            assert_eq!(all.players.due(9), None, "{what}");
            all.settled(48);
            assert_eq!(all.players.due(9).map(|due| due.0), Some(BEGIN.plus(2 * DAY)), "{what}");
        }
    }

    #[test]
    fn each_day_is_due_by_itself_and_a_newer_one_takes_its_place() {
        let mut all = Across::new();
        all.settled(0);
        for (operator, player, hour) in [(1, 1, 1), (2, 1, 2), (1, 2, 3), (2, 2, 4)] {
            all.hear(operator, &stake(player, hour), true);
        }
        all.settled(24);
        let [one, other] = [1, 2].map(|player| stake(player, 0).player.unwrap());
        all.hear(1, &stake(1, 30), true);
        all.settled(48);
        // the other one has not played since
        assert_eq!(all.players.due(9), Some((BEGIN.plus(DAY), vec![(other, Currency::KES)])));
        let said = |player, day: i64| PlayersScored {
            version: 1,
            as_of: BEGIN.plus(day * DAY),
            said_at: None,
            nameless: Vec::new(),
            told: Vec::new(),
            players: vec![models::score::ScoredPlayer {
                player,
                currency: Currency::KES,
                score_ppm: 1,
                reasons: Vec::new(),
            }],
        };
        all.players.said(&said(other, 1));
        // what was said of the day before says nothing of the newer one
        all.players.said(&said(one, 1));
        assert_eq!(all.players.due(9), Some((BEGIN.plus(2 * DAY), vec![(one, Currency::KES)])));
        all.players.said(&said(one, 2));
        assert_eq!(all.players.due(9), None);
    }

    #[test]
    fn who_plays_at_one_operator_takes_no_room_across_them() {
        let mut all = Across::new();
        all.settled(0);
        for player in 1..=100 {
            all.hear(1, &stake(player, 1), true);
        }
        assert_eq!(all.players.histories.players().0, 0);
        for player in 1..=3 {
            all.hear(2, &stake(player, 2), true);
            all.hear(1, &stake(player, 3), true);
        }
        assert_eq!(all.players.histories.players().0, 3);
        all.settled(24);
        let of = |name: &str| {
            let place = player::names().iter().position(|known| *known == name).unwrap();
            f32::from_bits(all.vector(1).unwrap()[place])
        };
        // the bet at the first one before the second was seen is lost, that it was one is not
        assert_eq!((of("bets_day_1m"), of("operators")), (2.0, 2.0));
    }

    #[test]
    fn a_currency_is_due_by_itself_and_of_nobody_is_there_a_vector() {
        let mut calendar = Calendar::new(zone());
        let mut players = LivePlayers::of_operator();
        let euros = Record { currency: Currency::EUR, ..stake(1, 2) };
        for record in [stake(1, 1), euros] {
            players.hear(OperatorNo(1), &record, &calendar.spans(record.occurred_at), true);
        }
        let (who, mut out) = (stake(1, 0).player.unwrap(), [0.0; player::WIDTH]);
        assert!(!players.write(who, Currency::KES, &mut out), "not before the day is over");
        players.close_day(BEGIN.plus(DAY));
        assert_eq!(players.due_in(who).collect::<Vec<_>>(), [Currency::KES, Currency::EUR]);
        players.no_longer_due(who, Currency::EUR, BEGIN.plus(DAY));
        assert!(players.write(who, Currency::KES, &mut out) && !players.write(who, Currency::EUR, &mut out));
    }

    #[test]
    fn who_goes_on_without_a_copy_has_no_score_of_the_day() {
        let mut all = Across::new();
        all.settled(0);
        let late = |player: u128| record(RecordKind::Stake, BEGIN.plus(DAY + MINUTE), 100, player);
        let last = 1 + COPIES_MAX as u128;
        for player in 1..=last {
            for operator in [1, 2] {
                all.hear(operator, &stake(player, 1), true);
            }
        }
        for player in 1..=last {
            all.hear(1, &late(player), true);
        }
        all.settled(24);
        assert_eq!((all.players.due.len(), all.players.forgotten().1), (COPIES_MAX, 1));
        assert_eq!(all.vector(last), None);
    }

    #[test]
    fn a_clock_that_runs_behind_ends_no_day() {
        let mut calendar = Calendar::new(zone());
        let mut players = LivePlayers::of_operator();
        let spans = calendar.spans(BEGIN);
        players.settled(spans.day);
        players.hear(OperatorNo(1), &stake(1, 0), &spans, true);
        players.settled(calendar.spans(BEGIN.plus(-9 * DAY)).day);
        assert_eq!(players.due(9), None);
        players.settled(calendar.spans(BEGIN.plus(DAY)).day);
        assert_eq!(players.due(9).map(|(as_of, _)| as_of), Some(BEGIN.plus(DAY)));
    }
}
