//! The automatic brake of models: a promoted version whose alerts leave their forecast in a jurisdiction is taken back there, as
//! a version of a rule is. What is judged, and by which limits, stands in [`engine::rules::brake`].

use super::Engine;
use super::rule_versions::{brake_notice, pace_of, said};
use crate::api::EngineError;
use crate::rates;
use crate::register::{commit_error, unavailable};
use crate::risk_models;
use engine::rules::brake::{self, Answers, WATCHED};
use models::jurisdiction::JurisdictionNo;
use models::model_life::{ModelAct, ModelActed, acts_in, scored};
use models::notice::Notice;
use models::risk_model::{BY_BRAKE, ModelForecast, ModelKind};
use models::rule::RateForecast;
use models::ts::Ts;
use models::who::Who;
use store::Attachment;

/// Kinds of models that rules hear.
const KINDS: [ModelKind; 2] = [ModelKind::TransactionRisk, ModelKind::PlayerRisk];

/// The version of a kind that scores in a jurisdiction, or scored there last.
pub(super) struct Scoring {
    pub jurisdiction: JurisdictionNo,
    pub kind: ModelKind,
    version: u32,
    /// Since when it scores, or no longer does.
    pub since: Ts,
    /// What was expected of it there; nothing where it does not score, or scores by a way back.
    forecasts: Vec<ModelForecast>,
}

impl Scoring {
    /// When it was promoted, where it was with a forecast of this rule.
    pub(super) fn watched(&self, rule: &str) -> Option<Ts> {
        self.forecasts.iter().any(|of| of.rule == rule).then_some(self.since)
    }
}

/// What a rule that hears a promoted version was expected to say, and has said.
#[derive(Clone, Debug)]
pub struct ModelLive {
    /// The rule.
    pub rule: String,
    /// What was expected.
    pub forecast: RateForecast,
    /// Findings that it has raised since the promotion.
    pub findings: u64,
    /// Until then the brake holds them against the forecast.
    pub watched_until: Ts,
}

/// A version that is taken back, and why.
struct Departed {
    version: u32,
    since: Ts,
    kind: ModelKind,
    rule: String,
    reason: String,
    /// Where, and whose people are told.
    jurisdiction: JurisdictionNo,
}

/// The version of a kind that scores in a jurisdiction, or scored there last; `acts` are all of the kind.
fn scoring_of(acts: &[ModelActed], (jurisdiction, kind): (JurisdictionNo, ModelKind)) -> Option<Scoring> {
    let acts = acts_in(acts, jurisdiction);
    let last = scored(&acts).last().copied()?;
    let came = acts.iter().rev().find(|acted| acted.act == ModelAct::Promoted && acted.version == last.version);
    let is_watched = last.act == ModelAct::Promoted && last.to.is_none();
    let forecasts = came.filter(|_| is_watched).map(|acted| acted.forecasts.clone()).unwrap_or_default();
    // a promotion that was of every jurisdiction has the forecasts of all of them
    let own = forecasts.into_iter().filter(|of| of.jurisdiction == jurisdiction).collect();
    let since = last.to.unwrap_or(last.from);
    Some(Scoring { jurisdiction, kind, version: last.version, since, forecasts: own })
}

impl Engine {
    /// Of each kind the version that scores in each jurisdiction, or scored there last; none where none ever did.
    pub(super) async fn scoring(&self) -> Result<Vec<Scoring>, EngineError> {
        let mut all = Vec::new();
        for kind in KINDS {
            let acts = self.0.store.all_model_acts(kind).await.map_err(unavailable)?;
            all.extend(self.places(None).into_iter().filter_map(|no| scoring_of(&acts, (no, kind))));
        }
        Ok(all)
    }

    async fn scoring_now(&self, of: (JurisdictionNo, ModelKind)) -> Result<Option<Scoring>, EngineError> {
        let acts = self.0.store.all_model_acts(of.1).await.map_err(unavailable)?;
        Ok(scoring_of(&acts, of))
    }

    /// Takes back versions of models whose alerts have left their forecast; gives how many.
    pub(super) async fn look_at_models(&self, models: &[Scoring], now: Ts) -> Result<usize, EngineError> {
        let mut stopped = 0;
        for model in models {
            if let Some(departed) = self.look_at_model(model, now).await? {
                stopped += usize::from(self.stop_model(departed).await?);
            }
        }
        Ok(stopped)
    }

