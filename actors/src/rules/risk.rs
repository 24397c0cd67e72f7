//! What promoted models say of an operator's records and players: vectors made on the way through the rules, scored where
//! a model is promoted, told as inputs of the same rules.
//!
//! ```text
//! input ─▶ rules' book ─▶ vector ─▶ score ─▶ RecordsScored, the next input ─▶ rule risky_transaction
//! day over ─▶ who played ─▶ vector ─▶ score ─▶ PlayersScored, the next input ─▶ rule player_at_risk
//! the same over all operators ─▶ PlayersScored of the jurisdiction ─▶ rule player_at_risk_across_operators
//! ```
//! A version in the shadow scores the same vectors, and what it says is counted (`super::shadow`).
//! A model scores what is stored behind its promotion in the journal. Where none is promoted nothing is scored and nothing
//! is stored; the histories are kept in any case, so that one that is promoted later knows everybody.

use super::input::{Batch, Stored};
use super::shadow::{ShadowDay, Shadows};
use crate::scoring::{DriftWatch, Scorer};
use arc_swap::ArcSwapOption;
use engine::features::live::{LiveFeatures, Scoring};
use engine::features::live_players::LivePlayers;
use engine::features::{player, transaction};
use engine::rules::calendar::Spans;
use engine::rules::nation::Place;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::Heard;
use models::alert::Window;
use models::ids::{OperatorNo, Seq};
use models::jurisdiction::{JURISDICTIONS_MAX, JurisdictionNo};
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::Record;
use models::risk_model::{DriftJudged, ModelKind};
use models::rule_input::RuleInput;
use models::score::{
    NAMED_FROM_PPM, NAMED_MAX, PLAYERS_MAX, PlayersScored, RecordsScored, RiskyRecord, ScoredPlayer, Scores,
};
use models::ts::Ts;
use std::sync::Arc;

/// A version that scores.
pub struct Promoted {
    /// It.
    pub scorer: Scorer,
    /// Where in the journal it was promoted, or its shadow began: it scores what is stored behind.
    pub since: Seq,
}

/// The versions that score in a jurisdiction; exchanged when one is promoted or retired there.
#[derive(Clone, Default)]
pub struct Models {
    records: Arc<ArcSwapOption<Promoted>>,
    players: Arc<ArcSwapOption<Promoted>>,
    shadow_records: Arc<ArcSwapOption<Promoted>>,
    shadow_players: Arc<ArcSwapOption<Promoted>>,
}

impl Models {
    fn of_shadow(&self, kind: ModelKind) -> &ArcSwapOption<Promoted> {
        match kind {
            ModelKind::TransactionRisk => &self.shadow_records,
            ModelKind::PlayerRisk => &self.shadow_players,
        }
    }

    /// Another version of a kind scores in the shadow from now on, or none.
    pub fn set_shadow(&self, kind: ModelKind, shadow: Option<Promoted>) {
        self.of_shadow(kind).store(shadow.map(Arc::new));
    }

    /// The version of a kind in the shadow, and since where in the journal.
    #[must_use]
    pub fn shadow(&self, kind: ModelKind) -> Option<(u32, Seq)> {
        let shadow = self.of_shadow(kind).load_full()?;
        Some((shadow.scorer.version(), shadow.since))
    }

    fn of(&self, kind: ModelKind) -> &ArcSwapOption<Promoted> {
        match kind {
            ModelKind::TransactionRisk => &self.records,
            ModelKind::PlayerRisk => &self.players,
        }
    }

    /// Another version of a kind scores from now on, or none.
    pub fn set(&self, kind: ModelKind, promoted: Option<Promoted>) {
        self.of(kind).store(promoted.map(Arc::new));
    }

    /// The version of a kind that scores, and since where in the journal.
    #[must_use]
    pub fn promoted(&self, kind: ModelKind) -> Option<(u32, Seq)> {
        let promoted = self.of(kind).load_full()?;
        Some((promoted.scorer.version(), promoted.since))
    }

    fn scorer(&self, (kind, version): (ModelKind, u32)) -> Option<Scorer> {
        let slots = [self.of(kind).load_full(), self.of_shadow(kind).load_full()];
        slots.into_iter().flatten().map(|known| known.scorer.clone()).find(|scorer| scorer.version() == version)
    }
}

/// The versions that score in each jurisdiction.
#[derive(Clone, Default)]
pub struct ModelsByJurisdiction(Arc<[Models; JURISDICTIONS_MAX]>);

