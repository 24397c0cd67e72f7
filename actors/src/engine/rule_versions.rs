//! What people and the brake do with versions of rules. One change after the other; each is one event.

use super::Engine;
use super::model_brake::Scoring;
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::rates::{self, Tried};
use crate::register::{commit_error, section, unavailable};
use crate::rule_versions::{RuleCommand, RuleOrder, RuleOrdered};
use crate::second_person::are_of_one_person;
use engine::rules::brake::{self, Answers, HourCount, LOOKS_BACK, Pace, Shortfall};
use engine::rules::life::{Life, Refused, Version};
use engine::rules::list;
use models::alert::{RevisionKind, Severity};
use models::event::Event;
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeKind};
use models::operator::OperatorState;
use models::rule::{BacktestState, ForecastBasis, RateDeparture, RateForecast, RuleAct, RuleChanged};
use models::ts::{DAY, HOUR, Ts};
use models::words::counted;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Attachment, FindingsOf};

/// How often it is looked whether promoted versions keep to their forecasts.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Backtests of a version that are looked through for one that came to its end.
const BACKTESTS_LOOKED_AT: u32 = 50;
/// A forecast is made of no shorter time in the shadow: many rules speak once a day, and nobody plays at night as in the evening.
const SHADOW_MIN: i64 = DAY;

/// What of the result of a backtest makes a forecast.
#[derive(Deserialize)]
struct Found {
    candidate: Raised,
    operator_days: u64,
}

#[derive(Deserialize)]
struct Raised {
    raised: u64,
}

/// Versions that are below their forecast, by jurisdiction and rule.
pub(super) type BelowForecast = BTreeMap<(JurisdictionNo, String), (u32, Shortfall)>;

/// How the last hours of a promoted version are beside its forecast.
#[derive(Default)]
struct Looked {
    above: Option<RateDeparture>,
    below: Option<Shortfall>,
}

