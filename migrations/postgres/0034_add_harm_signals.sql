-- Signs of harm that operators were told of, as they stand; who can know a sign is measured by it.
CREATE TABLE harm_signals (
    id TEXT NOT NULL PRIMARY KEY,
    operator_no BIGINT NOT NULL,
    -- keyed digest, as in records
    player BYTEA NOT NULL,
    since_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX harm_signals_newest ON harm_signals (operator_no, since_at, id);
-- What the key was made of: with it the operator's token of the person can be made. None of contacts from before, until the
-- next question.
ALTER TABLE operator_contacts ADD COLUMN kind BIGINT;
ALTER TABLE operator_contacts ADD COLUMN digest_version BIGINT;