impl ModelsByJurisdiction {
    /// Those of a jurisdiction.
    ///
    /// # Panics
    /// With a number that no configuration gives.
    #[must_use]
    pub fn of(&self, jurisdiction: JurisdictionNo) -> &Models {
        &self.0[usize::from(jurisdiction.0)]
    }

    /// A version that some jurisdiction has at work already: its artefact is held once for all.
    #[must_use]
    pub fn scorer(&self, which: (ModelKind, u32)) -> Option<Scorer> {
        self.0.iter().find_map(|models| models.scorer(which))
    }
}

/// A version at work for an operator, with the watch on it.
#[derive(Clone)]
pub(super) struct AtWork {
    pub promoted: Arc<Promoted>,
    watch: DriftWatch,
}

impl AtWork {
    pub fn new(promoted: Arc<Promoted>, operator: OperatorNo) -> Self {
        Self { watch: promoted.scorer.watch(operator), promoted }
    }

    /// The day is over: how far what was scored has moved.
    pub fn close(&mut self, day: Ts) -> DriftJudged {
        self.watch.close(day)
    }

    pub fn score(&mut self, vector: &[f32]) -> u32 {
        let score = self.promoted.scorer.score(vector);
        self.watch.scored(vector, score);
        score
    }
}

/// Takes over what is promoted; what was counted of another version is let go.
fn take(at_work: &mut Option<AtWork>, promoted: Option<Arc<Promoted>>, operator: OperatorNo) {
    let known = at_work.as_ref().map(|at_work| Arc::as_ptr(&at_work.promoted));
    if known != promoted.as_ref().map(Arc::as_ptr) {
        *at_work = promoted.map(|promoted| AtWork::new(promoted, operator));
    }
}

/// A record that may be named, with its vector: what moved its score is asked for at the end.
struct Candidate {
    score_ppm: u32,
    place: usize,
    vector: [f32; transaction::WIDTH],
}

/// The scores of a batch while its records are heard.
#[derive(Default)]
pub(super) struct BatchScores {
    scores: Vec<Option<u32>>,
    candidates: Vec<Candidate>,
}

impl BatchScores {
    fn add(&mut self, place: usize, score_ppm: u32, vector: &[f32; transaction::WIDTH]) {
        self.scores.resize(self.scores.len().max(place), None);
        self.scores.push(Some(score_ppm));
        if score_ppm < NAMED_FROM_PPM {
            return;
        }
        self.candidates.push(Candidate { score_ppm, place, vector: *vector });
        if self.candidates.len() >= 2 * NAMED_MAX {
            self.keep_highest();
        }
    }

    /// The highest ones, in their order.
    fn keep_highest(&mut self) {
        self.candidates.sort_by_key(|one| (std::cmp::Reverse(one.score_ppm), one.place));
        self.candidates.truncate(NAMED_MAX);
        self.candidates.sort_by_key(|one| one.place);
    }
}

/// What is kept for models of an operator, and which are at work.
#[derive(Clone, Default)]
pub(super) struct Risk {
    live: LiveFeatures,
    records: Option<AtWork>,
    players: Option<AtWork>,
    shadows: Shadows,
    /// Scores of players that are about to be stored.
    saying: Option<PlayersScored>,
    /// Days of drift that were judged since somebody asked last.
    judged: Vec<DriftJudged>,
}

impl Risk {
    /// As the bytes say; what is at work stays.
    pub fn with_live(self, live: LiveFeatures) -> Self {
        Self { live, ..self }
    }

    pub fn live(&self) -> &LiveFeatures {
        &self.live
    }

