//! What comes with events and is no event itself: sealed names, answers to be repeated, quarantined records, evidence.

use super::tables::*;
use super::{Gathered, body, exclusion_values, match_key_values, rule_inputs};
use crate::contacts::ContactRows;
use crate::db::Val;
use crate::evidence::EvidenceRows;
use crate::notices::NoticeRow;
use crate::writer::{Attachment, ImportProgress, ImportedPerson, QuarantineRow, VaultRow};
use models::notice::NoticeState;

pub(super) fn attach<'a>(rows: &mut Gathered<'a>, attachment: &'a Attachment) {
    match attachment {
        Attachment::Vault(v) => vault(rows, v),
        Attachment::KeySecret { key_id, sealed } => {
            rows.add(&SECRETS, [Val::Owned(key_id.to_string()), Val::Bytes(sealed.clone())]);
        }
        Attachment::ReportSeal { id, sealed } => {
            let values = [Val::Owned(id.to_string()), Val::BytesOpt(sealed.clone())];
            rows.upsert(&REPORTED_EXCLUSION_SEALS, id.to_string(), values);
        }
        Attachment::Idempotency(i) => rows.add(
            &IDEMPOTENCY,
            [
                Val::Bytes(i.key_digest.to_vec()),
                Val::Bytes(i.body_digest.to_vec()),
                Val::Int(i.status.into()),
                Val::Text(&i.result_id),
                Val::Int(i.expires_at.0),
            ],
        ),
        Attachment::Quarantine(list) => list.iter().for_each(|row| quarantine(rows, row)),
        Attachment::Import(progress, people) => import(rows, progress, people),
        Attachment::Evidence(rows_of) => evidence(rows, rows_of),
        Attachment::Contacts(rows_of) => contacts(rows, rows_of),
        Attachment::Notices(notices) => notices.iter().for_each(|row| notice(rows, row)),
        Attachment::RuleFindings(findings) => findings.iter().for_each(|row| rule_inputs::finding(rows, row)),
        Attachment::FeedRecords(_)
        | Attachment::RuleBatch(_)
        | Attachment::FeedClass(_)
        | Attachment::Rewrapped(..)
        | Attachment::ModelBytes(_)
        | Attachment::NoticeMarks(_) => {}
    }
}

fn notice<'a>(rows: &mut Gathered<'a>, row: &'a NoticeRow) {
    let notice = &row.notice;
    rows.add(
        &NOTICES,
        [
            Val::Owned(notice.id.to_string()),
            Val::Text(&row.channel),
            Val::Int(notice.at.0),
            Val::Int(notice.number.into()),
            Val::Text(&notice.group),
            Val::Int(notice.jurisdiction.0.into()),
            Val::Text(NoticeState::Pending.as_str()),
            Val::Int(0),
            Val::Int(notice.at.0),
            body(notice),
        ],
    );
}

fn contacts(rows: &mut Gathered<'_>, taken: &ContactRows) {
    for contact in &taken.contacts {
        rows.add(
            &CONTACTS,
            [
                Val::Bytes(contact.key.to_bytes().to_vec()),
                Val::Int(contact.operator_no.0.into()),
                Val::Int(contact.first_at.0),
                Val::Int(contact.last_at.0),
                Val::Int(contact.named.kind.number().into()),
                Val::Int(contact.named.digest_version.into()),
            ],
        );
    }
    for (chain, next) in &taken.cursors {
        rows.upsert(
            &CURSORS,
            format!("{}/{}/{}", chain.node, chain.boot, chain.worker),
            [
                Val::Int(chain.node.into()),
                Val::Int(chain.boot.into()),
                Val::Int(chain.worker.into()),
                Val::Int(next.cast_signed()),
            ],
        );
    }
}

fn vault(rows: &mut Gathered<'_>, v: &VaultRow) {
    rows.add(
        &VAULT,
        [Val::Bytes(v.id.to_vec()), Val::Int(v.person_no.0.into()), Val::Bytes(v.sealed.clone()), Val::Int(v.at.0)],
    );
}

fn import<'a>(rows: &mut Gathered<'a>, progress: &'a ImportProgress, people: &[ImportedPerson]) {
    rows.upsert(
        &IMPORTS,
        progress.id.clone(),
        [
            Val::Text(&progress.id),
            Val::Text(&progress.origin),
            Val::Int(progress.rows.cast_signed()),
            Val::Int(progress.at.0),
        ],
    );
    for person in people {
        let birth = person.birth_digest.map(|d| d.to_bytes().to_vec());
        rows.add(&PERSONS, [Val::Int(person.person_no.0.into()), Val::BytesOpt(birth)]);
        // new people: nothing of theirs can lie here already
        person.keys.iter().for_each(|key| rows.add(&MATCH_KEYS, match_key_values(person.person_no, key)));
        person.exclusions.iter().for_each(|exclusion| rows.add(&EXCLUSIONS, exclusion_values(exclusion)));
        person.vault.iter().for_each(|row| vault(rows, row));
    }
}

fn quarantine<'a>(rows: &mut Gathered<'a>, q: &'a QuarantineRow) {
    rows.add(
        &QUARANTINE,
        [
            Val::Owned(q.id.to_string()),
            Val::Int(q.source_no.0.into()),
            Val::Int(q.index.into()),
            Val::Text(q.code.as_str()),
            Val::Text(&q.detail),
            Val::Text(q.form.as_str()),
            Val::Bytes(q.sealed.clone()),
            Val::Int(q.at.0),
            Val::IntOpt(q.sent_digest.map(u64::cast_signed)),
        ],
    );
}

fn evidence(rows: &mut Gathered<'_>, evidence: &EvidenceRows) {
    let (node, boot, through) = (evidence.node, evidence.boot, evidence.through_at);
    rows.upsert(
        &PROGRESS,
        format!("through {node}/{boot}"),
        [Val::Int(node.into()), Val::Int(boot.into()), Val::Int(through.0), Val::Int(through.0)],
    );
    for block in &evidence.blocks {
        let head = &block.head;
        rows.add(
            &BLOCKS,
            [
                Val::Int(head.chain.node.into()),
                Val::Int(head.chain.boot.into()),
                Val::Int(head.chain.worker.into()),
                Val::Int(head.no.cast_signed()),
                Val::Int(head.first_at.0),
                Val::Int(head.last_at.0),
                Val::Int(head.records.into()),
                Val::Int(head.month.into()),
                Val::Bytes(block.before.to_vec()),
                Val::Bytes(block.digest.to_vec()),
                Val::Bytes(block.signature.clone()),
                Val::Bytes(block.rows.clone()),
                Val::Bytes(block.people.clone()),
            ],
        );
    }
}
