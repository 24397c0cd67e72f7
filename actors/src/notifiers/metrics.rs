//! What is counted of notices, by channel: their names are configured, and at most [`super::CHANNELS_MAX`].

use models::notice::NoticeState;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// An attempt that is followed by another one.
const RETRIED: &str = "retried";

/// Figures of the channels.
#[derive(Clone)]
pub struct NoticeMetrics {
    outcomes: IntCounterVec,
    pending: IntGaugeVec,
    oldest: GaugeVec,
}

impl NoticeMetrics {
    /// Registers them, with every channel at 0.
    pub fn register<'a>(
        registry: &Registry,
        channels: impl Iterator<Item = &'a str>,
    ) -> Result<Self, prometheus::Error> {
        let outcomes = Opts::new("mlinzi_notices_total", "Attempts to tell people of alerts, by what came of them");
        let pending = Opts::new("mlinzi_notices_pending", "Notices that wait to be sent");
        let oldest = Opts::new("mlinzi_notices_oldest_seconds", "Age of the oldest notice that waits to be sent");
        let metrics = Self {
            outcomes: IntCounterVec::new(outcomes, &["channel", "outcome"])?,
            pending: IntGaugeVec::new(pending, &["channel"])?,
            oldest: GaugeVec::new(oldest, &["channel"])?,
        };
        for channel in channels {
            for outcome in [RETRIED].into_iter().chain(ended().map(NoticeState::as_str)) {
                metrics.outcomes.with_label_values(&[channel, outcome]);
            }
            metrics.waiting(channel, 0, 0.0);
        }
        registry.register(Box::new(metrics.outcomes.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        Ok(metrics)
    }

    /// Counts what became of a notice; pending: it is tried again.
    pub(super) fn count(&self, channel: &str, state: NoticeState) {
        let outcome = if state == NoticeState::Pending { RETRIED } else { state.as_str() };
        self.outcomes.with_label_values(&[channel, outcome]).inc();
    }

    /// Sets what waits on a channel.
    pub(super) fn waiting(&self, channel: &str, count: i64, oldest_seconds: f64) {
        self.pending.with_label_values(&[channel]).set(count);
        self.oldest.with_label_values(&[channel]).set(oldest_seconds);
    }
}

fn ended() -> impl Iterator<Item = NoticeState> {
    NoticeState::ALL.iter().copied().filter(|state| *state != NoticeState::Pending)
}
