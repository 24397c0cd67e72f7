//! What the engine does by itself: ticks, measures, ends exclusions, takes in what other processes made.

use super::{Engine, StartError};
use crate::api::NodeState;
use crate::auditor::AuditMsg;
use crate::contacts::{Compactor, ContactsConfig, Enumeration};
use crate::desk::DeskMsg;
use crate::directory::Directory;
use crate::kernel::{KernelEvent, LOST_MAX};
use crate::live::LiveMsg;
use crate::market::MarketMsg;
use crate::outputs::Look;
use crate::register::Copying;
use crate::source::SourceMsg;
use crate::spine::Growth;
use futures_util::FutureExt;
use models::event::Event;
use models::evidence::month_of;
use models::key_version::KeyPurpose;
use models::risk_model::ModelKind;
use models::ts::{HOUR, SECOND, Ts};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{CommitError, StoreError};
use tokio::sync::mpsc;

/// How long after a rotation of the digest key nobody is slowed down for asking about strangers.
const DIGESTS_SETTLE: i64 = 30 * models::ts::DAY;
/// How much longer a tick of the screens takes while the node is overloaded.
const SPARED_TICK: Duration = Duration::from_secs(1);
/// How often the claim of the database is looked at.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// Pause before an alert that could not be stored is tried again.
const ALERT_RETRY: Duration = Duration::from_millis(500);
/// How often the keys of the evidence's months are looked after.
const MONTHS_EVERY: Duration = Duration::from_secs(3_600);

/// The month so many months before, both as `yyyymm`.
fn months_before(month: u32, months: u32) -> u32 {
    let number = (month / 100 * 12 + month % 100 - 1).saturating_sub(months);
    number / 12 * 100 + number % 12 + 1
}

