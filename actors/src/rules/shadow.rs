//! Versions of models in the shadow, at work for an operator: they score the vectors that the promoted ones score, and
//! what they say is counted by day.
//!
//! ```text
//! vector of a record ─▶ promoted version ─▶ RecordsScored …
//!                 └───▶ version in the shadow ─▶ tally ─ the day is over ─▶ ShadowDayCounted, journaled
//! ```
//! Nothing here is part of the kept state, and nothing that is kept depends on it: with or without a shadow the rules hear
//! the same. So after a restart a day is counted by what was heard since the kept state, as it is with drift.

use super::risk::{AtWork, Promoted};
use engine::features::live_players::LivePlayers;
use engine::features::played::{PLAYED_MAX, Played};
use engine::features::player;
use engine::model_shadow::{Bounds, Scored, Tally};
use engine::rules::ruleset::RuleSet;
use models::alert::Window;
use models::ids::{OperatorNo, Seq};
use models::match_key::MatchKey;
use models::model_shadow::{EXAMPLES_MAX, ShadowFound, ShadowSubject};
use models::money::Currency;
use models::record::Record;
use models::risk_model::{DriftJudged, ModelKind};
use models::score::{PLAYERS_MAX, PlayersScored};
use models::ts::Ts;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Version and score of the promoted model for the same vector, where one scored it.
pub(super) type Beside = Option<(u32, u32)>;

/// What a version said of a row, for whoever joins it with what another one said.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Position of the record in its input; 0 of a player.
    pub place: usize,
    pub subject: ShadowSubject,
    pub score_ppm: u32,
    pub bound_ppm: u32,
    /// Empty below the bound.
    pub vector: Vec<f32>,
}

/// Where it goes what a version says.
#[derive(Clone)]
enum Sink {
    /// Counted beside the promoted version.
    Tally(Box<Tally>),
    /// Collected by whoever knows what the promoted version said then.
    Rows(Vec<Row>),
}

/// A version at work.
#[derive(Clone)]
struct Shadow {
    at_work: AtWork,
    sink: Sink,
    /// An instant in the newest day that it has scored something of.
    newest: Ts,
}

impl Shadow {
    fn new(promoted: Arc<Promoted>, operator: OperatorNo, sink: Sink) -> Self {
        Self { at_work: AtWork::new(promoted, operator), sink, newest: Ts(0) }
    }

    fn add(
        &mut self,
        (place, vector): (usize, &[f32]),
        (live, bound_ppm): (Beside, u32),
        day: Ts,
        subject: impl FnOnce() -> ShadowSubject,
    ) {
        self.newest = self.newest.max(day);
        let score_ppm = self.at_work.score(vector);
        match &mut self.sink {
            Sink::Tally(tally) => tally.add(Scored { score_ppm, live, bound_ppm }, vector, subject),
            Sink::Rows(rows) => {
                let vector = if score_ppm >= bound_ppm { vector.to_vec() } else { Vec::new() };
                rows.push(Row { place, subject: subject(), score_ppm, bound_ppm, vector });
            }
        }
    }

    /// What was counted, where there is something.
    fn take(&mut self, day: Ts) -> Option<ShadowDay> {
        let Sink::Tally(tally) = &mut self.sink else { return None };
        let scorer = &self.at_work.promoted.scorer;
        let (kind, version) = (scorer.kind(), scorer.version());
        (tally.rows() > 0).then(|| ShadowDay { kind, version, day, found: tally.take(|vector| scorer.reasons(vector)) })
    }
}

/// A day that is over.
#[derive(Clone, Debug)]
pub(super) struct ShadowDay {
    pub kind: ModelKind,
    pub version: u32,
    /// An instant in it.
    pub day: Ts,
    pub found: ShadowFound,
}

/// Which of them are at work, and what they have said.
#[derive(Clone, Default)]
pub(super) struct Shadows {
    records: Option<Shadow>,
    players: Option<Shadow>,
    bounds: Bounds,
    /// Who has played since the shadow began, by the end of the day that is not over.
    played: Played,
    /// End of the newest day that is over.
    closed_until: Ts,
    /// Who is to be scored.
    due: BTreeMap<(MatchKey, Currency), Due>,
    /// Those for whom there was no room.
    unscored: u64,
    counted: Vec<ShadowDay>,
}

