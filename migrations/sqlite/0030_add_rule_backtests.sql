-- A replay holds what an input led to against what is stored of it.
CREATE INDEX rule_findings_input ON rule_findings (jurisdiction_no, input_seq);
-- Versions of rules that were run over stored history: what was asked for, and what came of it (JSON).
CREATE TABLE rule_backtests (
    id TEXT NOT NULL PRIMARY KEY,
    jurisdiction BIGINT NOT NULL,
    rule TEXT NOT NULL,
    version BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    ended_at BIGINT,
    result TEXT
);
CREATE INDEX rule_backtests_version ON rule_backtests (jurisdiction, rule, version, made_at);
-- Who registered an exclusion, where an operator did: how many each reports a day is held against its own history.
CREATE TABLE exclusion_reports (
    exclusion_id TEXT NOT NULL PRIMARY KEY,
    operator_no BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX exclusion_reports_at ON exclusion_reports (at, operator_no);
