//! Operators' compliance, scored once a day behind its end, for days that were missed, too, and again where late data
//! changed what a score stands on. The formula is `engine::compliance`; here its facts are gathered.

use super::Engine;
use crate::api::EngineError;
use crate::register::{commit_error, unavailable};
use engine::compliance::alerts::{Confirmed, History};
use engine::compliance::feeds::{Counts, Feeds, Silences, SourceFacts};
use engine::compliance::payments::{Bill, Paid, Payments};
use engine::compliance::{Facts, SPAN_DAYS, VERSION, score};
use engine::integrity::completeness::declared;
use engine::integrity::totals::{day_after, day_of, day_span};
use engine::{integrity, silence};
use futures_util::FutureExt;
use models::alert::Window;
use models::compliance::ComplianceScored;
use models::event::Event;
use models::feed::Source;
use models::ids::{OperatorNo, SourceNo};
use models::operator::{Operator, OperatorState};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{BatchSums, ClassQuery, ComplianceSpan};

/// How often it is looked whether a day is over.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A day is scored so long behind its end: what was under way at midnight is stored by then.
const SETTLE: i64 = 10 * MINUTE;
/// Missed days that are made up for.
const CATCH_UP_DAYS: i64 = 92;
/// Days whose scores may change with late data: the horizon of a source of play by default.
const RECENT_DAYS: i64 = 7;
/// How often those are looked at again.
const AGAIN_EVERY: i64 = HOUR;
/// Pause between two days that are scored: nobody waits for them.
const PAUSE: Duration = Duration::from_millis(20);
/// How far back an invoice may lie that is still unpaid.
const INVOICES_BACK: i64 = 400 * DAY;
/// Rows of a list read at once, and lists of invoices and payments that are read at most.
const ROWS_AT_ONCE: u32 = 500;
const PAGES_MAX: usize = 10;
/// Silences of a source in a span that are read at most: the newest. Of a minute expected, one silence takes five at least.
const SILENCES_MAX: u32 = 10_000;
/// Declared days of a source in a span at most: another zone's midnights may touch one more.
const DECLARED_MAX: u32 = SPAN_DAYS as u32 + 2;

/// How far an operator's days are scored.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// The newest day that has a score.
    scored: Option<String>,
    /// When recent days were looked at last.
    looked_at: Ts,
    came: Came,
}

/// What came of sources, by source and start of a day: a day that is over stays as it is, and is counted once.
type Came = HashMap<(SourceNo, Ts), BatchSums>;

/// A day to be scored, and whose.
struct Due<'a> {
    operator: &'a Operator,
    zone: &'a str,
    day: &'a str,
}

