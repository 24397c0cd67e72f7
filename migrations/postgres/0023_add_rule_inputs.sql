-- What an operator's rules hear, numbered for itself: whether somebody was asked about is known only when evidence is stored.
CREATE TABLE rule_inputs (
    operator_no BIGINT NOT NULL,
    input_seq BIGINT NOT NULL,
    -- its place in the journal
    seq BIGINT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    -- the rules under which it is judged: those as of this place in the journal
    rules_seq BIGINT NOT NULL,
    -- of the operator's inputs, where it is one: each is heard once
    operator_seq BIGINT,
    body TEXT NOT NULL,
    -- what register and evidence knew of each record; none where it is no batch of play
    facts BYTEA,
    PRIMARY KEY (operator_no, input_seq),
    UNIQUE (operator_no, operator_seq)
);
CREATE INDEX rule_inputs_jurisdiction ON rule_inputs (jurisdiction, seq);
-- Records that rules could not apply: their state goes on without them. A JSON list of positions; [] is all.
CREATE TABLE rule_set_aside (
    operator_no BIGINT NOT NULL,
    input_seq BIGINT NOT NULL,
    records TEXT NOT NULL,
    PRIMARY KEY (operator_no, input_seq)
);
-- What the inputs had made of rules: a start reads this and the inputs behind it. Two of each are kept. Numbers from 65280 on
-- stand for all operators of a jurisdiction, and their inputs are counted by their places in the journal.
CREATE TABLE rule_states (
    operator_no BIGINT NOT NULL,
    input_seq BIGINT NOT NULL,
    layout BIGINT NOT NULL,
    state BYTEA NOT NULL,
    mac BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, input_seq)
);
-- Everything that rules found, live and in the shadow. `input_seq` is the operator's, and of rules over all operators the place
-- of the input in the journal, which `seq` always is.
CREATE TABLE rule_findings (
    finding_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    version BIGINT NOT NULL,
    mode TEXT NOT NULL,
    jurisdiction_no BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    input_seq BIGINT NOT NULL,
    window_start BIGINT NOT NULL,
    window_end BIGINT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    at BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (finding_id, mode, input_seq)
);
CREATE INDEX rule_findings_version ON rule_findings (jurisdiction_no, rule, version, mode, at);
CREATE INDEX rule_findings_operator ON rule_findings (operator_no, at);
