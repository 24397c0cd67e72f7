//! Levels of risk of players in memory, for lookups: what the promoted version of the model of player risk said last, at
//! each operator. With none promoted nobody has a level.

use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::PlayersScored;
use parking_lot::RwLock;
use std::collections::HashMap;

/// Players whose level is held; of further ones it is unknown.
pub const PLAYERS_MAX: usize = 500_000;

#[derive(Debug)]
struct Known {
    operator: OperatorNo,
    currency: Currency,
    level: RiskLevel,
}

#[derive(Debug, Default)]
struct Levels {
    /// The promoted version; none: nobody has a level.
    version: Option<u32>,
    players: HashMap<MatchKey, Vec<Known>>,
}

impl Levels {
    fn set(&mut self, operator: OperatorNo, (player, currency): (MatchKey, Currency), score_ppm: u32) {
        if self.players.len() >= PLAYERS_MAX && !self.players.contains_key(&player) {
            return;
        }
        let level = RiskLevel::of(score_ppm);
        let known = self.players.entry(player).or_default();
        match known.iter_mut().find(|known| (known.operator, known.currency) == (operator, currency)) {
            Some(known) => known.level = level,
            None => known.push(Known { operator, currency, level }),
        }
    }
}

/// The levels.
#[derive(Debug, Default)]
pub struct RiskLevels(RwLock<Levels>);

impl RiskLevels {
    /// This version is promoted, or none: what another one said is not said any more.
    pub fn go_by(&self, version: Option<u32>) {
        let mut levels = self.0.write();
        if levels.version != version {
            *levels = Levels { version, players: HashMap::new() };
        }
    }

    /// The version is retired: if it is the promoted one, nobody has a level.
    pub fn retire(&self, version: u32) {
        if self.0.read().version == Some(version) {
            self.go_by(None);
        }
    }

    /// Players were scored at an operator.
    pub fn heard(&self, operator: OperatorNo, scored: &PlayersScored) {
        let mut levels = self.0.write();
        if levels.version == Some(scored.version) {
            for player in &scored.players {
                levels.set(operator, (player.player, player.currency), player.score_ppm);
            }
        }
    }

    /// What a version said last, as it is stored.
    pub fn fill(&self, version: u32, rows: impl IntoIterator<Item = (OperatorNo, MatchKey, Currency, u32)>) {
        self.go_by(Some(version));
        let mut levels = self.0.write();
        for (operator, player, currency, score_ppm) in rows {
            levels.set(operator, (player, currency), score_ppm);
        }
    }

    /// The highest level of somebody with these keys at the operators that count. None: it is unknown.
    pub fn of(
        &self,
        keys: impl IntoIterator<Item = MatchKey>,
        counts: impl Fn(OperatorNo) -> bool,
    ) -> Option<RiskLevel> {
        let levels = self.0.read();
        levels.version?;
        let known = keys.into_iter().filter_map(|key| levels.players.get(&key)).flatten();
        known.filter(|known| counts(known.operator)).map(|known| known.level).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::score::ScoredPlayer;
    use models::ts::Ts;

    #[test]
    fn a_level_is_said_of_the_promoted_version_alone() {
        let levels = RiskLevels::default();
        let scored = |version, key: u128, score_ppm| {
            let (player, currency) = (MatchKey(key), Currency::KES);
            let players = vec![ScoredPlayer { player, currency, score_ppm, reasons: Vec::new() }];
            PlayersScored { version, as_of: Ts(0), said_at: None, nameless: Vec::new(), told: Vec::new(), players }
        };
        let of = |keys: &[u128], operators: &[u16]| {
            levels.of(keys.iter().map(|key| MatchKey(*key)), |no| operators.contains(&no.0))
        };
        levels.heard(OperatorNo(1), &scored(1, 7, 900_000));
        assert_eq!(of(&[7], &[1]), None, "no version is promoted");
        levels.go_by(Some(1));
        levels.heard(OperatorNo(1), &scored(1, 7, 900_000));
        levels.heard(OperatorNo(2), &scored(1, 7, 250_000));
        levels.heard(OperatorNo(2), &scored(1, 8, 0));
        levels.heard(OperatorNo(2), &scored(9, 8, 900_000));
        let table: [(&[u128], &[u16], Option<RiskLevel>); 6] = [
            (&[7], &[1, 2], Some(RiskLevel::High)),
            (&[7], &[2], Some(RiskLevel::Moderate)),
            (&[8], &[1, 2], Some(RiskLevel::Low)),
            (&[8, 7], &[1, 2], Some(RiskLevel::High)),
            (&[9], &[1, 2], None),
            (&[7], &[3], None),
        ];
        for (keys, operators, wanted) in table {
            assert_eq!(of(keys, operators), wanted, "{keys:?} {operators:?}");
        }
        levels.heard(OperatorNo(1), &scored(1, 7, 100));
        assert_eq!(of(&[7], &[1]), Some(RiskLevel::Low), "the last one counts");
        levels.retire(2);
        assert_eq!(of(&[7], &[1]), Some(RiskLevel::Low));
        levels.retire(1);
        assert_eq!(of(&[7], &[1]), None);
        levels.fill(2, [(OperatorNo(1), MatchKey(7), Currency::KES, 600_000)]);
        assert_eq!((of(&[7], &[1]), of(&[8], &[2])), (Some(RiskLevel::High), None));
    }
}
