//! Rules across operators: one book for a jurisdiction, fed with the same inputs and the operator that sent each.
//!
//! Only players whom the register can know are joined: an operator's own account number names nobody elsewhere.

use crate::rules::book::{player_key, spans_of};
use crate::rules::calendar::{Calendar, Spans};
use crate::rules::finding::{Finding, Scope};
use crate::rules::input::{Facts, Input, Trigger};
use crate::rules::rings::{Alike, Ring, Rings};
use crate::rules::ruleset::{Active, RuleSet};
use crate::rules::standing::{Out, Standing};
use crate::rules::table::{Key, Limit, Table, Weigh};
use jiff::tz::TimeZone;
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::score::ScoredPlayer;
use models::ts::Ts;
use serde::{Deserialize, Serialize};

/// Players of all operators.
pub const NATION_PLAYERS: Limit = Limit { entries: 1 << 20, bytes: 256 << 20 };
/// Operators of a player that are remembered, those with whom they played last.
pub const PLACES_MAX: usize = 8;
/// Deposits and withdrawals of a player that are remembered, over all operators.
pub const MOVES_MAX: usize = 32;

/// A player at an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Where.
    pub operator: OperatorNo,
    /// Newest stake or ticket; 0 = none.
    pub played_at: Ts,
    /// Its record.
    pub played_id: Box<str>,
    /// Month of the sum.
    pub month: Ts,
    /// Deposits less withdrawals of the month, minor units.
    pub net_minor: i64,
}

/// A deposit or a withdrawal somewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Moved {
    pub at: Ts,
    pub operator: OperatorNo,
    /// Minor units; of a withdrawal below 0.
    pub amount_minor: i64,
    pub id: Box<str>,
}

impl Moved {
    fn is_deposit(&self) -> bool {
        self.amount_minor > 0
    }
}

/// A player at all operators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NationPlayer {
    /// Where they were last, in the order in which they came there.
    pub places: Vec<Place>,
    /// The newest deposits and withdrawals, oldest first.
    moves: Vec<Moved>,
}

impl Weigh for NationPlayer {
    fn weigh(&self) -> usize {
        let places: usize = self.places.iter().map(|place| size_of::<Place>() + place.played_id.len()).sum();
        let moves: usize = self.moves.iter().map(|moved| size_of::<Moved>() + moved.id.len()).sum();
        places + moves
    }
}

impl NationPlayer {
    /// The deposits that are remembered, oldest first.
    pub fn deposits(&self) -> impl DoubleEndedIterator<Item = &Moved> {
        self.moves.iter().filter(|moved| moved.is_deposit())
    }

    fn is_at(&self, operator: OperatorNo) -> bool {
        self.places.iter().any(|place| place.operator == operator)
    }

    fn place(&mut self, operator: OperatorNo) -> &mut Place {
        let known = self.places.iter().position(|place| place.operator == operator);
        let at = known.unwrap_or_else(|| {
            if self.places.len() >= PLACES_MAX {
                let oldest = (0..self.places.len()).min_by_key(|at| (self.places[*at].played_at, *at));
                oldest.map(|at| self.places.remove(at));
            }
            let none = Ts(0);
            let new = Place { operator, played_at: none, played_id: "".into(), month: none, net_minor: 0 };
            // most people play at one operator, and a push alone takes room for four
            self.places.reserve_exact(1);
            self.places.push(new);
            self.places.len() - 1
        });
        &mut self.places[at]
    }

    fn add(&mut self, operator: OperatorNo, month: Window, net_minor: i64) {
        let place = self.place(operator);
        if place.month < month.start {
            (place.month, place.net_minor) = (month.start, 0);
        }
        // what comes late for a month that is over is no longer summed
        if place.month == month.start {
            place.net_minor = place.net_minor.saturating_add(net_minor);
        }
    }

    fn moved(&mut self, new: Moved, month: Window) {
        self.add(new.operator, month, new.amount_minor);
        let place = self.moves.partition_point(|moved| moved.at <= new.at);
        self.moves.insert(place, new);
        if self.moves.len() > MOVES_MAX {
            self.moves.remove(0);
        }
    }

    /// Takes a record in; gives what it takes back.
    fn note(&mut self, operator: OperatorNo, record: &Record, spans: &Spans) -> Option<Moved> {
        let (at, amount) = (record.occurred_at, record.amount_minor);
        let replaced = record.replaces.as_ref();
        let of = |moved: &Moved| replaced.is_some_and(|id| *moved.id == **id) && moved.operator == operator;
        let undone = self.moves.iter().position(of).map(|place| self.moves.remove(place));
        if let Some(was) = &undone
            && (spans.month.start..spans.month.end).contains(&was.at)
        {
            self.add(operator, spans.month, -was.amount_minor);
        }
        match Trigger::of(record) {
            Some(Trigger::Bet) => {
                let place = self.place(operator);
                if at >= place.played_at {
                    (place.played_at, place.played_id) = (at, record.record_id.as_str().into());
                }
            }
            Some(trigger @ (Trigger::Deposit | Trigger::Withdrawal)) => {
                let amount_minor = if trigger == Trigger::Deposit { amount } else { -amount };
                let id = record.record_id.as_str().into();
                self.moved(Moved { at, operator, amount_minor, id }, spans.month);
            }
            _ => {}
        }
        undone
    }
}

