-- How far bulk imports have come, so that one that was cut off goes on where it stopped.
CREATE TABLE imports (
    id TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    rows_done BIGINT NOT NULL,
    at BIGINT NOT NULL
);
