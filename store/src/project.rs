//! Events become rows: the tables are projections of the journal, written in the same transaction.
//!
//! Rows of a whole group are gathered by table and inserted together; where a group changes one row twice, the last
//! change stands, as it would one after the other.

mod attached;
mod classes;
mod records;
mod rule_inputs;
mod rules;
mod tables;

pub use classes::{classes, product_of};
pub use records::{StoredBatch, records};
pub use rule_inputs::rule_inputs;
pub use tables::RECORD_COLUMNS;
use tables::*;

use crate::db::{Conn, Val};
use crate::journal::JournalRow;
use crate::writer::Attachment;
use models::alert_group::AlertGroup;
use models::event::{Event, Exclusion, PersonKey};
use models::feed::SourceSet;
use models::ids::{PersonNo, SourceNo};
use models::key_version::{KeyPurpose, KeyState};
use models::ts::Ts;
use serde::Serialize;
use std::collections::HashMap;

/// Rows of a group by table, in the order in which they are inserted.
#[derive(Default)]
struct Gathered<'a> {
    tables: Vec<(&'static Table, Vec<Val<'a>>)>,
    /// Where a keyed row already lies, so that the last change stands.
    places: HashMap<(&'static str, String), usize>,
}

impl<'a> Gathered<'a> {
    fn add<const N: usize>(&mut self, table: &'static Table, values: [Val<'a>; N]) {
        debug_assert_eq!(N, table.columns.len());
        match self.tables.iter_mut().find(|(t, _)| t.is(table)) {
            Some((_, rows)) => rows.extend(values),
            None => self.tables.push((table, values.into())),
        }
    }

    fn upsert<const N: usize>(&mut self, table: &'static Table, key: String, values: [Val<'a>; N]) {
        if let Some(start) = self.places.get(&(table.name, key.clone())).copied()
            && let Some((_, rows)) = self.tables.iter_mut().find(|(t, _)| t.is(table))
        {
            for (place, value) in rows[start..].iter_mut().zip(values) {
                *place = value;
            }
            return;
        }
        let start = self.tables.iter().find(|(t, _)| t.is(table)).map_or(0, |(_, rows)| rows.len());
        self.places.insert((table.name, key), start);
        self.add(table, values);
    }

    async fn insert(self, conn: &mut Conn) -> Result<(), sqlx::Error> {
        for (table, values) in self.tables {
            conn.insert(table.name, table.columns, table.tail, &values).await?;
        }
        Ok(())
    }
}

pub(crate) fn body<T: Serialize>(value: &T) -> Val<'static> {
    // domain structs of strings, numbers and lists: serialising them cannot fail
    Val::Owned(serde_json::to_string(value).unwrap_or_default())
}

/// The serde name of a unit variant, e.g. `stay_on`.
pub fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

/// Inserts what a group's attachments and events say. Sequences are assigned already.
pub async fn write(conn: &mut Conn, events: &[(Event, Ts)], attachments: &[&Attachment]) -> Result<(), sqlx::Error> {
    let mut rows = Gathered::default();
    for (event, at) in events {
        project(&mut rows, event, *at);
    }
    for attachment in attachments {
        attached::attach(&mut rows, attachment);
    }
    rows.insert(conn).await?;
    for (event, at) in events {
        crate::quarantine::settle(conn, event).await?;
        crate::risk_models::settle(conn, event, *at).await?;
        crate::model_shadows::settle(conn, event, *at).await?;
        crate::exclusion_reports::settle(conn, event).await?;
    }
    for attachment in attachments {
        if let Attachment::Rewrapped(table, seals) = attachment {
            crate::keys::rewrap(conn, *table, seals).await?;
        }
        if let Attachment::ModelBytes(bytes) = attachment {
            crate::risk_models::keep(conn, bytes).await?;
        }
    }
    Ok(())
}

/// Inserts journal rows, and what stands beside them with their sequence.
pub async fn journal(conn: &mut Conn, journal: &[JournalRow]) -> Result<(), sqlx::Error> {
    let mut rows = Gathered::default();
    for row in journal {
        rows.add(
            &JOURNAL,
            [
                Val::Int(row.committed.seq),
                Val::Int(row.committed.at.0),
                Val::Text(row.committed.event.kind()),
                Val::Text(&row.payload),
                Val::Bytes(row.payload_digest.to_vec()),
                Val::Bytes(row.digest.to_vec()),
            ],
        );
        rules::change(&mut rows, row);
    }
    rows.insert(conn).await
}