impl Engine {
    pub(super) async fn keep_compliance(&self) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut known: HashMap<OperatorNo, Progress> = HashMap::new();
        self.compliance_is_complete();
        loop {
            interval.tick().await;
            // what is late is made up for
            if self.0.sparing.load(Ordering::Relaxed) {
                continue;
            }
            match AssertUnwindSafe(self.score_operators(&mut known)).catch_unwind().await {
                Ok(true) => self.compliance_is_complete(),
                Ok(false) => {}
                Err(_) => tracing::error!("a look at the compliance of operators panicked"),
            }
        }
    }

    fn compliance_is_complete(&self) {
        self.0.metrics.compliance_complete_at.set(self.now().0 / SECOND);
    }

    /// Gives days that are over their scores; true where none is left.
    async fn score_operators(&self, known: &mut HashMap<OperatorNo, Progress>) -> bool {
        let operators: Vec<Arc<Operator>> = self.directory().operators.values().cloned().collect();
        let mut is_complete = true;
        for operator in operators.iter().filter(|operator| operator.state != OperatorState::Closed) {
            let mut progress = known.get(&operator.operator_no).cloned();
            match self.score_operator(operator, &mut progress).await {
                Ok(()) => known.extend(progress.map(|progress| (operator.operator_no, progress))),
                Err(error) => {
                    // another process may have written: what is there is read anew
                    known.remove(&operator.operator_no);
                    is_complete = false;
                    tracing::warn!(operator = %operator.id, %error, "compliance is scored later");
                }
            }
        }
        is_complete
    }

    async fn score_operator(&self, operator: &Operator, progress: &mut Option<Progress>) -> Result<(), EngineError> {
        let zone = self.directory().jurisdiction(operator.jurisdiction).map(|j| j.time_zone.clone());
        let zone = zone.ok_or(EngineError::NotFound("jurisdiction"))?;
        let now = self.now();
        let is_none = || EngineError::NotFound("day");
        // the newest day that is over and settled
        let newest = day_of(now.plus(-SETTLE), &zone).and_then(|day| day_after(&day, -1)).ok_or_else(is_none)?;
        let first = day_of(operator.registered_at, &zone).ok_or_else(is_none)?;
        let mut held = match progress.take() {
            Some(held) => held,
            None => {
                let stored = self.0.store.newest_compliance_score(operator.operator_no).await.map_err(unavailable)?;
                Progress { scored: stored.map(|stored| stored.day), ..Progress::default() }
            }
        };
        let back = |days: i64| day_after(&newest, 1 - days).ok_or_else(is_none);
        let is_again = now.0.saturating_sub(held.looked_at.0) >= AGAIN_EVERY;
        let missed = match &held.scored {
            Some(scored) => day_after(scored, 1).ok_or_else(is_none)?,
            None => first.clone(),
        };
        let recent = if is_again { back(RECENT_DAYS)? } else { missed.clone() };
        let mut day = missed.min(recent).max(first).max(back(CATCH_UP_DAYS)?);
        let mut history = None;
        while day <= newest {
            self.score_day(&Due { operator, zone: &zone, day: &day }, &mut history, &mut held.came).await?;
            held.scored = held.scored.max(Some(day.clone()));
            day = day_after(&day, 1).ok_or_else(is_none)?;
            tokio::time::sleep(PAUSE).await;
        }
        if is_again {
            held.looked_at = now;
            // no score stands on what lies before
            let oldest = now.plus(-(CATCH_UP_DAYS + SPAN_DAYS + 2) * DAY);
            held.came.retain(|(_, start), _| *start >= oldest);
        }
        *progress = Some(held);
        Ok(())
    }

    /// Scores a day, where it has no score yet or would have another one.
    async fn score_day(
        &self,
        due: &Due<'_>,
        history: &mut Option<History>,
        came: &mut Came,
    ) -> Result<(), EngineError> {
        let Due { operator, day, .. } = *due;
        let history = match history {
            Some(history) => history,
            None => history.insert(self.history_of(operator.operator_no).await?),
        };
        let span = ComplianceSpan { operator_no: operator.operator_no, from: day, to: day };
        let before = self.0.store.compliance_scores(span).await.map_err(unavailable)?.pop();
        let (facts, window) = self.compliance_facts(due, history, came).await?;
        let found = score(&facts);
        let scored = ComplianceScored {
            operator_no: operator.operator_no,
            jurisdiction: operator.jurisdiction,
            day: day.to_owned(),
            from: window.start,
            to: window.end,
            revision: before.as_ref().map_or(0, |before| before.revision) + 1,
            formula: VERSION,
            score_ppm: found.score_ppm,
            measured_weight: found.measured_weight,
            band: found.band,
            components: found.components,
            at: self.now(),
        };
        if before.is_some_and(|before| before.says_the_same(&scored)) {
            return Ok(());
        }
        self.0.writer.commit(vec![Event::ComplianceScored(scored)], Vec::new()).await.map_err(commit_error)?;
        Ok(())
    }

    /// Groups of an operator's alerts and what people did with them, as far back as a score may stand on.
    async fn history_of(&self, operator: OperatorNo) -> Result<History, EngineError> {
        let since = self.now().plus(-(CATCH_UP_DAYS + SPAN_DAYS + 2) * DAY);
        let (acts, acts_cut) = self.0.store.alert_acts(operator, since).await.map_err(unavailable)?;
        let (groups, groups_cut) = self.0.store.alert_groups_of(operator, since).await.map_err(unavailable)?;
        Ok(History { acts, groups, is_cut: acts_cut || groups_cut })
    }

    /// Everything that the score of a day follows from, and the span that it stands on.
    async fn compliance_facts(
        &self,
        due: &Due<'_>,
        history: &History,
        came: &mut Came,
    ) -> Result<(Facts, Window), EngineError> {
        let Due { operator, zone, day } = *due;
        let is_none = || EngineError::NotFound("day");
        let mut days = Vec::new();
        let first = day_after(day, 1 - SPAN_DAYS).ok_or_else(is_none)?;
        let mut name = first.clone();
        while *name <= *day {
            let (start, end) = day_span(&name, zone).ok_or_else(is_none)?;
            days.push(Window { start, end });
            name = day_after(&name, 1).ok_or_else(is_none)?;
        }
        let (Some(oldest), Some(newest)) = (days.first(), days.last()) else { return Err(is_none()) };
        let window = Window { start: oldest.start, end: newest.end };
        let store = &self.0.store;
        let counted = ComplianceSpan { operator_no: operator.operator_no, from: &first, to: day };
        let counted = store.compliance_days(counted).await.map_err(unavailable)?;
        let facts = Facts {
            days: counted.into_iter().map(|(_, _, tally)| tally).collect(),
            feeds: self.feeds_of(operator.operator_no, &days, window, came).await?,
            payments: self.payments_of(operator.operator_no, window).await?,
            alerts: Confirmed::of(history, operator.operator_no, window),
        };
        Ok((facts, window))
    }

    async fn feeds_of(
        &self,
        operator: OperatorNo,
        days: &[Window],
        span: Window,
        came: &mut Came,
    ) -> Result<Feeds, EngineError> {
        let store = &self.0.store;
        let sources: Vec<Arc<Source>> = {
            let directory = self.directory();
            let mut own: Vec<_> = directory.sources.values().filter(|s| s.operator_no == operator).cloned().collect();
            own.sort_unstable_by_key(|source| source.source_no);
            own
        };
        if sources.is_empty() {
            return Ok(Feeds::default());
        }
        let since = store.silences_since().await.map_err(unavailable)?;
        // of what was before they were measured the alerts tell, as they did
        let told = if span.start < since {
            store.alerts_of_rule(operator, silence::RULE).await.map_err(unavailable)?
        } else {
            Vec::new()
        };
        let breaks = store.alerts_of_rule(operator, integrity::Trouble::Tampered.rule()).await.map_err(unavailable)?;
        let mut feeds = Feeds::default();
        for source in &sources {
            let batches = self.batches_of(source.source_no, days, came).await?;
            let counts = self.counts_of(source, span, batches).await?;
            let within = (span.start, span.end);
            let measured = store.source_silences(source.source_no, within, SILENCES_MAX).await.map_err(unavailable)?;
            let silences = Silences { since, measured: &measured, told: &told };
            feeds.sources.extend(SourceFacts::of(source, days, silences, &breaks, counts));
        }
        Ok(feeds)
    }

    /// What a source's batches of some days add up to.
    async fn batches_of(&self, no: SourceNo, days: &[Window], came: &mut Came) -> Result<BatchSums, EngineError> {
        let mut sums = BatchSums::default();
        for day in days {
            let of_day = match came.get(&(no, day.start)) {
                Some(known) => *known,
                None => {
                    let counted = self.0.store.batch_sums(no, day.start, day.end).await.map_err(unavailable)?;
                    came.insert((no, day.start), counted);
                    counted
                }
            };
            sums.records += of_day.records;
            sums.numbered += of_day.numbered;
        }
        Ok(sums)
    }

    async fn counts_of(&self, source: &Source, span: Window, batches: BatchSums) -> Result<Counts, EngineError> {
        let (store, no) = (&self.0.store, source.source_no);
        let quarantined = store.quarantined_between(no, span.start, span.end).await.map_err(unavailable)?;
        let state = store.source_integrity(no).await.map_err(unavailable)?;
        // a gap that opened later is none of this span
        let is_missing = state.missing_since.is_some_and(|since| since < span.end);
        let compared = store.declared_between(no, span.start, span.end, DECLARED_MAX).await.map_err(unavailable)?;
        let mut counts = Counts {
            numbered: batches.numbered,
            numbers_missing: if is_missing { state.missing_numbers() } else { 0 },
            sent: batches.records + quarantined,
            quarantined,
            ..Counts::default()
        };
        // a day that reaches over the end was not over, and declared later
        for day in compared.iter().filter(|day| day.to <= span.end) {
            let (said, stored) = declared(&day.lines);
            counts.declared = counts.declared.saturating_add(said);
            counts.declared_stored = counts.declared_stored.saturating_add(stored);
        }
        Ok(counts)
    }

    async fn payments_of(&self, operator_no: OperatorNo, span: Window) -> Result<Payments, EngineError> {
        let store = &self.0.store;
        let from = Some(span.start.plus(-INVOICES_BACK));
        let first = ClassQuery { operator_no, state: None, from, to: None, behind: None, limit: ROWS_AT_ONCE };
        let mut bills = Vec::new();
        let mut query = first.clone();
        let (mut invoices_cut, mut payments_cut) = (true, true);
        for _ in 0..PAGES_MAX {
            let page = store.invoices(&query).await.map_err(unavailable)?;
            bills.extend(page.rows.into_iter().map(|row| Bill {
                invoice: row.invoice,
                amount_minor: row.amount_minor,
                currency: row.currency,
                said_at: row.occurred_at,
            }));
            let Some(next) = page.next else {
                invoices_cut = false;
                break;
            };
            query.behind = Some(next);
        }
        if bills.is_empty() {
            return Ok(Payments::default());
        }
        let (mut payments, mut query) = (Vec::new(), first);
        for _ in 0..PAGES_MAX {
            let page = store.payments(&query).await.map_err(unavailable)?;
            payments.extend(page.rows.into_iter().map(|row| Paid {
                payment: row.payment,
                amount_minor: row.amount_minor,
                currency: row.currency,
                at: row.occurred_at,
            }));
            let Some(next) = page.next else {
                payments_cut = false;
                break;
            };
            query.behind = Some(next);
        }
        let (invoices_cut, payments_cut) = (i64::from(invoices_cut), i64::from(payments_cut));
        Ok(Payments { invoices_cut, payments_cut, ..Payments::of(&bills, &payments, span) })
    }
}
