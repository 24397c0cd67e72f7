//! The tables that events and attachments are written into.

/// A table, and how rows come into it.
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
    /// `ON CONFLICT …`, or empty.
    pub tail: &'static str,
}

impl Table {
    /// One table may be written in two ways.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.tail == other.tail
    }
}

pub(super) const JOURNAL: Table =
    Table { name: "journal", columns: &["seq", "at", "kind", "payload", "payload_digest", "digest"], tail: "" };
pub(super) const OPERATORS: Table = Table {
    name: "operators",
    columns: &["operator_no", "id", "code", "jurisdiction", "body"],
    tail: "ON CONFLICT (operator_no) DO UPDATE SET body = excluded.body, jurisdiction = excluded.jurisdiction",
};
pub(super) const LICENCES: Table = Table {
    name: "licences",
    columns: &["id", "operator_no", "number", "body"],
    tail: "ON CONFLICT (id) DO UPDATE SET body = excluded.body, number = excluded.number",
};
pub(super) const API_KEYS: Table = Table {
    name: "api_keys",
    columns: &["id", "operator_no", "revoked_at", "body"],
    // dead is final
    tail: "ON CONFLICT (id) DO UPDATE SET body = excluded.body, revoked_at = excluded.revoked_at WHERE api_keys.revoked_at IS NULL",
};
pub(super) const SOURCES: Table = Table {
    name: "sources",
    columns: &["source_no", "id", "operator_no", "name", "body"],
    tail: "ON CONFLICT (source_no) DO UPDATE SET body = excluded.body",
};
pub(super) const PERSONS: Table = Table { name: "persons", columns: &["person_no", "birth_digest"], tail: "" };
pub(super) const MATCH_KEYS: Table = Table {
    name: "match_keys",
    columns: &["match_key", "person_no", "kind", "digest_version", "valid_from", "valid_to"],
    tail: "ON CONFLICT (person_no, match_key) DO UPDATE SET valid_to = excluded.valid_to",
};
pub(super) const EXCLUSIONS: Table = Table {
    name: "exclusions",
    columns: &[
        "id",
        "person_no",
        "jurisdiction",
        "period",
        "at_end",
        "reason_class",
        "channel",
        "effective_at",
        "ends_at",
        "ended_at",
    ],
    tail: "ON CONFLICT (id) DO UPDATE SET period = excluded.period, at_end = excluded.at_end, ends_at = excluded.ends_at, ended_at = excluded.ended_at",
};
pub(super) const CASES: Table =
    Table { name: "identity_cases", columns: &["id", "person_no", "other_person_no", "reason", "opened_at"], tail: "" };
pub(super) const BATCHES: Table = Table {
    name: "feed_batches",
    columns: &[
        "batch_no",
        "id",
        "source_no",
        "source_seq",
        "operator_no",
        "operator_seq",
        "records",
        "duplicates",
        "quarantined",
        "first_at",
        "last_at",
        "clock_at",
        "chain",
        "stored_at",
        "late",
        "replaced",
        "tamper_token",
        "batch_number",
        "replayed",
    ],
    tail: "",
};
pub(super) const SOURCE_CURSORS: Table = Table {
    name: "source_cursors",
    columns: &["source_no", "position", "moved_at"],
    tail: "ON CONFLICT (source_no) DO UPDATE SET position = excluded.position, moved_at = excluded.moved_at",
};
/// The same table, where the time of the last success stays as it was.
pub(super) const SOURCE_POSITIONS: Table = Table {
    name: "source_cursors",
    columns: &["source_no", "position", "moved_at"],
    tail: "ON CONFLICT (source_no) DO UPDATE SET position = excluded.position",
};
pub(super) const FEED_REPLACED: Table =
    Table { name: "feed_replaced", columns: &["source_no", "record_id"], tail: "ON CONFLICT DO NOTHING" };