fn alert_group<'a>(rows: &mut Gathered<'a>, group: &'a AlertGroup) {
    rows.upsert(
        &ALERT_GROUPS,
        group.id.to_string(),
        [
            Val::Owned(group.id.to_string()),
            Val::Int(group.jurisdiction.0.into()),
            Val::Int(group.operator_no.0.into()),
            Val::Text(&group.rule),
            Val::Int(group.state.code().into()),
            Val::Int(group.severity.code().into()),
            Val::Int(group.last_at.0),
            body(group),
        ],
    );
}

fn project<'a>(rows: &mut Gathered<'a>, event: &'a Event, at: Ts) {
    match event {
        Event::OperatorSet(o) => rows.upsert(
            &OPERATORS,
            o.operator_no.0.to_string(),
            [
                Val::Int(o.operator_no.0.into()),
                Val::Owned(o.id.to_string()),
                Val::Text(&o.code),
                Val::Int(o.jurisdiction.0.into()),
                body(o),
            ],
        ),
        Event::LicenceSet(l) => rows.upsert(
            &LICENCES,
            l.id.to_string(),
            [Val::Owned(l.id.to_string()), Val::Int(l.operator_no.0.into()), Val::Text(&l.number), body(l)],
        ),
        Event::KeySet(k) => rows.upsert(
            &API_KEYS,
            k.id.to_string(),
            [
                Val::Owned(k.id.to_string()),
                Val::IntOpt(k.operator_no.map(|no| no.0.into())),
                Val::IntOpt(k.revoked_at.map(|at| at.0)),
                body(k),
            ],
        ),
        Event::SourceSet(SourceSet { source: s, .. }) => rows.upsert(
            &SOURCES,
            s.source_no.0.to_string(),
            [
                Val::Int(s.source_no.0.into()),
                Val::Owned(s.id.to_string()),
                Val::Int(s.operator_no.0.into()),
                Val::Text(&s.name),
                body(s),
            ],
        ),
        Event::RecognitionSet(r) => rows.upsert(
            &RECOGNITIONS,
            format!("{}/{}/{}", r.jurisdiction.0, r.recognises.0, r.valid_from.0),
            [
                Val::Int(r.jurisdiction.0.into()),
                Val::Int(r.recognises.0.into()),
                Val::Int(r.valid_from.0),
                Val::IntOpt(r.valid_to.map(|to| to.0)),
            ],
        ),
        Event::TokenRotated { operator_no, key, generation, reason, .. } => rows.add(
            &GENERATIONS,
            [
                Val::Int(operator_no.0.into()),
                Val::Bytes(key.to_bytes().to_vec()),
                Val::Int((*generation).into()),
                Val::Text(reason),
                Val::Int(at.0),
            ],
        ),
        Event::PersonAdded { person_no, birth_digest, keys } => {
            let birth = birth_digest.map(|d| d.to_bytes().to_vec());
            rows.add(&PERSONS, [Val::Int(person_no.0.into()), Val::BytesOpt(birth)]);
            keys.iter().for_each(|key| match_key(rows, *person_no, key));
        }
        Event::PersonKeysAdded { person_no, keys } => keys.iter().for_each(|key| match_key(rows, *person_no, key)),
        Event::MatchKeysDerived { people, .. } => {
            people.iter().for_each(|known| known.keys.iter().for_each(|key| match_key(rows, known.person_no, key)));
        }
        Event::ExclusionRegistered(e) => {
            exclusion(rows, e);
            if let Some(operator) = e.reported_by {
                rows.add(&EXCLUSION_REPORTS, [Val::Owned(e.id.to_string()), Val::Int(operator.0.into()), Val::Int(at.0)]);
            }
        }
        Event::ExclusionExtended(e)
        | Event::ExclusionRenewed(e)
        | Event::ExclusionLapsed(e) => exclusion(rows, e),
        Event::ExclusionReportSet(report) if report.revision == 1 => rows.add(
            &REPORTED_EXCLUSIONS,
            [
                Val::Owned(report.id.to_string()),
                Val::Int(report.operator_no.0.into()),
                Val::Int(report.jurisdiction.0.into()),
                Val::Text(report.state.as_str()),
                Val::Int(report.reported_at.0),
                Val::Int(report.expires_at.map_or(i64::MAX, |at| at.0)),
                report.exclusion.map_or(Val::TextOpt(None), |id| Val::Owned(id.to_string())),
                Val::Int(report.revision.into()),
                body(report),
            ],
        ),
        Event::IdentityCaseOpened { id, person_no, other_person_no, reason } => rows.add(
            &CASES,
            [
                Val::Owned(id.to_string()),
                Val::Int(person_no.0.into()),
                Val::Int(other_person_no.0.into()),
                Val::Text(reason),
                Val::Int(at.0),
            ],
        ),
        Event::FeedBatchStored(b) => {
            rows.add(&INPUTS, [Val::Int(b.operator_no.0.into()), Val::Int(b.operator_seq)]);
            rows.add(
                &BATCHES,
                [
                    Val::Int(b.batch_no),
                    Val::Owned(b.id.to_string()),
                    Val::Int(b.source_no.0.into()),
                    Val::Int(b.source_seq),
                    Val::Int(b.operator_no.0.into()),
                    Val::Int(b.operator_seq),
                    Val::Int(b.records.into()),
                    Val::Int(b.duplicates.into()),
                    Val::Int(b.quarantined.into()),
                    Val::Int(b.first_at.0),
                    Val::Int(b.last_at.0),
                    Val::Int(b.clock_at.0),
                    Val::Text(&b.chain),
                    Val::Int(at.0),
                    Val::Int(b.late.into()),
                    Val::Int(b.replaced.into()),
                    Val::TextOpt(b.tamper_token.as_deref()),
                    Val::IntOpt(b.batch_number),
                    Val::Int(b.replayed.into()),
                ],
            );
            if let Some(cursor) = &b.cursor {
                source_cursor(rows, b.source_no, cursor, at);
            }
        }
        Event::SourceAdvanced { source_no, cursor, delivered: true } => source_cursor(rows, *source_no, cursor, at),
        Event::SourceAdvanced { source_no, cursor, delivered: false } => rows.upsert(
            &SOURCE_POSITIONS,
            format!("{}/position", source_no.0),
            [Val::Int(source_no.0.into()), Val::Text(cursor), Val::Int(0)],
        ),
        Event::SourceIntegritySet { source_no, state } => rows.upsert(
            &SOURCE_INTEGRITY,
            source_no.0.to_string(),
            [Val::Int(source_no.0.into()), Val::Int(state.version), body(state)],
        ),
        Event::TotalsDeclared(d) => rows.add(
            &DECLARED_TOTALS,
            [Val::Int(d.source_no.0.into()), Val::Text(&d.day), Val::Int(d.version), body(d)],
        ),
        Event::TotalsCompared(c) => rows.upsert(
            &DECLARED_DAYS,
            format!("{}/{}", c.source_no.0, c.day),
            [
                Val::Int(c.source_no.0.into()),
                Val::Text(&c.day),
                Val::Int(c.from.0),
                Val::Int(c.to.0),
                Val::Int(c.differs.into()),
                body(c),
            ],
        ),
        Event::OperatorTicked { operator_no, operator_seq, at } => {
            rows.add(&INPUTS, [Val::Int(operator_no.0.into()), Val::Int(*operator_seq)]);
            rows.add(&TICKS, [Val::Int(operator_no.0.into()), Val::Int(*operator_seq), Val::Int(at.0)]);
        }
        Event::OperatorInputSetAside { operator_no, operator_seq, records } => rows.upsert(
            &SET_ASIDE,
            format!("{}/{operator_seq}", operator_no.0),
            [Val::Int(operator_no.0.into()), Val::Int(*operator_seq), body(records)],
        ),
        Event::OperatorRulesTaken { operator_no, behind, rules_seq, at } => rows.upsert(
            &OPERATOR_RULES,
            format!("{}/{behind}", operator_no.0),
            [Val::Int(operator_no.0.into()), Val::Int(*behind), Val::Int(*rules_seq), Val::Int(at.0)],
        ),
        Event::RuleInputSetAside(aside) => rows.upsert(
            &RULE_SET_ASIDE,
            format!("{}/{}", aside.operator_no.0, aside.input_seq),
            [Val::Int(aside.operator_no.0.into()), Val::Int(aside.input_seq), body(&aside.records)],
        ),
        Event::AlertRevised(r) => rows.add(
            &ALERTS,
            [
                Val::Int(r.offset),
                Val::Owned(r.id.to_string()),
                Val::Int(r.operator_seq),
                Val::Int(r.operator_no.0.into()),
                Val::Int(r.operator_offset),
                Val::Text(&r.rule),
                Val::Int(r.kind.code().into()),
                Val::Int(r.severity.code().into()),
                body(r),
                Val::Int(r.rule_version.into()),
                Val::Int(r.at.0),
            ],
        ),
        Event::AlertsGrouped(grouped) => {
            grouped.groups.iter().for_each(|group| alert_group(rows, group));
            for cap in &grouped.caps {
                let values = [Val::Text(&cap.rule), Val::Int(cap.jurisdiction.0.into()), body(cap)];
                rows.upsert(&ALERT_CAPS, format!("{}/{}", cap.rule, cap.jurisdiction.0), values);
            }
            rows.upsert(&ALERT_DESK, "1".to_owned(), [Val::Int(1), Val::Int(grouped.through)]);
        }
        Event::HarmSignalSet(signal) => rows.upsert(
            &HARM_SIGNALS,
            signal.id.to_string(),
            [
                Val::Owned(signal.id.to_string()),
                Val::Int(signal.operator_no.0.into()),
                Val::Bytes(signal.player.to_bytes().to_vec()),
                Val::Int(signal.since.0),
                Val::Int(signal.revision.into()),
                body(signal),
            ],
        ),
        Event::AlertActed(acted) => alert_group(rows, &acted.group),
        Event::SilenceSet(s) => {
            rows.upsert(&SILENCES, s.id.to_string(), [Val::Owned(s.id.to_string()), Val::Int(s.until.0), body(s)]);
        }
        Event::EvidenceOpened { node, boot, at } => boot_row(rows, *node, *boot, *at, *at, None),
        Event::EvidenceClosed { node, boot, through, .. } => boot_row(rows, *node, *boot, at, *through, Some(at)),
        Event::EvidenceGap { node, boot, from, to, .. } => boot_row(rows, *node, *boot, *from, *from, Some(*to)),
        Event::EvidenceKeyDestroyed { month } => {
            rows.upsert(&MONTHS, month.to_string(), [Val::Int((*month).into()), Val::Int(at.0), Val::Int(at.0)]);
        }
        Event::KeyVersionStarted { purpose, version, fingerprint } => {
            key_version(rows, &KEYS_STARTED, (*purpose, *version), fingerprint, at, KeyState::Started, 0);
        }
        Event::KeyVersionReady { purpose, version, left_behind } => {
            key_version(rows, &KEYS_READY, (*purpose, *version), "", at, KeyState::Ready, *left_behind);
        }
        Event::KeyVersionRetired { purpose, version } => {
            key_version(rows, &KEYS_RETIRED, (*purpose, *version), "", at, KeyState::Retired, 0);
        }
        Event::ComplianceDayCounted(day) => rows.upsert(
            &COMPLIANCE_DAYS,
            format!("{}/{}", day.operator_no.0, day.day),
            [
                Val::Int(day.operator_no.0.into()),
                Val::Text(&day.day),
                Val::Int(day.revision.into()),
                Val::Int(at.0),
                body(&day.tally),
            ],
        ),
        Event::ComplianceScored(scored) => rows.add(
            &COMPLIANCE_SCORES,
            [
                Val::Int(scored.operator_no.0.into()),
                Val::Text(&scored.day),
                Val::Int(scored.revision.into()),
                Val::Int(scored.jurisdiction.0.into()),
                Val::Int(scored.formula.into()),
                Val::IntOpt(scored.score_ppm),
                Val::Int(scored.at.0),
                body(scored),
            ],
        ),
        // written behind the journal, whose places are part of the rows
        Event::RuleInputStored(_)
        // what it changed is the state that comes with it
        | Event::TamperChainEnded(_)
        // the rows come with it
        | Event::SealsRewrapped { .. }
        // the importer writes the rows itself
        | Event::PeopleImported { .. }
        | Event::EvidenceRooted { .. }
        | Event::EvidenceExported { .. }
        | Event::RegisterExported { .. }
        | Event::EngineStarted { .. }
        | Event::ActorQuarantined { .. }
        | Event::ActorReleased { .. }
        | Event::RecordDeadLettered { .. }
        // written with its sequence: see `journal`
        | Event::RuleChanged(_)
        // settled behind the rows: see `quarantine::settle`
        | Event::QuarantineReplayed(_)
        | Event::QuarantineDismissed(_)
        | Event::QuarantineRead(_)
        // a later state, settled behind the rows: see `exclusion_reports::settle`
        | Event::ExclusionReportSet(_)
        // settled behind the rows: see `risk_models::settle`
        | Event::ModelRegistered(_)
        | Event::ModelEvaluated(_)
        | Event::ModelPromoted(_)
        | Event::ModelRetired(_)
        | Event::ModelDriftJudged(_)
        // and these: see `model_shadows::settle`
        | Event::ModelShadowStarted(_)
        | Event::ModelShadowEnded(_)
        | Event::ModelShadowCounted(_)
        | Event::FeaturesExported { .. } => {}
    }
}

