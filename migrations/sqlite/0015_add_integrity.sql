-- Whether what sources send is whole. Of a batch: records that came late, records that take the place of others, the
-- operator's tamper token (hex) and its own number.
ALTER TABLE feed_batches ADD COLUMN late BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feed_batches ADD COLUMN replaced BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feed_batches ADD COLUMN tamper_token TEXT;
ALTER TABLE feed_batches ADD COLUMN batch_number BIGINT;
CREATE INDEX feed_batches_stored ON feed_batches (source_no, stored_at);
-- Records whose place others have taken: few. An index of the records themselves would be made of all of them.
CREATE TABLE feed_replaced (
    source_no BIGINT NOT NULL,
    record_id TEXT NOT NULL,
    PRIMARY KEY (source_no, record_id)
) WITHOUT ROWID;
CREATE INDEX quarantine_at ON quarantine (source_no, at);
-- Where a source's chain of tokens and its numbers stand. A state that was overtaken breaks the check.
CREATE TABLE source_integrity (
    source_no BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version > 0),
    body TEXT NOT NULL
);
-- What operators declare about days, by their own midnight; the highest version of a day counts.
CREATE TABLE declared_totals (
    source_no BIGINT NOT NULL,
    local_day TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (source_no, local_day, version)
);
-- The same held against what is stored.
CREATE TABLE declared_days (
    source_no BIGINT NOT NULL,
    local_day TEXT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at BIGINT NOT NULL,
    differs BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (source_no, local_day)
);
CREATE INDEX declared_days_span ON declared_days (source_no, to_at);