    /// What the rules say of vectors, and the bounds of what is counted, hold from the next input on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.live.set_rules(set);
        self.shadows.set_rules(set);
    }

    /// A version that scores beside, and whatever it says is collected; from the next input on.
    pub fn collect(&mut self, version: Arc<Promoted>, operator: OperatorNo) {
        self.shadows.collect(version, operator);
    }

    /// Versions in the shadow.
    pub fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    /// The same, for whoever collects what one says.
    pub fn shadows_mut(&mut self) -> &mut Shadows {
        &mut self.shadows
    }

    /// What is promoted now is at work from the next input on.
    pub fn set_models(&mut self, models: &Models, operator: OperatorNo) {
        take(&mut self.records, models.records.load_full(), operator);
        take(&mut self.players, models.players.load_full(), operator);
        self.shadows.set(models.shadow_records.load_full(), models.shadow_players.load_full(), operator);
        if self.players.is_none() {
            self.live.players.forget_due();
            self.saying = None;
        }
    }

    /// Takes in what the rules have heard of a record of an input, and scores it where a model does.
    pub fn hear(&mut self, (input, place): (&Stored, usize), heard: &Heard<'_>, scores: &mut BatchScores) {
        if let Some(day) = heard.closed {
            self.close(day);
        }
        let scores_it = |at_work: &Option<AtWork>| at_work.as_ref().is_some_and(|one| input.seq > one.promoted.since);
        let scoring = Scoring { records: scores_it(&self.records), players: scores_it(&self.players) };
        let shadowed = self.shadows.of(input.seq);
        let mut vector = [0.0; transaction::WIDTH];
        // one vector for both
        let wanted = Scoring { records: scoring.records || shadowed.records, ..scoring };
        if let Some(record) = heard.record {
            self.shadows.before(record, &self.live.players);
        }
        let there = self.live.hear(input.operator, heard, wanted, &mut vector);
        let Some(record) = heard.record else { return };
        if shadowed.players {
            self.shadows.played(record, heard.spans.day.end);
        }
        if !there {
            return;
        }
        let mut live = None;
        if let Some(at_work) = self.records.as_mut().filter(|_| scoring.records) {
            let score_ppm = at_work.score(&vector);
            scores.add(place, score_ppm, &vector);
            live = Some((at_work.promoted.scorer.version(), score_ppm));
        }
        if shadowed.records {
            self.shadows.record((place, record), &vector, live, heard.spans.day.start);
        }
    }

    /// All records of an input are heard.
    pub fn heard(&mut self, input: &Stored, batch: &Batch, mut scores: BatchScores) {
        let Some(at_work) = self.records.as_ref().filter(|_| !scores.scores.is_empty()) else { return };
        scores.keep_highest();
        scores.scores.resize(batch.records.len(), None);
        let scorer = &at_work.promoted.scorer;
        let risky = scores.candidates.iter().filter_map(|one| risky(scorer, batch.records.get(one.place)?, one));
        let scored = RecordsScored {
            of: input.input_seq,
            at: batch.clock_at,
            version: scorer.version(),
            risky: risky.collect(),
            scores: Scores(scores.scores),
        };
        self.live.scored(scored);
    }

    fn close(&mut self, day: Window) {
        let at_work = [&mut self.records, &mut self.players].into_iter().flatten();
        // of a day on which nothing was scored there is nothing to say
        let judged = at_work.map(|one| one.close(day.start)).chain(self.shadows.close(day));
        self.judged.extend(judged.filter(|judged| judged.rows > 0));
    }

    /// Days of versions in the shadow that nobody was told of. They are given once.
    pub fn counted_shadows(&mut self) -> Vec<ShadowDay> {
        self.shadows.counted()
    }

    /// Days of drift that nobody was told of. They are given once.
    pub fn judged_days(&mut self) -> Vec<DriftJudged> {
        std::mem::take(&mut self.judged)
    }

    /// Scores of records that are not stored yet, as inputs.
    pub fn unsaid(&self) -> Vec<RuleInput> {
        self.live.unsaid().iter().map(|scored| RuleInput::RecordsScored(Box::new(scored.clone()))).collect()
    }

    /// Inputs whose scores are not stored yet.
    pub fn unsaid_len(&self) -> usize {
        self.live.unsaid().len()
    }

    /// Scores the next ones of those whose day is over, as an input. None: nobody is due.
    pub fn due(&mut self) -> Option<RuleInput> {
        if self.saying.is_none() {
            self.saying = self.score_due();
        }
        self.saying.clone().map(|scored| RuleInput::PlayersScored(Box::new(scored)))
    }

    fn score_due(&mut self) -> Option<PlayersScored> {
        let at_work = self.players.as_mut()?;
        let (promoted, shadows) = (Arc::clone(&at_work.promoted), &mut self.shadows);
        let version = promoted.scorer.version();
        score_due(&mut self.live.players, &promoted.scorer, |who, as_of, vector| {
            let score_ppm = at_work.score(vector);
            shadows.player(who, as_of, vector, Some((version, score_ppm)));
            score_ppm
        })
    }

    /// Lets the version in the shadow score players whose day is over and whom the promoted one does not score, a few at a
    /// time. True: more of them wait.
    pub fn score_shadow(&mut self) -> bool {
        let is_promoted_next = self.players.is_some() && (self.saying.is_some() || self.live.players.has_due());
        // whoever is due for both is scored with the vector that is made for the promoted one
        !is_promoted_next && self.shadows.score_due(&self.live.players)
    }

    /// Do scores wait to be stored?
    pub fn waits(&self) -> bool {
        self.unsaid_len() > 0 || self.saying.is_some()
    }

    /// Scores of records are stored. False: they were heard before.
    pub fn said(&mut self, scored: &RecordsScored) -> bool {
        self.live.said(scored.of)
    }

    /// Scores of players are stored.
    pub fn players_said(&mut self, scored: &PlayersScored) {
        self.saying = None;
        self.shadows.said(scored, &self.live.players);
        self.live.players.said(scored);
    }
}

