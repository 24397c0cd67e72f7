-- When sources were silent by the compliance formula's own measure, whatever the rule `feed_silent` is set to. Without an end: it
-- still lasts.
CREATE TABLE source_silences (
    source_no BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at BIGINT,
    PRIMARY KEY (source_no, from_at)
);
CREATE INDEX source_silences_standing ON source_silences (source_no) WHERE to_at IS NULL;
-- From when on they were measured: the end of what an older release wrote, by its clock. Before, the alerts tell of them.
CREATE TABLE source_silences_since (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), since BIGINT NOT NULL);
INSERT INTO source_silences_since (id, since) SELECT 1, COALESCE((SELECT at FROM journal ORDER BY seq DESC LIMIT 1), 0);
