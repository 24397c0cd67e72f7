//! Models as stored: papers, artefacts in pieces, drift by day.
//!
//! What became of a version in a jurisdiction is not stored twice: it follows from the acts that count there
//! ([`models::model_life`]). Before an act is written, the acts so far are held against the rules of that life, in the same
//! transaction; what they do not allow is refused, and with it the event. So what the journal says of models was always true
//! when it was said.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use crate::read::parse;
use crate::writer::CommitError;
use models::event::Event;
use models::ids::{KeyId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::model_life::{ModelAct, ModelActed, Standing, acts_in, judgeable, scoring, standing, way_back};
use models::money::Currency;
use models::risk_model::{
    DriftJudged, Model, ModelEvaluated, ModelForecast, ModelKind, ModelPromoted, ModelRetired, ModelRollback,
    ModelState,
};
use models::score::ScoredPlayer;
use models::ts::Ts;
use std::collections::BTreeSet;

/// Bytes of a piece.
const CHUNK: usize = 256 << 10;
/// Bytes of a packed artefact.
pub const MODEL_BYTES_MAX: usize = 64 << 20;
/// Days of drift that are read at once.
const DAYS_AT_ONCE: i64 = 1_000;

/// A packed artefact on its way into the store; of its packing the store knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ModelBytes {
    pub kind: ModelKind,
    pub version: u32,
    pub bytes: Vec<u8>,
}

/// A version and what became of it in a jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredModel {
    pub model: Model,
    pub state: ModelState,
    pub registered_at: Ts,
    pub promoted: Option<(String, Ts)>,
    /// Replaced or retired.
    pub ended: Option<(String, Ts)>,
    /// It scores in the shadow: who let it, since when, and why.
    pub shadow: Option<(String, Ts, String)>,
}

/// A version in the shadow of a jurisdiction.
pub(crate) struct Shadowed {
    pub kind: ModelKind,
    pub version: u32,
    /// Who let it, since when, and why.
    pub said: (String, Ts, String),
}

pub(crate) fn refused(what: &str) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(CommitError::Conflict { what: what.to_owned() }))
}

/// Keeps an artefact.
pub(crate) async fn keep(conn: &mut Conn, model: &ModelBytes) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO model_chunks (kind, version, idx, bytes) VALUES ($1, $2, $3, $4)";
    for (idx, chunk) in (0i64..).zip(model.bytes.chunks(CHUNK)) {
        let place = [Val::Text(model.kind.as_str()), Val::Int(model.version.into()), Val::Int(idx)];
        conn.run(sql, &[&place[..], &[Val::Bytes(chunk.to_vec())]].concat()).await?;
    }
    Ok(())
}

/// Writes what an event says of models.
pub(crate) async fn settle(conn: &mut Conn, event: &Event, at: Ts) -> Result<(), sqlx::Error> {
    match event {
        Event::ModelRegistered(model) => register(conn, model, at).await,
        Event::ModelEvaluated(evaluated) => evaluate(conn, evaluated, at).await,
        Event::ModelPromoted(promoted) => promote(conn, promoted, at).await,
        Event::ModelRetired(retired) => retire(conn, retired, at).await,
        Event::ModelDriftJudged(judged) => drift(conn, judged).await,
        _ => Ok(()),
    }
}

async fn register(conn: &mut Conn, model: &Model, at: Ts) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        Val::Text(model.kind.as_str()),
        Val::Int(model.version.into()),
        Val::Text(&model.artefact_sha256),
        Val::Text(&model.by),
        Val::Int(at.0),
        crate::project::body(model),
    ];
    conn.run(sql, &values).await?;
    let registered = Act {
        version: model.version,
        act: ModelAct::Registered,
        by: (&model.by, model.by_key),
        reason: None,
        other: None,
        forecasts: &[],
        jurisdiction: None,
    };
    note(conn, model.kind, &registered, at).await
}

/// Where an act of this release counts: it says so.
pub(crate) fn named(jurisdiction: Option<JurisdictionNo>) -> Result<JurisdictionNo, sqlx::Error> {
    jurisdiction.ok_or_else(|| refused("an act that names no jurisdiction"))
}

const ACTS: &str =
    "SELECT version, act, done_by, done_at, reason, other, forecasts, done_by_key, jurisdiction FROM model_acts";

/// What was done with the versions of a kind so far, in every jurisdiction.
async fn acts_so_far(conn: &mut Conn, kind: ModelKind) -> Result<Vec<ModelActed>, sqlx::Error> {
    let rows = conn.rows(&format!("{ACTS} WHERE kind = $1 ORDER BY nr"), &[Val::Text(kind.as_str())]).await?;
    rows.iter().map(acted).collect::<Result<_, _>>().map_err(unreadable)
}