fn source_cursor<'a>(rows: &mut Gathered<'a>, source_no: SourceNo, cursor: &'a str, at: Ts) {
    rows.upsert(
        &SOURCE_CURSORS,
        source_no.0.to_string(),
        [Val::Int(source_no.0.into()), Val::Text(cursor), Val::Int(at.0)],
    );
}

fn key_version<'a>(
    rows: &mut Gathered<'a>,
    table: &'static Table,
    (purpose, version): (KeyPurpose, u8),
    fingerprint: &'a str,
    at: Ts,
    state: KeyState,
    left_behind: u64,
) {
    let since = |other| (state == other).then_some(at.0);
    rows.upsert(
        table,
        format!("{} {}/{version}", state.as_str(), purpose.as_str()),
        [
            Val::Text(purpose.as_str()),
            Val::Int(version.into()),
            Val::Text(fingerprint),
            Val::Text(state.as_str()),
            Val::Int(at.0),
            Val::IntOpt(since(KeyState::Ready)),
            Val::IntOpt(since(KeyState::Retired)),
            Val::Int(left_behind.cast_signed()),
        ],
    );
}

fn boot_row(rows: &mut Gathered<'_>, node: u16, boot: u32, opened: Ts, through: Ts, closed: Option<Ts>) {
    rows.upsert(
        &BOOTS,
        format!("{node}/{boot}"),
        [
            Val::Int(node.into()),
            Val::Int(boot.into()),
            Val::Int(opened.0),
            Val::Int(through.0),
            Val::IntOpt(closed.map(|at| at.0)),
        ],
    );
}

