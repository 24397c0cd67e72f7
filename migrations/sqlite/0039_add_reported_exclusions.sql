-- Exclusions that operators report, as they stand; each waits for a second person.
CREATE TABLE reported_exclusions (
    id TEXT NOT NULL PRIMARY KEY,
    operator_no BIGINT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    state TEXT NOT NULL,
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- what it led to
    exclusion_id TEXT,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX reported_exclusions_due ON reported_exclusions (state, expires_at);
CREATE INDEX reported_exclusions_operator ON reported_exclusions (operator_no, state);
CREATE INDEX reported_exclusions_at ON reported_exclusions (at);
CREATE INDEX reported_exclusions_exclusion ON reported_exclusions (exclusion_id);
-- About whom one is that waits, sealed; nothing once it is settled.
CREATE TABLE reported_exclusion_seals (
    id TEXT NOT NULL PRIMARY KEY,
    sealed BLOB
);