pub(super) const SOURCE_INTEGRITY: Table = Table {
    name: "source_integrity",
    columns: &["source_no", "version", "body"],
    // 0 breaks the table's check: a state that somebody has overtaken is refused, and with it all of its commit
    tail: "ON CONFLICT (source_no) DO UPDATE SET version = CASE WHEN excluded.version > source_integrity.version THEN excluded.version ELSE 0 END, body = excluded.body",
};
pub(super) const DECLARED_TOTALS: Table =
    Table { name: "declared_totals", columns: &["source_no", "local_day", "version", "body"], tail: "" };
pub(super) const DECLARED_DAYS: Table = Table {
    name: "declared_days",
    columns: &["source_no", "local_day", "from_at", "to_at", "differs", "body"],
    tail: "ON CONFLICT (source_no, local_day) DO UPDATE SET from_at = excluded.from_at, to_at = excluded.to_at, differs = excluded.differs, body = excluded.body",
};
pub(super) const INPUTS: Table = Table { name: "operator_inputs", columns: &["operator_no", "operator_seq"], tail: "" };
pub(super) const TICKS: Table =
    Table { name: "operator_ticks", columns: &["operator_no", "operator_seq", "at"], tail: "" };
pub(super) const SET_ASIDE: Table = Table {
    name: "operator_set_aside",
    columns: &["operator_no", "operator_seq", "records"],
    tail: "ON CONFLICT (operator_no, operator_seq) DO UPDATE SET records = excluded.records",
};
pub(super) const OPERATOR_RULES: Table = Table {
    name: "operator_rules",
    columns: &["operator_no", "behind", "rules_seq", "at"],
    // of two sets with no input between them the newer one judges
    tail: "ON CONFLICT (operator_no, behind) DO UPDATE SET rules_seq = excluded.rules_seq, at = excluded.at",
};
pub(super) const EXCLUSION_REPORTS: Table =
    Table { name: "exclusion_reports", columns: &["exclusion_id", "operator_no", "at"], tail: "" };
pub(super) const REPORTED_EXCLUSIONS: Table = Table {
    name: "reported_exclusions",
    columns: &["id", "operator_no", "jurisdiction", "state", "at", "expires_at", "exclusion_id", "revision", "body"],
    // what became of it: `exclusion_reports::settle`
    tail: "",
};
pub(super) const REPORTED_EXCLUSION_SEALS: Table = Table {
    name: "reported_exclusion_seals",
    columns: &["id", "sealed"],
    tail: "ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
};
pub(super) const RULE_INPUTS: Table = Table {
    name: "rule_inputs",
    columns: &["operator_no", "input_seq", "seq", "jurisdiction", "rules_seq", "operator_seq", "body", "facts"],
    tail: "",
};
pub(super) const SERIES_SCORED: Table =
    Table { name: "series_scored", columns: &["operator_no", "operator_seq", "input_seq"], tail: "" };
