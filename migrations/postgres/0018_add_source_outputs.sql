-- How far what a source brought was published to its output topic: the number of its last batch that is there whole.
CREATE TABLE source_outputs (
    source_no BIGINT NOT NULL PRIMARY KEY,
    source_seq BIGINT NOT NULL
);
