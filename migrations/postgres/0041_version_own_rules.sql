-- By which set of rules an operator's windows are judged from the input behind `behind` on; before the first row by the
-- standard one.
CREATE TABLE operator_rules (
    operator_no BIGINT NOT NULL,
    behind BIGINT NOT NULL,
    rules_seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (operator_no, behind)
);
-- What a version of the market's and the desk's own rules has said is counted in its alerts: those from before, too.
ALTER TABLE alert_revisions ADD COLUMN rule_version BIGINT;
ALTER TABLE alert_revisions ADD COLUMN at BIGINT;
UPDATE alert_revisions SET rule_version = (body::json ->> 'rule_version')::BIGINT, at = (body::json ->> 'at')::BIGINT
    WHERE rule IN ('robust_deviation', 'feed_silent');
CREATE INDEX alert_revisions_versions ON alert_revisions (rule, rule_version, at);
