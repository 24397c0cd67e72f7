//! What register and evidence knew of the players of a batch, for the rules that judge it.
//!
//! ```text
//! batch stored ─▶ is everything answered until then known? ─ no ─▶ a moment later
//!                   │ yes
//!                   ├▶ checks: memory that the sealing of evidence fills (engine::checks)
//!                   └▶ exclusions: the index says who is in the register at all, the store since when
//! ```
//! A record reaches the engine after it happened, and whoever checked had their answer before: so whatever was answered
//! until the batch was stored is enough. It is a few hundredths of a second behind.

mod restore;
mod rotation;

pub use restore::restore;
pub use rotation::Rotations;

use crate::directory::Directory;
use crate::evidence::EvidenceLog;
use arc_swap::ArcSwap;
use engine::checks::Checks;
use engine::register::index::{IndexReader, IndexState};
use engine::rules::input::{AgeBand, CHECK_SLACK, Excluded, Facts};
use models::alert::Window;
use models::event::Exclusion;
use models::exclusion::AtEnd;
use models::ids::{OperatorNo, PersonNo};
use models::jurisdiction::JurisdictionNo;
use models::record::Record;
use models::ts::{SECOND, Ts};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use store::{Clock, Store};

/// How long a batch waits for evidence that is answered and not yet known; then nobody can say.
const PATIENCE: i64 = 5 * SECOND;

/// Says what was known of players; cheap to clone.
#[derive(Clone)]
pub struct FactsSource {
    /// Who was asked about.
    pub evidence: EvidenceLog,
    /// Who is in the register.
    pub index: Arc<ArcSwap<IndexReader>>,
    /// Whose exclusions bind where.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Since when they are excluded.
    pub store: Store,
    /// When digests of people changed.
    pub rotations: Rotations,
    /// The engine's clock.
    pub clock: Arc<dyn Clock>,
}

impl FactsSource {
    /// Facts of the records of a batch that was stored at an instant, in their order. None: what could speak for the
    /// operator is not known yet, and it is to be asked again in a moment.
    ///
    /// # Errors
    /// The store is away: it is to be asked again.
    pub async fn of(
        &self,
        operator: OperatorNo,
        stored_at: Ts,
        records: &[Record],
    ) -> Result<Option<Vec<Facts>>, String> {
        let rotated = self.rotations.hidden(self.clock.now()).await?;
        let Some(mut facts) = self.checks(operator, stored_at, records, rotated) else { return Ok(None) };
        let index = self.index.load();
        if matches!(index.state(), IndexState::Loading) {
            return Ok(None);
        }
        let now_second = u32::try_from(self.clock.now().seconds()).unwrap_or(u32::MAX);
        // few players are in the register: only those are read
        let mut people: Vec<(usize, Vec<PersonNo>)> = Vec::new();
        for (place, record) in records.iter().enumerate().filter(|(_, record)| record.is_identified) {
            let Some(key) = record.player else { continue };
            let named = index.lookup(key, now_second);
            if !named.is_empty() {
                people.push((place, named.iter().collect()));
            }
        }
        drop(index);
        if people.is_empty() {
            return Ok(Some(facts));
        }
        let known = self.exclusions(people.iter().flat_map(|(_, people)| people)).await?;
        let directory = self.directory.load();
        let Some(jurisdiction) = directory.operators.get(&operator).map(|operator| operator.jurisdiction) else {
            return Ok(Some(facts));
        };
        for (place, people) in people {
            let at = records[place].occurred_at;
            let theirs = people.iter().filter_map(|person| known.get(person)).flatten();
            facts[place].excluded = excluded(theirs, &directory, jurisdiction, at);
        }
        Ok(Some(facts))
    }

    fn checks(
        &self,
        operator: OperatorNo,
        stored_at: Ts,
        records: &[Record],
        rotated: Option<Window>,
    ) -> Option<Vec<Facts>> {
        let checks = self.evidence.checks()?.lock();
        let through = checks.through();
        let is_all = through >= stored_at;
        if !is_all && self.clock.now().0.saturating_sub(stored_at.0) < PATIENCE {
            return None;
        }
        let missing = Window { start: through, end: stored_at.plus(CHECK_SLACK) };
        let hidden = [(!is_all).then_some(missing), self.before_registered(operator), rotated];
        Some(records.iter().map(|record| known(&checks, operator, record, hidden)).collect())
    }

    /// What an operator did before it could ask here, of which it may send the records nevertheless.
    fn before_registered(&self, operator: OperatorNo) -> Option<Window> {
        let directory = self.directory.load();
        directory.operators.get(&operator).map(|operator| Window { start: Ts(0), end: operator.registered_at })
    }

    async fn exclusions(
        &self,
        people: impl Iterator<Item = &PersonNo>,
    ) -> Result<HashMap<PersonNo, Vec<Exclusion>>, String> {
        let people: Vec<PersonNo> = people.copied().collect::<BTreeSet<_>>().into_iter().collect();
        let mut by_person: HashMap<PersonNo, Vec<Exclusion>> = HashMap::new();
        for exclusion in self.store.exclusions_of(&people).await.map_err(|error| error.to_string())? {
            by_person.entry(exclusion.person_no).or_default().push(exclusion);
        }
        Ok(by_person)
    }
}

/// What is known of the checks of a record's player; of what was asked in the `hidden` spans nobody can say.
fn known(checks: &Checks, operator: OperatorNo, record: &Record, hidden: [Option<Window>; 3]) -> Facts {
    let age = engine::ingest::age_of(record).map(AgeBand::of);
    let Some(key) = record.player.filter(|_| record.is_identified) else { return Facts { age, ..Facts::default() } };
    let until = record.occurred_at.plus(CHECK_SLACK);
    let known = checks.known(operator, key, until);
    let begun = hidden.into_iter().flatten().filter(|hidden| hidden.start <= until);
    Facts {
        is_identified: true,
        checked_at: known.checked_at,
        marketing_checked_at: known.marketing_checked_at,
        age,
        evidence_gap: begun.chain(known.unknown).max_by_key(|gap| gap.end),
        ..Facts::default()
    }
}

/// The exclusion that binds in a jurisdiction at an instant; else the newest that began before it. Of several that bind,
/// the one that binds longest.
fn excluded<'e>(
    exclusions: impl Iterator<Item = &'e Exclusion>,
    directory: &Directory,
    jurisdiction: JurisdictionNo,
    at: Ts,
) -> Option<Excluded> {
    let binding = directory.binding(jurisdiction, at);
    let begun = exclusions.filter(|e| binding.contains(e.jurisdiction) && e.effective_at <= at);
    let spans = begun.map(|e| Excluded { since: e.effective_at, until: end_of(e) });
    let binds = |span: &Excluded| span.until.is_none_or(|until| at < until);
    spans.max_by_key(|span| if binds(span) { (true, Ts(-span.since.0)) } else { (false, span.since) })
}

/// The first instant at which it no longer binds: when it ended, or to the second when it lapses.
fn end_of(exclusion: &Exclusion) -> Option<Ts> {
    let lapses = exclusion.ends_at.filter(|_| exclusion.at_end == AtEnd::Lapse);
    [exclusion.ended_at, lapses].into_iter().flatten().min()
}

#[cfg(test)]
mod tests;
