//! Reads of the register.

use super::{key_of, unit};
use crate::StoreError;
use crate::contacts::places;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use models::event::{Bound, Exclusion, PersonKey};
use models::exclusion::{AtEnd, Period};
use models::ids::{ExclusionId, PersonNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::{KeyKind, MatchKey};
use models::ts::Ts;
use serde::Serialize;
use std::collections::HashMap;

/// People in one question.
const PEOPLE_AT_ONCE: usize = 32;

/// Everything stored of a person outside the vault.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PersonDossier {
    pub person_no: PersonNo,
    pub birth_digest: Option<MatchKey>,
    pub keys: Vec<PersonKey>,
    pub exclusions: Vec<Exclusion>,
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
        // who registered it was told when it was
        reported_by: None,
    })
}

pub(crate) fn person_key(row: &Row, from: usize) -> Result<PersonKey, StoreError> {
    Ok(PersonKey {
        key: key_of(&row.bytes(from)?)?,
        kind: KeyKind::from_number(row.int(from + 1)? as u8).ok_or(StoreError::Unreadable("key kind"))?,
        digest_version: row.int(from + 2)? as u8,
        valid_from: Ts(row.int(from + 3)?),
        valid_to: row.int_opt(from + 4)?.map(Ts),
    })
}

impl Store {
    /// How many match keys there are.
    pub async fn key_count(&self) -> Result<usize, StoreError> {
        Ok(self.int("SELECT COUNT(*) FROM match_keys", &[]).await? as usize)
    }

    /// The highest number of a person; none where there is nobody.
    pub async fn last_person(&self) -> Result<Option<PersonNo>, StoreError> {
        let rows = self.rows("SELECT MAX(person_no) FROM persons", &[]).await?;
        Ok(rows.first().map(|row| row.int_opt(0)).transpose()?.flatten().map(|no| PersonNo(no as u32)))
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

    /// An exclusion by its public id.
    pub async fn exclusion(&self, id: ExclusionId) -> Result<Option<Exclusion>, StoreError> {
        let sql = format!("SELECT {EXCLUSION} FROM exclusions WHERE id = $1");
        self.rows(&sql, &[Val::Owned(id.to_string())]).await?.first().map(exclusion).transpose()
    }

    /// Every exclusion of these people, ended ones too.
    pub async fn exclusions_of(&self, people: &[PersonNo]) -> Result<Vec<Exclusion>, StoreError> {
        let sql = format!(
            "SELECT {EXCLUSION} FROM exclusions WHERE person_no IN ({}) ORDER BY person_no, effective_at, id",
            places(1, PEOPLE_AT_ONCE)
        );
        let mut found = Vec::new();
        for chunk in people.chunks(PEOPLE_AT_ONCE) {
            // padded with its last one, so that there is one statement
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, PEOPLE_AT_ONCE - chunk.len()));
            let values: Vec<Val<'_>> = padded.map(|person| Val::Int(person.0.into())).collect();
            for row in self.rows(&sql, &values).await? {
                found.push(exclusion(&row)?);
            }
        }
        Ok(found)
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

    /// Versions of the digest key under which people are registered.
    pub async fn digest_versions(&self) -> Result<Vec<u8>, StoreError> {
        let rows = self.rows("SELECT DISTINCT digest_version FROM match_keys", &[]).await?;
        rows.iter().map(|row| Ok(row.int(0)? as u8)).collect()
    }
}