impl Engine {
    /// Does with a rule what somebody wants.
    ///
    /// # Errors
    /// It is not there, may not happen now, or not by this key; the rule was changed since it was asked for.
    pub async fn order_rule(
        &self,
        order: RuleOrder,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<RuleOrdered, EngineError> {
        // what whoever asks can have seen: of two at the same time one finds that the other was faster
        let seen = self.rule(order.jurisdiction, &order.rule)?.change();
        let engine = self.clone();
        section(async move { engine.order_rule_now(order, seen, idempotency).await }).await
    }

    /// A rule that takes versions.
    ///
    /// # Errors
    /// There is none of this name, or it takes none.
    pub fn rule(&self, jurisdiction: JurisdictionNo, rule: &str) -> Result<Arc<Life>, EngineError> {
        if let Some(life) = self.directory().rule_versions().life(jurisdiction, rule) {
            return Ok(Arc::clone(life));
        }
        if list::about(rule).is_some() {
            let what = format!("the rule {rule} takes no versions: it is part of the engine");
            return Err(EngineError::Conflict(what));
        }
        Err(EngineError::NotFound("rule"))
    }

    async fn order_rule_now(
        &self,
        order: RuleOrder,
        seen: i64,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<RuleOrdered, EngineError> {
        let _one_at_a_time = self.0.ruling.lock().await;
        let life = self.rule(order.jurisdiction, &order.rule)?;
        let clock = self.now();
        if let Some(earlier) = idempotency::earlier(&self.0.store, idempotency.as_ref(), clock).await? {
            return Ok(RuleOrdered { life, version: earlier.result_id.parse().ok().filter(|version| *version > 0) });
        }
        if order.expected.is_some_and(|expected| expected != life.change()) {
            return Err(EngineError::Stale);
        }
        let decides = !matches!(order.command, RuleCommand::Propose { .. });
        if decides && seen != life.change() {
            return Err(EngineError::Conflict("somebody changed the rule at the same time: look again".to_owned()));
        }
        let now = life.now(clock);
        let act = self.act(&order, &life, now).await?;
        let version = act.version();
        let changed = RuleChanged {
            jurisdiction: order.jurisdiction,
            rule: order.rule,
            change: life.change() + 1,
            by: Some(order.by),
            at: now,
            note: order.note,
            act,
        };
        let status = if matches!(changed.act, RuleAct::Proposed { .. }) { 201 } else { 200 };
        let result = version.unwrap_or(0);
        let attachment = idempotency::attachment(idempotency.as_ref(), status, result, clock);
        let (jurisdiction, rule) = (changed.jurisdiction, changed.rule.clone());
        self.change_rule(changed, attachment.into_iter().collect()).await?;
        Ok(RuleOrdered { life: self.rule(jurisdiction, &rule)?, version })
    }

    /// What is to be journaled.
    async fn act(&self, order: &RuleOrder, life: &Life, now: Ts) -> Result<RuleAct, EngineError> {
        let act = match &order.command {
            RuleCommand::Propose { params, effective } => life.propose(params.clone(), *effective, now),
            RuleCommand::StartShadow(version) => life.start_shadow(*version, now),
            RuleCommand::StopShadow(version) => life.stop_shadow(*version, now),
            RuleCommand::Promote(version) => {
                let version = life.promotable(*version, now).map_err(refused)?;
                let proposer = version.proposal.as_ref().and_then(|deed| deed.by);
                if proposer.is_some_and(|proposer| are_of_one_person(&self.directory(), proposer, order.by)) {
                    let why =
                        "this key, or one of the same name, proposed the version: somebody else has to promote it";
                    return Err(EngineError::Forbidden(why));
                }
                let forecast = self.forecast(order.jurisdiction, life, version, now).await?;
                Ok(life.promote(version, now, Some(forecast)))
            }
            RuleCommand::RollBack(version) => life.roll_back(*version, now),
            RuleCommand::TurnOff => life.turn_off(now),
        };
        act.map_err(refused)
    }

    async fn change_rule(&self, changed: RuleChanged, attachments: Vec<Attachment>) -> Result<(), EngineError> {
        self.directory().rule_versions().check(&changed).map_err(EngineError::Conflict)?;
        let event = Event::RuleChanged(changed);
        self.0.writer.commit(vec![event], attachments).await.map(drop).map_err(commit_error)
    }

    /// How many alerts a version will raise: as many as it found in a day of the shadow or more, else in its newest backtest, else as many as
    /// what was live before has. Where there is none of these, nothing is known.
    async fn forecast(
        &self,
        jurisdiction: JurisdictionNo,
        life: &Life,
        version: &Version,
        now: Ts,
    ) -> Result<RateForecast, EngineError> {
        let span = (now.plus(-LOOKS_BACK), now);
        let (of, shadow) = ((jurisdiction, life.rule()), rates::in_shadow(version, span));
        if rates::micros(&shadow) >= SHADOW_MIN
            && let Some(forecast) = self.rate(ForecastBasis::Shadow, of, &shadow).await?
        {
            return Ok(forecast);
        }
        if let Some(forecast) = self.forecast_of_backtest(jurisdiction, life, version).await? {
            return Ok(forecast);
        }
        let before = self.rate(ForecastBasis::VersionBefore, of, &rates::live_before(life, span)).await?;
        Ok(before.unwrap_or(brake::NOTHING_KNOWN))
    }

    async fn rate(
        &self,
        basis: ForecastBasis,
        of: (JurisdictionNo, &str),
        tried: &[Tried],
    ) -> Result<Option<RateForecast>, EngineError> {
        let directory = self.0.directory.load_full();
        let raised = rates::raised(&self.0.store, &directory, of, tried).await.map_err(unavailable)?;
        Ok(brake::forecast(basis, raised.findings, raised.operator_hours))
    }

    /// What the newest backtest of a version that came to its end has found: a version's parameters never change.
    async fn forecast_of_backtest(
        &self,
        jurisdiction: JurisdictionNo,
        life: &Life,
        version: &Version,
    ) -> Result<Option<RateForecast>, EngineError> {
        let (store, of) = (&self.0.store, (life.rule(), version.number));
        let newest_first = store.backtests(jurisdiction, of, BACKTESTS_LOOKED_AT).await.map_err(unavailable)?;
        let Some(done) = newest_first.iter().find(|row| row.state == BacktestState::Done) else { return Ok(None) };
        let row = store.backtest(jurisdiction, done.id).await.map_err(unavailable)?;
        let result = row.and_then(|row| row.result);
        let found = result.and_then(|result| serde_json::from_str::<Found>(&result).ok());
        Ok(found.and_then(|found| {
            brake::forecast(ForecastBasis::Backtest, found.candidate.raised, found.operator_days.saturating_mul(24))
        }))
    }

    /// Takes back promoted versions, of rules and of models, that bring about far more alerts than was forecast; gives how
    /// many. Which versions of rules raise far fewer is noted: [`Self::below_forecast`]. The engine does so by itself every 30
    /// seconds.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn look_at_promotions(&self) -> Result<usize, EngineError> {
        let now = self.now();
        let models = self.scoring().await?;
        let watched: Vec<(JurisdictionNo, Arc<Life>, u32, Ts)> = {
            let directory = self.directory();
            let live = directory.rule_versions().live_at(now);
            let watched = live.filter_map(|(no, life, version)| {
                let from = answers_from((no, &**life), version, &models, now)?;
                Some((no, Arc::clone(life), version.number, from))
            });
            watched.collect()
        };
        let (mut stopped, mut below) = (0, BelowForecast::new());
        for (jurisdiction, life, version, from) in watched {
            let looked = self.look_at(jurisdiction, &life, version, (from, now)).await?;
            if let Some(departure) = looked.above {
                stopped += usize::from(self.stop_version(jurisdiction, life.rule(), version, departure).await?);
            } else if let Some(shortfall) = looked.below {
                below.insert((jurisdiction, life.rule().to_owned()), (version, shortfall));
            }
        }
        self.note_below(below);
        Ok(stopped + self.look_at_models(&models, now).await?)
    }

    fn note_below(&self, below: BelowForecast) {
        self.0.metrics.rules_below_forecast.set(below.len() as i64);
        let before = std::mem::replace(&mut *self.0.below_forecast.write(), below.clone());
        for ((jurisdiction, rule), (version, Shortfall { hours, findings, .. })) in below {
            let known = before.get(&(jurisdiction, rule.clone()));
            if known.is_none_or(|(known, _)| *known != version) {
                let rule = rule.as_str();
                tracing::warn!(rule, version, findings, hours, "a version raises far fewer alerts than was forecast");
            }
        }
    }

    /// How far a live version is below its forecast, as of the last look within the seven days behind its promotion.
    #[must_use]
    pub fn below_forecast(&self, jurisdiction: JurisdictionNo, rule: &str, version: u32) -> Option<Shortfall> {
        let below = self.0.below_forecast.read();
        below.get(&(jurisdiction, rule.to_owned())).filter(|(of, _)| *of == version).map(|(_, shortfall)| *shortfall)
    }

    async fn look_at(
        &self,
        jurisdiction: JurisdictionNo,
        life: &Life,
        version: u32,
        (from, now): (Ts, Ts),
    ) -> Result<Looked, EngineError> {
        let promotion = life.version(version).and_then(|version| version.promotion.as_ref());
        let Some(forecast) = promotion.and_then(|promotion| promotion.forecast) else {
            return Ok(Looked::default());
        };
        let hours = self.heard(jurisdiction, life.rule(), version, (from, now)).await?;
        let below = brake::shortfall(&forecast, &hours, (from, now));
        Ok(Looked { above: brake::departure(&forecast, &hours, pace_of(life.rule())), below })
    }

    /// What a live version has raised by the hour, from an instant to the hour that is under way.
    pub(super) async fn heard(
        &self,
        jurisdiction: JurisdictionNo,
        rule: &str,
        version: u32,
        (from, now): (Ts, Ts),
    ) -> Result<Vec<HourCount>, EngineError> {
        let operators = {
            let directory = self.directory();
            let own = directory.operators.values().filter(|operator| operator.jurisdiction == jurisdiction);
            own.filter(|operator| operator.state == OperatorState::Active).count()
        };
        let hours = brake::hours(from, now, u32::try_from(operators).unwrap_or(u32::MAX), |_| 0);
        let Some(first) = hours.first() else { return Ok(hours) };
        let of = FindingsOf {
            jurisdiction,
            rule: rule.to_owned(),
            version,
            mode: "live",
            from: first.start.max(from),
            to: now.floor_to(HOUR).plus(HOUR),
        };
        let counts = self.0.store.rule_finding_counts(&of).await.map_err(unavailable)?;
        let raised = counts.iter().filter(|count| count.kind == RevisionKind::Raised);
        let counted = hours.iter().map(|hour| {
            let findings = raised.clone().filter(|count| count.hour == hour.start).map(|count| count.count).sum();
            HourCount { findings, ..*hour }
        });
        Ok(counted.collect())
    }

    async fn stop_version(
        &self,
        jurisdiction: JurisdictionNo,
        rule: &str,
        version: u32,
        departure: RateDeparture,
    ) -> Result<bool, EngineError> {
        let _one_at_a_time = self.0.ruling.lock().await;
        // somebody may have been faster
        let life = self.rule(jurisdiction, rule)?;
        let now = life.now(self.now());
        let live = life.live_at(now).filter(|live| live.number == version);
        let Some(act) = live.and_then(|live| life.brake(live, now, departure)) else { return Ok(false) };
        let changed = RuleChanged {
            jurisdiction,
            rule: rule.to_owned(),
            change: life.change() + 1,
            by: None,
            at: now,
            note: said(&departure),
            act,
        };
        let rows = self.0.notifiers.rows(notice(&changed, version), now).await.map_err(unavailable)?;
        tracing::warn!(
            rule,
            version,
            findings = departure.findings,
            hours = departure.hours,
            "the brake stopped a version"
        );
        self.change_rule(changed, vec![Attachment::Notices(rows)]).await?;
        self.0.notifiers.ring();
        self.0.metrics.rule_brakes.inc();
        Ok(true)
    }

    /// Looks again and again.
    pub(super) async fn keep_promotions(&self) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.look_at_promotions().await {
                tracing::warn!(%error, "promoted versions of rules are looked at later");
            }
        }
    }
}

