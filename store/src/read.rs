//! Reads: what recovery, commands and lists need. The same SQL on both databases.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use models::alert::{AlertRevision, Severity};
use models::event::{Bound, Exclusion, PersonKey};
use models::exclusion::{AtEnd, Period};
use models::feed::{Source, SourceClock};
use models::ids::{AlertId, ExclusionId, KeyId, OperatorNo, PersonNo, Seq, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::{KeyKind, MatchKey};
use models::money::Currency;
use models::operator::{ApiKey, Licence, Operator};
use models::record::{PlayChannel, Product, Record, RecordKind, RecordStatus};
use models::ts::Ts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// Everything stored of a person outside the vault.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PersonDossier {
    pub person_no: PersonNo,
    pub birth_digest: Option<MatchKey>,
    pub keys: Vec<PersonKey>,
    pub exclusions: Vec<Exclusion>,
}

/// The stored result of an idempotent write.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct IdempotencyStored {
    pub body_digest: [u8; 32],
    pub status: u16,
    pub result_id: String,
}

/// First free numbers.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct NextNumbers {
    pub person_no: u32,
    pub operator_no: u16,
    pub source_no: u32,
}

/// One input of an operator, as stored.
#[allow(missing_docs)]
pub enum OperatorInputRow {
    Batch { operator_seq: i64, clock_at: Ts, clock: SourceClock, records: Vec<Record> },
    Tick { operator_seq: i64, at: Ts },
}

impl OperatorInputRow {
    fn seq(&self) -> i64 {
        match self {
            Self::Batch { operator_seq, .. } | Self::Tick { operator_seq, .. } => *operator_seq,
        }
    }
}

/// Digests of a stored record, for dedupe.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct RecordDigest {
    pub batch_no: i64,
    pub idx: i64,
    pub id_digest: u64,
    pub content_digest: u32,
    pub occurred_at: Ts,
}

/// Where a source stands.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct StoredHead {
    pub source_seq: i64,
    pub chain: [u8; 32],
    pub newest: Option<Ts>,
    pub last_stored_at: Option<Ts>,
    pub records: u64,
    pub duplicates: u64,
    pub quarantined: u64,
}

/// Which alerts.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct AlertQuery {
    pub operators: Option<Vec<OperatorNo>>,
    pub severity: Option<Severity>,
    pub rule: Option<String>,
    /// Withdrawn ones only, or only the others.
    pub withdrawn: Option<bool>,
    /// Only with an offset below.
    pub before_offset: i64,
    pub limit: u32,
}

/// Counts of the register in a jurisdiction.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RegisterStats {
    pub persons: u64,
    pub active: u64,
    pub ended: u64,
    pub by_period: std::collections::BTreeMap<String, u64>,
}

/// Rows of people, packed into texts by the database.
#[derive(Clone, Debug, Default)]
pub struct PackedPeople {
    persons: String,
    keys: String,
    exclusions: String,
}

/// Parts of a line, in order; what is missing or no number of its kind is unreadable.
struct Parts<'a>(std::str::Split<'a, char>);

impl<'a> Parts<'a> {
    const UNREADABLE: StoreError = StoreError::Unreadable("packed person");

    fn text(&mut self) -> Result<&'a str, StoreError> {
        self.0.next().ok_or(Self::UNREADABLE)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?.parse().map_err(|_| Self::UNREADABLE)
    }

    /// −1 is none.
    fn time(&mut self) -> Result<Option<Ts>, StoreError> {
        Ok(Some(self.number::<i64>()?).filter(|at| *at >= 0).map(Ts))
    }
}

impl PackedPeople {
    /// Everybody.
    pub fn persons(&self) -> impl Iterator<Item = Result<PersonNo, StoreError>> {
        self.persons.lines().map(|line| Parts(line.split(' ')).number().map(PersonNo))
    }

    /// Their keys.
    pub fn keys(&self) -> impl Iterator<Item = Result<(PersonNo, PersonKey), StoreError>> {
        self.keys.lines().map(|line| {
            let mut parts = Parts(line.split(' '));
            let person_no = PersonNo(parts.number()?);
            let key = parts.text()?.parse().map_err(|_| Parts::UNREADABLE)?;
            let kind = KeyKind::from_number(parts.number()?).ok_or(Parts::UNREADABLE)?;
            let (digest_version, valid_to) = (parts.number()?, parts.time()?);
            Ok((person_no, PersonKey { kind, digest_version, key, valid_from: Ts(0), valid_to }))
        })
    }

