-- What an operator's inputs had made of it: a start reads this and the inputs behind it. Two of each are kept.
CREATE TABLE operator_states (
    operator_no BIGINT NOT NULL,
    operator_seq BIGINT NOT NULL,
    layout BIGINT NOT NULL,
    state BLOB NOT NULL,
    mac BLOB NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, operator_seq)
);