pub(super) const PLAYER_RISK: Table = Table {
    name: "player_risk",
    columns: &["operator_no", "player", "currency", "jurisdiction", "version", "score_ppm", "as_of", "reasons"],
    tail: "ON CONFLICT (operator_no, player, currency) DO UPDATE SET version = excluded.version, score_ppm = excluded.score_ppm, as_of = excluded.as_of, reasons = excluded.reasons",
};
pub(super) const HARM_SIGNALS: Table = Table {
    name: "harm_signals",
    columns: &["id", "operator_no", "player", "since_at", "revision", "body"],
    // whoever was killed tells again
    tail: "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, body = excluded.body WHERE excluded.revision > harm_signals.revision",
};
pub(super) const RULE_SET_ASIDE: Table = Table {
    name: "rule_set_aside",
    columns: &["operator_no", "input_seq", "records"],
    tail: "ON CONFLICT (operator_no, input_seq) DO UPDATE SET records = excluded.records",
};
pub(super) const RULE_FINDINGS: Table = Table {
    name: "rule_findings",
    columns: &[
        "finding_id",
        "rule",
        "version",
        "mode",
        "jurisdiction_no",
        "operator_no",
        "input_seq",
        "window_start",
        "window_end",
        "kind",
        "severity",
        "at",
        "seq",
        "body",
    ],
    // whoever was killed offers its findings again
    tail: "ON CONFLICT (finding_id, mode, input_seq) DO NOTHING",
};
pub(super) const ALERTS: Table = Table {
    name: "alert_revisions",
    columns: &[
        "alert_offset",
        "id",
        "operator_seq",
        "operator_no",
        "operator_offset",
        "rule",
        "kind",
        "severity",
        "body",
        "rule_version",
        "at",
    ],
    tail: "",
};
pub(super) const ALERT_GROUPS: Table = Table {
    name: "alert_groups",
    columns: &["id", "jurisdiction", "operator_no", "rule", "state", "severity", "last_at", "body"],
    tail: "ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, last_at = excluded.last_at, body = excluded.body",
};
pub(super) const ALERT_DESK: Table = Table {
    name: "alert_desk",
    columns: &["id", "through_offset"],
    tail: "ON CONFLICT (id) DO UPDATE SET through_offset = excluded.through_offset",
};
pub(super) const ALERT_CAPS: Table = Table {
    name: "alert_caps",
    columns: &["rule", "jurisdiction", "body"],
    tail: "ON CONFLICT (rule, jurisdiction) DO UPDATE SET body = excluded.body",
};
pub(super) const RULE_CHANGES: Table =
    Table { name: "rule_changes", columns: &["jurisdiction", "rule", "change", "seq", "body"], tail: "" };
pub(super) const SILENCES: Table = Table {
    name: "alert_silences",
    columns: &["id", "until_at", "body"],
    tail: "ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at, body = excluded.body",
};
pub(super) const VAULT: Table = Table { name: "vault", columns: &["id", "person_no", "sealed", "at"], tail: "" };
pub(super) const SECRETS: Table = Table { name: "key_secrets", columns: &["key_id", "sealed"], tail: "" };
pub(super) const IDEMPOTENCY: Table = Table {
    name: "idempotency",
    columns: &["key_digest", "body_digest", "status", "result_id", "expires_at"],
    tail: "",
};
pub(super) const IMPORTS: Table = Table {
    name: "imports",
    columns: &["id", "origin", "rows_done", "at"],
    tail: "ON CONFLICT (id) DO UPDATE SET rows_done = excluded.rows_done, at = excluded.at",
};
pub(super) const QUARANTINE: Table = Table {
    name: "quarantine",
    columns: &["id", "source_no", "idx", "code", "detail", "form", "sealed", "at", "sent_digest"],
    tail: "ON CONFLICT (id) DO NOTHING",
};
pub(super) const BOOTS: Table = Table {
    name: "evidence_boots",
    columns: &["node", "boot", "opened_at", "through_at", "closed_at"],
    tail: "ON CONFLICT (node, boot) DO UPDATE SET through_at = excluded.through_at, closed_at = excluded.closed_at",
};
/// The same table: how far the evidence of a process has come.
pub(super) const PROGRESS: Table = Table {
    name: "evidence_boots",
    columns: &["node", "boot", "opened_at", "through_at"],
    tail: "ON CONFLICT (node, boot) DO UPDATE SET through_at = excluded.through_at",
};
pub(super) const BLOCKS: Table = Table {
    name: "evidence_blocks",
    columns: &[
        "node",
        "boot",
        "worker",
        "block_no",
        "first_at",
        "last_at",
        "records",
        "month",
        "before_digest",
        "digest",
        "signature",
        "answers",
        "people",
    ],
    // a commit of unknown outcome is offered again
    tail: "ON CONFLICT (node, boot, worker, block_no) DO NOTHING",
};
pub(super) const MONTHS: Table = Table {
    name: "evidence_keys",
    columns: &["month", "created_at", "destroyed_at"],
    tail: "ON CONFLICT (month) DO UPDATE SET sealed = NULL, destroyed_at = excluded.destroyed_at",
};
pub(super) const RECOGNITIONS: Table = Table {
    name: "recognitions",
    columns: &["jurisdiction", "recognises", "valid_from", "valid_to"],
    tail: "ON CONFLICT (jurisdiction, recognises, valid_from) DO UPDATE SET valid_to = excluded.valid_to",
};
pub(super) const GENERATIONS: Table = Table {
    name: "token_generations",
    columns: &["operator_no", "match_key", "generation", "reason", "at"],
    // two that replace the same token at the same time: one of them
    tail: "",
};
pub(super) const CONTACTS: Table = Table {
    name: "operator_contacts",
    columns: &["match_key", "operator_no", "first_at", "last_at", "kind", "digest_version"],
    tail: "ON CONFLICT (match_key, operator_no) DO UPDATE SET last_at = excluded.last_at, kind = excluded.kind, digest_version = excluded.digest_version WHERE excluded.last_at > operator_contacts.last_at",
};
pub(super) const CURSORS: Table = Table {
    name: "contact_cursors",
    columns: &["node", "boot", "worker", "next_block"],
    tail: "ON CONFLICT (node, boot, worker) DO UPDATE SET next_block = excluded.next_block",
};
pub(super) const NOTICES: Table = Table {
    name: "notices",
    columns: &["id", "channel", "at", "number", "grp", "jurisdiction", "state", "attempts", "next_at", "body"],
    // a commit of unknown outcome is offered again, and a cause may be found twice
    tail: "ON CONFLICT (id, channel) DO NOTHING",
};
pub(super) const KEY_COLUMNS: &[&str] =
    &["purpose", "version", "fingerprint", "state", "started_at", "ready_at", "retired_at", "left_behind"];