fn unreadable(error: StoreError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// What became of a version in a jurisdiction; none of a version that there is not.
pub(crate) async fn standing_in(
    conn: &mut Conn,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
) -> Result<Option<Standing>, sqlx::Error> {
    if registered_by(conn, (kind, version)).await?.is_none() {
        return Ok(None);
    }
    let acts = acts_in(&acts_so_far(conn, kind).await?, jurisdiction);
    Ok(Some(standing(&acts, version)))
}

async fn registered_by(conn: &mut Conn, (kind, version): (ModelKind, u32)) -> Result<Option<String>, sqlx::Error> {
    let sql = "SELECT registered_by FROM models WHERE kind = $1 AND version = $2";
    let rows = conn.rows(sql, &[Val::Text(kind.as_str()), Val::Int(version.into())]).await?;
    rows.first().map(|row| row.text(0)).transpose()
}

/// The jurisdictions that have operators.
async fn in_use(conn: &mut Conn) -> Result<BTreeSet<JurisdictionNo>, sqlx::Error> {
    let rows = conn.rows("SELECT DISTINCT jurisdiction FROM operators", &[]).await?;
    rows.iter().map(|row| row.int(0).map(|no| JurisdictionNo(no as u8))).collect()
}

/// The papers with what came out on a table of its own. They are of every jurisdiction: what scores in one, or never does
/// again in any, is judged no more.
async fn evaluate(conn: &mut Conn, evaluated: &ModelEvaluated, at: Ts) -> Result<(), sqlx::Error> {
    let ModelEvaluated { kind, version, evaluation, by } = evaluated;
    let place = [Val::Text(kind.as_str()), Val::Int((*version).into())];
    let (acts, in_use) = (acts_so_far(conn, *kind).await?, in_use(conn).await?);
    let rows = conn.rows("SELECT body FROM models WHERE kind = $1 AND version = $2", &place).await?;
    let row = rows.first().filter(|_| judgeable(&acts, &in_use, *version).is_ok());
    let row = row.ok_or_else(|| refused("no such version that could be judged"))?;
    let mut model: Model = serde_json::from_str(&row.text(0)?).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    model.evaluation = Some(evaluation.clone());
    model.evaluated_by = Some(by.clone());
    let sql = "UPDATE models SET body = $3 WHERE kind = $1 AND version = $2";
    conn.run(sql, &[&place[..], &[crate::project::body(&model)]].concat()).await?;
    let by = (by.name.as_str(), by.key);
    let act = Act {
        version: *version,
        act: ModelAct::Evaluated,
        by,
        reason: None,
        other: None,
        forecasts: &[],
        jurisdiction: None,
    };
    note(conn, *kind, &act, at).await
}

/// An act on its way into the history of a kind.
struct Act<'a> {
    version: u32,
    act: ModelAct,
    by: (&'a str, Option<KeyId>),
    reason: Option<&'a str>,
    other: Option<u32>,
    forecasts: &'a [ModelForecast],
    /// Where it counts; none: in every one.
    jurisdiction: Option<JurisdictionNo>,
}

async fn note(conn: &mut Conn, kind: ModelKind, act: &Act<'_>, at: Ts) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, reason, other, forecasts, done_by_key, jurisdiction) SELECT $1, COALESCE(MAX(nr), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM model_acts WHERE kind = $1";
    let forecasts = if act.forecasts.is_empty() { Val::TextOpt(None) } else { crate::project::body(&act.forecasts) };
    let (name, key) = act.by;
    let key = key.map(|key| key.to_string());
    let values = [
        Val::Text(kind.as_str()),
        Val::Int(act.version.into()),
        Val::Text(act.act.as_str()),
        Val::Text(name),
        Val::Int(at.0),
        Val::TextOpt(act.reason),
        Val::IntOpt(act.other.map(i64::from)),
        forecasts,
        Val::TextOpt(key.as_deref()),
        Val::IntOpt(act.jurisdiction.map(|no| no.0.into())),
    ];
    conn.run(sql, &values).await.map(|_| ())
}

async fn promote(conn: &mut Conn, promoted: &ModelPromoted, at: Ts) -> Result<(), sqlx::Error> {
    if let Some(rollback) = &promoted.rollback {
        return go_back(conn, promoted, rollback, at).await;
    }
    let ModelPromoted { kind, version, .. } = *promoted;
    let jurisdiction = named(promoted.jurisdiction)?;
    let acts = acts_in(&acts_so_far(conn, kind).await?, jurisdiction);
    let registered_by = registered_by(conn, (kind, version)).await?;
    let is_second = registered_by.is_some_and(|first| first.to_lowercase() != promoted.by.to_lowercase());
    if !is_second || !matches!(standing(&acts, version).state, ModelState::Registered | ModelState::Replaced) {
        return Err(refused("no such version that this person may promote"));
    }
    let act = Act {
        version,
        act: ModelAct::Promoted,
        by: (&promoted.by, promoted.by_key),
        reason: None,
        other: scoring(&acts),
        forecasts: &promoted.forecasts,
        jurisdiction: Some(jurisdiction),
    };
    note(conn, kind, &act, at).await
}

/// The version that scored before scores again; it was seconded when it was promoted.
async fn go_back(
    conn: &mut Conn,
    promoted: &ModelPromoted,
    rollback: &ModelRollback,
    at: Ts,
) -> Result<(), sqlx::Error> {
    let jurisdiction = named(promoted.jurisdiction)?;
    let acts = acts_in(&acts_so_far(conn, promoted.kind).await?, jurisdiction);
    // what scores came by a promotion, and in the place of the one that is to score again
    if way_back(&acts) != Ok((rollback.from, promoted.version)) {
        return Err(refused("no such version that could be gone back to"));
    }
    let act = Act {
        version: promoted.version,
        act: ModelAct::RolledBack,
        by: (&promoted.by, promoted.by_key),
        reason: Some(&rollback.reason),
        other: Some(rollback.from),
        forecasts: &[],
        jurisdiction: Some(jurisdiction),
    };
    note(conn, promoted.kind, &act, at).await
}

async fn retire(conn: &mut Conn, retired: &ModelRetired, at: Ts) -> Result<(), sqlx::Error> {
    let jurisdiction = named(retired.jurisdiction)?;
    let standing = standing_in(conn, jurisdiction, (retired.kind, retired.version)).await?;
    if standing.is_none_or(|standing| standing.state == ModelState::Retired) {
        return Err(refused("no such version that could be retired"));
    }
    let act = Act {
        version: retired.version,
        act: ModelAct::Retired,
        by: (&retired.by, retired.by_key),
        reason: Some(&retired.reason),
        other: None,
        forecasts: &[],
        jurisdiction: Some(jurisdiction),
    };
    note(conn, retired.kind, &act, at).await
}

async fn drift(conn: &mut Conn, judged: &DriftJudged) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO model_drift (kind, version, operator_no, day, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, version, operator_no, day) DO UPDATE SET body = excluded.body";
    let values = [
        Val::Text(judged.kind.as_str()),
        Val::Int(judged.version.into()),
        Val::Int(judged.operator_no.0.into()),
        Val::Int(judged.day.0),
        crate::project::body(judged),
    ];
    conn.run(sql, &values).await.map(|_| ())
}