impl Engine {
    pub(super) fn start_tasks(&self, mut growing: mpsc::UnboundedReceiver<Growth>) {
        let grow = {
            let engine = self.clone();
            tokio::spawn(async move {
                while let Some(growth) = growing.recv().await {
                    // without it a key made elsewhere, a source or an operator would stay unknown until a restart
                    while let Err(error) = engine.grow(&growth).await {
                        tracing::error!(%error, "what another process made is not known yet");
                        if !matches!(error, StartError::Store(_)) {
                            // as at the start: what cannot be used is left out, and must not hold up the rest
                            break;
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            })
        };
        let tick = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(engine.0.config.live_tick);
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    if engine.0.sparing.load(Ordering::Relaxed) {
                        tokio::time::sleep(SPARED_TICK).await;
                    }
                    engine.tick();
                }
            })
        };
        let second = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_secs(1));
                loop {
                    interval.tick().await;
                    engine.each_second();
                }
            })
        };
        let claim = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(CLAIM_EVERY);
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    match engine.0.store.keep_claim().await {
                        Ok(()) => {}
                        Err(StoreError::Claimed) => {
                            // two that decide registrations under locks of their own would contradict each other
                            tracing::error!("another engine has claimed the database: this one writes no more");
                            // and answers no more: what it answered from here on could never be stored
                            engine.0.evidence.refuse();
                            engine.0.store.stop_writer(Duration::ZERO).await;
                            return;
                        }
                        Err(error) => tracing::warn!(%error, "the claim of the database is looked at later"),
                    }
                }
            })
        };
        // apart from everything else that happens each second: the database may take its time
        let sweep = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_secs(1));
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    if let Err(error) = engine.sweep().await {
                        tracing::warn!(%error, "exclusions are ended later");
                    }
                    if let Err(error) = engine.expire_reports().await {
                        tracing::warn!(%error, "reported exclusions expire later");
                    }
                }
            })
        };
        let checkpoint = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(engine.0.config.checkpoint_every);
                loop {
                    interval.tick().await;
                    // a full queue has one that will sign as much
                    let _ = engine.0.auditing.try_send(AuditMsg::Checkpoint);
                }
            })
        };
        let evidence = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_evidence().await })
        };
        let snapshots = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_snapshots().await })
        };
        let keys = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_keys().await })
        };
        let contacts = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_contacts().await })
        };
        let polling = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_polling().await })
        };
        let states = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_operator_states().await })
        };
        let integrity = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_integrity().await })
        };
        let successes = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_successes().await })
        };
        let promotions = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_promotions().await })
        };
        let compliance = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_compliance().await })
        };
        let exclusions = {
            let engine = self.clone();
            tokio::spawn(async move { engine.keep_exclusions().await })
        };
        let tasks = [
            exclusions, promotions, grow, tick, second, sweep, checkpoint, claim, evidence, snapshots, states, keys,
            contacts, polling, integrity, successes, compliance,
        ];
        self.0.tasks.lock().extend(tasks);
        self.0.notifiers.start();
        let engine = Arc::downgrade(&self.0);
        let runtime = tokio::runtime::Handle::current();
        self.0.system.on_event(move |event| {
            let Some(inner) = engine.upgrade() else { return };
            let event = match event {
                KernelEvent::Quarantined { actor, reason, .. } => {
                    Event::ActorQuarantined { actor: actor.clone(), reason: reason.clone() }
                }
                KernelEvent::ThreadLost { lost, .. } if *lost >= LOST_MAX => {
                    tracing::error!(lost, "too many threads are lost: the process is to be started anew");
                    inner.given_up.send_replace(true);
                    return;
                }
                _ => return,
            };
            runtime.spawn(async move {
                if let Err(error) = inner.writer.commit(vec![event], Vec::new()).await {
                    tracing::error!(%error, "a quarantined actor is not journaled");
                }
            });
        });
    }

    async fn grow(&self, growth: &Growth) -> Result<(), StartError> {
        match growth {
            Growth::Operator(no) => self.start_operator(*no),
            Growth::Model(kind, place) => {
                for no in self.places(*place) {
                    // what scores for all to hear does so no more in the shadow: that ends first
                    self.take_shadow(no, *kind).await?;
                    self.take_model(no, *kind).await?;
                    // a version that scores again has said something of many players
                    if *kind == ModelKind::PlayerRisk {
                        self.load_risk_levels(no).await?;
                    }
                }
                Ok(())
            }
            Growth::Shadow(kind, place) => {
                for no in self.places(*place) {
                    self.take_shadow(no, *kind).await?;
                }
                Ok(())
            }
            Growth::Source(id) => {
                let source = self.0.directory.load().sources.get(id).cloned();
                let Some(source) = source else { return Ok(()) };
                self.start_source(&source)?;
                self.reschedule(&source);
                Ok(())
            }
            Growth::Key(key) => {
                let Some(sealed) = self.0.store.key_secret(key.id).await? else { return Ok(()) };
                let ring = self.0.keys.hold();
                let signing =
                    ring.open(&key.id.0.to_be_bytes(), &sealed).map_err(|e| StartError::Keys(e.to_string()))?;
                self.0.directory.rcu(|old| {
                    let mut new = Directory::clone(old);
                    new.set_key(&self.0.keys.load(), models::operator::ApiKey::clone(key), &signing);
                    new
                });
                Ok(())
            }
        }
    }

    /// Copies the index into the store now and then, so that the next start need not read everybody.
    async fn keep_snapshots(&self) {
        let inner = &self.0;
        while self.freshness().state != NodeState::Fresh {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let chain = inner.keys.load().chain;
        let known = inner.store.snapshots(&chain).await.unwrap_or_default();
        let mut copied = known.first().map_or(0, |row| row.through);
        let mut interval = tokio::time::interval(inner.config.snapshot_every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let fresh = self.freshness();
            if fresh.state != NodeState::Fresh || fresh.register_version <= copied {
                continue;
            }
            let source = Copying(self.index().snapshot());
            let timer = inner.metrics.snapshot_seconds.start_timer();
            match inner.store.write_snapshot(inner.config.node, source, &chain, self.now()).await {
                Ok(true) => {
                    timer.observe_duration();
                    copied = fresh.register_version;
                }
                // the table grew meanwhile: the next time
                Ok(false) => {
                    timer.stop_and_discard();
                }
                Err(error) => {
                    timer.stop_and_discard();
                    tracing::warn!(%error, "no snapshot of the index");
                }
            }
        }
    }

    /// Opens the evidence as soon as the store lets it; then sees to the keys of the months.
    async fn keep_evidence(&self) {
        let inner = &self.0;
        while let Err(error) = inner
            .evidence
            .open(&inner.store, &inner.writer, &inner.keys, &inner.clock, inner.config.checkpoint_every)
            .await
        {
            tracing::error!(error, "no evidence can be kept yet, so no lookup is answered");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // on a task of its own: it takes as long as it takes
        let (store, evidence) = (inner.store.clone(), inner.evidence.clone());
        let restoring = tokio::spawn(async move { crate::facts::restore(&store, &evidence).await });
        inner.tasks.lock().push(restoring);
        let mut interval = tokio::time::interval(MONTHS_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let (now, months) = (self.now(), u32::from(inner.config.evidence_person_months));
            let ring = inner.keys.hold();
            let kept = inner.evidence.keep_months(&inner.store, &ring, now).await;
            let oldest = months_before(month_of(now), months);
            let forgotten = inner.evidence.forget_months(&inner.store, &inner.writer, &ring, oldest).await;
            for error in [kept, forgotten].into_iter().filter_map(Result::err) {
                tracing::warn!(error, "the keys of the evidence are looked after later");
            }
        }
    }

    /// Takes in who has asked about whom; slows down and tells of keys that try numbers.
    async fn keep_contacts(&self) {
        let inner = &self.0;
        let limits = ContactsConfig {
            strangers_per_hour: inner.config.strangers_per_hour,
            batch_strangers_per_day: inner.config.batch_strangers_per_day,
            months: inner.config.evidence_person_months,
        };
        loop {
            let (alarmed, asked) = (self.clone(), self.clone());
            let alarm = move |found: Enumeration| alarmed.slow_down(found);
            let index = move || {
                let fresh = asked.freshness();
                (fresh.state != NodeState::Loading).then(|| asked.index().through())
            };
            let (store, writer, evidence) = (inner.store.clone(), inner.writer.clone(), inner.evidence.clone());
            let (contacts, alarm, index) = (inner.contacts.clone(), Box::new(alarm), Box::new(index));
            let compactor = Compactor::new(store, writer, evidence, contacts, limits, alarm, index);
            // its cursor is in the store: begun anew, it goes on where it was
            if AssertUnwindSafe(compactor.run(|| self.now())).catch_unwind().await.is_err() {
                tracing::error!("contacts are taken in anew after a panic");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn slow_down(&self, found: Enumeration) {
        let (now, directory) = (self.now(), self.directory());
        let Some(operator) = directory.operators.get(&found.operator_no) else { return };
        let Some(jurisdiction) = directory.jurisdiction(operator.jurisdiction) else { return };
        tracing::warn!(key = %found.key, strangers = found.strangers, "a key asks about too many strangers");
        let mut alert = engine::enumeration::alert(&engine::enumeration::Strangers {
            operator_no: found.operator_no,
            operator: operator.code.clone(),
            currency: jurisdiction.currency,
            key: found.key.to_string(),
            in_batches: found.in_batches,
            window: found.window,
            strangers: found.strangers,
            limit: found.limit,
            at: now,
        });
        let entry = directory.keys.get(&found.key).cloned();
        let engine = self.clone();
        tokio::spawn(async move {
            // under a new digest key everybody is asked about for the first time
            let states = engine.0.store.key_states().await;
            let is_recent = |at: Option<Ts>| at.is_some_and(|at| at.0 > now.0 - DIGESTS_SETTLE);
            let versions = states.map(|states| states.versions).unwrap_or_default();
            let is_digest = |v: &&models::key_version::KeyVersion| v.purpose == KeyPurpose::Digest && v.version > 0;
            let rotated = versions.iter().filter(is_digest).any(|version| is_recent(version.ready_at));
            if rotated {
                // a rotation is no cover: the alert is raised all the same
                alert.evidence.reasons[1] = engine::enumeration::ROTATED.to_owned();
            } else if let Some(entry) = entry {
                entry.slow_down(if found.in_batches { found.window.end } else { now.plus(HOUR) });
            }
            // an alert must not be lost to a database that is away; one that is stored already is not stored again
            while let Err(error) = engine.0.writer.commit(vec![Event::AlertRevised(alert.clone())], Vec::new()).await {
                let is_refused = matches!(error, CommitError::Rejected { .. } | CommitError::Conflict { .. });
                if is_refused || *engine.0.stopping.borrow() {
                    tracing::error!(%error, "an alert is not journaled");
                    return;
                }
                tracing::warn!(%error, "an alert waits for the store");
                tokio::time::sleep(ALERT_RETRY).await;
            }
        });
    }

    /// Lets operators that changed write their views, and the hub send what changed.
    fn tick(&self) {
        let markets = self.0.markets.read();
        for (no, slot) in self.0.views.slots.read().iter() {
            if slot.take_dirty()
                && let Some(market) = markets.get(no)
                && market.try_send(MarketMsg::Show).is_err()
            {
                slot.mark_dirty();
            }
        }
        // a busy hub catches up with its next tick: topics are conflated
        let _ = self.0.live.hub().try_send(LiveMsg::Tick);
    }

    fn each_second(&self) {
        let now = self.now();
        // a full queue has one that does as much
        let _ = self.0.desk.try_send(DeskMsg::Clock);
        self.0.rules.clock();
        self.measure(now);
        self.count_doubted();
        // one that is still at it finds everything there is
        self.0.outputs.read().iter().for_each(|output| drop(output.try_send(Look)));
        let slots = self.0.views.slots.read();
        for (no, market) in self.0.markets.read().iter() {
            let Some(slot) = slots.get(no) else { continue };
            // a full queue has inputs that move the clock, too
            if slot.set_clock(now) && market.try_send(MarketMsg::Clock).is_err() {
                slot.clock_unsent();
            }
        }
    }

    /// Lets sources count what a commit of unknown outcome may have put into quarantine, or taken out of it.
    fn count_doubted(&self) {
        // in this order everywhere: whoever starts a source holds the actors while it adds its gauge
        let (actors, gauges) = (self.0.sources.read(), self.0.views.gauges.read());
        for (id, gauge) in gauges.iter().filter(|(_, gauge)| gauge.open.take_doubt()) {
            if actors.get(id).is_none_or(|actor| actor.try_send(SourceMsg::Count).is_err()) {
                gauge.open.give_back();
            }
        }
    }

    fn measure(&self, now: Ts) {
        let (metrics, freshness) = (&self.0.metrics, self.freshness());
        let age = match freshness.state {
            NodeState::Loading => -1.0,
            _ => (now.0 - freshness.as_of.0) as f64 / SECOND as f64,
        };
        metrics.register_age_seconds.set(age);
        metrics.register_version.set(freshness.register_version);
        metrics.index_bytes.set(self.index().memory_bytes() as i64);
        let (people, keys) = self.index().counts();
        metrics.register_people.set(people as i64);
        metrics.register_keys.set(keys as i64);
        metrics.show_pool(self.0.store.pool_usage());
        metrics.show_sources(self.0.views.freshness_of_sources());
        metrics.show_quarantine(|code| self.0.views.gauges.read().values().map(|gauge| gauge.open.of(code)).sum());
        let ids =
            self.0.views.gauges.read().values().map(|gauge| gauge.dedupe_bytes.load(Ordering::Relaxed)).sum::<u64>();
        metrics.dedupe_bytes.set(ids.cast_signed());
        self.0.rules_context.metrics.forgot("risk_levels", self.directory().risk_levels.take_refused());
        let through = self.0.evidence.through();
        self.0.evidence.metrics().age_seconds.set(match through.0 {
            0 => -1.0,
            at => (now.0 - at) as f64 / SECOND as f64,
        });
        metrics.contacts_age_seconds.set(match self.0.contacts.through().0 {
            0 => -1.0,
            at => (now.0 - at) as f64 / SECOND as f64,
        });
        metrics.live_sessions.set(self.0.live.sessions() as i64);
        metrics.checkpoint_age_seconds.set(match self.0.signed_at.load(Ordering::Relaxed) {
            0 => -1.0,
            at => (now.0 - at) as f64 / SECOND as f64,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_back_over_the_turn_of_the_year() {
        let table = [(202_611, 0, 202_611), (202_611, 10, 202_601), (202_611, 11, 202_512), (202_611, 24, 202_411)];
        for (month, back, then) in table {
            assert_eq!(months_before(month, back), then, "{month} - {back}");
        }
    }
}
