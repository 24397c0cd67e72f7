-- What versions of rules found, live and in the shadow: each revision of a finding.
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
    body TEXT NOT NULL
);
CREATE INDEX rule_findings_version ON rule_findings (jurisdiction_no, rule, version, mode, at);
CREATE INDEX rule_findings_operator ON rule_findings (operator_no, at);
