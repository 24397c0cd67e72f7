//! Levels of risk of players in memory, for lookups: what the version of the model of player risk that is promoted in a
//! jurisdiction said last, at each of its operators. With none promoted nobody has a level there.

use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::PlayersScored;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};

/// Players whose level is held, of all jurisdictions together; of further ones it is unknown.
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
    /// `has_room`: may somebody be held who is not yet?
    fn set(&mut self, operator: OperatorNo, (player, currency): (MatchKey, Currency), score_ppm: u32, has_room: bool) {
        if !has_room && !self.players.contains_key(&player) {
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

/// Those of each jurisdiction: each has a promoted version of its own.
#[derive(Debug, Default)]
struct All(BTreeMap<JurisdictionNo, Levels>);

impl All {
    fn version(&self, jurisdiction: JurisdictionNo) -> Option<u32> {
        self.0.get(&jurisdiction)?.version
    }

    fn go_by(&mut self, jurisdiction: JurisdictionNo, version: Option<u32>) {
        if self.version(jurisdiction) != version {
            self.0.insert(jurisdiction, Levels { version, players: HashMap::new() });
        }
    }

    fn set(
        &mut self,
        jurisdiction: JurisdictionNo,
        scores: impl IntoIterator<Item = (OperatorNo, MatchKey, Currency, u32)>,
    ) {
        let elsewhere = self.0.iter().filter(|(no, _)| **no != jurisdiction);
        let elsewhere: usize = elsewhere.map(|(_, levels)| levels.players.len()).sum();
        let levels = self.0.entry(jurisdiction).or_default();
        for (operator, player, currency, score_ppm) in scores {
            let has_room = elsewhere + levels.players.len() < PLAYERS_MAX;
            levels.set(operator, (player, currency), score_ppm, has_room);
        }
    }
}

/// The levels.
#[derive(Debug, Default)]
pub struct RiskLevels(RwLock<All>);

impl RiskLevels {
    /// This version is promoted in a jurisdiction, or none: what another one said there is not said any more.
    pub fn go_by(&self, jurisdiction: JurisdictionNo, version: Option<u32>) {
        self.0.write().go_by(jurisdiction, version);
    }

    /// The version is retired in a jurisdiction: if it is the promoted one, nobody has a level there.
    pub fn retire(&self, jurisdiction: JurisdictionNo, version: u32) {
        let mut all = self.0.write();
        if all.version(jurisdiction) == Some(version) {
            all.go_by(jurisdiction, None);
        }
    }

    /// Players were scored at an operator of a jurisdiction.
    pub fn heard(&self, (jurisdiction, operator): (JurisdictionNo, OperatorNo), scored: &PlayersScored) {
        let mut all = self.0.write();
        if all.version(jurisdiction) == Some(scored.version) {
            let players = scored.players.iter();
            all.set(jurisdiction, players.map(|of| (operator, of.player, of.currency, of.score_ppm)));
        }
    }

    /// What a version said last at operators of a jurisdiction, as it is stored.
    pub fn fill(
        &self,
        jurisdiction: JurisdictionNo,
        version: u32,
        rows: impl IntoIterator<Item = (OperatorNo, MatchKey, Currency, u32)>,
    ) {
        let mut all = self.0.write();
        all.go_by(jurisdiction, Some(version));
        all.set(jurisdiction, rows);
    }

    /// The highest level of somebody with these keys at the operators of a jurisdiction. None: it is unknown.
    pub fn of(&self, jurisdiction: JurisdictionNo, keys: impl IntoIterator<Item = MatchKey>) -> Option<RiskLevel> {
        let all = self.0.read();
        let levels = all.0.get(&jurisdiction)?;
        levels.version?;
        let known = keys.into_iter().filter_map(|key| levels.players.get(&key)).flatten();
        known.map(|known| known.level).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::score::ScoredPlayer;
    use models::ts::Ts;

    #[test]
    fn a_level_is_said_of_the_version_that_is_promoted_in_the_jurisdiction_alone() {
        let levels = RiskLevels::default();
        let [kenya, nigeria] = [0, 1].map(JurisdictionNo);
        let scored = |version, key: u128, score_ppm| {
            let (player, currency) = (MatchKey(key), Currency::KES);
            let players = vec![ScoredPlayer { player, currency, score_ppm, reasons: Vec::new() }];
            PlayersScored { version, as_of: Ts(0), said_at: None, nameless: Vec::new(), told: Vec::new(), players }
        };
        let of = |no: JurisdictionNo, keys: &[u128]| levels.of(no, keys.iter().map(|key| MatchKey(*key)));
        levels.heard((kenya, OperatorNo(1)), &scored(1, 7, 900_000));
        assert_eq!(of(kenya, &[7]), None, "no version is promoted");
        levels.go_by(kenya, Some(1));
        levels.go_by(nigeria, Some(2));
        levels.heard((kenya, OperatorNo(1)), &scored(1, 7, 100));
        levels.heard((kenya, OperatorNo(2)), &scored(1, 7, 250_000));
        levels.heard((kenya, OperatorNo(2)), &scored(1, 8, 0));
        levels.heard((kenya, OperatorNo(2)), &scored(2, 8, 900_000));
        levels.heard((nigeria, OperatorNo(3)), &scored(2, 7, 900_000));
        levels.heard((nigeria, OperatorNo(3)), &scored(1, 8, 900_000));
        let table: [(JurisdictionNo, &[u128], Option<RiskLevel>); 6] = [
            (kenya, &[7], Some(RiskLevel::Moderate)),
            (kenya, &[8], Some(RiskLevel::Low)),
            (kenya, &[8, 7], Some(RiskLevel::Moderate)),
            (kenya, &[9], None),
            (nigeria, &[7], Some(RiskLevel::High)),
            (nigeria, &[8], None),
        ];
        for (no, keys, wanted) in table {
            assert_eq!(of(no, keys), wanted, "{no:?} {keys:?}");
        }
        levels.heard((kenya, OperatorNo(2)), &scored(1, 7, 100));
        assert_eq!(of(kenya, &[7]), Some(RiskLevel::Low), "the last one counts");
        levels.retire(kenya, 2);
        assert_eq!(of(kenya, &[7]), Some(RiskLevel::Low));
        levels.retire(kenya, 1);
        assert_eq!((of(kenya, &[7]), of(nigeria, &[7])), (None, Some(RiskLevel::High)), "in one alone");
        levels.fill(kenya, 2, [(OperatorNo(1), MatchKey(7), Currency::KES, 600_000)]);
        assert_eq!((of(kenya, &[7]), of(kenya, &[8])), (Some(RiskLevel::High), None));
        assert_eq!(of(nigeria, &[7]), Some(RiskLevel::High));
    }
}
