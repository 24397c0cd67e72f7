//! Declared totals against the sum of records, and how complete a day is: what is asked for, and what is looked at by itself.

use super::Engine;
use crate::api::EngineError;
use crate::integrity::{DAYS_MAX, DayCompleteness, DayScore, Declared, NewDeclaration};
use crate::register::{commit_error, section, unavailable};
use crate::source::{EARLIEST, Reply, Sign, SourceMsg};
use engine::integrity::completeness::{DayFacts, declared, score, slots};
use engine::integrity::totals::{self, Stored, day_after, day_of, day_span};
use futures_util::FutureExt;
use models::event::Event;
use models::feed::integrity::{ChainEndReason, Declaration, TotalsCompared};
use models::feed::{Source, SourceClock};
use models::ids::{KeyId, SourceId};
use models::ts::{DAY, SECOND, Ts};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::SourceSpan;

/// How often it is looked what has to be compared or scored.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Days of a source that are read at once.
const DAYS_AT_ONCE: u32 = 40;
/// Declarations of one day.
const VERSIONS_MAX: i64 = 1_000;
/// Sources scored in a second at least, and the seconds within which all of them are.
const SCORED_MIN: usize = 5;
const SCORED_WITHIN: usize = 600;
/// How long somebody waits for a source to end its chain.
const END_CHAIN_MAX: Duration = Duration::from_secs(20);

fn invalid(pointer: &'static str, detail: &str) -> EngineError {
    EngineError::Invalid { pointer, detail: detail.to_owned() }
}

impl Engine {
    /// Ends a source's chain of tamper tokens: the next one is the first of a new chain. With a number, the next batch has
    /// it, and none below is waited for.
    ///
    /// # Errors
    /// The source is not there, or does not answer.
    pub async fn end_chain(
        &self,
        source: SourceId,
        by: KeyId,
        reason: ChainEndReason,
        next_number: Option<i64>,
    ) -> Result<(), EngineError> {
        let gone = || EngineError::Unavailable("the source's actor");
        let actor = self.0.sources.read().get(&source).cloned().ok_or_else(gone)?;
        let (reply, done) = Reply::new();
        actor.try_send(SourceMsg::EndChain { by, reason, next_number, reply }).map_err(|_| gone())?;
        tokio::time::timeout(END_CHAIN_MAX, done).await.ok().and_then(Result::ok).ok_or_else(gone)?
    }

    /// How far what is stored may be from what was declared.
    #[must_use]
    pub fn declared_tolerance(&self) -> totals::Tolerance {
        self.0.config.feeds.declared_tolerance
    }

    /// Takes a declaration in and holds it against what is stored. The same once more changes nothing.
    ///
    /// # Errors
    /// A day that is none, or not over; a day that was declared by another zone's midnight.
    pub async fn declare(&self, source: SourceId, new: NewDeclaration) -> Result<Declared, EngineError> {
        let engine = self.clone();
        section(async move { engine.declare_now(source, new).await }).await
    }

    async fn declare_now(&self, source: SourceId, new: NewDeclaration) -> Result<Declared, EngineError> {
        let source = self.source(source)?;
        let now = self.now();
        let time_zone = match new.time_zone {
            Some(zone) => zone,
            None => self.time_zone(&source)?,
        };
        let (from, to) =
            day_span(&new.day, &time_zone).ok_or_else(|| invalid("/day", "not a day (YYYY-MM-DD) of that zone"))?;
        if to > now {
            return Err(invalid("/day", "it is not over yet"));
        }
        if from < EARLIEST {
            return Err(invalid("/day", "before the year 2000"));
        }
        let store = &self.0.store;
        // one after the other: each is the next version of its day
        let _one = self.0.declaring.lock(source.id).await;
        let last = store.declaration(source.source_no, &new.day).await.map_err(unavailable)?;
        let before = store.declared_day(source.source_no, &new.day).await.map_err(unavailable)?;
        if last.as_ref().is_some_and(|last| (last.from, last.to) != (from, to)) {
            return Err(invalid("/time_zone", "the day was declared by another zone's midnight"));
        }
        let version = last.as_ref().map_or(0, |last| last.version) + 1;
        if version > VERSIONS_MAX {
            return Err(EngineError::Conflict("the day was declared as often as it may be".to_owned()));
        }
        let fresh = Declaration {
            source_no: source.source_no,
            day: new.day,
            time_zone,
            from,
            to,
            version,
            status: new.status,
            totals: new.totals,
            at: now,
            by: new.by,
        };
        let known = last.filter(|last| (last.status, &last.totals) == (fresh.status, &fresh.totals));
        let created = known.is_none();
        let declaration = known.unwrap_or(fresh);
        let declared = created.then(|| Event::TotalsDeclared(declaration.clone()));
        let compared = self.compare(&source, &declaration, before, declared, now).await?;
        Ok(Declared { declaration, compared, created })
    }