fn match_key(rows: &mut Gathered<'_>, person_no: PersonNo, key: &PersonKey) {
    rows.upsert(&MATCH_KEYS, format!("{}/{}", person_no.0, key.key), match_key_values(person_no, key));
}

fn match_key_values(person_no: PersonNo, key: &PersonKey) -> [Val<'static>; 6] {
    [
        Val::Bytes(key.key.to_bytes().to_vec()),
        Val::Int(person_no.0.into()),
        Val::Int(key.kind.number().into()),
        Val::Int(key.digest_version.into()),
        Val::Int(key.valid_from.0),
        Val::IntOpt(key.valid_to.map(|t| t.0)),
    ]
}

fn exclusion(rows: &mut Gathered<'_>, e: &Exclusion) {
    rows.upsert(&EXCLUSIONS, e.id.to_string(), exclusion_values(e));
}

fn exclusion_values(e: &Exclusion) -> [Val<'static>; 10] {
    [
        Val::Owned(e.id.to_string()),
        Val::Int(e.person_no.0.into()),
        Val::Int(e.jurisdiction.0.into()),
        Val::Int(e.period.code().into()),
        Val::Owned(name(&e.at_end)),
        Val::Owned(name(&e.reason_class)),
        Val::Owned(name(&e.channel)),
        Val::Int(e.effective_at.0),
        Val::IntOpt(e.ends_at.map(|t| t.0)),
        Val::IntOpt(e.ended_at.map(|t| t.0)),
    ]
}
