-- What the compliance of operators is scored by, and the scores. Days are `YYYY-MM-DD` by the jurisdiction's midnight,
-- times microseconds since the epoch, UTC. A day that was counted again takes the place of the one before.
CREATE TABLE compliance_days (
    operator_no BIGINT NOT NULL,
    local_day TEXT NOT NULL,
    revision BIGINT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (operator_no, local_day)
);
-- Scores: late data makes another revision of a day; the highest counts, the others are kept. Without `score_ppm` nothing
-- was measured.
CREATE TABLE compliance_scores (
    operator_no BIGINT NOT NULL,
    local_day TEXT NOT NULL,
    revision BIGINT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    formula BIGINT NOT NULL,
    score_ppm BIGINT,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (operator_no, local_day, revision)
);
CREATE INDEX compliance_scores_day ON compliance_scores (jurisdiction, local_day);
-- The few alerts of a rule of an operator, among all of them; and what people did with groups, among all events.
CREATE INDEX alert_revisions_rule ON alert_revisions (operator_no, rule, alert_offset);
CREATE INDEX journal_acted ON journal (at) WHERE kind = 'alert_acted';