    /// Sums, compares and stores what came of it, with the alert where the day turned.
    async fn compare(
        &self,
        source: &Source,
        declaration: &Declaration,
        before: Option<TotalsCompared>,
        declared: Option<Event>,
        now: Ts,
    ) -> Result<TotalsCompared, EngineError> {
        let span = SourceSpan {
            source_no: source.source_no,
            operator_no: source.operator_no,
            from: declaration.from,
            to: declaration.to,
        };
        let (sums, through) = self.0.store.totals(span, declaration.status).await.map_err(unavailable)?;
        let tolerance = self.0.config.feeds.declared_tolerance;
        let stored = Stored { totals: sums, through };
        let compared = totals::compare(declaration, &stored, before.as_ref(), tolerance, now);
        // that nothing changed is worth a word where more was looked at: or it would be looked at again for ever
        let is_news = before.as_ref().is_none_or(|before| {
            let seen = |of: &TotalsCompared| (of.version, of.status, of.differs, of.turns, of.through);
            seen(before) != seen(&compared) || before.lines != compared.lines
        });
        let heard = declared.iter().flat_map(|_| self.declared_to_rules(source, declaration));
        let mut events: Vec<Event> = heard.collect();
        events.extend(declared);
        if is_news {
            events.push(Event::TotalsCompared(compared.clone()));
        }
        let operator = self.directory().operators.get(&source.operator_no).map_or(String::new(), |o| o.code.clone());
        let alert = totals::alert(source, &operator, &compared, before.as_ref(), tolerance);
        let turned = alert.is_some() && compared.differs;
        events.extend(alert.map(Event::AlertRevised));
        if !events.is_empty() {
            self.0.writer.commit(events, Vec::new()).await.map_err(commit_error)?;
        }
        if turned {
            self.0.context.integrity.count(Sign::DeclaredDiffers, 1);
        }
        Ok(compared)
    }

    /// How complete the days of a source are, from one to another, both inclusive, oldest first; at most [`DAYS_MAX`].
    ///
    /// # Errors
    /// Days that are none, or too many.
    pub async fn completeness(
        &self,
        source: SourceId,
        from: &str,
        to: &str,
    ) -> Result<Vec<DayCompleteness>, EngineError> {
        let source = self.source(source)?;
        let zone = self.time_zone(&source)?;
        let (first, _) = day_span(from, &zone).ok_or_else(|| invalid("?from", "not a day (YYYY-MM-DD)"))?;
        let (last, _) = day_span(to, &zone).ok_or_else(|| invalid("?to", "not a day (YYYY-MM-DD)"))?;
        if last < first {
            return Err(invalid("?to", "before from"));
        }
        if (last.0 - first.0) / DAY >= DAYS_MAX as i64 {
            return Err(invalid("?to", "more than 92 days from the first"));
        }
        let mut days = Vec::new();
        let mut day = from.to_owned();
        while days.len() < DAYS_MAX {
            days.push(self.day(&source, &day, &zone).await?);
            if day == to {
                break;
            }
            day = day_after(&day, 1).ok_or_else(|| invalid("?to", "not a day (YYYY-MM-DD)"))?;
        }
        Ok(days)
    }

    async fn day(&self, source: &Source, day: &str, zone: &str) -> Result<DayCompleteness, EngineError> {
        let (from, to) = day_span(day, zone).ok_or(EngineError::NotFound("day"))?;
        let store = &self.0.store;
        let slots = slots((from, to), source.expected_interval_seconds, source.created_at, self.now());
        let span =
            |from: Ts, to: Ts| SourceSpan { source_no: source.source_no, operator_no: source.operator_no, from, to };
        let came = store.arrivals(span(from, to)).await.map_err(unavailable)?;
        let in_time = store.delivered(span(slots.from, slots.to), (slots.count, slots.length));
        let in_time = if slots.count > 0 { in_time.await.map_err(unavailable)? } else { 0 };
        let compared = store.declared_day(source.source_no, day).await.map_err(unavailable)?;
        let declared = compared.as_ref().map(|compared| declared(&compared.lines));
        let facts = DayFacts {
            intervals: slots.count,
            delivered: in_time,
            declared: declared.map(|(declared, _)| declared),
            stored: declared.map_or(0, |(_, stored)| stored),
            sent: came.records + came.quarantined,
            unsettled: came.open,
        };
        let compared_at = compared.map(|compared| compared.at);
        Ok(DayCompleteness { day: day.to_owned(), from, to, facts, score: score(&facts), compared_at })
    }

    fn source(&self, id: SourceId) -> Result<Arc<Source>, EngineError> {
        self.directory().sources.get(&id).cloned().ok_or(EngineError::NotFound("source"))
    }

    fn time_zone(&self, source: &Source) -> Result<String, EngineError> {
        let directory = self.directory();
        let operator = directory.operators.get(&source.operator_no).ok_or(EngineError::NotFound("operator"))?;
        let jurisdiction = directory.jurisdiction(operator.jurisdiction);
        Ok(jurisdiction.ok_or(EngineError::NotFound("jurisdiction"))?.time_zone.clone())
    }

