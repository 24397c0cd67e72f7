-- The version of a kind that scores beside the promoted one, with who let it and why, and what was counted of it a day. The
-- key holds to it that there is one of a kind at most; what is journaled of it is read at each start.
CREATE TABLE model_shadows (
    kind TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    started_by TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE model_shadow_days (
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    day BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, version, operator_no, day)
);
CREATE INDEX journal_model_shadows ON journal (seq) WHERE kind = 'model_shadow_started';