fn refused(refused: Refused) -> EngineError {
    match refused {
        Refused::UnknownVersion => EngineError::NotFound("version"),
        Refused::Time { field: "effective_to", what } => {
            EngineError::Invalid { pointer: "/effective_to", detail: what.to_owned() }
        }
        Refused::Time { what, .. } => EngineError::Invalid { pointer: "/effective_from", detail: what.to_owned() },
        Refused::Contradicts(what) => EngineError::Conflict(what),
    }
}

/// From when on a live version of a rule is held against the forecast of its promotion: from that, or from the last change of
/// the model that it hears. None where nothing of it is watched, or the model's promotion, being newer, answers for it.
fn answers_from((no, life): (JurisdictionNo, &Life), version: &Version, models: &[Scoring], now: Ts) -> Option<Ts> {
    let promotion = version.promotion.as_ref().filter(|promotion| promotion.forecast.is_some())?;
    let from = promotion.span.from;
    let about = list::about(life.rule())?;
    let heard = models.iter().find(|model| model.jurisdiction == no && about.hears_model(model.kind));
    let model = heard.and_then(|model| model.watched(life.rule()));
    let is_answered = brake::answers(Some(from), model, now) == Some(Answers::Rule);
    is_answered.then(|| heard.map_or(from, |model| from.max(model.since)))
}