/// Somebody who is to be scored.
#[derive(Clone)]
struct Due {
    as_of: Ts,
    /// As of then. None: nothing was heard of them since, and their history gives it.
    vector: Option<Box<[f32; player::WIDTH]>>,
}

impl Due {
    /// None: they were forgotten at the limit, and there is nothing to score.
    fn vector(self, (player, currency): (MatchKey, Currency), live: &LivePlayers) -> Option<Box<[f32; player::WIDTH]>> {
        self.vector.or_else(|| {
            let mut vector = Box::new([0.0; player::WIDTH]);
            live.write_at((player, currency), self.as_of, &mut vector).then_some(vector)
        })
    }
}

/// Who scores an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shadowed {
    pub records: bool,
    pub players: bool,
}

impl Shadows {
    /// From which probability on a row counts, from now on.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.bounds = Bounds::of(set);
    }

    /// The same, whatever rules say.
    pub fn set_bound(&mut self, bound_ppm: u32) {
        self.bounds = Bounds::fixed(bound_ppm);
    }

    /// Takes over what is in the shadow. What was counted of another version is told now: its day is over.
    pub fn set(&mut self, records: Option<Arc<Promoted>>, players: Option<Arc<Promoted>>, operator: OperatorNo) {
        if !is_at_work(self.players.as_ref(), players.as_ref()) {
            self.forget_players();
        }
        for (place, new) in [(&mut self.records, records), (&mut self.players, players)] {
            if is_at_work(place.as_ref(), new.as_ref()) {
                continue;
            }
            let tally = || Sink::Tally(Box::new(Tally::new(EXAMPLES_MAX)));
            let before = std::mem::replace(place, new.map(|new| Shadow::new(new, operator, tally())));
            self.counted.extend(before.and_then(|mut shadow| shadow.take(shadow.newest)));
        }
    }

    /// A version whose rows are collected.
    pub fn collect(&mut self, version: Arc<Promoted>, operator: OperatorNo) {
        let kind = version.scorer.kind();
        let shadow = Some(Shadow::new(version, operator, Sink::Rows(Vec::new())));
        match kind {
            ModelKind::TransactionRisk => self.records = shadow,
            ModelKind::PlayerRisk => self.players = shadow,
        }
    }

    /// Rows that were collected since somebody asked last.
    pub fn rows(&mut self) -> Vec<Row> {
        let shadows = [&mut self.records, &mut self.players].into_iter().flatten();
        let rows = shadows.flat_map(|shadow| match &mut shadow.sink {
            Sink::Rows(rows) => std::mem::take(rows),
            Sink::Tally(_) => Vec::new(),
        });
        rows.collect()
    }

    /// Who scores an input at this place in the journal.
    pub fn of(&self, seq: Seq) -> Shadowed {
        let scores_it = |shadow: &Option<Shadow>| shadow.as_ref().is_some_and(|one| seq > one.at_work.promoted.since);
        Shadowed { records: scores_it(&self.records), players: scores_it(&self.players) }
    }

    /// A record has a vector; `day` is the beginning of the local day that it lies in.
    pub fn record(&mut self, (place, record): (usize, &Record), vector: &[f32], live: Beside, day: Ts) {
        let Some(shadow) = &mut self.records else { return };
        let bound_ppm = self.bounds.at(ModelKind::TransactionRisk, record.occurred_at);
        shadow.add((place, vector), (live, bound_ppm), day, || ShadowSubject {
            record_id: Some(record.record_id.clone()),
            player: record.player,
            currency: record.currency,
            at: record.occurred_at,
        });
    }

    /// Something is going to be heard of somebody: who is due is scored as they were before.
    pub fn before(&mut self, record: &Record, live: &LivePlayers) {
        let Some(player) = record.player.filter(|_| record.kind.is_play()) else { return };
        let who = (player, record.currency);
        let Some(due) = self.due.remove(&who) else { return };
        let as_of = due.as_of;
        match due.vector(who, live) {
            Some(vector) => _ = self.due.insert(who, Due { as_of, vector: Some(vector) }),
            None => self.unscored += 1,
        }
    }

    /// Somebody has played on a day that ends then: their vector is scored when it is over.
    pub fn played(&mut self, record: &Record, end: Ts) {
        // as of the promoted one: what is no play makes nobody due
        let Some(player) = record.player.filter(|_| record.kind.is_play()) else { return };
        let has_room = self.played.note((player.0, record.currency), end.max(self.closed_until));
        self.unscored += u64::from(!has_room);
    }

    /// A day is over. Gives how far what was scored has moved.
    pub fn close(&mut self, day: Window) -> Vec<DriftJudged> {
        if let Some(shadow) = &mut self.records {
            self.counted.extend(shadow.take(day.start));
        }
        for (player, currency) in self.played.take_until(day.end) {
            let one = (MatchKey(player), currency);
            if self.due.len() >= PLAYED_MAX && !self.due.contains_key(&one) {
                self.unscored += 1;
            } else {
                self.due.insert(one, Due { as_of: day.end, vector: None });
            }
        }
        self.closed_until = self.closed_until.max(day.end);
        let shadows = [&mut self.records, &mut self.players].into_iter().flatten();
        let judged = shadows.map(|shadow| DriftJudged { is_shadow: true, ..shadow.at_work.close(day.start) });
        judged.collect()
    }

    /// The promoted version has scored a player: so does this one, where they are due.
    pub fn player(&mut self, who: (MatchKey, Currency), as_of: Ts, vector: &[f32], live: Beside) {
        if self.due.get(&who).is_some_and(|due| due.as_of == as_of) {
            self.due.remove(&who);
            self.score(who, as_of, vector, live);
        }
    }

    /// What the promoted version said of players is heard: after a start they may be due here still.
    pub fn said(&mut self, scored: &PlayersScored, live: &LivePlayers) {
        if self.due.is_empty() {
            return;
        }
        for one in &scored.players {
            let who = (one.player, one.currency);
            if self.due.get(&who).is_none_or(|due| due.as_of != scored.as_of) {
                continue;
            }
            let vector = self.due.remove(&who).and_then(|due| due.vector(who, live));
            if let Some(vector) = vector {
                self.score(who, scored.as_of, vector.as_slice(), Some((scored.version, one.score_ppm)));
            }
        }
    }

    fn score(&mut self, (player, currency): (MatchKey, Currency), as_of: Ts, vector: &[f32], live: Beside) {
        let Some(shadow) = &mut self.players else { return };
        let bound_ppm = self.bounds.at(ModelKind::PlayerRisk, as_of);
        // the day ends with the instant before
        shadow.add((0, vector), (live, bound_ppm), as_of.plus(-1), || ShadowSubject {
            record_id: None,
            player: Some(player),
            currency,
            at: as_of,
        });
    }

    /// Scores those who are due and whom no promoted version scores, a few at a time; behind the last one their day is
    /// counted. True: more of them wait.
    pub fn score_due(&mut self, live: &LivePlayers) -> bool {
        for _ in 0..PLAYERS_MAX {
            let Some((who, due)) = self.due.pop_first() else { break };
            let as_of = due.as_of;
            if let Some(vector) = due.vector(who, live) {
                self.score(who, as_of, vector.as_slice(), None);
            }
        }
        if !self.due.is_empty() {
            return true;
        }
        if let Some(shadow) = &mut self.players {
            let day = shadow.newest;
            self.counted.extend(shadow.take(day));
        }
        false
    }

    fn forget_players(&mut self) {
        self.played.clear();
        self.due.clear();
    }

    /// Days that were counted since somebody asked last.
    pub fn counted(&mut self) -> Vec<ShadowDay> {
        std::mem::take(&mut self.counted)
    }

    /// Players that went without a score.
    pub fn unscored(&self) -> u64 {
        self.unscored
    }
}

/// Is this version at work, or none where none is wanted?
fn is_at_work(shadow: Option<&Shadow>, wanted: Option<&Arc<Promoted>>) -> bool {
    shadow.map(|shadow| Arc::as_ptr(&shadow.at_work.promoted)) == wanted.map(Arc::as_ptr)
}
