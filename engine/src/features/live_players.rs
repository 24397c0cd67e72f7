//! Histories of players while they play, and whose vector is to be scored.
//!
//! ```text
//! record ─▶ hear ─▶ who has played ─ the day is over ─▶ due ─▶ (scored by the caller) ─▶ stored as an input ─▶ said
//! ```
//! An operator's actor keeps those of its players, a jurisdiction's actor those of whoever plays at several operators.

use super::details::Details;
use super::player::{self, Extractor};
use crate::rules::calendar::Spans;
use crate::rules::ruleset::RuleSet;
use crate::rules::table::Limit;
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::score::PlayersScored;
use models::ts::{HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Players of a day that are scored at its end; beyond, they wait for another day of theirs.
pub const PLAYED_MAX: usize = player::OPERATOR_PLAYERS.entries as usize;
/// How long after its end a day is over for a jurisdiction: the last operators have told of it by then.
pub const DAY_SETTLED_AFTER: i64 = HOUR;

/// Players by key and currency.
type Players = BTreeMap<u128, Vec<Currency>>;

/// The state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LivePlayers {
    histories: Extractor,
    /// Whoever was seen at fewer operators is nobody to score.
    operators_min: usize,
    /// Who has played on the day that is not over.
    played: Players,
    /// Who is to be scored, as of an instant.
    due: Players,
    due_as_of: Ts,
    /// End of the day that is not over, where days are told by [`LivePlayers::settled`]; 0 = none was.
    open_until: Ts,
    /// Those for whom there was no room.
    unscored: u64,
}

fn note(players: &mut Players, player: u128, currency: Currency) -> bool {
    if players.len() >= PLAYED_MAX && !players.contains_key(&player) {
        return false;
    }
    let currencies = players.entry(player).or_default();
    if !currencies.contains(&currency) {
        currencies.push(currency);
    }
    true
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
            played: Players::new(),
            due: Players::new(),
            due_as_of: Ts(0),
            open_until: Ts(0),
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

    /// The same of a record whose details are read already.
    pub(super) fn hear_with(
        &mut self,
        operator: OperatorNo,
        of: (&Record, &Details<'_>),
        spans: &Spans,
        is_scored: bool,
    ) {
        let operators = self.histories.hear_with(operator, of, spans);
        let (record, _) = of;
        if let (true, Some(player)) = (is_scored && operators >= self.operators_min, record.player)
            && !note(&mut self.played, player.0, record.currency)
        {
            self.unscored += 1;
        }
    }

    /// A day is over: whoever has played is due.
    pub fn close_day(&mut self, end: Ts) {
        for (player, currencies) in std::mem::take(&mut self.played) {
            for currency in currencies {
                if !note(&mut self.due, player, currency) {
                    self.unscored += 1;
                }
            }
        }
        self.due_as_of = self.due_as_of.max(end);
    }

    /// Everything before this day is told: where another one was open, it is over. Clocks that run behind say nothing.
    pub fn settled(&mut self, day: models::alert::Window) {
        if self.open_until.0 > 0 && day.start >= self.open_until {
            self.close_day(day.start);
        }
        self.open_until = self.open_until.max(day.end);
    }

    /// Somebody is to be scored: as of when, and the first ones, at most `max`.
    #[must_use]
    pub fn due(&self, max: usize) -> Option<(Ts, Vec<(MatchKey, Currency)>)> {
        let each = self.due.iter().flat_map(|(key, currencies)| currencies.iter().map(move |c| (MatchKey(*key), *c)));
        let first: Vec<_> = each.take(max).collect();
        (!first.is_empty()).then_some((self.due_as_of, first))
    }

    /// The vector of a player. False: they are forgotten, and `out` stays as it is.
    pub fn write(&self, player: MatchKey, currency: Currency, as_of: Ts, out: &mut [f32; player::WIDTH]) -> bool {
        self.histories.write(player.0, currency, as_of, out)
    }

    /// Scores are stored.
    pub fn said(&mut self, scored: &PlayersScored) {
        for player in &scored.players {
            self.no_longer_due(player.player, player.currency);
        }
    }

    /// Somebody is not to be scored any more.
    pub fn no_longer_due(&mut self, player: MatchKey, currency: Currency) {
        if let Some(currencies) = self.due.get_mut(&player.0) {
            currencies.retain(|known| *known != currency);
            if currencies.is_empty() {
                self.due.remove(&player.0);
            }
        }
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
    use crate::windows::tests::record;
    use jiff::tz::TimeZone;
    use models::record::RecordKind;
    use models::ts::DAY;

    const BEGIN: Ts = Ts(1_772_398_800_000_000);

    fn stake(player: u128, hour: i64) -> Record {
        record(RecordKind::Stake, BEGIN.plus(hour * HOUR), 100, player)
    }

    /// (player, operator, hour) of stakes; who is due when the day's end is settled.
    fn due_after(plays: &[(u128, u16, i64)], is_scored: bool) -> Vec<MatchKey> {
        let mut calendar = Calendar::new(TimeZone::get("Africa/Nairobi").unwrap());
        let mut players = LivePlayers::across_operators();
        players.settled(calendar.spans(BEGIN).day);
        for (player, operator, hour) in plays {
            let record = stake(*player, *hour);
            players.hear(OperatorNo(*operator), &record, &calendar.spans(record.occurred_at), is_scored);
        }
        assert_eq!(players.due(9), None, "the day is not over");
        players.settled(calendar.spans(BEGIN.plus(HOUR)).day);
        assert_eq!(players.due(9), None, "nor is it now");
        players.settled(calendar.spans(BEGIN.plus(DAY)).day);
        let Some((as_of, due)) = players.due(9) else { return Vec::new() };
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
        ] {
            let wanted: Vec<_> = wanted.iter().filter_map(|player| stake(*player, 1).player).collect();
            assert_eq!(due_after(plays, is_scored), wanted, "{what}");
        }
    }

    #[test]
    fn a_clock_that_runs_behind_ends_no_day() {
        let mut calendar = Calendar::new(TimeZone::get("Africa/Nairobi").unwrap());
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
