//! The market's watch over its series: fed behind each input, its scores durable before the next one.

use super::fitting::Fitting;
use super::series::{FeedSilence, Heard, Hearing, SeriesWatch};
use super::states::{newest_readable, pack_now};
use super::{Market, MarketContext, RETRY, StateMetrics};
use crate::kernel::Progress;
use engine::operator_state::Closed;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::series::{SeriesScore, SeriesScored};
use models::ts::Ts;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::pin::pin;
use std::time::{Duration, Instant};
use store::{CommitError, OperatorStateRow};

/// Silences of feeds are asked for again after so long: an archive closes windows with every batch.
const SILENCES_HOLD: Duration = Duration::from_secs(5);
/// Whoever waits for a fit says so often that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// Why a point of a series, or what is said of one, is missing.
const DROPPED: [&str; 4] = ["unwatched", "failed", "left_out", "refused"];
/// What came of a fit.
const FITS: [&str; 2] = ["fitted", "failed"];

/// What is stored of an operator's series.
pub struct StoredSeries {
    /// Everything up to this input is scored.
    pub scored: i64,
    /// States that were kept, newest first.
    pub states: Vec<OperatorStateRow>,
}

/// What is counted of series.
#[derive(Clone)]
pub struct SeriesMetrics {
    scored: IntCounter,
    dropped: IntCounterVec,
    fits: IntCounterVec,
    /// Their states.
    pub states: StateMetrics,
}

impl SeriesMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let names = [
            "mlinzi_series_states_kept_total",
            "mlinzi_series_states_lost_total",
            "mlinzi_series_inputs_replayed_total",
        ];
        let dropped = Opts::new(
            "mlinzi_series_points_dropped_total",
            "Points of series beyond the limit of an operator (unwatched), on which a detector panicked (failed), and those worth a word that were too many of one input (left_out) or that the store refused (refused)",
        );
        let fits = Opts::new(
            "mlinzi_series_fits_total",
            "Fits of an operator's figures together, of one currency each: in force (fitted), or the one before stays (failed)",
        );
        let metrics = Self {
            scored: IntCounter::new("mlinzi_series_scored_total", "Points of series that were worth a word")?,
            dropped: IntCounterVec::new(dropped, &["why"])?,
            fits: IntCounterVec::new(fits, &["outcome"])?,
            states: StateMetrics::register_as(registry, names, "States of operators' series")?,
        };
        DROPPED.iter().for_each(|why| metrics.dropped.with_label_values(&[why]).reset());
        registry.register(Box::new(metrics.scored.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        FITS.iter().for_each(|outcome| metrics.fits.with_label_values(&[outcome]).reset());
        registry.register(Box::new(metrics.fits.clone()))?;
        Ok(metrics)
    }
}

/// The detectors of a market and how far they have heard.
pub(super) struct Watching {
    /// None until everything that is stored was applied, where nothing was kept.
    watch: Option<SeriesWatch>,
    /// The input that they stand behind.
    heard: i64,
    /// Up to this input everything worth a word is stored.
    scored: i64,
    silences: Option<(Instant, Vec<FeedSilence>)>,
    /// Fits that are worked out meanwhile.
    fitting: Option<Fitting>,
}

impl Watching {
    /// As it was kept; `applied` is the input behind which the market's own state stands.
    pub async fn recover(operator: OperatorNo, applied: i64, context: &MarketContext) -> Result<Self, String> {
        let StoredSeries { scored, states } = context.log.series(operator).await?;
        let metrics = &context.series.states;
        let kept = newest_readable(operator, &SeriesWatch::default(), &states, metrics);
        // behind one that is older than the market's, windows would be missing
        let (heard, watch) = kept.filter(|(heard, _)| *heard >= applied).unzip();
        Ok(Self { watch, heard: heard.unwrap_or(0), scored, silences: None, fitting: None })
    }

    /// A copy, to be kept.
    pub fn copy(&self) -> Option<SeriesWatch> {
        self.watch.clone()
    }

    /// Nobody watches: of markets that only replay.
    pub fn none() -> Self {
        Self { watch: None, heard: 0, scored: 0, silences: None, fitting: None }
    }
}

impl Market {
    /// Where nothing was kept that fits: learns from the windows that the state remembers, and keeps that, so that what
    /// is said from here on follows from what is stored.
    pub(super) async fn begin_watching(&mut self) {
        if self.watching.watch.is_none() {
            let watch = SeriesWatch::learnt(&self.state.closed_windows());
            let kept = match pack_now(self.applied, &watch) {
                Ok(row) => self.context.log.keep_series(self.operator, row).await,
                Err(error) => Err(error.to_string()),
            };
            (self.watching.watch, self.watching.heard) = (Some(watch), self.applied);
            if let Err(error) = kept {
                self.context.series.states.lost.inc();
                tracing::warn!(operator_no = self.operator.0, error, "what series have taught is kept later");
            }
        }
        self.begin_fits();
        self.show_series();
    }