/// When in the day a rule speaks.
pub(super) fn pace_of(rule: &str) -> Pace {
    list::about(rule).map_or(Pace::AllDay, Pace::of)
}

/// A departure in words.
pub(super) fn said(departure: &RateDeparture) -> String {
    let RateDeparture { hours, findings, upper_micro, .. } = *departure;
    let expected = upper_micro as f64 / 1e6;
    let (alerts, hours) = (counted(findings, "alert", "alerts"), counted(hours, "hour", "hours"));
    format!("{alerts} within {hours}, where at most {expected:.1} were forecast")
}

/// What people are told of it.
fn notice(changed: &RuleChanged, version: u32) -> Notice {
    let RuleChanged { jurisdiction, rule, change, at, note, act, .. } = changed;
    let now = match act {
        RuleAct::RolledBack { to: Some(to), .. } => format!("version {to} is live again"),
        _ => "the rule is off, as it was before".to_owned(),
    };
    let told = (format!("{rule}: the brake stopped version {version}"), vec![note.clone(), now]);
    let which = format!("brake\0{}\0{rule}\0{change}", jurisdiction.0);
    brake_notice(&which, (rule, *jurisdiction), told, *at)
}

/// A notice that a brake took something back: rules, numbers and figures, never a person. `which` tells this time from all
/// others.
pub(super) fn brake_notice(
    which: &str,
    (rule, jurisdiction): (&str, JurisdictionNo),
    (title, lines): (String, Vec<String>),
    at: Ts,
) -> Notice {
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, which.as_bytes()).as_ref()[..16]);
    let id = NoticeId(u128::from_be_bytes(first));
    Notice {
        id,
        kind: NoticeKind::Raised,
        number: 1,
        group: format!("brake-{id}"),
        alerts: Vec::new(),
        severity: Severity::High,
        rule: rule.to_owned(),
        operator: None,
        jurisdiction,
        title,
        lines,
        at,
        count: 1,
    }
}