const PLAYER_RISK: &str = "operator_no, player, currency, score_ppm, as_of, reasons";

/// What the promoted model said last of a player at an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerRisk {
    /// Where.
    pub operator_no: OperatorNo,
    /// First instant behind the day.
    pub as_of: Ts,
    /// Who, the score and why.
    pub scored: ScoredPlayer,
}

/// Players of an operator.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct PlayerRiskQuery {
    pub operator: OperatorNo,
    pub version: u32,
    /// Of this probability at least, millionths.
    pub from_ppm: u32,
    pub limit: u32,
}

fn score(row: &Row) -> Result<(OperatorNo, MatchKey, Currency, u32), StoreError> {
    let player = row.text(1)?.parse().map_err(|_| StoreError::Unreadable("player"))?;
    let currency = Currency::parse(&row.text(2)?).map_err(|_| StoreError::Unreadable("currency"))?;
    Ok((OperatorNo(row.int(0)? as u16), player, currency, row.int(3)? as u32))
}

fn player_risk(row: &Row) -> Result<PlayerRisk, StoreError> {
    let (operator_no, player, currency, score_ppm) = score(row)?;
    let scored = ScoredPlayer { player, currency, score_ppm, reasons: parse("reasons", &row.text(5)?)? };
    Ok(PlayerRisk { operator_no, as_of: Ts(row.int(4)?), scored })
}

const COLUMNS: &str = "body, registered_at";