    /// Their exclusions.
    pub fn exclusions(&self) -> impl Iterator<Item = Result<(PersonNo, Bound), StoreError>> {
        self.exclusions.lines().map(|line| {
            let mut parts = Parts(line.split(' '));
            let (person_no, jurisdiction) = (PersonNo(parts.number()?), JurisdictionNo(parts.number()?));
            let period = Period::from_code(parts.number()?).ok_or(Parts::UNREADABLE)?;
            let at_end = match parts.text()? {
                "lapse" => AtEnd::Lapse,
                "stay_on" => AtEnd::StayOn,
                "renew" => AtEnd::Renew,
                _ => return Err(Parts::UNREADABLE),
            };
            let effective_at = Ts(parts.number()?);
            let (ends_at, ended_at) = (parts.time()?, parts.time()?);
            Ok((person_no, Bound { jurisdiction, period, at_end, effective_at, ends_at, ended_at }))
        })
    }
}

fn bytes32(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Unreadable("digest"))
}

fn key_of(bytes: &[u8]) -> Result<MatchKey, StoreError> {
    Ok(MatchKey::from_bytes(bytes.try_into().map_err(|_| StoreError::Unreadable("match key"))?))
}

fn parse<T: DeserializeOwned>(what: &'static str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Unreadable(what))
}

fn unit<T: DeserializeOwned>(what: &'static str, name: &str) -> Result<T, StoreError> {
    parse(what, &format!("\"{name}\""))
}

const EXCLUSION: &str =
    "id, person_no, jurisdiction, period, at_end, reason_class, channel, effective_at, ends_at, ended_at";

fn exclusion(row: &Row) -> Result<Exclusion, StoreError> {
    Ok(Exclusion {
        id: row.text(0)?.parse().map_err(|_| StoreError::Unreadable("exclusion id"))?,
        person_no: PersonNo(row.int(1)? as u32),
        jurisdiction: JurisdictionNo(row.int(2)? as u8),
        period: Period::from_code(row.int(3)? as u8).ok_or(StoreError::Unreadable("period"))?,
        at_end: unit("at_end", &row.text(4)?)?,
        reason_class: unit("reason class", &row.text(5)?)?,
        channel: unit("channel", &row.text(6)?)?,
        effective_at: Ts(row.int(7)?),
        ends_at: row.int_opt(8)?.map(Ts),
        ended_at: row.int_opt(9)?.map(Ts),
    })
}

fn person_key(row: &Row, from: usize) -> Result<PersonKey, StoreError> {
    Ok(PersonKey {
        key: key_of(&row.bytes(from)?)?,
        kind: KeyKind::from_number(row.int(from + 1)? as u8).ok_or(StoreError::Unreadable("key kind"))?,
        digest_version: row.int(from + 2)? as u8,
        valid_from: Ts(row.int(from + 3)?),
        valid_to: row.int_opt(from + 4)?.map(Ts),
    })
}

impl Store {
    async fn rows(&self, sql: &str, values: &[Val<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.db.read().await?.rows(sql, values).await?)
    }

