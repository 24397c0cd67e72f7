//! What an operator's actor keeps for models: the histories that vectors are made of, and what was scored or is to be.
//!
//! ```text
//! record ─▶ hear ─▶ vector of the record ─▶ (scored by the caller) ─▶ unsaid ─▶ stored as an input ─▶ said
//!            └▶ players of the day ─ the day is over ─▶ due ─▶ (scored) ─▶ stored as an input ─▶ no longer due
//! ```
//! Histories are kept whether a model is promoted or not: one that is promoted later then finds what it was learnt from.
//! The state is a function of the stored inputs and of the place in the journal from which on a model scores, so that a
//! restart in the middle gives the same vectors, bit for bit.

use super::details::Details;
use super::live_players::LivePlayers;
use super::transaction;
use crate::rules::ruleset::RuleSet;
use crate::rules::run::Heard;
use crate::snapshot::{self, SnapshotError};
use models::ids::OperatorNo;
use models::score::RecordsScored;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Inputs whose scores wait to be stored; beyond, the oldest go without.
pub const UNSAID_MAX: usize = 256;

/// Which models score what is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scoring {
    /// A model of transaction risk is promoted: vectors of records are wanted.
    pub records: bool,
    /// A model of player risk is promoted: who plays is scored when the day is over.
    pub players: bool,
}

/// The state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveFeatures {
    records: transaction::Extractor,
    /// Its players.
    pub players: LivePlayers,
    unsaid: VecDeque<RecordsScored>,
    /// The newest input whose scores are stored.
    said: i64,
    /// Inputs that went without scores.
    unscored: u64,
}

impl Default for LiveFeatures {
    fn default() -> Self {
        Self {
            records: transaction::Extractor::default(),
            players: LivePlayers::of_operator(),
            unsaid: VecDeque::new(),
            said: 0,
            unscored: 0,
        }
    }
}

