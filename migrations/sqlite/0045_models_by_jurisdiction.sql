-- What becomes of a version of a model is of a jurisdiction: one lets it score, another does not. It follows from the acts
-- alone, so that nothing says it twice: the state of a version goes. An act without a jurisdiction counts in every one: that
-- is what a registration does, and what every act of before did, also for a jurisdiction whose first operator comes later. A
-- version in the shadow stays there wherever there are operators.
ALTER TABLE model_acts ADD COLUMN jurisdiction BIGINT;
ALTER TABLE models DROP COLUMN state;
ALTER TABLE models DROP COLUMN promoted_by;
ALTER TABLE models DROP COLUMN promoted_at;
ALTER TABLE models DROP COLUMN ended_by;
ALTER TABLE models DROP COLUMN ended_at;
CREATE TABLE model_shadows_in (
    jurisdiction BIGINT NOT NULL,
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    started_by TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (jurisdiction, kind)
);
INSERT INTO model_shadows_in (jurisdiction, kind, version, started_by, started_at, reason)
SELECT places.jurisdiction, model_shadows.kind, version, started_by, started_at, reason
FROM model_shadows CROSS JOIN (SELECT DISTINCT jurisdiction FROM operators) AS places;
DROP TABLE model_shadows;
ALTER TABLE model_shadows_in RENAME TO model_shadows;
