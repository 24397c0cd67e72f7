-- A version of a model that scores beside the promoted one: who let it, and what was counted of it a day. At most one of a
-- kind; what is journaled of it is read at each start.
ALTER TABLE models ADD COLUMN shadow_by TEXT;
ALTER TABLE models ADD COLUMN shadow_at BIGINT;
ALTER TABLE models ADD COLUMN shadow_reason TEXT;
CREATE UNIQUE INDEX models_shadow ON models (kind) WHERE shadow_at IS NOT NULL;
CREATE TABLE model_shadow_days (
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    day BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, version, operator_no, day)
);
CREATE INDEX journal_model_shadows ON journal (seq) WHERE kind = 'model_shadow_started';