    async fn int(&self, sql: &str, values: &[Val<'_>]) -> Result<i64, StoreError> {
        let rows = self.rows(sql, values).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    async fn bodies<T: DeserializeOwned>(&self, what: &'static str, sql: &str) -> Result<Vec<T>, StoreError> {
        self.rows(sql, &[]).await?.iter().map(|row| parse(what, &row.text(0)?)).collect()
    }

    /// Sequence of the journal's head.
    pub async fn head(&self) -> Result<Seq, StoreError> {
        self.int("SELECT seq FROM journal_head WHERE id = 1", &[]).await
    }

    /// Epoch of the alert topics: made once with the store.
    pub async fn epoch(&self) -> Result<String, StoreError> {
        let rows = self.rows("SELECT value FROM store_meta WHERE key = 'epoch'", &[]).await?;
        Ok(rows.first().ok_or(StoreError::Unreadable("epoch"))?.text(0)?)
    }

    /// Every operator.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.bodies("operator", "SELECT body FROM operators ORDER BY operator_no").await
    }

    /// Every licence.
    pub async fn licences(&self) -> Result<Vec<Licence>, StoreError> {
        self.bodies("licence", "SELECT body FROM licences ORDER BY id").await
    }

    /// Every source.
    pub async fn sources(&self) -> Result<Vec<Source>, StoreError> {
        self.bodies("source", "SELECT body FROM sources ORDER BY source_no").await
    }

    /// Every key with its sealed signing secret.
    pub async fn keys(&self) -> Result<Vec<(ApiKey, Vec<u8>)>, StoreError> {
        let sql = "SELECT k.body, s.sealed FROM api_keys k JOIN key_secrets s ON s.key_id = k.id ORDER BY k.id";
        self.rows(sql, &[]).await?.iter().map(|row| Ok((parse("key", &row.text(0)?)?, row.bytes(1)?))).collect()
    }

    /// A key's sealed signing secret.
    pub async fn key_secret(&self, id: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows("SELECT sealed FROM key_secrets WHERE key_id = $1", &[Val::Owned(id.to_string())]).await?;
        Ok(rows.first().map(|row| row.bytes(0)).transpose()?)
    }

    /// First free numbers.
    pub async fn next_numbers(&self) -> Result<NextNumbers, StoreError> {
        let max = async |sql| self.int(sql, &[]).await;
        Ok(NextNumbers {
            person_no: max("SELECT COALESCE(MAX(person_no), -1) + 1 FROM persons").await? as u32,
            operator_no: max("SELECT COALESCE(MAX(operator_no), 0) + 1 FROM operators").await? as u16,
            source_no: max("SELECT COALESCE(MAX(source_no), 0) + 1 FROM sources").await? as u32,
        })
    }

    /// How many match keys there are.
    pub async fn key_count(&self) -> Result<usize, StoreError> {
        Ok(self.int("SELECT COUNT(*) FROM match_keys", &[]).await? as usize)
    }

    /// People behind a number, in order, `limit` at a time; −1 begins.
    pub async fn people_after(&self, after: i64, limit: u32) -> Result<Vec<PersonDossier>, StoreError> {
        let sql = "SELECT person_no, birth_digest FROM persons WHERE person_no > $1 ORDER BY person_no LIMIT $2";
        let mut conn = self.db.read().await?;
        let rows = conn.rows(sql, &[Val::Int(after), Val::Int(limit.into())]).await?;
        let Some(last) = rows.last().map(|row| row.int(0)).transpose()? else { return Ok(Vec::new()) };
        self.dossiers(&mut conn, &rows, after + 1, last).await
    }

    /// One person.
    pub async fn dossier(&self, person_no: PersonNo) -> Result<PersonDossier, StoreError> {
        let no = i64::from(person_no.0);
        let mut conn = self.db.read().await?;
        let rows =
            conn.rows("SELECT person_no, birth_digest FROM persons WHERE person_no = $1", &[Val::Int(no)]).await?;
        self.dossiers(&mut conn, &rows, no, no).await?.pop().ok_or(StoreError::Unreadable("person"))
    }

    async fn dossiers(
        &self,
        conn: &mut Conn,
        persons: &[Row],
        from: i64,
        to: i64,
    ) -> Result<Vec<PersonDossier>, StoreError> {
        let span = [Val::Int(from), Val::Int(to)];
        let mut people = Vec::with_capacity(persons.len());
        let mut places = HashMap::with_capacity(persons.len());
        for row in persons {
            let person_no = row.int(0)?;
            places.insert(person_no, people.len());
            let birth_digest = row.bytes_opt(1)?.map(|b| key_of(&b)).transpose()?;
            let person_no = PersonNo(person_no as u32);
            people.push(PersonDossier { person_no, birth_digest, keys: Vec::new(), exclusions: Vec::new() });
        }
        let sql = "SELECT person_no, match_key, kind, digest_version, valid_from, valid_to FROM match_keys WHERE person_no >= $1 AND person_no <= $2";
        for row in conn.rows(sql, &span).await? {
            if let Some(place) = places.get(&row.int(0)?) {
                people[*place].keys.push(person_key(&row, 1)?);
            }
        }
        let sql = format!("SELECT {EXCLUSION} FROM exclusions WHERE person_no >= $1 AND person_no <= $2");
        for row in conn.rows(&sql, &span).await? {
            if let Some(place) = places.get(&row.int(1)?) {
                people[*place].exclusions.push(exclusion(&row)?);
            }
        }
        Ok(people)
    }

    /// An exclusion by its public id.
    pub async fn exclusion(&self, id: ExclusionId) -> Result<Option<Exclusion>, StoreError> {
        let sql = format!("SELECT {EXCLUSION} FROM exclusions WHERE id = $1");
        self.rows(&sql, &[Val::Owned(id.to_string())]).await?.first().map(exclusion).transpose()
    }

    /// Exclusions whose minimum period is over and that do not simply stay on.
    pub async fn due_exclusions(&self, now: Ts, limit: u32) -> Result<Vec<Exclusion>, StoreError> {
        let sql = format!(
            "SELECT {EXCLUSION} FROM exclusions WHERE ended_at IS NULL AND at_end <> 'stay_on' AND ends_at <= $1 ORDER BY ends_at LIMIT $2"
        );
        self.rows(&sql, &[Val::Int(now.0), Val::Int(limit.into())]).await?.iter().map(exclusion).collect()
    }

    /// Counts of a jurisdiction.
    pub async fn register_stats(&self, jurisdiction: JurisdictionNo, now: Ts) -> Result<RegisterStats, StoreError> {
        let sql = "SELECT period, CAST(CASE WHEN ended_at IS NOT NULL OR (at_end = 'lapse' AND ends_at <= $2) THEN 1 ELSE 0 END AS BIGINT) AS ended, COUNT(*), COUNT(DISTINCT person_no) FROM exclusions WHERE jurisdiction = $1 GROUP BY period, 2";
        let values = [Val::Int(jurisdiction.0.into()), Val::Int(now.0)];
        let mut stats = RegisterStats::default();
        for row in self.rows(sql, &values).await? {
            let count = row.int(2)? as u64;
            if row.int(1)? == 1 {
                stats.ended += count;
                continue;
            }
            stats.active += count;
            let period = Period::from_code(row.int(0)? as u8).ok_or(StoreError::Unreadable("period"))?;
            stats.by_period.insert(period.as_str().to_owned(), count);
        }
        let sql = "SELECT COUNT(DISTINCT person_no) FROM exclusions WHERE jurisdiction = $1";
        stats.persons = self.int(sql, &values[..1]).await? as u64;
        Ok(stats)
    }

    /// The stored result under an idempotency key; one whose time is over is forgotten on the spot.
    pub async fn idempotency(&self, key_digest: &[u8; 32], now: Ts) -> Result<Option<IdempotencyStored>, StoreError> {
        let sql = "SELECT body_digest, status, result_id, expires_at FROM idempotency WHERE key_digest = $1";
        let rows = self.rows(sql, &[Val::Bytes(key_digest.to_vec())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.int(3)? <= now.0 {
            let sql = "DELETE FROM idempotency WHERE key_digest = $1 AND expires_at <= $2";
            self.db.write().await?.run(sql, &[Val::Bytes(key_digest.to_vec()), Val::Int(now.0)]).await?;
            return Ok(None);
        }
        let body_digest = bytes32(&row.bytes(0)?)?;
        Ok(Some(IdempotencyStored { body_digest, status: row.int(1)? as u16, result_id: row.text(2)? }))
    }

    /// Forgets results whose time is over; gives how many.
    pub async fn forget_idempotency(&self, now: Ts) -> Result<u64, StoreError> {
        let sql = "DELETE FROM idempotency WHERE key_digest IN (SELECT key_digest FROM idempotency WHERE expires_at <= $1 LIMIT 1000)";
        let mut forgotten = 0;
        loop {
            // in small statements, between which others write
            let some = self.db.write().await?.run(sql, &[Val::Int(now.0)]).await?;
            forgotten += some;
            if some == 0 {
                return Ok(forgotten);
            }
        }
    }

    /// Where a source stands.
    pub async fn source_head(&self, source_no: SourceNo) -> Result<StoredHead, StoreError> {
        let value = [Val::Int(source_no.0.into())];
        let sql = "SELECT source_seq, chain, stored_at FROM feed_batches WHERE source_no = $1 ORDER BY source_seq DESC LIMIT 1";
        let mut head = StoredHead::default();
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.source_seq = row.int(0)?;
            head.chain = unhex32(&row.text(1)?).ok_or(StoreError::Unreadable("chain digest"))?;
            head.last_stored_at = Some(Ts(row.int(2)?));
        }
        let sql = "SELECT MAX(last_at), CAST(COALESCE(SUM(records), 0) AS BIGINT), CAST(COALESCE(SUM(duplicates), 0) AS BIGINT) FROM feed_batches WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.newest = row.int_opt(0)?.map(Ts);
            head.records = row.int(1)? as u64;
            head.duplicates = row.int(2)? as u64;
        }
        head.quarantined = self.int("SELECT COUNT(*) FROM quarantine WHERE source_no = $1", &value).await? as u64;
        Ok(head)
    }

    /// Digests of a source's records from `horizon` on, of some batches behind `after`, in their order; empty at the end.
    pub async fn record_digests(
        &self,
        source_no: SourceNo,
        horizon: Ts,
        after: i64,
    ) -> Result<Vec<RecordDigest>, StoreError> {
        let sql = "SELECT batch_no, records FROM feed_batches WHERE source_no = $1 AND last_at >= $2 AND batch_no > $3 ORDER BY batch_no LIMIT $4";
        let mut conn = self.db.read().await?;
        let limit = Val::Int(BATCHES_AT_ONCE as i64);
        let rows = conn.rows(sql, &[Val::Int(source_no.0.into()), Val::Int(horizon.0), Val::Int(after), limit]).await?;
        let batches = rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let rows = rows_of_batches(&mut conn, "id_digest, content_digest, occurred_at", &some_of(batches)).await?;
        let digest = |row: &Row| {
            Ok(RecordDigest {
                id_digest: row.int(0)?.cast_unsigned(),
                content_digest: row.int(1)? as u32,
                occurred_at: Ts(row.int(2)?),
                batch_no: row.int(3)?,
                idx: row.int(4)?,
            })
        };
        rows.iter().map(digest).collect()
    }

    /// Inputs of an operator behind `after`, in order, at most `limit` batches and ticks.
    pub async fn operator_inputs(
        &self,
        operator_no: OperatorNo,
        after: i64,
        limit: u32,
    ) -> Result<Vec<OperatorInputRow>, StoreError> {
        let values = [Val::Int(operator_no.0.into()), Val::Int(after), Val::Int(limit.into())];
        let mut conn = self.db.read().await?;
        let sql = "SELECT b.operator_seq, b.batch_no, b.clock_at, s.body, b.records FROM feed_batches b JOIN sources s ON s.source_no = b.source_no WHERE b.operator_no = $1 AND b.operator_seq > $2 ORDER BY b.operator_seq LIMIT $3";
        let heads = conn.rows(sql, &values).await?;
        let batches =
            heads.iter().map(|row| Ok((row.int(1)?, row.int(4)?))).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let batches = some_of(batches);
        let mut records: HashMap<i64, Vec<Record>> = HashMap::with_capacity(batches.len());
        for row in rows_of_batches(&mut conn, RECORD, &batches).await? {
            records.entry(row.int(RECORD_WIDTH)?).or_default().push(record(&row)?);
        }
        let mut inputs = Vec::new();
        for row in heads.iter().take(batches.len()) {
            let source: Source = parse("source", &row.text(3)?)?;
            inputs.push(OperatorInputRow::Batch {
                operator_seq: row.int(0)?,
                clock_at: Ts(row.int(2)?),
                clock: source.clock,
                records: records.remove(&row.int(1)?).unwrap_or_default(),
            });
        }
        let sql = "SELECT operator_seq, at FROM operator_ticks WHERE operator_no = $1 AND operator_seq > $2 ORDER BY operator_seq LIMIT $3";
        for row in conn.rows(sql, &values).await? {
            inputs.push(OperatorInputRow::Tick { operator_seq: row.int(0)?, at: Ts(row.int(1)?) });
        }
        inputs.sort_by_key(OperatorInputRow::seq);
        // each list is complete up to its own last: only a gapless run is certain
        let gapless = inputs.iter().zip(after + 1..).take_while(|(input, seq)| input.seq() == *seq).count();
        inputs.truncate(gapless);
        Ok(inputs)
    }

    /// Inputs of an operator that its actor could not apply, with the positions of their records; none = all of it.
    pub async fn set_aside(&self, operator_no: OperatorNo) -> Result<Vec<(i64, Vec<u32>)>, StoreError> {
        let sql = "SELECT operator_seq, records FROM operator_set_aside WHERE operator_no = $1 ORDER BY operator_seq";
        let rows = self.rows(sql, &[Val::Int(operator_no.0.into())]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, parse("records set aside", &row.text(1)?)?))).collect()
    }

    /// Records of an operator in a span of time, oldest first.
    pub async fn records_between(
        &self,
        operator_no: OperatorNo,
        from: Ts,
        to: Ts,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let sql = format!(
            "SELECT {} FROM feed_batches b JOIN feed_records r ON r.batch_no = b.batch_no WHERE b.operator_no = $1 AND b.last_at >= $2 AND b.first_at < $3 AND r.occurred_at >= $2 AND r.occurred_at < $3 ORDER BY r.occurred_at, r.batch_no, r.idx LIMIT $4",
            RECORD.split(", ").map(|c| format!("r.{c}")).collect::<Vec<_>>().join(", ")
        );
        let values = [Val::Int(operator_no.0.into()), Val::Int(from.0), Val::Int(to.0), Val::Int(limit.into())];
        self.rows(&sql, &values).await?.iter().map(record).collect()
    }

    /// How many records of an operator lie in a span of time.
    pub async fn count_between(&self, operator_no: OperatorNo, from: Ts, to: Ts) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM feed_batches b JOIN feed_records r ON r.batch_no = b.batch_no WHERE b.operator_no = $1 AND b.last_at >= $2 AND b.first_at < $3 AND r.occurred_at >= $2 AND r.occurred_at < $3";
        let values = [Val::Int(operator_no.0.into()), Val::Int(from.0), Val::Int(to.0)];
        let rows = self.rows(sql, &values).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?.unsigned_abs())
    }

    /// A page of a source's refused records, newest first: (id, index, code, detail, at).
    pub async fn quarantine(
        &self,
        source_no: SourceNo,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, i64, String, String, Ts)>, StoreError> {
        let (source, limit) = (Val::Int(source_no.0.into()), Val::Int(limit.into()));
        let rows = match before {
            None => {
                let sql =
                    "SELECT id, idx, code, detail, at FROM quarantine WHERE source_no = $1 ORDER BY id DESC LIMIT $2";
                self.rows(sql, &[source, limit]).await?
            }
            Some(id) => {
                let sql = "SELECT id, idx, code, detail, at FROM quarantine WHERE source_no = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
                self.rows(sql, &[source, Val::Text(id), limit]).await?
            }
        };
        rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?, row.text(2)?, row.text(3)?, Ts(row.int(4)?)))).collect()
    }

    /// Alert revisions by operator.
    pub async fn alert_counts(&self, until: i64) -> Result<Vec<(OperatorNo, u64)>, StoreError> {
        let sql = "SELECT operator_no, COUNT(*) FROM alert_revisions WHERE alert_offset <= $1 GROUP BY operator_no";
        let rows = self.rows(sql, &[Val::Int(until)]).await?;
        rows.iter().map(|row| Ok((OperatorNo(row.int(0)? as u16), row.int(1)? as u64))).collect()
    }

    /// Offset of the newest alert revision; 0 where there is none.
    pub async fn last_alert_offset(&self) -> Result<i64, StoreError> {
        let rows = self.rows("SELECT COALESCE(MAX(alert_offset), 0) FROM alert_revisions", &[]).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    /// The highest number of a person; none where there is nobody.
    pub async fn last_person(&self) -> Result<Option<PersonNo>, StoreError> {
        let rows = self.rows("SELECT MAX(person_no) FROM persons", &[]).await?;
        Ok(rows.first().map(|row| row.int_opt(0)).transpose()?.flatten().map(|no| PersonNo(no as u32)))
    }

    /// Keys and exclusions of everybody between two numbers, as much of them as the index needs. The database packs the
    /// rows of a table into one text: row by row, ten million people take three times as long to be read.
    pub async fn packed_people(&self, from: u32, to: u32) -> Result<PackedPeople, StoreError> {
        let (hex, list) = if self.db.is_postgres() {
            ("encode(match_key, 'hex')", "string_agg")
        } else {
            ("hex(match_key)", "group_concat")
        };
        let end = if self.db.is_postgres() { "chr(10)" } else { "char(10)" };
        let keys = format!(
            "SELECT {list}(person_no || ' ' || {hex} || ' ' || kind || ' ' || digest_version || ' ' || COALESCE(valid_to, -1), {end}) FROM match_keys WHERE person_no >= $1 AND person_no <= $2"
        );
        let exclusions = format!(
            "SELECT {list}(person_no || ' ' || jurisdiction || ' ' || period || ' ' || at_end || ' ' || effective_at || ' ' || COALESCE(ends_at, -1) || ' ' || COALESCE(ended_at, -1), {end}) FROM exclusions WHERE person_no >= $1 AND person_no <= $2"
        );
        let persons = format!(
            "SELECT {list}(CAST(person_no AS TEXT), {end}) FROM persons WHERE person_no >= $1 AND person_no <= $2"
        );
        let span = [Val::Int(from.into()), Val::Int(to.into())];
        let one = async |sql: &str| -> Result<String, StoreError> {
            let rows = self.db.read().await?.rows(sql, &span).await?;
            Ok(rows.first().map(|row| row.text_opt(0)).transpose()?.flatten().unwrap_or_default())
        };
        let (persons, keys, exclusions) = futures_util::try_join!(one(&persons), one(&keys), one(&exclusions))?;
        Ok(PackedPeople { persons, keys, exclusions })
    }

    /// How far an import has come; none where it never began.
    pub async fn import_progress(&self, id: &str) -> Result<Option<crate::ImportProgress>, StoreError> {
        let rows = self.rows("SELECT id, origin, rows_done, at FROM imports WHERE id = $1", &[Val::Text(id)]).await?;
        let progress = rows.first().map(|row| {
            let (id, origin, rows) = (row.text(0)?, row.text(1)?, row.int(2)? as u64);
            Ok::<_, StoreError>(crate::ImportProgress { id, origin, rows, at: Ts(row.int(3)?) })
        });
        progress.transpose()
    }

    /// Versions of the digest key under which people are registered.
    pub async fn digest_versions(&self) -> Result<Vec<u8>, StoreError> {
        let rows = self.rows("SELECT DISTINCT digest_version FROM match_keys", &[]).await?;
        rows.iter().map(|row| Ok(row.int(0)? as u8)).collect()
    }

    /// The newest revisions, oldest first.
    pub async fn recent_alerts(&self, until: i64, limit: u32) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE alert_offset <= $1 ORDER BY alert_offset DESC LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(until), Val::Int(limit.into())]).await?;
        rows.iter().rev().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// The newest revision of each alert that fits, newest first.
    pub async fn alerts(&self, query: &AlertQuery) -> Result<Vec<AlertRevision>, StoreError> {
        let mut sql = "SELECT a.body FROM alert_revisions a WHERE a.alert_offset < $1 AND NOT EXISTS (SELECT 1 FROM alert_revisions n WHERE n.id = a.id AND n.alert_offset > a.alert_offset)".to_owned();
        let mut values = vec![Val::Int(query.before_offset)];
        let mut add = |sql: &mut String, condition: &str, value: Val<'static>| {
            values.push(value);
            sql.push_str(&condition.replace('?', &format!("${}", values.len())));
        };
        if let Some(operators) = &query.operators {
            // numbers of our own, at most 65,535: no text of anybody's
            let list: Vec<String> = operators.iter().map(|no| no.0.to_string()).collect();
            sql.push_str(&format!(
                " AND a.operator_no IN ({})",
                if list.is_empty() { "NULL".to_owned() } else { list.join(",") }
            ));
        }
        if let Some(severity) = query.severity {
            add(&mut sql, " AND a.severity = ?", Val::Int(severity.code().into()));
        }
        if let Some(rule) = &query.rule {
            add(&mut sql, " AND a.rule = ?", Val::Owned(rule.clone()));
        }
        if let Some(withdrawn) = query.withdrawn {
            let code = models::alert::RevisionKind::Withdrawn.code();
            add(&mut sql, if withdrawn { " AND a.kind = ?" } else { " AND a.kind <> ?" }, Val::Int(code.into()));
        }
        add(&mut sql, " ORDER BY a.alert_offset DESC LIMIT ?", Val::Int(query.limit.into()));
        self.rows(&sql, &values).await?.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// Every revision of an alert, newest first.
    pub async fn alert(&self, id: AlertId) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE id = $1 ORDER BY alert_offset DESC";
        let rows = self.rows(sql, &[Val::Owned(id.to_string())]).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }
}

