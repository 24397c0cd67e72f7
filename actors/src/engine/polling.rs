//! Sources that fetch by themselves: when, and what may be changed about them.

use super::Engine;
use crate::api::{EngineError, IdempotencyKey, SourceChange};
use crate::feeds;
use crate::register::section;
use crate::source::{Reply, SourceMsg, Under};
use engine::mapping::Mapping;
use models::feed::{ReaderSettings, Source};
use models::ids::{KeyId, SourceId};
use std::time::Duration;

/// How often it is looked which sources are due.
const DUE_EVERY: Duration = Duration::from_millis(100);
/// How long somebody waits for a source to forget how far it was read: a fetch may be under way.
const RESTART_MAX: Duration = Duration::from_secs(60);

impl Engine {
    /// Sends sources to fetch when they are due. Never waits for one: what a source's queue does not take stays due.
    pub(super) async fn keep_polling(&self) {
        let mut interval = tokio::time::interval(DUE_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.send_due();
        }
    }

    fn send_due(&self) {
        let now = self.now();
        let directory = self.directory();
        // in this order everywhere: whoever starts a source holds the actors while it adds its gauge
        let (actors, gauges) = (self.0.sources.read(), self.0.views.gauges.read());
        for (id, gauge) in gauges.iter() {
            if directory.sources.get(id).is_none_or(|source| source.paused) || !gauge.polling.take_due(now) {
                continue;
            }
            let sent = actors.get(id).is_some_and(|actor| actor.try_send(SourceMsg::Fetch(Under::default())).is_ok());
            if !sent {
                gauge.polling.give_back();
            }
        }
    }

    /// Lets a source fetch now, whatever its schedule says; on demand from the beginning.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not fetch, or is paused.
    pub async fn fetch_now(&self, id: SourceId, from_beginning: bool) -> Result<(), EngineError> {
        let source = self.directory().sources.get(&id).cloned().ok_or(EngineError::NotFound("source"))?;
        if source.reader.is_none() {
            return Err(EngineError::Conflict("records are pushed to this source".to_owned()));
        }
        if source.paused {
            return Err(EngineError::Conflict("the source is paused".to_owned()));
        }
        let unavailable = || EngineError::Unavailable("the source's actor");
        if from_beginning {
            let actor = self.0.sources.read().get(&id).cloned().ok_or_else(unavailable)?;
            let (reply, done) = Reply::new();
            actor.try_send(SourceMsg::Restart { reply }).map_err(|_| unavailable())?;
            let answered = tokio::time::timeout(RESTART_MAX, done).await;
            answered.ok().and_then(Result::ok).ok_or_else(unavailable)??;
        }
        let gauge = self.0.views.gauges.read().get(&id).cloned();
        let is_due = gauge.is_some_and(|gauge| gauge.polling.due_now(self.now()));
        if is_due { Ok(()) } else { Err(unavailable()) }
    }

    /// Pauses a source, lets it go on, or gives it another schedule or mapping; `by` is whose key does so.
    pub async fn change_source(
        &self,
        id: SourceId,
        change: SourceChange,
        by: KeyId,
        key: Option<IdempotencyKey>,
    ) -> Result<Source, EngineError> {
        let engine = self.clone();
        section(async move {
            let source = engine.0.staff.change_source(id, change, by, key, engine.now()).await?;
            engine.reschedule(&source);
            Ok(source)
        })
        .await
    }

    /// The source's schedule may be another one.
    pub(super) fn reschedule(&self, source: &Source) {
        let gauge = self.0.views.gauges.read().get(&source.id).cloned();
        if let (Some(gauge), Some(schedule)) = (gauge, &source.schedule) {
            gauge.polling.reschedule(schedule, self.now(), (self.0.config.feeds.chance)());
        }
    }

    /// What is wrong with a reader under this configuration; nothing is connected yet.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_reader(&self, settings: &ReaderSettings, mapping: Option<&Mapping>) -> Result<(), String> {
        feeds::reader(settings, mapping, &self.0.config.feeds).map(|_| ()).map_err(|error| error.to_string())
    }
}
