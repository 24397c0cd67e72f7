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

/// Players whose level is held, of all jurisdictions together; of further ones it is unknown. Whoever plays in two of them
/// is one in each.
pub const PLAYERS_MAX: usize = 500_000;
/// Stored rows that are taken in at once: whoever asks waits for no more of them.
const FILLED_AT_ONCE: usize = 1_000;

#[derive(Debug)]
struct Known {
    operator: OperatorNo,
    currency: Currency,
    level: RiskLevel,
}

/// Places for players, taken as they come.
#[derive(Debug)]
struct Places {
    free: AtomicUsize,
    /// How often somebody was scored who found none.
    refused: AtomicU64,
}

impl Places {
    fn new(count: usize) -> Self {
        Self { free: AtomicUsize::new(count), refused: AtomicU64::new(0) }
    }

    /// Takes one; false where there is none, which is counted.
    fn take(&self) -> bool {
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn give_back(&self, count: usize) {
        self.free.fetch_add(count, Ordering::Relaxed);
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
    fn go_by(&mut self, version: Option<u32>, places: &Places) {
        if self.version != version {
            places.give_back(self.players.len());
            *self = Self { version, players: HashMap::new() };
        }
    }

    /// What is known of somebody; none where there is no place for one more.
    fn known(&mut self, player: MatchKey, places: &Places) -> Option<&mut Vec<Known>> {
        match self.players.entry(player) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => places.take().then(|| new.insert(Vec::new())),
        }
    }

    fn hear(
        &mut self,
        operator: OperatorNo,
        (player, currency): (MatchKey, Currency),
        level: RiskLevel,
        places: &Places,
    ) {
        let Some(all) = self.known(player, places) else { return };
        match all.iter_mut().find(|known| (known.operator, known.currency) == (operator, currency)) {
            Some(known) => known.level = level,
            None => all.push(Known { operator, currency, level }),
        }
    }

    /// What is stored is older than what was heard since.
    fn fill(
        &mut self,
        operator: OperatorNo,
        (player, currency): (MatchKey, Currency),
        level: RiskLevel,
        places: &Places,
    ) {
        let Some(all) = self.known(player, places) else { return };
        if !all.iter().any(|known| (known.operator, known.currency) == (operator, currency)) {
            all.push(Known { operator, currency, level });
        }
    }
}

/// The levels: each jurisdiction has a promoted version of its own, and waits for no other; they share the places.
#[derive(Debug)]
pub struct RiskLevels {
    levels: [RwLock<Levels>; JURISDICTIONS_MAX],
    places: Places,
}

impl Default for RiskLevels {
    fn default() -> Self {
        Self::with_places(PLAYERS_MAX)
    }
}

impl RiskLevels {
    fn with_places(count: usize) -> Self {
        Self { levels: Default::default(), places: Places::new(count) }
    }

    fn at(&self, jurisdiction: JurisdictionNo) -> Option<&RwLock<Levels>> {
        self.levels.get(usize::from(jurisdiction.0))
    }

    /// How often somebody was scored who found no place, since this was asked last.
    pub fn take_refused(&self) -> u64 {
        self.places.refused.swap(0, Ordering::Relaxed)
    }

    /// This version is promoted in a jurisdiction, or none: what another one said there is not said any more.
    pub fn go_by(&self, jurisdiction: JurisdictionNo, version: Option<u32>) {
        if let Some(levels) = self.at(jurisdiction) {
            levels.write().go_by(version, &self.places);
        }
    }

    /// The version is retired in a jurisdiction: if it is the promoted one, nobody has a level there.
    pub fn retire(&self, jurisdiction: JurisdictionNo, version: u32) {
        let Some(levels) = self.at(jurisdiction) else { return };
        let mut levels = levels.write();
        if levels.version == Some(version) {
            levels.go_by(None, &self.places);
        }
    }

    /// Players were scored at an operator of a jurisdiction.
    pub fn heard(&self, (jurisdiction, operator): (JurisdictionNo, OperatorNo), scored: &PlayersScored) {
        let Some(levels) = self.at(jurisdiction) else { return };
        let mut levels = levels.write();
        if levels.version == Some(scored.version) {
            for of in &scored.players {
                levels.hear(operator, (of.player, of.currency), RiskLevel::of(of.score_ppm), &self.places);
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
                levels.fill(operator, (player, currency), RiskLevel::of(score_ppm), &self.places);
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

    /// A version scores somebody.
    fn scored(version: u32, key: u128, score_ppm: u32) -> PlayersScored {
        let (player, currency) = (MatchKey(key), Currency::KES);
        let players = vec![ScoredPlayer { player, currency, score_ppm, reasons: Vec::new() }];
        PlayersScored { version, as_of: Ts(0), said_at: None, nameless: Vec::new(), told: Vec::new(), players }
    }

    #[test]
    fn jurisdictions_share_the_places_and_who_finds_none_is_counted() {
        let levels = RiskLevels::with_places(3);
        let [kenya, nigeria] = [0, 1].map(JurisdictionNo);
        let is_known = |no, key| levels.of(no, [MatchKey(key)]).is_some();
        [kenya, nigeria].iter().for_each(|no| levels.go_by(*no, Some(1)));
        // scored where, who, and whether the level is known then; nobody is forgotten for it
        let table = [
            (kenya, 1, true),
            (kenya, 2, true),
            // the same person elsewhere is another one
            (nigeria, 1, true),
            (nigeria, 2, false),
            (kenya, 3, false),
            (kenya, 1, true),
        ];
        for (no, key, wanted) in table {
            levels.heard((no, OperatorNo(1)), &scored(1, key, 900_000));
            assert_eq!((is_known(no, key), is_known(kenya, 1)), (wanted, true), "{no:?} {key}");
        }
        assert_eq!((levels.take_refused(), levels.take_refused()), (2, 0));
        // another version there, and its places are free for those who are scored next
        levels.go_by(kenya, Some(2));
        levels.fill(nigeria, 1, [1, 2, 3, 4].map(|key| (OperatorNo(2), MatchKey(key), Currency::KES, 0)));
        assert_eq!([1, 2, 3, 4].map(|key| is_known(nigeria, key)), [true, true, true, false]);
        assert_eq!(levels.take_refused(), 1);
        levels.retire(nigeria, 1);
        levels.heard((kenya, OperatorNo(1)), &scored(2, 3, 0));
        assert_eq!((is_known(kenya, 3), levels.take_refused()), (true, 0));
    }

    #[test]
    fn a_level_is_said_of_the_version_that_is_promoted_in_the_jurisdiction_alone() {
        let levels = RiskLevels::default();
        let [kenya, nigeria] = [0, 1].map(JurisdictionNo);
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
}