impl LiveFeatures {
    /// What the rules say of vectors from now on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.records.set_params(transaction::Params::of(set));
        self.players.set_rules(set);
    }

    /// Takes in what the rules have heard. True: the record has a vector, and where one is wanted `out` is it.
    pub fn hear(
        &mut self,
        operator: OperatorNo,
        heard: &Heard<'_>,
        scoring: Scoring,
        out: &mut [f32; transaction::WIDTH],
    ) -> bool {
        if let Some(day) = heard.closed {
            self.players.close_day(day.end);
        }
        // read once for both
        let details = heard.record.map(Details::of).unwrap_or_default();
        let there = self.records.hear_with(heard, &details, scoring.records.then_some(out));
        if let Some(record) = heard.record {
            self.players.hear_with(operator, (record, &details), &heard.spans, scoring.players);
        }
        there
    }

    /// An input's records were scored; they are unsaid until they are stored.
    pub fn scored(&mut self, scored: RecordsScored) {
        self.unsaid.push_back(scored);
        if self.unsaid.len() > UNSAID_MAX {
            self.unsaid.pop_front();
            self.unscored += 1;
        }
    }

    /// Scores that are not stored yet, oldest first.
    #[must_use]
    pub fn unsaid(&self) -> &VecDeque<RecordsScored> {
        &self.unsaid
    }

    /// Scores of an input are stored. False: those of it, or of a later one, were heard before.
    pub fn said(&mut self, of: i64) -> bool {
        while self.unsaid.front().is_some_and(|scored| scored.of <= of) {
            self.unsaid.pop_front();
        }
        let is_new = of > self.said;
        self.said = self.said.max(of);
        is_new
    }

    /// What gave way at a limit, by table.
    #[must_use]
    pub fn forgotten(&self) -> [(&'static str, u64); 4] {
        [
            ("feature_records", self.records.players().1),
            ("feature_players", self.players.forgotten().0),
            ("unscored_inputs", self.unscored),
            ("unscored_players", self.players.forgotten().1),
        ]
    }

    /// Its bytes (postcard), not compressed. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        snapshot::write(self)
    }

    /// The state that bytes are of.
    ///
    /// # Errors
    /// [`SnapshotError`]: not all of the bytes are a state's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        snapshot::read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::behaviour::Behaviour;
    use crate::features::player;
    use crate::rules::input::{Facts, Input};
    use crate::rules::run::OperatorRules;
    use crate::rules::table::Limit;
    use crate::windows::tests::record;
    use jiff::tz::TimeZone;
    use models::money::Currency;
    use models::record::{Record, RecordKind};
    use models::score::{PlayersScored, ScoredPlayer, Scores};
    use models::ts::{DAY, MINUTE, Ts};
    use proptest::prelude::*;

    const ON: Scoring = Scoring { records: true, players: true };

    fn rules() -> OperatorRules {
        let zone = TimeZone::get("Africa/Nairobi").unwrap();
        OperatorRules::new(OperatorNo(1), zone, &RuleSet::new("KE", Vec::new()).unwrap())
    }

    fn play(n: usize, player: u8, amount_minor: i64, at: Ts) -> Record {
        let kinds = [RecordKind::Stake, RecordKind::Deposit, RecordKind::Withdrawal, RecordKind::Login];
        record(kinds[n % kinds.len()], at, amount_minor, u128::from(player) + 1)
    }

    /// Hears a record; gives its vector as bits.
    fn hear(rules: &mut OperatorRules, live: &mut LiveFeatures, record: &Record) -> Option<Vec<u32>> {
        let (facts, mut out, mut there) = (Facts::default(), [0.0f32; transaction::WIDTH], false);
        let input = Input::Play { record, facts: &facts };
        rules.hear_and(&input, &mut Vec::new(), |heard| there = live.hear(OperatorNo(1), heard, ON, &mut out));
        there.then(|| out.iter().map(|value| value.to_bits()).collect())
    }

    proptest! {
        #[test]
        fn a_restart_in_the_middle_gives_the_same_vectors(
            acts in prop::collection::vec((0u8..5, 1i64..100_000, 0i64..400), 2..80), cut in 0usize..80,
        ) {
            let (mut at, mut records) = (Ts(1_772_398_800_000_000), Vec::new());
            for (n, (player, amount, wait)) in acts.into_iter().enumerate() {
                at = at.plus(wait * MINUTE);
                records.push(play(n, player, amount, at));
            }
            let cut = cut.min(records.len());
            let (mut whole, mut live) = (rules(), LiveFeatures::default());
            let mut wanted = Vec::new();
            let (mut half, mut other) = (rules(), LiveFeatures::default());
            for (n, record) in records.iter().enumerate() {
                if n == cut {
                    (half, other) = (
                        rules().with_bytes(&whole.to_bytes().unwrap()).unwrap(),
                        LiveFeatures::from_bytes(&live.to_bytes().unwrap()).unwrap(),
                    );
                }
                let vector = hear(&mut whole, &mut live, record);
                if n >= cut {
                    prop_assert_eq!(&hear(&mut half, &mut other, record), &vector);
                }
                wanted.push(vector);
            }
            if cut < records.len() {
                prop_assert_eq!(live.to_bytes().unwrap(), other.to_bytes().unwrap());
                prop_assert_eq!(live.players.due(9), other.players.due(9));
            }
            prop_assert!(wanted.iter().any(Option::is_some) || records.iter().all(|r| r.kind == RecordKind::Login));
        }

        #[test]
        fn any_bytes_are_a_state_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(state) = LiveFeatures::from_bytes(&bytes) {
                prop_assert!(state.to_bytes().is_ok());
            }
        }
    }

    #[test]
    fn full_tables_take_no_more_than_is_said() {
        // key, mark and place beside each value
        let megabytes =
            |limit: Limit, value: usize| (limit.entries as usize * (value + 48) + limit.bytes as usize) >> 20;
        // what is said stands in docs/adr/0023
        assert!(megabytes(transaction::PLAYERS, size_of::<transaction::Activity>()) <= 80);
        assert!(megabytes(player::OPERATOR_PLAYERS, size_of::<Behaviour>()) <= 180);
        assert!(megabytes(player::NATION_PLAYERS, size_of::<Behaviour>()) <= 360);
    }

    #[test]
    fn players_are_due_when_their_day_is_over_until_they_are_scored() {
        let (mut rules, mut live) = (rules(), LiveFeatures::default());
        let noon = Ts(1_772_398_800_000_000 + DAY / 2);
        for (n, player) in [3, 1, 3].into_iter().enumerate() {
            hear(&mut rules, &mut live, &play(n, player, 100, noon.plus(n as i64)));
        }
        assert_eq!(live.players.due(9), None, "the day is not over");
        hear(&mut rules, &mut live, &play(4, 2, 100, noon.plus(DAY)));
        let key = |player: u8| play(0, player, 1, noon).player.unwrap();
        let currency = Currency::KES;
        let mut both = [key(1), key(3)];
        both.sort_unstable();
        let [first, second] = both;
        let end = Ts(1_772_398_800_000_000 + DAY);
        assert_eq!(live.players.due(9), Some((end, vec![(first, currency), (second, currency)])));
        assert_eq!(live.players.due(1).unwrap().1.len(), 1, "a few at a time");
        let mut out = [0.0; player::WIDTH];
        assert!(live.players.write(first, currency, &mut out) && !live.players.write(key(9), currency, &mut out));
        let scored = ScoredPlayer { player: first, currency, score_ppm: 5, reasons: Vec::new() };
        live.players.said(&PlayersScored {
            version: 1,
            as_of: end,
            said_at: None,
            nameless: Vec::new(),
            told: Vec::new(),
            players: vec![scored],
        });
        assert_eq!(live.players.due(9).unwrap().1, [(second, currency)]);
        live.players.forget_due();
        assert_eq!(live.players.due(9), None);
    }

    #[test]
    fn scores_are_unsaid_until_they_are_heard_and_said_once() {
        let scored = |of| RecordsScored { of, at: Ts(of), version: 1, scores: Scores::default(), risky: Vec::new() };
        let mut live = LiveFeatures::default();
        (1..=3).for_each(|of| live.scored(scored(of)));
        assert!(live.said(2));
        assert_eq!(live.unsaid().iter().map(|scored| scored.of).collect::<Vec<_>>(), [3]);
        assert!(!live.said(2) && !live.said(1) && live.said(3));
        (4..4 + UNSAID_MAX as i64 + 2).for_each(|of| live.scored(scored(of)));
        assert_eq!((live.unsaid().len(), live.unsaid()[0].of), (UNSAID_MAX, 6));
        assert_eq!(live.forgotten()[2], ("unscored_inputs", 2));
    }
}
