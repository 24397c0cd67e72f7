-- A refused record is open until it is replayed or dismissed. Times are microseconds since the epoch, UTC; `_by` is a key.
ALTER TABLE quarantine ADD COLUMN form TEXT NOT NULL DEFAULT 'record';
ALTER TABLE quarantine ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
ALTER TABLE quarantine ADD COLUMN outcome TEXT;
ALTER TABLE quarantine ADD COLUMN reason TEXT;
ALTER TABLE quarantine ADD COLUMN settled_at BIGINT;
ALTER TABLE quarantine ADD COLUMN settled_by TEXT;
-- Attempts to replay it that were refused, and the last of them.
ALTER TABLE quarantine ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN attempt_at BIGINT;
ALTER TABLE quarantine ADD COLUMN attempt_by TEXT;
ALTER TABLE quarantine ADD COLUMN attempt_code TEXT;
ALTER TABLE quarantine ADD COLUMN attempt_detail TEXT;
CREATE INDEX quarantine_state ON quarantine (source_no, state, code, id);
-- Batches of records that were refused before: their source delivered nothing then.
ALTER TABLE feed_batches ADD COLUMN replayed BIGINT NOT NULL DEFAULT 0;
