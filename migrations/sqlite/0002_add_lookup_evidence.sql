-- Lookup evidence: blocks of answered lookups, chained per (node, boot, worker). Blocks are never changed; the people in
-- them are sealed under a key of the month, and destroying that key is how they are forgotten.
CREATE TABLE evidence_boots (
    node BIGINT NOT NULL,
    boot BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    -- Every lookup answered until then lies in a stored block.
    through_at BIGINT NOT NULL,
    -- When its end was journaled, by itself or, after a crash, by the process that came next.
    closed_at BIGINT,
    PRIMARY KEY (node, boot)
) WITHOUT ROWID;
CREATE TABLE evidence_blocks (
    node BIGINT NOT NULL,
    boot BIGINT NOT NULL,
    worker BIGINT NOT NULL,
    block_no BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    records BIGINT NOT NULL,
    month BIGINT NOT NULL,
    before_digest BLOB NOT NULL,
    digest BLOB NOT NULL,
    signature BLOB NOT NULL,
    answers BLOB NOT NULL,
    people BLOB NOT NULL,
    PRIMARY KEY (node, boot, worker, block_no)
);
CREATE INDEX evidence_blocks_span ON evidence_blocks (last_at, first_at);
CREATE TABLE evidence_keys (
    month BIGINT NOT NULL PRIMARY KEY,
    sealed BLOB,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT
);
CREATE TRIGGER evidence_blocks_no_update BEFORE UPDATE ON evidence_blocks BEGIN SELECT RAISE(ABORT, 'evidence_blocks is append-only'); END;
CREATE TRIGGER evidence_blocks_no_delete BEFORE DELETE ON evidence_blocks BEGIN SELECT RAISE(ABORT, 'evidence_blocks is append-only'); END;
