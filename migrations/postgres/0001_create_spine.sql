-- The engine's own facts: epoch of the alert topics, format.
CREATE TABLE store_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

-- The spine. One row of journal_head is taken late in every commit; journal rows are never changed.
CREATE TABLE journal_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    group_id BYTEA NOT NULL
);
CREATE TABLE journal (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    payload_digest BYTEA NOT NULL,
    digest BYTEA NOT NULL
);
CREATE TABLE journal_checkpoints (
    seq BIGINT PRIMARY KEY,
    digest BYTEA NOT NULL,
    at BIGINT NOT NULL,
    public_key BYTEA NOT NULL,
    signature BYTEA NOT NULL
);

-- Projections of the events. Times are microseconds since the epoch, UTC.
CREATE TABLE operators (
    operator_no BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    code TEXT NOT NULL UNIQUE,
    jurisdiction BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE licences (id TEXT PRIMARY KEY, operator_no BIGINT NOT NULL, number TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE api_keys (id TEXT PRIMARY KEY, operator_no BIGINT, revoked_at BIGINT, body TEXT NOT NULL);
CREATE TABLE key_secrets (key_id TEXT PRIMARY KEY, sealed BYTEA NOT NULL);
CREATE TABLE sources (
    source_no BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    operator_no BIGINT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (operator_no, name)
);

CREATE TABLE persons (person_no BIGINT PRIMARY KEY, birth_digest BYTEA);
CREATE TABLE match_keys (
    match_key BYTEA NOT NULL,
    person_no BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    digest_version BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT,
    PRIMARY KEY (person_no, match_key)
);
CREATE TABLE exclusions (
    id TEXT PRIMARY KEY,
    person_no BIGINT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    period BIGINT NOT NULL,
    at_end TEXT NOT NULL,
    reason_class TEXT NOT NULL,
    channel TEXT NOT NULL,
    effective_at BIGINT NOT NULL,
    ends_at BIGINT,
    ended_at BIGINT
);
CREATE INDEX exclusions_person ON exclusions (person_no);
CREATE INDEX exclusions_due ON exclusions (ends_at) WHERE ended_at IS NULL AND at_end <> 'stay_on';
CREATE TABLE vault (id BYTEA PRIMARY KEY, person_no BIGINT NOT NULL, sealed BYTEA NOT NULL, at BIGINT NOT NULL);
CREATE INDEX vault_person ON vault (person_no);
CREATE TABLE identity_cases (
    id TEXT PRIMARY KEY,
    person_no BIGINT NOT NULL,
    other_person_no BIGINT NOT NULL,
    reason TEXT NOT NULL,
    opened_at BIGINT NOT NULL
);
CREATE TABLE idempotency (
    key_digest BYTEA PRIMARY KEY,
    body_digest BYTEA NOT NULL,
    status BIGINT NOT NULL,
    result_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

-- Feeds. No unique index on records: dedupe is the source's actor's.
CREATE TABLE feed_batches (
    batch_no BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source_no BIGINT NOT NULL,
    source_seq BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    records BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    clock_at BIGINT NOT NULL,
    chain TEXT NOT NULL,
    stored_at BIGINT NOT NULL,
    UNIQUE (source_no, source_seq),
    UNIQUE (operator_no, operator_seq)
);
CREATE INDEX feed_batches_span ON feed_batches (operator_no, last_at, first_at);
-- An operator's inputs are batches and ticks under one numbering.
CREATE TABLE operator_inputs (
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
CREATE TABLE operator_ticks (
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
-- What an operator's actor could not apply: its state goes on without it. A JSON list of positions; [] is all.
CREATE TABLE operator_set_aside (
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    records TEXT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
CREATE TABLE feed_records (
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    id_digest BIGINT NOT NULL,
    content_digest BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    status BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    record_id TEXT NOT NULL,
    replaces TEXT,
    player BYTEA,
    balance_after_minor BIGINT,
    product BIGINT,
    channel BIGINT,
    bet_id TEXT,
    session_id TEXT,
    region TEXT,
    device BYTEA,
    account BYTEA,
    detail TEXT NOT NULL
) PARTITION BY RANGE (occurred_at);
CREATE TABLE quarantine (
    -- ids sort by time, byte by byte, whatever the database's language is
    id TEXT COLLATE "C" PRIMARY KEY,
    source_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX quarantine_source ON quarantine (source_no, id);

CREATE TABLE alert_revisions (
    alert_offset BIGINT PRIMARY KEY,
    id TEXT NOT NULL,
    operator_seq BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    operator_offset BIGINT NOT NULL,
    rule TEXT NOT NULL,
    kind BIGINT NOT NULL,
    severity BIGINT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (id, operator_seq),
    UNIQUE (operator_no, operator_offset)
);

-- Months get partitions of their own as records come; what lies outside goes to the default one.
CREATE TABLE feed_records_default PARTITION OF feed_records DEFAULT;
CREATE INDEX feed_records_batch ON feed_records USING brin (batch_no) WITH (pages_per_range = 16, autosummarize = on);

-- The journal is append-only.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER journal_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER journal_checkpoints_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
