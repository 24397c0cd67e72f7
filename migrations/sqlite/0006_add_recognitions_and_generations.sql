-- Which jurisdiction treats whose exclusions as its own, and when.
CREATE TABLE recognitions (
    jurisdiction BIGINT NOT NULL,
    recognises BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT,
    PRIMARY KEY (jurisdiction, recognises, valid_from)
) WITHOUT ROWID;
-- Tokens that were replaced: the highest generation of a key is the live one, a key without a row is at generation 0.
CREATE TABLE token_generations (
    operator_no BIGINT NOT NULL,
    match_key BLOB NOT NULL,
    generation BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, match_key, generation)
) WITHOUT ROWID;
