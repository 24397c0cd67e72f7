//! Versions of models in the shadow as stored: who let them score there, and what was counted a day.
//!
//! A shadow is of a jurisdiction. As with promotions, what its rules do not allow is refused in the commit, and with it the
//! event.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use crate::read::parse;
use crate::risk_models::{Shadowed, StoredModel, named, refused, standing_in};
use models::alert::Window;
use models::event::Event;
use models::ids::{OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ModelShadowEnded, ModelShadowStarted, ShadowDayCounted};
use models::risk_model::{ModelKind, ModelPromoted, ModelRetired, ModelState};
use models::ts::Ts;

/// Writes what an event says of versions in the shadow.
pub(crate) async fn settle(conn: &mut Conn, event: &Event, at: Ts) -> Result<(), sqlx::Error> {
    match event {
        Event::ModelShadowStarted(started) => start(conn, started, at).await,
        Event::ModelShadowEnded(ModelShadowEnded { kind, version, jurisdiction, .. }) => {
            match end(conn, named(*jurisdiction)?, (*kind, *version)).await? {
                1 => Ok(()),
                _ => Err(refused("no such version in the shadow")),
            }
        }
        // what scores for all to hear, by a way back as well, or never again, does not score beside itself
        Event::ModelPromoted(ModelPromoted { kind, version, jurisdiction, .. }) => {
            end(conn, named(*jurisdiction)?, (*kind, *version)).await.map(drop)
        }
        Event::ModelRetired(ModelRetired { kind, version, jurisdiction, .. }) => {
            end(conn, named(*jurisdiction)?, (*kind, *version)).await.map(drop)
        }
        Event::ModelShadowCounted(counted) => count(conn, counted).await,
        _ => Ok(()),
    }
}

async fn start(conn: &mut Conn, started: &ModelShadowStarted, at: Ts) -> Result<(), sqlx::Error> {
    let ModelShadowStarted { kind, version, .. } = *started;
    let jurisdiction = named(started.jurisdiction)?;
    let refused = || refused("no such version that could score in the shadow, or another one does");
    let standing = standing_in(conn, jurisdiction, (kind, version)).await?.ok_or_else(refused)?;
    if !matches!(standing.state, ModelState::Registered | ModelState::Replaced) {
        return Err(refused());
    }
    let sql = "INSERT INTO model_shadows (jurisdiction, kind, version, started_by, started_at, reason) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (jurisdiction, kind) DO NOTHING";
    let values = [
        Val::Int(jurisdiction.0.into()),
        Val::Text(kind.as_str()),
        Val::Int(version.into()),
        Val::Text(&started.by),
        Val::Int(at.0),
        Val::Text(&started.reason),
    ];
    match conn.run(sql, &values).await? {
        1 => Ok(()),
        _ => Err(refused()),
    }
}

async fn end(
    conn: &mut Conn,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
) -> Result<u64, sqlx::Error> {
    let sql = "DELETE FROM model_shadows WHERE jurisdiction = $1 AND kind = $2 AND version = $3";
    conn.run(sql, &[Val::Int(jurisdiction.0.into()), Val::Text(kind.as_str()), Val::Int(version.into())]).await
}

async fn count(conn: &mut Conn, counted: &ShadowDayCounted) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO model_shadow_days (kind, version, operator_no, day, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, version, operator_no, day) DO NOTHING";
    let values = [
        Val::Text(counted.kind.as_str()),
        Val::Int(counted.version.into()),
        Val::Int(counted.operator_no.0.into()),
        Val::Int(counted.day.0),
        crate::project::body(counted),
    ];
    conn.run(sql, &values).await.map(|_| ())
}

fn shadowed(row: &Row) -> Result<Shadowed, StoreError> {
    Ok(Shadowed {
        kind: ModelKind::parse(&row.text(0)?).ok_or(StoreError::Unreadable("kind of a model"))?,
        version: row.int(1)? as u32,
        said: (row.text(2)?, Ts(row.int(3)?), row.text(4)?),
    })
}

impl Store {
    /// The versions in the shadow of a jurisdiction: one of a kind at most.
    pub(crate) async fn shadows(&self, jurisdiction: JurisdictionNo) -> Result<Vec<Shadowed>, StoreError> {
        let sql = "SELECT kind, version, started_by, started_at, reason FROM model_shadows WHERE jurisdiction = $1";
        self.rows(sql, &[Val::Int(jurisdiction.0.into())]).await?.iter().map(shadowed).collect()
    }