/// Batches whose records are read at once, and how many records these may have.
const BATCHES_AT_ONCE: usize = 64;
const RECORDS_AT_ONCE: i64 = 50_000;
/// Columns of [`RECORD`].
const RECORD_WIDTH: usize = 19;
const RECORD: &str = "occurred_at, id_digest, content_digest, kind, status, amount_minor, currency, record_id, replaces, player, balance_after_minor, product, channel, bet_id, session_id, region, device, account, detail";

fn record(row: &Row) -> Result<Record, StoreError> {
    let key = |i| -> Result<Option<MatchKey>, StoreError> { row.bytes_opt(i)?.map(|b| key_of(&b)).transpose() };
    Ok(Record {
        occurred_at: Ts(row.int(0)?),
        id_digest: row.int(1)?.cast_unsigned(),
        content_digest: row.int(2)? as u32,
        kind: RecordKind::from_code(row.int(3)? as i16).ok_or(StoreError::Unreadable("record kind"))?,
        status: RecordStatus::from_code(row.int(4)? as i16).ok_or(StoreError::Unreadable("record status"))?,
        amount_minor: row.int(5)?,
        currency: Currency::parse(&row.text(6)?).map_err(|_| StoreError::Unreadable("currency"))?,
        record_id: row.text(7)?,
        replaces: row.text_opt(8)?,
        player: key(9)?,
        balance_after_minor: row.int_opt(10)?,
        product: row.int_opt(11)?.and_then(|c| Product::from_code(c as i16)),
        channel: row.int_opt(12)?.and_then(|c| PlayChannel::from_code(c as i16)),
        bet_id: row.text_opt(13)?,
        session_id: row.text_opt(14)?,
        region: row.text_opt(15)?,
        device: key(16)?,
        account: key(17)?,
        detail: row.text(18)?,
    })
}

