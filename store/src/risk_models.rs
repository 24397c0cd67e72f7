//! Models as stored: papers, artefacts in pieces, drift by day.
//!
//! The statements that change a state hold to the rules of its life; where one does not touch its row, the commit is
//! refused, and with it the event. So what the journal says of models was always true when it was said.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use crate::read::parse;
use crate::writer::CommitError;
use models::event::Event;
use models::ids::{KeyId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::risk_model::{
    DriftJudged, Model, ModelAct, ModelActed, ModelEvaluated, ModelForecast, ModelKind, ModelPromoted, ModelRetired,
    ModelRollback, ModelState,
};
use models::score::ScoredPlayer;
use models::ts::Ts;

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

/// A version and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredModel {
    pub model: Model,
    pub state: ModelState,
    pub registered_at: Ts,
    pub promoted: Option<(String, Ts)>,
    /// Replaced or retired.
    pub ended: Option<(Option<String>, Ts)>,
    /// It scores in the shadow: who let it, since when, and why.
    pub shadow: Option<(String, Ts, String)>,
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
    let sql = "INSERT INTO models (kind, version, artefact_sha256, state, registered_by, registered_at, body) VALUES ($1, $2, $3, 'registered', $4, $5, $6)";
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
    };
    note(conn, model.kind, &registered, at).await
}

/// The papers with what came out on a table of its own. What scores, or never does again, is judged no more.
async fn evaluate(conn: &mut Conn, evaluated: &ModelEvaluated, at: Ts) -> Result<(), sqlx::Error> {
    let ModelEvaluated { kind, version, evaluation, by } = evaluated;
    let place = [Val::Text(kind.as_str()), Val::Int((*version).into())];
    let sql = "SELECT body FROM models WHERE kind = $1 AND version = $2 AND state IN ('registered', 'replaced')";
    let rows = conn.rows(sql, &place).await?;
    let row = rows.first().ok_or_else(|| refused("no such version that could be judged"))?;
    let mut model: Model = serde_json::from_str(&row.text(0)?).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    model.evaluation = Some(evaluation.clone());
    model.evaluated_by = Some(by.clone());
    let sql = "UPDATE models SET body = $3 WHERE kind = $1 AND version = $2";
    conn.run(sql, &[&place[..], &[crate::project::body(&model)]].concat()).await?;
    let by = (by.name.as_str(), by.key);
    let act = Act { version: *version, act: ModelAct::Evaluated, by, reason: None, other: None, forecasts: &[] };
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
}

async fn note(conn: &mut Conn, kind: ModelKind, act: &Act<'_>, at: Ts) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, reason, other, forecasts, done_by_key) SELECT $1, COALESCE(MAX(nr), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9 FROM model_acts WHERE kind = $1";
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
    ];
    conn.run(sql, &values).await.map(|_| ())
}

async fn promote(conn: &mut Conn, promoted: &ModelPromoted, at: Ts) -> Result<(), sqlx::Error> {
    if let Some(rollback) = &promoted.rollback {
        return go_back(conn, promoted, rollback, at).await;
    }
    let ModelPromoted { kind: of, version: number, .. } = *promoted;
    let (kind, version) = (Val::Text(of.as_str()), Val::Int(number.into()));
    let (by, now) = (Val::Text(&promoted.by), Val::Int(at.0));
    let sql = "SELECT version FROM models WHERE kind = $1 AND state = 'promoted' AND version <> $2";
    let before = conn.rows(sql, &[kind.clone(), version.clone()]).await?;
    let other = before.first().map(|row| row.int(0)).transpose()?.map(|other| other as u32);
    let sql =
        "UPDATE models SET state = 'replaced', ended_by = $2, ended_at = $3 WHERE kind = $1 AND state = 'promoted'";
    conn.run(sql, &[kind.clone(), by.clone(), now.clone()]).await?;
    let sql = "UPDATE models SET state = 'promoted', promoted_by = $3, promoted_at = $4, ended_by = NULL, ended_at = NULL WHERE kind = $1 AND version = $2 AND state <> 'retired' AND LOWER(registered_by) <> LOWER($3)";
    if conn.run(sql, &[kind, version, by, now]).await? != 1 {
        return Err(refused("no such version that this person may promote"));
    }
    let (by, forecasts) = ((promoted.by.as_str(), promoted.by_key), promoted.forecasts.as_slice());
    let act = Act { version: number, act: ModelAct::Promoted, by, reason: None, other, forecasts };
    note(conn, of, &act, at).await
}

