-- Inputs of operators whose closed windows were scored, and which input of the rules says so: each is scored once.
CREATE TABLE series_scored (
    operator_no BIGINT NOT NULL,
    -- of the operator's inputs
    operator_seq BIGINT NOT NULL,
    -- of its rules'
    input_seq BIGINT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
-- What windows had taught the detectors of an operator's series: a start reads this and the inputs behind it. Two are kept.
CREATE TABLE series_states (
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    layout BIGINT NOT NULL,
    state BYTEA NOT NULL,
    mac BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
-- Whose feeds were silent, and when.
CREATE INDEX alert_revisions_silences ON alert_revisions (operator_no, alert_offset) WHERE rule = 'feed_silent';