    /// Compares what was touched, and works out the scores that screens show.
    pub(super) async fn keep_integrity(&self) {
        // what came while nobody looked: the comparisons know how far they have seen
        let now = self.now();
        for source in self.directory().sources.values() {
            let horizon = i64::from(source.horizon_days) * DAY;
            // an archive's clock is its newest record's
            let newest =
                self.0.views.gauges.read().get(&source.id).map(|gauge| gauge.last_event_at.load(Ordering::Relaxed));
            let clock = match source.clock {
                SourceClock::Event => newest.filter(|newest| *newest > 0).map_or(now, |newest| now.min(Ts(newest))),
                SourceClock::Wall => now,
            };
            self.0.context.touched.touch(source.id, clock.plus(-horizon), now);
        }
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = SourceId(0);
        loop {
            interval.tick().await;
            let look = async {
                self.compare_touched().await;
                self.score_some(&mut next).await;
            };
            if AssertUnwindSafe(look).catch_unwind().await.is_err() {
                tracing::error!("a look at the days of sources panicked");
            }
        }
    }

    async fn compare_touched(&self) {
        let now = self.now();
        for (id, (first, last)) in self.0.context.touched.take_due(now, self.0.config.feeds.compare_every) {
            if let Err(error) = self.compare_days(id, first, last, now).await {
                tracing::warn!(source = %id, %error, "declared totals are compared later");
                self.0.context.touched.touch(id, first, last);
            }
        }
    }

    async fn compare_days(&self, id: SourceId, first: Ts, last: Ts, now: Ts) -> Result<(), EngineError> {
        let Ok(source) = self.source(id) else { return Ok(()) };
        let mut from = first;
        loop {
            let days = self.0.store.declared_between(source.source_no, from, last.plus(1), DAYS_AT_ONCE);
            let days = days.await.map_err(unavailable)?;
            let is_full = days.len() == DAYS_AT_ONCE as usize;
            from = days.last().map_or(from, |day| day.to);
            self.compare_again(&source, days, now).await?;
            if !is_full {
                return Ok(());
            }
        }
    }

    async fn compare_again(&self, source: &Source, days: Vec<TotalsCompared>, now: Ts) -> Result<(), EngineError> {
        let store = &self.0.store;
        for day in days {
            let span =
                SourceSpan { source_no: source.source_no, operator_no: source.operator_no, from: day.from, to: day.to };
            if !store.is_touched(span, day.through).await.map_err(unavailable)? {
                continue;
            }
            let _one = self.0.declaring.lock(source.id).await;
            // as it is now: somebody may have declared meanwhile
            let declaration = store.declaration(source.source_no, &day.day).await.map_err(unavailable)?;
            let before = store.declared_day(source.source_no, &day.day).await.map_err(unavailable)?;
            if let Some(declaration) = declaration {
                self.compare(source, &declaration, before, None, now).await?;
            }
        }
        Ok(())
    }

    /// The last full day of some sources: each comes around within ten minutes.
    async fn score_some(&self, next: &mut SourceId) {
        let mut ids: Vec<SourceId> = self.directory().sources.keys().copied().collect();
        ids.sort_unstable();
        let some = ids.len().div_ceil(SCORED_WITHIN).max(SCORED_MIN);
        let start = ids.partition_point(|id| id <= next);
        let turn: Vec<SourceId> = ids.iter().cycle().skip(start).take(some.min(ids.len())).copied().collect();
        for id in turn {
            *next = id;
            let gauge = self.0.views.gauges.read().get(&id).cloned();
            let Some(gauge) = gauge else { continue };
            let is_fresh = gauge.last_day.lock().as_ref().is_some_and(|shown| self.is_fresh(id, shown));
            if is_fresh {
                continue;
            }
            match self.last_full_day(id).await {
                Ok(score) => *gauge.last_day.lock() = Some(score),
                Err(error) => tracing::debug!(source = %id, %error, "a day is scored later"),
            }
        }
    }

    fn is_fresh(&self, id: SourceId, shown: &DayScore) -> bool {
        let now = self.now();
        let day =
            self.source(id).and_then(|source| self.time_zone(&source)).ok().and_then(|zone| yesterday(now, &zone));
        day.as_ref() == Some(&shown.day) && now.0 - shown.as_of.0 < SCORED_WITHIN as i64 * SECOND
    }

    async fn last_full_day(&self, id: SourceId) -> Result<DayScore, EngineError> {
        let source = self.source(id)?;
        let zone = self.time_zone(&source)?;
        let as_of = self.now();
        let day = yesterday(as_of, &zone).ok_or(EngineError::NotFound("day"))?;
        let found = self.day(&source, &day, &zone).await?;
        Ok(DayScore { day, score_ppm: found.score.score_ppm, as_of })
    }
}

fn yesterday(now: Ts, zone: &str) -> Option<String> {
    day_after(&day_of(now, zone)?, -1)
}
