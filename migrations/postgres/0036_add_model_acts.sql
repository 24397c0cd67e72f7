-- What was done with versions of models, in its order: what a way back is found by, and the history that is shown. Of
-- versions from before, what their rows still say: the last promotion of each, and who it took the place of.
CREATE TABLE model_acts (
    kind TEXT NOT NULL,
    nr BIGINT NOT NULL,
    version BIGINT NOT NULL,
    act TEXT NOT NULL,
    done_by TEXT NOT NULL,
    done_at BIGINT NOT NULL,
    reason TEXT,
    other BIGINT,
    PRIMARY KEY (kind, nr)
);
INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, reason, other)
SELECT kind, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY done_at, stage, version), version, act, done_by, done_at, NULL, other
FROM (
    SELECT kind, version, 0 AS stage, 'registered' AS act, registered_by AS done_by, registered_at AS done_at, CAST(NULL AS BIGINT) AS other
    FROM models
    UNION ALL
    SELECT kind, version, 1, 'promoted', promoted_by, promoted_at,
        (SELECT MAX(earlier.version) FROM models AS earlier WHERE earlier.kind = models.kind AND earlier.version <> models.version AND earlier.state = 'replaced' AND earlier.ended_at = models.promoted_at)
    FROM models WHERE promoted_at IS NOT NULL AND promoted_by IS NOT NULL
    UNION ALL
    SELECT kind, version, 2, 'retired', ended_by, ended_at, NULL
    FROM models WHERE state = 'retired' AND ended_at IS NOT NULL AND ended_by IS NOT NULL
) AS acts;
