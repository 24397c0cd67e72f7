-- 64 bits of a keyed digest of what was refused of a source that fetches: an interface without a cursor sends it again at every
-- fetch, after a start, too. None where records are pushed, and in rows of before.
ALTER TABLE quarantine ADD COLUMN sent_digest BIGINT;
