-- The life of the keys that live outside the database: which versions there are, and how far each has come. The keys
-- themselves are never here.
CREATE TABLE key_versions (
    purpose TEXT NOT NULL,
    version BIGINT NOT NULL,
    -- Tells one key from another of the same number.
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ready_at BIGINT,
    retired_at BIGINT,
    -- Match keys that no vault row could be derived for.
    left_behind BIGINT NOT NULL,
    PRIMARY KEY (purpose, version)
);
-- Grows with every step of a rotation. Whoever derives or seals says under which one it did, and is refused when it was
-- another: nothing comes in under a key that is on its way out.
ALTER TABLE journal_head ADD COLUMN key_epoch BIGINT NOT NULL DEFAULT 0;
