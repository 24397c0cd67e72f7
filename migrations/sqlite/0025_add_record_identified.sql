-- 1 where the player is known by phone, document or token: somebody whom the register can be asked about. None where only the
-- operator's own account number is known, and in records of before.
ALTER TABLE feed_records ADD COLUMN identified BIGINT;
