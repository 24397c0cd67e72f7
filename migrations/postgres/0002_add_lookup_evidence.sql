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
);
CREATE TABLE evidence_blocks (
    node BIGINT NOT NULL,
    boot BIGINT NOT NULL,
    worker BIGINT NOT NULL,
    block_no BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    records BIGINT NOT NULL,
    month BIGINT NOT NULL,
    before_digest BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    answers BYTEA NOT NULL,
    people BYTEA NOT NULL,
    PRIMARY KEY (node, boot, worker, block_no)
);
CREATE INDEX evidence_blocks_span ON evidence_blocks (last_at, first_at);
CREATE TABLE evidence_keys (
    month BIGINT PRIMARY KEY,
    sealed BYTEA,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT
);
CREATE TRIGGER evidence_blocks_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON evidence_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Sealed bytes do not compress.
ALTER TABLE evidence_blocks ALTER COLUMN people SET STORAGE EXTERNAL;