fn stored(row: &Row, acts: &[ModelActed], shadows: &[Shadowed]) -> Result<StoredModel, StoreError> {
    let model: Model = parse("model", &row.text(0)?)?;
    let Standing { state, promoted, ended } = standing(acts, model.version);
    let is_it = |shadowed: &&Shadowed| (shadowed.kind, shadowed.version) == (model.kind, model.version);
    let shadow = shadows.iter().find(is_it).map(|shadowed| shadowed.said.clone());
    Ok(StoredModel { model, state, registered_at: Ts(row.int(1)?), promoted, ended, shadow })
}

fn acted(row: &Row) -> Result<ModelActed, StoreError> {
    Ok(ModelActed {
        version: row.int(0)? as u32,
        act: ModelAct::parse(&row.text(1)?).ok_or(StoreError::Unreadable("model act"))?,
        by: row.text(2)?,
        by_key: match row.text_opt(7)? {
            Some(key) => Some(key.parse().map_err(|_| StoreError::Unreadable("key of a model's act"))?),
            None => None,
        },
        at: Ts(row.int(3)?),
        reason: row.text_opt(4)?,
        other: row.int_opt(5)?.map(|other| other as u32),
        forecasts: row.text_opt(6)?.map_or_else(|| Ok(Vec::new()), |text| parse("forecasts", &text))?,
        jurisdiction: row.int_opt(8)?.map(|no| JurisdictionNo(no as u8)),
    })
}