/// What a rule over all operators sees.
#[derive(Clone, Copy)]
pub struct NationHeard<'a> {
    /// The input.
    pub input: &'a Input<'a>,
    /// As what it is heard.
    pub trigger: Trigger,
    /// Its time.
    pub at: Ts,
    /// The spans it lies in.
    pub spans: Spans,
    /// Whose input it is: an operator's, or a score across operators.
    pub operator: OperatorNo,
    /// When the deposit was made that it takes back; none where it takes a withdrawal back.
    pub undone_at: Option<Ts>,
    /// Its player, after it.
    pub player: Key,
    /// What is known of them.
    pub known: &'a NationPlayer,
    /// The people of the device, where they were heard of on it anew.
    pub device: Option<(Key, &'a Ring)>,
    /// The people who were paid out to the account, where they are one of them anew.
    pub account: Option<(Key, &'a Ring)>,
    /// Which operators name people alike.
    pub alike: &'a Alike,
    /// What is in force of other rules.
    pub(super) active: &'a Active,
}

impl<'a> NationHeard<'a> {
    /// An input of an operator about somebody, with which nothing is taken back, and nobody is new on a device or at an account.
    fn new(
        (input, trigger, operator): (&'a Input<'a>, Trigger, OperatorNo),
        (at, spans): (Ts, Spans),
        (player, known): (Key, &'a NationPlayer),
        (alike, active): (&'a Alike, &'a Active),
    ) -> Self {
        let (undone_at, device, account) = (None, None, None);
        Self { input, trigger, at, spans, operator, undone_at, player, known, device, account, alike, active }
    }

    /// The record, where it is one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        if let Input::Play { record, .. } = self.input { Some(record) } else { None }
    }

    /// Is the record's money in a rule's currency?
    #[must_use]
    pub fn is_in(&self, currency: Currency) -> bool {
        self.record().is_some_and(|record| record.currency == currency)
    }
}

/// The rules of a jurisdiction over all of its operators.
#[derive(Clone, Debug)]
pub struct NationRules {
    pub(super) scope: Scope,
    pub(super) calendar: Calendar,
    pub(super) active: Active,
    pub(super) players: Table<NationPlayer>,
    pub(super) rings: Rings,
    pub(super) standing: Standing,
}

impl NationRules {
    /// Before any input. Days and months are cut in `zone`.
    #[must_use]
    pub fn new(jurisdiction: JurisdictionNo, zone: TimeZone, set: &RuleSet) -> Self {
        Self::with_limit(jurisdiction, zone, set, NATION_PLAYERS)
    }

    /// The same with another limit of players.
    #[must_use]
    pub fn with_limit(jurisdiction: JurisdictionNo, zone: TimeZone, set: &RuleSet, limit: Limit) -> Self {
        Self {
            scope: Scope::Nation(jurisdiction),
            calendar: Calendar::new(zone),
            active: set.active(),
            players: Table::new(limit),
            rings: Rings::default(),
            standing: Standing::default(),
        }
    }

    /// Other versions from now on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.active = set.active();
    }

    /// Players known, and forgotten at the limit.
    #[must_use]
    pub fn players(&self) -> (usize, u64) {
        (self.players.len(), self.players.evicted())
    }

    /// Devices and payment accounts of people of all operators.
    #[must_use]
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    /// Where a player is known, in a currency: operators with whom they bet, paid in or were paid, at most [`PLACES_MAX`].
    /// Nowhere, where nothing was heard of them or they were forgotten at the limit.
    #[must_use]
    pub fn places(&self, player: MatchKey, currency: Currency) -> &[Place] {
        self.players.get(player_key(player.0, currency)).map_or(&[], |known| &known.places)
    }

    /// Findings that are remembered.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The spans of an instant, in the jurisdiction's time.
    pub fn spans(&mut self, at: Ts) -> Spans {
        self.calendar.spans(at)
    }

    /// Takes an input in: of operators, records of play of identified players matter, and of the jurisdiction's own
    /// inputs scores of players across operators.
    pub fn hear(&mut self, operator: OperatorNo, input: &Input<'_>, findings: &mut Vec<Finding>) {
        match *input {
            Input::Play { record, facts: Facts { is_identified: true, .. } } => {
                self.play(operator, (input, record), findings);
            }
            Input::PlayerScored { scored, .. } => self.scored(operator, (input, scored), findings),
            _ => {}
        }
    }

    fn play(&mut self, operator: OperatorNo, (input, record): (&Input<'_>, &Record), findings: &mut Vec<Finding>) {
        let Some(player) = record.player else { return };
        let trigger = match Trigger::of(record) {
            trigger @ Some(Trigger::Bet | Trigger::Deposit | Trigger::Withdrawal) => trigger,
            _ if record.replaces.is_some() => None,
            Some(Trigger::Entry) if record.device.is_some() => {
                return self.entered(operator, (input, record), findings);
            }
            _ => return,
        };
        let (at, spans) = spans_of(&mut self.calendar, input);
        let Self { scope, active, players, rings, standing, .. } = self;
        let active = &*active;
        let place = players.touch(player_key(player.0, record.currency));
        let (was, is_new) = players.change(place, |known| {
            let knew = known.is_at(operator);
            (known.note(operator, record, &spans), !knew && known.is_at(operator))
        });
        let known = players.at(place);
        if is_new {
            let others = known.places.iter().filter(|place| place.operator != operator);
            others.for_each(|other| rings.alike.add(player.0, (operator, other.operator)));
        }
        let joined = rings.note(operator, record, trigger);
        let (device, account) = rings.at(joined);
        let alike = &rings.alike;
        let undone = was.as_ref().map(|_| Trigger::Undone);
        let undone_at = was.filter(Moved::is_deposit).map(|was| was.at);
        let player = player.0;
        for trigger in [undone, trigger].into_iter().flatten() {
            let heard = NationHeard {
                undone_at,
                device,
                account,
                ..NationHeard::new((input, trigger, operator), (at, spans), (player, known), (alike, active))
            };
            judge((*scope, active, standing), &heard, findings);
        }
    }

    /// Somebody came in on a device. Whoever does no more than that takes no room among the players.
    fn entered(&mut self, operator: OperatorNo, (input, record): (&Input<'_>, &Record), findings: &mut Vec<Finding>) {
        let (Some(player), trigger) = (record.player, Trigger::Entry) else { return };
        let joined = self.rings.note(operator, record, Some(trigger));
        if joined.device.is_none() {
            return;
        }
        let (at, spans) = spans_of(&mut self.calendar, input);
        let Self { scope, active, players, rings, standing, .. } = self;
        let active = &*active;
        let (none, alike) = (NationPlayer::default(), &rings.alike);
        let known = players.get(player_key(player.0, record.currency)).unwrap_or(&none);
        let (device, account) = rings.at(joined);
        let player = player.0;
        let heard = NationHeard {
            device,
            account,
            ..NationHeard::new((input, trigger, operator), (at, spans), (player, known), (alike, active))
        };
        judge((*scope, active, standing), &heard, findings);
    }

    fn scored(
        &mut self,
        operator: OperatorNo,
        (input, scored): (&Input<'_>, &ScoredPlayer),
        findings: &mut Vec<Finding>,
    ) {
        let (at, spans) = spans_of(&mut self.calendar, input);
        let Self { scope, active, players, rings, standing, .. } = self;
        let active = &*active;
        let (trigger, none) = (Trigger::PlayerScored, NationPlayer::default());
        let known = players.get(player_key(scored.player.0, scored.currency)).unwrap_or(&none);
        let (player, alike) = (scored.player.0, &rings.alike);
        let heard = NationHeard::new((input, trigger, operator), (at, spans), (player, known), (alike, active));
        judge((*scope, active, standing), &heard, findings);
    }
}

/// Asks every version in force that listens.
fn judge(
    (scope, active, standing): (Scope, &Active, &mut Standing),
    heard: &NationHeard<'_>,
    findings: &mut Vec<Finding>,
) {
    for version in active.national(heard.trigger, heard.at) {
        let mut out = Out::new(standing, version.about(scope, heard.at), heard.record(), findings);
        version.params.judge_nation(heard, &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::tests::record;
    use models::record::RecordKind;

    #[test]
    fn whoever_was_forgotten_and_comes_back_is_no_other_one() {
        let small = Limit { entries: 1, bytes: 1 << 20 };
        let set = RuleSet::standard("KE");
        let mut rules = NationRules::with_limit(JurisdictionNo(0), TimeZone::UTC, &set, small);
        let facts = Facts { is_identified: true, ..Facts::default() };
        // player, operator, and how many both operators have named alike by then
        let table = [(1, 1, 0), (1, 2, 1), (2, 1, 1), (1, 1, 1), (1, 2, 1), (2, 2, 1), (2, 1, 2), (1, 2, 2)];
        for (minute, (player, operator, count)) in (0i64..).zip(table) {
            let record = record(RecordKind::Stake, Ts(minute * models::ts::MINUTE), 5, player);
            let input = Input::Play { record: &record, facts: &facts };
            rules.hear(OperatorNo(operator), &input, &mut Vec::new());
            assert_eq!(rules.rings.alike.count(OperatorNo(1), OperatorNo(2)), count, "minute {minute}");
        }
        assert!(rules.players().1 > 0);
    }
}
