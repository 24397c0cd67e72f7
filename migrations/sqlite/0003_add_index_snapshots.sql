-- Snapshots of the index, so that a start need not read every person. Embedded, the bytes lie in files beside the
-- database; a row says which of them are whole.
CREATE TABLE index_snapshots (
    id TEXT NOT NULL PRIMARY KEY,
    node BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    head TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    mac BLOB NOT NULL,
    made_at BIGINT NOT NULL
);
CREATE TABLE index_chunks (
    snapshot_id TEXT NOT NULL,
    chunk_no BIGINT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (snapshot_id, chunk_no)
);
