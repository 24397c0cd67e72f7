//! Levels of risk of players in memory, for lookups: what the version of the model of player risk that is promoted in a
//! jurisdiction said last, at each of its operators. With none promoted nobody has a level there.

use models::ids::OperatorNo;
use models::jurisdiction::{JURISDICTIONS_MAX, JurisdictionNo};
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::RiskLevel;
use models::score::PlayersScored;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Players of all jurisdictions whose level is held; of further ones it is unknown.
pub const PLAYERS_MAX: usize = 500_000;
/// Stored rows that are taken in at once: whoever asks waits for no more of them.
const FILLED_AT_ONCE: usize = 1_000;

#[derive(Debug)]
struct Known {
    operator: OperatorNo,
    currency: Currency,
    level: RiskLevel,
}

/// The places that all jurisdictions share.
#[derive(Debug, Default)]
struct Room {
    taken: AtomicUsize,
    /// Levels that found no place.
    refused: AtomicU64,
}

impl Room {
    fn take(&self, places_max: usize) -> bool {
        let one_more = |taken| (taken < places_max).then_some(taken + 1);
        let is_there = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        self.refused.fetch_add(u64::from(!is_there), Ordering::Relaxed);
        is_there
    }
}

/// Those of a jurisdiction.
#[derive(Debug, Default)]
struct Levels {
    /// The promoted version; none: nobody has a level.
    version: Option<u32>,
    players: HashMap<MatchKey, Vec<Known>>,
}

impl Levels {
    fn go_by(&mut self, version: Option<u32>, room: &Room) {
        if self.version != version {
            room.taken.fetch_sub(self.players.len(), Ordering::Relaxed);
            *self = Self { version, players: HashMap::new() };
        }
    }

    /// What is known of somebody; none where there is no room for one more.
    fn known(&mut self, player: MatchKey, room: &Room) -> Option<&mut Vec<Known>> {
        match self.players.entry(player) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) if room.take(PLAYERS_MAX) => Some(place.insert(Vec::new())),
            Entry::Vacant(_) => None,
        }
    }

    fn hear(&mut self, operator: OperatorNo, of: (MatchKey, Currency), level: RiskLevel, room: &Room) {
        let (player, currency) = of;
        let Some(all) = self.known(player, room) else { return };
        match all.iter_mut().find(|known| (known.operator, known.currency) == (operator, currency)) {
            Some(known) => known.level = level,
            None => all.push(Known { operator, currency, level }),
        }
    }

    /// What is stored is older than what was heard since.
    fn fill(&mut self, operator: OperatorNo, of: (MatchKey, Currency), level: RiskLevel, room: &Room) {
        let (player, currency) = of;
        let Some(all) = self.known(player, room) else { return };
        if !all.iter().any(|known| (known.operator, known.currency) == (operator, currency)) {
            all.push(Known { operator, currency, level });
        }
    }
}

/// The levels: each jurisdiction has a promoted version of its own, and waits for no other.
#[derive(Debug, Default)]
pub struct RiskLevels {
    levels: [RwLock<Levels>; JURISDICTIONS_MAX],
    room: Room,
}

impl RiskLevels {
    fn at(&self, jurisdiction: JurisdictionNo) -> Option<&RwLock<Levels>> {
        self.levels.get(usize::from(jurisdiction.0))
    }

    /// Players whose level is held, and levels that found no place.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        (self.room.taken.load(Ordering::Relaxed), self.room.refused.load(Ordering::Relaxed))
    }

    /// This version is promoted in a jurisdiction, or none: what another one said there is not said any more.
    pub fn go_by(&self, jurisdiction: JurisdictionNo, version: Option<u32>) {
        if let Some(levels) = self.at(jurisdiction) {
            levels.write().go_by(version, &self.room);
        }
    }

    /// The version is retired in a jurisdiction: if it is the promoted one, nobody has a level there.
    pub fn retire(&self, jurisdiction: JurisdictionNo, version: u32) {
        let Some(levels) = self.at(jurisdiction) else { return };
        let mut levels = levels.write();
        if levels.version == Some(version) {
            levels.go_by(None, &self.room);
        }
    }

    /// Players were scored at an operator of a jurisdiction.
    pub fn heard(&self, (jurisdiction, operator): (JurisdictionNo, OperatorNo), scored: &PlayersScored) {
        let Some(levels) = self.at(jurisdiction) else { return };
        let mut levels = levels.write();
        if levels.version == Some(scored.version) {
            for of in &scored.players {
                levels.hear(operator, (of.player, of.currency), RiskLevel::of(of.score_ppm), &self.room);
            }
        }
    }

    /// What a version said last at operators of a jurisdiction, as it is stored; nothing once another version is promoted
    /// there, or none ([`RiskLevels::go_by`]), and nothing of whom it was heard of since.
    pub fn fill(
        &self,
        jurisdiction: JurisdictionNo,
        version: u32,
        rows: impl IntoIterator<Item = (OperatorNo, MatchKey, Currency, u32)>,
    ) {
        let Some(levels) = self.at(jurisdiction) else { return };
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut levels = levels.write();
            if levels.version != Some(version) {
                return;
            }
            for (operator, player, currency, score_ppm) in rows.by_ref().take(FILLED_AT_ONCE) {
                levels.fill(operator, (player, currency), RiskLevel::of(score_ppm), &self.room);
            }
        }
    }

    /// The highest level of somebody with these keys at the operators of a jurisdiction. None: it is unknown.
    pub fn of(&self, jurisdiction: JurisdictionNo, keys: impl IntoIterator<Item = MatchKey>) -> Option<RiskLevel> {
        let levels = self.at(jurisdiction)?.read();
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
        let stored =
            [(OperatorNo(1), MatchKey(7), Currency::KES, 600_000), (OperatorNo(1), MatchKey(8), Currency::KES, 0)];
        levels.fill(kenya, 1, stored);
        assert_eq!(of(kenya, &[7]), None, "what was read of a version that is retired meanwhile");
        levels.go_by(kenya, Some(2));
        levels.fill(kenya, 1, stored);
        assert_eq!(of(kenya, &[7]), None, "what was read of the version before");
        levels.heard((kenya, OperatorNo(1)), &scored(2, 8, 250_000));
        levels.fill(kenya, 2, stored);
        assert_eq!((of(kenya, &[7]), of(kenya, &[9])), (Some(RiskLevel::High), None));
        assert_eq!(of(kenya, &[8]), Some(RiskLevel::Moderate), "what was heard since it was read counts");
        assert_eq!(of(nigeria, &[7]), Some(RiskLevel::High));
    }

    #[test]
    fn jurisdictions_share_the_places() {
        let room = Room::default();
        assert_eq!([2, 2, 2].map(|places| room.take(places)), [true, true, false]);
        assert_eq!(room.refused.load(Ordering::Relaxed), 1);
        let levels = RiskLevels::default();
        for no in [0, 1].map(JurisdictionNo) {
            levels.go_by(no, Some(1));
            levels.fill(no, 1, (0..3).map(|key| (OperatorNo(1), MatchKey(key), Currency::KES, 0)));
            levels.fill(no, 1, [(OperatorNo(2), MatchKey(0), Currency::KES, 0)]);
        }
        assert_eq!(levels.held(), (6, 0), "three in each, one of them at two operators");
        levels.go_by(JurisdictionNo(0), Some(2));
        assert_eq!(levels.held(), (3, 0), "whoever is forgotten leaves a place");
        levels.retire(JurisdictionNo(1), 1);
        assert_eq!(levels.held(), (0, 0));
    }
}
