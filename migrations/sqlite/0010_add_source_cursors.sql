-- How far each source that fetches by itself was read, in its reader's own words, written with the records behind it.
CREATE TABLE source_cursors (
    source_no BIGINT NOT NULL PRIMARY KEY,
    position TEXT NOT NULL,
    moved_at BIGINT NOT NULL
);
