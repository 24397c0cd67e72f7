//! When sources last succeeded is kept in the store, so that one that has nothing new to say is not taken for silent after
//! the next start.
//!
//! A push or a fetch that stored something has said so with it. For the others a row a source is enough, written once an
//! expected interval: a start finds every success but those of the last one.
//!
//! When they were silent is measured and kept for the compliance score, which goes by no rule that takes versions.

use super::Engine;
use crate::source::SourceGauge;
use engine::compliance::silences::measure;
use engine::silence::Hearing;
use models::feed::{Silence, Source};
use models::ids::{SourceId, SourceNo};
use models::ts::{SECOND, Ts};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::StoreError;

/// Pause between two looks at the sources.
const EVERY: Duration = Duration::from_secs(5);

/// What is remembered of silences between two looks.
#[derive(Debug, Default)]
struct Silences {
    /// Since when those last that last.
    standing: HashMap<SourceNo, Ts>,
    /// When a source was last seen paused: nobody listened to it until then.
    paused: HashMap<SourceId, Ts>,
    is_read: bool,
}

/// The success of a source that is to be kept now: an expected interval newer than the one that is kept, or newer at all
/// where it is the last chance.
fn unkept(source: &Source, gauge: &SourceGauge, is_last: bool) -> Option<Ts> {
    let success = gauge.last_success_at.load(Ordering::Relaxed);
    let kept = gauge.success_kept_at.load(Ordering::Relaxed);
    let apart = if is_last { 1 } else { i64::from(source.expected_interval_seconds.max(1)) * SECOND };
    (success.saturating_sub(kept) >= apart).then_some(Ts(success))
}

impl Engine {
    pub(super) async fn keep_successes(&self) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut silences = Silences::default();
        loop {
            interval.tick().await;
            self.write_successes(false).await;
            if let Err(error) = self.measure_silences(&mut silences).await {
                tracing::warn!(%error, "silences of sources are kept later");
            }
        }
    }

    /// Keeps what sources fell silent or spoke again.
    async fn measure_silences(&self, known: &mut Silences) -> Result<(), StoreError> {
        if !known.is_read {
            known.standing = self.0.store.standing_silences().await?.into_iter().collect();
            known.is_read = true;
        }
        let now = self.now();
        let mut found: Vec<(SourceNo, Silence)> = Vec::new();
        for view in self.sources(None) {
            if view.paused {
                known.paused.insert(view.id, now);
            }
            let paused = known.paused.get(&view.id).copied();
            let heard = Hearing {
                last_success: view.last_success_at,
                since: view.listening_since.map(|since| paused.map_or(since, |paused| paused.max(since))),
                asked_at: view.polling.as_ref().and_then(|polling| polling.asked_at),
            };
            let no = view.source.source_no;
            let silence = measure(&view.source, heard, known.standing.get(&no).copied(), now);
            found.extend(silence.map(|silence| (no, silence)));
        }
        if found.is_empty() {
            return Ok(());
        }
        self.0.store.keep_source_silences(&found).await?;
        for (no, silence) in found {
            match silence.to {
                None => known.standing.insert(no, silence.from),
                Some(_) => known.standing.remove(&no),
            };
        }
        Ok(())
    }

    /// Writes what is due, or with the last chance everything.
    pub(super) async fn write_successes(&self, is_last: bool) {
        let directory = self.directory();
        let due: Vec<(SourceNo, Ts, Arc<SourceGauge>)> = {
            let gauges = self.0.views.gauges.read();
            let due = directory.sources.values().filter_map(|source| {
                let gauge = gauges.get(&source.id)?;
                Some((source.source_no, unkept(source, gauge, is_last)?, Arc::clone(gauge)))
            });
            due.collect()
        };
        if due.is_empty() {
            return;
        }
        let rows: Vec<(SourceNo, Ts)> = due.iter().map(|(source_no, at, _)| (*source_no, *at)).collect();
        match self.0.store.keep_source_successes(&rows).await {
            Ok(()) => {
                for (_, at, gauge) in due {
                    gauge.success_kept_at.fetch_max(at.0, Ordering::Relaxed);
                }
            }
            Err(error) => tracing::warn!(%error, "when sources last succeeded is kept later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_kept_once_an_interval_and_always_at_the_end() {
        let source = Source::for_tests();
        // seconds: the last success (0: none), what is kept; is it due, and at the end
        let table = [
            (0, 0, false, false),
            (59, 0, false, true),
            (60, 0, true, true),
            (160, 101, false, true),
            (161, 101, true, true),
        ];
        for (success, kept, due, last) in table {
            let gauge = SourceGauge::default();
            gauge.last_success_at.store(success * SECOND, Ordering::Relaxed);
            gauge.success_kept_at.store(kept * SECOND, Ordering::Relaxed);
            let at = |yes: bool| yes.then_some(Ts(success * SECOND));
            assert_eq!(
                (unkept(&source, &gauge, false), unkept(&source, &gauge, true)),
                (at(due), at(last)),
                "{success} {kept}"
            );
            gauge.success_kept_at.store(success * SECOND, Ordering::Relaxed);
            assert_eq!(unkept(&source, &gauge, true), None, "once");
        }
    }
}