    async fn look_at_model(&self, model: &Scoring, now: Ts) -> Result<Option<Departed>, EngineError> {
        let Scoring { jurisdiction, kind, version, since, .. } = *model;
        for ModelForecast { rule, forecast, .. } in &model.forecasts {
            let Some((live, from)) = self.answered(since, (jurisdiction, rule.as_str()), now) else { continue };
            let hours = self.heard(jurisdiction, rule, live, (from, now)).await?;
            if let Some(departure) = brake::departure(forecast, &hours, pace_of(rule)) {
                let (reason, rule) = (format!("{rule}: {}", said(&departure)), rule.clone());
                return Ok(Some(Departed { version, since, kind, rule, reason, jurisdiction }));
            }
        }
        Ok(None)
    }

    /// The live version of a rule whose alerts a promotion of a model answers for, and from when on; none where the rule is
    /// off, or its own promotion, being newer, answers for them.
    fn answered(&self, promoted: Ts, (jurisdiction, rule): (JurisdictionNo, &str), now: Ts) -> Option<(u32, Ts)> {
        let directory = self.directory();
        let life = directory.rule_versions().life(jurisdiction, rule)?;
        let live = life.live_at(now)?;
        let own = live.promotion.as_ref().filter(|promotion| promotion.forecast.is_some());
        let own = own.map(|promotion| promotion.span.from);
        if brake::answers(own, Some(promoted), now) != Some(Answers::Model) {
            return None;
        }
        let spans = life.live_spans(live.number);
        let span = spans.iter().rev().find(|span| span.from <= now)?;
        Some((live.number, promoted.max(span.from)))
    }

    async fn stop_model(&self, departed: Departed) -> Result<bool, EngineError> {
        let _one_at_a_time = self.0.ruling.lock().await;
        let Departed { version, since, kind, reason, jurisdiction, .. } = &departed;
        // somebody may have been faster
        let now_scoring = self.scoring_now((*jurisdiction, *kind)).await?;
        if now_scoring.is_none_or(|model| (model.version, model.since) != (*version, *since)) {
            return Ok(false);
        }
        // no person and no key: what takes a promotion back takes no second one
        let (store, by) = (&self.0.store, Who::typed(BY_BRAKE));
        let (event, follows) = match risk_models::rollback(store, (*jurisdiction, *kind), &by, reason).await {
            Ok((before, event)) => (event, format!("version {before} scores again")),
            // nothing that could score has scored before
            Err(EngineError::Conflict(_)) => {
                let event = risk_models::retirement(store, *jurisdiction, (*kind, *version), &by, reason).await?;
                (event, "the version is retired, and nothing scores".to_owned())
            }
            Err(error) => return Err(error),
        };
        let at = self.now();
        let place = self.code_of(*jurisdiction);
        let notice = notice(&departed, &place, &follows, at);
        let rows = self.0.notifiers.rows(notice, at).await.map_err(unavailable)?;
        tracing::warn!(kind = kind.as_str(), %place, version, reason, "the brake stopped a version of a model");
        let attachments = vec![Attachment::Notices(rows)];
        self.0.writer.commit(vec![event], attachments).await.map_err(commit_error)?;
        self.0.notifiers.ring();
        self.0.metrics.models.brakes.with_label_values(&[place.as_str()]).inc();
        Ok(true)
    }

    /// What is expected in a jurisdiction of the version of a kind that scores, and what has come; nothing of another version,
    /// nor of one that scores by a way back.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn model_live(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
    ) -> Result<Vec<ModelLive>, EngineError> {
        let Some(model) = self.scoring_now((jurisdiction, kind)).await?.filter(|model| model.version == version) else {
            return Ok(Vec::new());
        };
        let (directory, span) = (self.0.directory.load_full(), (model.since, self.now()));
        let mut all = Vec::new();
        for ModelForecast { rule, forecast, .. } in model.forecasts {
            let life = directory.rule_versions().life(jurisdiction, &rule);
            let tried = life.map_or_else(Vec::new, |life| rates::live(life, span));
            let raised = rates::raised(&self.0.store, &directory, (jurisdiction, rule.as_str()), &tried).await;
            let findings = raised.map_err(unavailable)?.findings;
            all.push(ModelLive { rule, forecast, findings, watched_until: model.since.plus(WATCHED) });
        }
        Ok(all)
    }
}

/// What people are told of it.
fn notice(departed: &Departed, place: &str, follows: &str, at: Ts) -> Notice {
    let Departed { version, since, kind, rule, reason, jurisdiction } = departed;
    let kind = kind.as_str();
    let told =
        (format!("{kind}: the brake stopped version {version} in {place}"), vec![reason.clone(), follows.to_owned()]);
    let which = format!("model brake\0{}\0{kind}\0{version}\0{}", jurisdiction.0, since.0);
    brake_notice(&which, (rule, *jurisdiction), told, at)
}
