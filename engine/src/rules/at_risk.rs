//! Players at high risk, and of whom an operator was told this month: as much of what models say as signs of harm follow
//! from. Bounded: of more players than are remembered, whoever was told of longest ago gives way.

use crate::rules::book::PLAYERS;
use crate::rules::table::Key;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::{PlayersScored, ScoredPlayer};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Players whose high level is remembered: as many as histories are kept of.
pub const AT_RISK_MAX: usize = PLAYERS.entries as usize;

/// A player who is at high risk, or was told of this month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// Currencies in which the newest score is high.
    high: Vec<Currency>,
    /// First instant of the month in which the operator was told last.
    signalled: Option<Ts>,
}

impl Known {
    /// Neither at high risk, nor told of since the month began.
    fn is_nothing(&self, month: Ts) -> bool {
        self.high.is_empty() && self.signalled.is_none_or(|told| told < month)
    }
}

/// Those players.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct AtRisk {
    players: BTreeMap<Key, Known>,
    forgotten: u64,
    /// The same players, by when was told of them. Not in the bytes: it follows from them.
    #[serde(skip)]
    by_month: BTreeSet<(Option<Ts>, Key)>,
}

/// As it lies in the bytes.
#[derive(Deserialize)]
struct Kept {
    players: BTreeMap<Key, Known>,
    forgotten: u64,
}

impl From<Kept> for AtRisk {
    fn from(Kept { players, forgotten }: Kept) -> Self {
        let by_month = players.iter().map(|(key, known)| (known.signalled, *key)).collect();
        Self { players, forgotten, by_month }
    }
}

/// Is it a high level?
pub(super) fn is_high(scored: &ScoredPlayer) -> bool {
    RiskLevel::of(scored.score_ppm) == RiskLevel::High
}

impl AtRisk {
    /// Players who gave way at the limit.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// As much of it as is of the players of some scores.
    pub fn excerpt(&self, scored: &PlayersScored) -> Self {
        let known = |one: &ScoredPlayer| Some((one.player.0, self.players.get(&one.player.0)?.clone()));
        Kept { players: scored.players.iter().filter_map(known).collect(), forgotten: 0 }.into()
    }

    /// Does a player's level become high with a score of the month that begins at `month`, and was nobody told of them this
    /// month?
    pub fn becomes_high(&self, scored: &ScoredPlayer, month: Ts) -> bool {
        is_high(scored) && self.players.get(&scored.player.0).is_none_or(|known| known.is_nothing(month))
    }

    /// Remembers a score. `is_told`: the operator is told of the player with it.
    pub fn hear(&mut self, scored: &ScoredPlayer, month: Ts, is_told: bool) {
        let key = scored.player.0;
        let mut known = match self.players.remove(&key) {
            Some(known) => {
                self.by_month.remove(&(known.signalled, key));
                known
            }
            None => Known::default(),
        };
        known.high.retain(|currency| *currency != scored.currency);
        if is_high(scored) {
            known.high.push(scored.currency);
        }
        if is_told {
            known.signalled = Some(month);
        }
        if known.is_nothing(month) {
            return;
        }
        self.by_month.insert((known.signalled, key));
        self.players.insert(key, known);
        while self.players.len() > AT_RISK_MAX {
            let Some((_, oldest)) = self.by_month.pop_first() else { break };
            self.players.remove(&oldest);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{read, write};
    use models::match_key::MatchKey;
    use models::ts::DAY;

    const MARCH: Ts = Ts(100 * DAY);
    const APRIL: Ts = Ts(131 * DAY);

    fn score(player: u128, score_ppm: u32) -> ScoredPlayer {
        ScoredPlayer { player: MatchKey(player), currency: Currency::KES, score_ppm, reasons: Vec::new() }
    }

    #[test]
    fn nobody_is_remembered_who_is_not_at_risk() {
        let mut at_risk = AtRisk::default();
        at_risk.hear(&score(7, 600_000), MARCH, true);
        at_risk.hear(&score(7, 100), APRIL, false);
        at_risk.hear(&score(8, 100), APRIL, false);
        assert_eq!(at_risk, AtRisk::default());
    }

    #[test]
    fn at_the_limit_whoever_was_told_of_longest_ago_gives_way() {
        let mut at_risk = AtRisk::default();
        let last = AT_RISK_MAX as u128;
        // never told of, told of in March and still high in April, told of in April
        at_risk.hear(&score(1, 600_000), MARCH, false);
        at_risk.hear(&score(2, 600_000), MARCH, true);
        at_risk.hear(&score(2, 700_000), APRIL, false);
        (3..=last).for_each(|player| at_risk.hear(&score(player, 600_000), APRIL, true));
        assert_eq!(at_risk.forgotten(), 0);
        // whoever comes, and how many are gone then | who of the first three is remembered
        for (player, gone, wanted) in [
            (last + 1, 1, [false, true, true]),
            (last + 2, 2, [false, false, true]),
            (last + 3, 3, [false, false, false]),
        ] {
            at_risk.hear(&score(player, 600_000), APRIL, true);
            let known = [1, 2, 3].map(|player| at_risk.players.contains_key(&player));
            assert_eq!((at_risk.forgotten(), known), (gone, wanted));
            assert_eq!((at_risk.players.len(), at_risk.by_month.len()), (AT_RISK_MAX, AT_RISK_MAX));
            // and it goes on so from its bytes
            at_risk = read(&write(&at_risk).unwrap()).unwrap();
        }
        assert!(!at_risk.becomes_high(&score(4, 600_000), APRIL) && at_risk.becomes_high(&score(3, 600_000), APRIL));
    }
}
