-- Which operator has asked about whom, derived from the evidence of lookups: who may be told when a person's standing
-- changes. A person is a match key here as everywhere; last_at is exact to the day.
CREATE TABLE operator_contacts (
    match_key BLOB NOT NULL,
    operator_no BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (match_key, operator_no)
) WITHOUT ROWID;
-- How far each chain of evidence is taken in.
CREATE TABLE contact_cursors (
    node BIGINT NOT NULL,
    boot BIGINT NOT NULL,
    worker BIGINT NOT NULL,
    next_block BIGINT NOT NULL,
    PRIMARY KEY (node, boot, worker)
) WITHOUT ROWID;
-- Set once all evidence of a process that has ended is taken in.
ALTER TABLE evidence_boots ADD COLUMN contacts_at BIGINT;