    /// Feeds the detectors with what an input has closed, and stores what is worth a word.
    pub(super) async fn watch(&mut self, operator_seq: i64, at: Ts, closed: &[Closed], progress: &Progress) {
        if self.watching.watch.is_none() || operator_seq <= self.watching.heard {
            return;
        }
        self.watching.heard = operator_seq;
        if closed.is_empty() {
            return;
        }
        self.look_for_silences(progress).await;
        let heard = self.hear(closed, at, progress).await;
        self.begin_fits();
        let metrics = &self.context.series;
        for (why, count) in DROPPED.iter().zip([heard.unwatched, heard.failed, heard.left_out]) {
            metrics.dropped.with_label_values(&[why]).inc_by(count);
        }
        let mut scores = heard.scores;
        if !scores.is_empty() && operator_seq > self.watching.scored {
            self.watching.scored = operator_seq;
            metrics.scored.inc_by(scores.len() as u64);
            scores.iter_mut().for_each(|score| self.tell_of_robust(score));
            let scored = SeriesScored { operator_seq, at, params_version: super::series::PARAMS_VERSION, scores };
            self.store_scores(scored, progress).await;
        }
        progress.beat();
        self.show_series();
    }

    /// Hears windows, and waits for a fit where the next one does.
    async fn hear(&mut self, closed: &[Closed], at: Ts, progress: &Progress) -> Heard {
        let silences = self.watching.silences.as_ref().map(|(_, silences)| silences.clone()).unwrap_or_default();
        let mut hearing = Hearing::new(closed, at, &silences);
        while let Some(watch) = &mut self.watching.watch
            && !watch.hear_some(&mut hearing)
        {
            self.settle_fits(progress).await;
        }
        hearing.done()
    }

    /// Has fits that are due worked out meanwhile: usually nobody waits for them before the next hour.
    fn begin_fits(&mut self) {
        if self.watching.fitting.is_none() {
            self.watching.fitting = self.watching.watch.as_ref().and_then(|watch| Fitting::begin(watch.due_fits()));
        }
    }

    /// Waits for the fits under way, or else for those that are due.
    async fn settle_fits(&mut self, progress: &Progress) {
        self.begin_fits();
        let Some(fitting) = self.watching.fitting.take() else { return };
        let mut waiting = pin!(fitting.done());
        let done = loop {
            progress.beat();
            // other operators may be before this one
            if let Ok(done) = tokio::time::timeout(BEAT, waiting.as_mut()).await {
                break done;
            }
        };
        progress.beat();
        for fit in &done {
            let [fitted, failed] = FITS;
            self.context.series.fits.with_label_values(&[if fit.is_failed() { failed } else { fitted }]).inc();
        }
        if let Some(watch) = &mut self.watching.watch {
            watch.take(done);
        }
    }

    fn tell_of_robust(&self, score: &mut SeriesScore) {
        let series = score.series;
        score.told = self.state.told_already(series.currency, series.granularity, score.window);
    }

    /// Asks which feeds were silent.
    async fn look_for_silences(&mut self, progress: &Progress) {
        if self.watching.silences.as_ref().is_some_and(|(at, _)| at.elapsed() < SILENCES_HOLD) {
            return;
        }
        loop {
            match self.context.log.silences(self.operator).await {
                Ok(revisions) => {
                    let silences = FeedSilence::of(&revisions, &self.context.directory.load());
                    self.watching.silences = Some((Instant::now(), silences));
                    return;
                }
                Err(error) => tracing::warn!(operator_no = self.operator.0, error, "series wait for the store"),
            }
            progress.beat();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A score must not be lost to a database that is away, and what is stored already stays as it is.
    async fn store_scores(&self, scored: SeriesScored, progress: &Progress) {
        let operator_no = self.operator;
        loop {
            let directory = self.context.directory.load_full();
            let Some(jurisdiction) = directory.jurisdiction_of(operator_no) else {
                tracing::error!(operator_no = operator_no.0, "an operator without a jurisdiction has no rules");
                return;
            };
            let heard = directory.rule_input(operator_no, jurisdiction, RuleInput::Series(scored.clone()));
            match self.context.writer.commit(vec![heard], Vec::new()).await {
                Ok(_) => return,
                Err(CommitError::Conflict { what }) => {
                    tracing::debug!(operator_no = operator_no.0, what, "series are scored already");
                    return;
                }
                Err(error @ CommitError::Rejected { .. }) => {
                    // it would be refused again, and everything behind it would wait for ever
                    tracing::error!(operator_no = operator_no.0, %error, "scores of series are lost");
                    let dropped = self.context.series.dropped.with_label_values(&["refused"]);
                    return dropped.inc_by(scored.scores.len() as u64);
                }
                Err(error) => tracing::warn!(operator_no = operator_no.0, %error, "scores wait for the store"),
            }
            progress.beat();
            tokio::time::sleep(RETRY).await;
        }
    }

    fn show_series(&self) {
        if let Some(watch) = &self.watching.watch {
            self.context.slot.write_series(watch.views().collect(), watch.together().collect());
        }
    }
}
