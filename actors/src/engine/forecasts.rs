//! What is to come of an operator's days, from what its market remembers.

use super::Engine;
use crate::api::EngineError;
use crate::forecasts::{ForecastAsked, Forecasted, InputTimes};
use crate::kernel::SendError;
use crate::market::{FeedSilence, MarketMsg};
use crate::register::unavailable;
use crate::source::Reply;
use engine::operator_state::PlayDay;
use models::alert::AlertRevision;
use models::ids::OperatorNo;
use models::ts::Ts;
use std::time::Duration;
use store::StoreError;

/// How long an operator may take to give its days: what waits in its queue comes first.
const DAYS_WAIT: Duration = Duration::from_secs(10);
/// Revisions of alerts about silent feeds that are read at once, and how often.
const SILENCES_AT_ONCE: u32 = 1_000;
const SILENCES_PAGES_MAX: usize = 20;

impl Engine {
    /// The days of an operator that are over, and what is to come; nothing is worked out in its actor.
    ///
    /// # Errors
    /// The operator or the store does not answer, or as many forecasts wait as may.
    pub async fn forecast_of(&self, asked: ForecastAsked) -> Result<Forecasted, EngineError> {
        let mut days = self.days_of(asked).await?;
        let silences = match days.first() {
            Some(first) => self.silences_of(asked.operator, first.window.start).await?,
            None => Vec::new(),
        };
        for day in &mut days {
            // by what is known today, not by what was known when it closed
            if silences.iter().any(|silence| silence.hides(day.window, Ts(i64::MAX))) {
                day.value = None;
            }
        }
        // what nobody knows of the beginning is no hole
        let begin = days.iter().position(|day| day.value.is_some()).unwrap_or(days.len());
        days.drain(..begin);
        let forecast = self.0.forecasts.of(asked, &days).await?;
        Ok(Forecasted { days, inputs: self.input_times(asked.operator), forecast })
    }

    async fn days_of(&self, asked: ForecastAsked) -> Result<Vec<PlayDay>, EngineError> {
        let gone = || EngineError::Unavailable("the operator's actor");
        let market = self.0.markets.read().get(&asked.operator).cloned().ok_or_else(gone)?;
        let (reply, days) = Reply::new();
        let ForecastAsked { metric, currency, .. } = asked;
        market.try_send(MarketMsg::Days { currency, metric, reply }).map_err(|refused| match refused {
            SendError::Full(_) => EngineError::Overloaded("the operator's queue"),
            SendError::Quarantined(_) => EngineError::Unavailable("the operator: its actor is quarantined"),
            SendError::Stopped(_) => EngineError::Unavailable("the operator: the engine stops"),
        })?;
        tokio::time::timeout(DAYS_WAIT, days).await.ok().and_then(Result::ok).ok_or_else(gone)
    }

    /// When feeds of an operator were silent since `from`.
    async fn silences_of(&self, operator: OperatorNo, from: Ts) -> Result<Vec<FeedSilence>, EngineError> {
        let revisions = match self.silence_revisions(operator, from).await {
            Err(StoreError::Unreadable(what)) => {
                // it stays so, as for the market's own series
                tracing::error!(operator_no = operator.0, what, "silences of feeds are not known");
                Vec::new()
            }
            revisions => revisions.map_err(unavailable)?,
        };
        if revisions.len() >= SILENCES_PAGES_MAX * SILENCES_AT_ONCE as usize {
            let why =
                "its feeds fell silent more often in these days than can be looked at: nobody knows which are missing";
            return Err(EngineError::Conflict(why.to_owned()));
        }
        Ok(FeedSilence::of(&revisions, &self.0.directory.load()))
    }

    /// Revisions of alerts that a feed is silent: those since `from`, newest first, and those before that stand.
    async fn silence_revisions(&self, operator: OperatorNo, from: Ts) -> Result<Vec<AlertRevision>, StoreError> {
        let (store, mut all, mut below) = (&self.0.store, Vec::new(), i64::MAX);
        for _ in 0..SILENCES_PAGES_MAX {
            let page = store.feed_silences_below(operator, below, SILENCES_AT_ONCE).await?;
            let is_full = page.len() == SILENCES_AT_ONCE as usize;
            let oldest = page.last().map(|oldest| (oldest.at, oldest.offset));
            all.extend(page);
            match oldest {
                Some((at, offset)) if is_full && at >= from => below = offset,
                _ => break,
            }
        }
        all.extend(store.feed_silences_standing(operator, SILENCES_AT_ONCE).await?);
        Ok(all)
    }

    /// How old an operator's figures are: of play, so that sources of documents do not count.
    fn input_times(&self, operator: OperatorNo) -> InputTimes {
        let sources =
            self.0.views.sources(|source| source.operator_no == operator && !source.class.data().is_documents());
        let successes = || sources.iter().filter_map(|source| source.last_success_at);
        InputTimes {
            as_of: sources.iter().filter_map(|source| source.last_event_at).min(),
            oldest_input_at: successes().min(),
            newest_input_at: successes().max(),
            inputs_missing: sources.iter().filter(|source| source.last_success_at.is_none()).count() as u32,
        }
    }
}