/// The version that scored before scores again; it was seconded when it was promoted.
async fn go_back(
    conn: &mut Conn,
    promoted: &ModelPromoted,
    rollback: &ModelRollback,
    at: Ts,
) -> Result<(), sqlx::Error> {
    let (kind, version) = (Val::Text(promoted.kind.as_str()), Val::Int(promoted.version.into()));
    let (by, now, from) = (Val::Text(&promoted.by), Val::Int(at.0), Val::Int(rollback.from.into()));
    // what scores came by a promotion, and in the place of the one that is to score again
    let sql = "UPDATE models SET state = 'replaced', ended_by = $3, ended_at = $4 WHERE kind = $1 AND version = $2 AND state = 'promoted' AND EXISTS (SELECT 1 FROM model_acts WHERE kind = $1 AND act = 'promoted' AND version = $2 AND other = $5 AND nr = (SELECT MAX(nr) FROM model_acts WHERE kind = $1 AND act IN ('promoted', 'rolled_back')))";
    let replaced = conn.run(sql, &[kind.clone(), from, by.clone(), now.clone(), version.clone()]).await?;
    let sql = "UPDATE models SET state = 'promoted', promoted_by = $3, promoted_at = $4, ended_by = NULL, ended_at = NULL WHERE kind = $1 AND version = $2 AND state = 'replaced'";
    if replaced != 1 || conn.run(sql, &[kind, version, by, now]).await? != 1 {
        return Err(refused("no such version that could be gone back to"));
    }
    let act = Act {
        version: promoted.version,
        act: ModelAct::RolledBack,
        by: (&promoted.by, promoted.by_key),
        reason: Some(&rollback.reason),
        other: Some(rollback.from),
        forecasts: &[],
    };
    note(conn, promoted.kind, &act, at).await
}

async fn retire(conn: &mut Conn, retired: &ModelRetired, at: Ts) -> Result<(), sqlx::Error> {
    let sql = "UPDATE models SET state = 'retired', ended_by = $3, ended_at = $4 WHERE kind = $1 AND version = $2 AND state <> 'retired'";
    let place = [Val::Text(retired.kind.as_str()), Val::Int(retired.version.into())];
    if conn.run(sql, &[&place[..], &[Val::Text(&retired.by), Val::Int(at.0)]].concat()).await? != 1 {
        return Err(refused("no such version that could be retired"));
    }
    let ModelRetired { kind, version, by, by_key, reason } = retired;
    let (by, reason) = ((by.as_str(), *by_key), Some(reason.as_str()));
    let act = Act { version: *version, act: ModelAct::Retired, by, reason, other: None, forecasts: &[] };
    note(conn, *kind, &act, at).await
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

const COLUMNS: &str = "body, state, registered_at, promoted_by, promoted_at, ended_by, ended_at, \
    (SELECT s.started_by FROM model_shadows AS s WHERE s.kind = models.kind AND s.version = models.version), \
    (SELECT s.started_at FROM model_shadows AS s WHERE s.kind = models.kind AND s.version = models.version), \
    (SELECT s.reason FROM model_shadows AS s WHERE s.kind = models.kind AND s.version = models.version)";

fn stored(row: &Row) -> Result<StoredModel, StoreError> {
    let state = ModelState::parse(&row.text(1)?).ok_or(StoreError::Unreadable("model state"))?;
    Ok(StoredModel {
        model: parse("model", &row.text(0)?)?,
        state,
        registered_at: Ts(row.int(2)?),
        promoted: row.text_opt(3)?.zip(row.int_opt(4)?.map(Ts)),
        ended: match row.int_opt(6)? {
            Some(at) => Some((row.text_opt(5)?, Ts(at))),
            None => None,
        },
        shadow: match row.int_opt(8)? {
            Some(at) => Some((row.text(7)?, Ts(at), row.text(9)?)),
            None => None,
        },
    })
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
    })
}

impl Store {
    /// What was done with the versions of a kind, in its order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_acts(&self, kind: ModelKind) -> Result<Vec<ModelActed>, StoreError> {
        let sql = "SELECT version, act, done_by, done_at, reason, other, forecasts, done_by_key FROM model_acts WHERE kind = $1 ORDER BY nr";
        self.rows(sql, &[Val::Text(kind.as_str())]).await?.iter().map(acted).collect()
    }

    /// Every version, by kind and number.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn models(&self) -> Result<Vec<StoredModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models ORDER BY kind, version");
        self.rows(&sql, &[]).await?.iter().map(stored).collect()
    }

    /// One version.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model(&self, kind: ModelKind, version: u32) -> Result<Option<StoredModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE kind = $1 AND version = $2");
        let place = [Val::Text(kind.as_str()), Val::Int(version.into())];
        self.rows(&sql, &place).await?.first().map(stored).transpose()
    }

    /// The version of a kind that scores.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn promoted_model(&self, kind: ModelKind) -> Result<Option<StoredModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE kind = $1 AND state = 'promoted'");
        self.rows(&sql, &[Val::Text(kind.as_str())]).await?.first().map(stored).transpose()
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

    /// Where in the journal a version was promoted last; none where it never was.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_promoted_at(&self, kind: ModelKind, version: u32) -> Result<Option<Seq>, StoreError> {
        let sql = "SELECT seq, payload FROM journal WHERE kind = 'model_promoted' ORDER BY seq DESC";
        for row in self.rows(sql, &[]).await? {
            let event = crate::journal::decode(&row.text(1)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            if let Event::ModelPromoted(promoted) = event
                && (promoted.kind, promoted.version) == (kind, version)
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

    /// Every score that a version gave last, the highest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn player_scores(
        &self,
        version: u32,
        limit: u32,
    ) -> Result<Vec<(OperatorNo, MatchKey, Currency, u32)>, StoreError> {
        // without the reasons: of half a million rows they are most of what there is to read
        let sql = "SELECT operator_no, player, currency, score_ppm FROM player_risk WHERE version = $1 ORDER BY score_ppm DESC LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(version.into()), Val::Int(limit.into())]).await?;
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