pub(super) const KEYS_STARTED: Table = Table {
    name: "key_versions",
    columns: KEY_COLUMNS,
    // a number is used again once nothing of the old key is left
    tail: "ON CONFLICT (purpose, version) DO UPDATE SET fingerprint = excluded.fingerprint, state = excluded.state, started_at = excluded.started_at, ready_at = NULL, retired_at = NULL, left_behind = 0 WHERE key_versions.state = 'retired'",
};
/// The same table: a version that is known already.
pub(super) const KEYS_READY: Table = Table {
    name: "key_versions",
    columns: KEY_COLUMNS,
    tail: "ON CONFLICT (purpose, version) DO UPDATE SET state = excluded.state, ready_at = excluded.ready_at, left_behind = excluded.left_behind WHERE key_versions.state = 'started'",
};
/// The same table: a version that is known already.
pub(super) const KEYS_RETIRED: Table = Table {
    name: "key_versions",
    columns: KEY_COLUMNS,
    tail: "ON CONFLICT (purpose, version) DO UPDATE SET state = excluded.state, retired_at = excluded.retired_at",
};
pub(super) const COMPLIANCE_DAYS: Table = Table {
    name: "compliance_days",
    columns: &["operator_no", "local_day", "revision", "at", "body"],
    tail: "ON CONFLICT (operator_no, local_day) DO UPDATE SET revision = excluded.revision, at = excluded.at, body = excluded.body WHERE excluded.revision > compliance_days.revision",
};
pub(super) const COMPLIANCE_SCORES: Table = Table {
    name: "compliance_scores",
    columns: &["operator_no", "local_day", "revision", "jurisdiction", "formula", "score_ppm", "at", "body"],
    // of two that score a day at the same time one: the other reads it and begins anew
    tail: "",
};
/// Columns of a record, in the order in which [`record_values`] gives them.
pub const RECORD_COLUMNS: &[&str] = &[
    "batch_no",
    "idx",
    "operator_no",
    "occurred_at",
    "id_digest",
    "content_digest",
    "kind",
    "status",
    "amount_minor",
    "currency",
    "record_id",
    "replaces",
    "player",
    "balance_after_minor",
    "product",
    "channel",
    "bet_id",
    "session_id",
    "region",
    "device",
    "account",
    "detail",
    "identified",
];