impl Store {
    /// What was done with the versions of a kind, and counts in a jurisdiction, in its order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_acts(
        &self,
        jurisdiction: JurisdictionNo,
        kind: ModelKind,
    ) -> Result<Vec<ModelActed>, StoreError> {
        Ok(acts_in(&self.all_model_acts(kind).await?, jurisdiction))
    }

    /// What was done with the versions of a kind in every jurisdiction, in its order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn all_model_acts(&self, kind: ModelKind) -> Result<Vec<ModelActed>, StoreError> {
        let sql = format!("{ACTS} WHERE kind = $1 ORDER BY nr");
        self.rows(&sql, &[Val::Text(kind.as_str())]).await?.iter().map(acted).collect()
    }

    /// The papers of every version, by kind and number: they are of every jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_papers(&self) -> Result<Vec<Model>, StoreError> {
        let rows = self.rows("SELECT body FROM models ORDER BY kind, version", &[]).await?;
        rows.iter().map(|row| parse("model", &row.text(0)?)).collect()
    }

    /// The papers of one version.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn papers_of_model(&self, (kind, version): (ModelKind, u32)) -> Result<Option<Model>, StoreError> {
        let place = [Val::Text(kind.as_str()), Val::Int(version.into())];
        let rows = self.rows("SELECT body FROM models WHERE kind = $1 AND version = $2", &place).await?;
        rows.first().map(|row| parse("model", &row.text(0)?)).transpose()
    }

    /// Every version, by kind and number, and what became of it in a jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn models(&self, jurisdiction: JurisdictionNo) -> Result<Vec<StoredModel>, StoreError> {
        let shadows = self.shadows(jurisdiction).await?;
        let mut models = Vec::new();
        for kind in ModelKind::ALL {
            let acts = self.model_acts(jurisdiction, *kind).await?;
            let sql = format!("SELECT {COLUMNS} FROM models WHERE kind = $1 ORDER BY version");
            for row in self.rows(&sql, &[Val::Text(kind.as_str())]).await? {
                models.push(stored(&row, &acts, &shadows)?);
            }
        }
        models.sort_by_key(|stored| (stored.model.kind.as_str(), stored.model.version));
        Ok(models)
    }

    /// One version, and what became of it in a jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
    ) -> Result<Option<StoredModel>, StoreError> {
        let (acts, shadows) = (self.model_acts(jurisdiction, kind).await?, self.shadows(jurisdiction).await?);
        let sql = format!("SELECT {COLUMNS} FROM models WHERE kind = $1 AND version = $2");
        let rows = self.rows(&sql, &[Val::Text(kind.as_str()), Val::Int(version.into())]).await?;
        rows.first().map(|row| stored(row, &acts, &shadows)).transpose()
    }

    /// The version of a kind that scores in a jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn promoted_model(
        &self,
        jurisdiction: JurisdictionNo,
        kind: ModelKind,
    ) -> Result<Option<StoredModel>, StoreError> {
        match scoring(&self.model_acts(jurisdiction, kind).await?) {
            Some(version) => self.model(jurisdiction, (kind, version)).await,
            None => Ok(None),
        }
    }

    /// The packed artefact of a version; empty where there is none.
    ///
    /// # Errors
    /// [`StoreError`]: a piece is missing.
    pub async fn model_bytes(&self, kind: ModelKind, version: u32) -> Result<Vec<u8>, StoreError> {
        let sql = "SELECT idx, bytes FROM model_chunks WHERE kind = $1 AND version = $2 ORDER BY idx";
        let place = [Val::Text(kind.as_str()), Val::Int(version.into())];
        let mut bytes = Vec::new();
        for (idx, row) in (0i64..).zip(self.rows(sql, &place).await?) {
            if row.int(0)? != idx {
                return Err(StoreError::Unreadable("pieces of a model"));
            }
            bytes.extend(row.bytes(1)?);
        }
        Ok(bytes)
    }

    /// Where in the journal a version was promoted last in a jurisdiction; none where it never was.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_promoted_at(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
    ) -> Result<Option<Seq>, StoreError> {
        let sql = "SELECT seq, payload FROM journal WHERE kind = 'model_promoted' ORDER BY seq DESC";
        for row in self.rows(sql, &[]).await? {
            let event = crate::journal::decode(&row.text(1)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            if let Event::ModelPromoted(promoted) = event
                && (promoted.kind, promoted.version) == (kind, version)
                && promoted.jurisdiction.is_none_or(|of| of == jurisdiction)
            {
                return Ok(Some(row.int(0)?));
            }
        }
        Ok(None)
    }

    /// Is the drift of a version at an operator judged of this day?
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn is_drift_judged(&self, judged: &DriftJudged) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) FROM model_drift WHERE kind = $1 AND version = $2 AND operator_no = $3 AND day = $4";
        let values = [
            Val::Text(judged.kind.as_str()),
            Val::Int(judged.version.into()),
            Val::Int(judged.operator_no.0.into()),
            Val::Int(judged.day.0),
        ];
        Ok(self.int(sql, &values).await? > 0)
    }

    /// What a version said last of players of an operator, the highest score first: those of `from_ppm` at least.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn players_at_risk(&self, query: &PlayerRiskQuery) -> Result<Vec<PlayerRisk>, StoreError> {
        let sql = format!(
            "SELECT {PLAYER_RISK} FROM player_risk WHERE operator_no = $1 AND version = $2 AND score_ppm >= $3 ORDER BY score_ppm DESC, player, currency LIMIT $4"
        );
        let PlayerRiskQuery { operator, version, from_ppm, limit } = *query;
        let values = [operator.0.into(), version.into(), from_ppm.into(), limit.into()].map(Val::Int);
        self.rows(&sql, &values).await?.iter().map(player_risk).collect()
    }

    /// Every score that a version gave last at operators of a jurisdiction, the highest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn player_scores(
        &self,
        jurisdiction: JurisdictionNo,
        version: u32,
        limit: u32,
    ) -> Result<Vec<(OperatorNo, MatchKey, Currency, u32)>, StoreError> {
        // without the reasons: of half a million rows they are most of what there is to read
        let sql = "SELECT operator_no, player, currency, score_ppm FROM player_risk WHERE jurisdiction = $1 AND version = $2 ORDER BY score_ppm DESC LIMIT $3";
        let values = [jurisdiction.0.into(), version.into(), limit.into()].map(Val::Int);
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(score).collect()
    }

    /// What a version said last of a player at each operator of a jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn risk_of_player(
        &self,
        jurisdiction: JurisdictionNo,
        version: u32,
        player: MatchKey,
    ) -> Result<Vec<PlayerRisk>, StoreError> {
        let sql = format!(
            "SELECT {PLAYER_RISK} FROM player_risk WHERE player = $1 AND version = $2 AND jurisdiction = $3 ORDER BY operator_no, currency"
        );
        let values = [Val::Owned(player.to_string()), Val::Int(version.into()), Val::Int(jurisdiction.0.into())];
        self.rows(&sql, &values).await?.iter().map(player_risk).collect()
    }

    /// Days of drift of a version at operators of a jurisdiction, the newest first: the newest 1,000.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_drift(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
    ) -> Result<Vec<DriftJudged>, StoreError> {
        let sql = "SELECT body FROM model_drift WHERE kind = $1 AND version = $2 AND operator_no IN (SELECT operator_no FROM operators WHERE jurisdiction = $3) ORDER BY day DESC, operator_no LIMIT $4";
        let values = [
            Val::Text(kind.as_str()),
            Val::Int(version.into()),
            Val::Int(jurisdiction.0.into()),
            Val::Int(DAYS_AT_ONCE),
        ];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("drift", &row.text(0)?)).collect()
    }
}