    /// The version of a kind that scores in the shadow of a jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn shadow_model(
        &self,
        jurisdiction: JurisdictionNo,
        kind: ModelKind,
    ) -> Result<Option<StoredModel>, StoreError> {
        match self.shadows(jurisdiction).await?.iter().find(|shadowed| shadowed.kind == kind) {
            Some(Shadowed { version, .. }) => self.model(jurisdiction, (kind, *version)).await,
            None => Ok(None),
        }
    }

    /// Where in the journal a version's shadow began last in a jurisdiction; none where it never did.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_shadow_began(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
    ) -> Result<Option<Seq>, StoreError> {
        let sql = "SELECT seq, payload FROM journal WHERE kind = 'model_shadow_started' ORDER BY seq DESC";
        for row in self.rows(sql, &[]).await? {
            let event = crate::journal::decode(&row.text(1)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            if let Event::ModelShadowStarted(started) = event
                && (started.kind, started.version) == (kind, version)
                && started.jurisdiction.is_none_or(|of| of == jurisdiction)
            {
                return Ok(Some(row.int(0)?));
            }
        }
        Ok(None)
    }

    /// Is this day of a version in the shadow stored?
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn is_shadow_counted(&self, counted: &ShadowDayCounted) -> Result<bool, StoreError> {
        let sql =
            "SELECT COUNT(*) FROM model_shadow_days WHERE kind = $1 AND version = $2 AND operator_no = $3 AND day = $4";
        let values = [
            Val::Text(counted.kind.as_str()),
            Val::Int(counted.version.into()),
            Val::Int(counted.operator_no.0.into()),
            Val::Int(counted.day.0),
        ];
        Ok(self.int(sql, &values).await? > 0)
    }

    /// Days of a version in the shadow at operators of a jurisdiction that begin in a span, newest first and by operator, at
    /// most `limit`: those behind a day of an operator, or the first ones.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_shadow_days(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
        span: Window,
        behind: Option<(Ts, OperatorNo)>,
        limit: u32,
    ) -> Result<Vec<ShadowDayCounted>, StoreError> {
        // nothing that begins in the span begins at its end
        let (day, operator) = behind.map_or((span.end.0, -1), |(day, operator)| (day.0, i64::from(operator.0)));
        let sql = "SELECT body FROM model_shadow_days WHERE kind = $1 AND version = $2 AND day >= $3 AND day < $4 AND day <= $5 AND (day < $5 OR operator_no > $6) AND operator_no IN (SELECT operator_no FROM operators WHERE jurisdiction = $7) ORDER BY day DESC, operator_no LIMIT $8";
        let values = [
            Val::Text(kind.as_str()),
            Val::Int(version.into()),
            Val::Int(span.start.0),
            Val::Int(span.end.0),
            Val::Int(day),
            Val::Int(operator),
            Val::Int(jurisdiction.0.into()),
            Val::Int(limit.into()),
        ];
        let bodies = self.rows(sql, &values).await?.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
        // a day names up to five hundred records: no work for a thread that answers
        let parsed = tokio::task::spawn_blocking(move || {
            bodies.iter().map(|body| parse("day of a shadow", body)).collect::<Result<Vec<_>, StoreError>>()
        });
        parsed.await.map_err(|_| StoreError::Unreadable("day of a shadow"))?
    }

    /// The operators of a jurisdiction that have such a day in a span.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn model_shadow_operators(
        &self,
        jurisdiction: JurisdictionNo,
        (kind, version): (ModelKind, u32),
        span: Window,
    ) -> Result<Vec<OperatorNo>, StoreError> {
        let sql = "SELECT DISTINCT operator_no FROM model_shadow_days WHERE kind = $1 AND version = $2 AND day >= $3 AND day < $4 AND operator_no IN (SELECT operator_no FROM operators WHERE jurisdiction = $5) ORDER BY operator_no";
        let values = [
            Val::Text(kind.as_str()),
            Val::Int(version.into()),
            Val::Int(span.start.0),
            Val::Int(span.end.0),
            Val::Int(jurisdiction.0.into()),
        ];
        self.rows(sql, &values).await?.iter().map(|row| Ok(OperatorNo(row.int(0)? as u16))).collect()
    }
}
