-- Models with their papers, their artefacts in pieces, and what became of what they score. At most one version of a kind
-- is promoted: the statement that promotes holds to it.
CREATE TABLE models (
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    artefact_sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    registered_by TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    promoted_by TEXT,
    promoted_at BIGINT,
    ended_by TEXT,
    ended_at BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, version),
    UNIQUE (artefact_sha256)
);
CREATE TABLE model_chunks (
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (kind, version, idx)
);
CREATE TABLE model_drift (
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    day BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, version, operator_no, day)
);