/// The first of these batches, as many as may be read at once: (number, records).
fn some_of(batches: Vec<(i64, i64)>) -> Vec<i64> {
    let mut records = 0;
    let fits = |(n, (_, count)): &(usize, (i64, i64))| {
        records += count;
        *n == 0 || (*n < BATCHES_AT_ONCE && records <= RECORDS_AT_ONCE)
    };
    batches.into_iter().enumerate().take_while(fits).map(|(_, (batch_no, _))| batch_no).collect()
}

/// Columns of the records of some batches, then their `batch_no` and `idx`, in that order. Together, because PostgreSQL
/// finds a batch by ranges of pages, which batches share: one by one each of them is read many times.
async fn rows_of_batches(conn: &mut Conn, columns: &str, batches: &[i64]) -> Result<Vec<Row>, StoreError> {
    let Some(last) = batches.last() else { return Ok(Vec::new()) };
    // always as many variables, so that the statement stays prepared
    let list: Vec<String> = (1..=BATCHES_AT_ONCE).map(|n| format!("${n}")).collect();
    let values: Vec<Val<'_>> = (0..BATCHES_AT_ONCE).map(|n| Val::Int(*batches.get(n).unwrap_or(last))).collect();
    let list = list.join(", ");
    let sql =
        format!("SELECT {columns}, batch_no, idx FROM feed_records WHERE batch_no IN ({list}) ORDER BY batch_no, idx");
    Ok(conn.rows(&sql, &values).await?)
}

pub(crate) fn unhex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}