/// Scores the next ones of those who are due. None: nobody is.
fn score_due(
    live: &mut LivePlayers,
    scorer: &Scorer,
    mut score: impl FnMut((MatchKey, Currency), Ts, &[f32]) -> u32,
) -> Option<PlayersScored> {
    loop {
        let (as_of, due) = live.due(PLAYERS_MAX)?;
        let mut players = Vec::with_capacity(due.len());
        let mut vector = [0.0; player::WIDTH];
        for (player, currency) in due {
            if !live.write(player, currency, &mut vector) {
                // forgotten at the limit since: there is nothing to score
                live.no_longer_due(player, currency, as_of);
                continue;
            }
            let score_ppm = score((player, currency), as_of, &vector);
            let reasons = if score_ppm >= NAMED_FROM_PPM { scorer.reasons(&vector) } else { Vec::new() };
            players.push(ScoredPlayer { player, currency, score_ppm, reasons });
        }
        if !players.is_empty() {
            return Some(PlayersScored {
                version: scorer.version(),
                as_of,
                said_at: None,
                nameless: Vec::new(),
                told: Vec::new(),
                players,
            });
        }
    }
}

/// What is kept of those who play at several operators of a jurisdiction, and which version scores them. Nobody watches
/// its drift: the rows that a model learns from are of one operator each, and so is what it was calibrated on. Its rule is
/// off until a jurisdiction promotes a version.
#[derive(Clone)]
pub(super) struct RiskAcross {
    live: LivePlayers,
    promoted: Option<Arc<Promoted>>,
    /// Scores that are about to be stored, or are and will be heard.
    saying: Option<PlayersScored>,
    is_said: bool,
}

impl Default for RiskAcross {
    fn default() -> Self {
        Self { live: LivePlayers::across_operators(), promoted: None, saying: None, is_said: false }
    }
}

impl RiskAcross {
    /// As the bytes say; what is promoted stays.
    pub fn with_live(self, live: LivePlayers) -> Self {
        Self { live, ..self }
    }

    pub fn live(&self) -> &LivePlayers {
        &self.live
    }

    /// What the rules say of vectors from now on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.live.set_rules(set);
    }

    /// What is promoted now scores from the next input on.
    pub fn set_models(&mut self, models: &Models) {
        self.promoted = models.players.load_full();
        if self.promoted.is_none() {
            self.live.forget_due();
            (self.saying, self.is_said) = (None, false);
        }
    }

    /// Takes in a record of an input, whose player the rules know at some places.
    pub fn hear(&mut self, input: &Stored, record: &Record, spans: &Spans, places: &[Place]) {
        let is_scored = self.promoted.as_ref().is_some_and(|promoted| input.seq > promoted.since);
        self.live.hear_across((input.operator, places), record, spans, is_scored);
    }

    /// The operators have told of everything before a day.
    pub fn settled(&mut self, day: Window) {
        self.live.settled(day);
    }

    /// Scores the next ones of those whose day is over. None: nobody is due, or those before are not heard yet.
    pub fn due(&mut self) -> Option<PlayersScored> {
        if let (None, Some(promoted)) = (&self.saying, &self.promoted) {
            self.saying = score_due(&mut self.live, &promoted.scorer, |_, _, vector| promoted.scorer.score(vector));
        }
        self.saying.clone().filter(|_| !self.is_said)
    }

    /// They are stored, and will be heard.
    pub fn said(&mut self) {
        self.is_said = true;
    }

    /// Scores that are stored.
    pub fn scored(&mut self, scored: &PlayersScored) {
        (self.saying, self.is_said) = (None, false);
        self.live.said(scored);
    }
}

fn risky(scorer: &Scorer, record: &Record, one: &Candidate) -> Option<RiskyRecord> {
    Some(RiskyRecord {
        record_id: record.record_id.clone(),
        player: record.player,
        sold_at: if record.player.is_none() { transaction::sold_at(record) } else { None },
        at: record.occurred_at,
        score_ppm: one.score_ppm,
        reasons: scorer.reasons(&one.vector),
    })
}

#[cfg(test)]
#[path = "risk_tests.rs"]
mod tests;
