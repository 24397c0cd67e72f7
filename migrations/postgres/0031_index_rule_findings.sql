-- Counting what a version found reads its index alone; what was found in a span is read by time.
DROP INDEX rule_findings_version;
CREATE INDEX rule_findings_version ON rule_findings (jurisdiction_no, rule, version, mode, at, kind, severity);
CREATE INDEX rule_findings_time ON rule_findings (jurisdiction_no, at);
