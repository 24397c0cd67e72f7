-- Groups of alerts as the desk has them. Times are microseconds since the epoch, UTC.
CREATE TABLE alert_groups (
    id TEXT NOT NULL PRIMARY KEY,
    jurisdiction BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    rule TEXT NOT NULL,
    state BIGINT NOT NULL,
    severity BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
-- How far the alerts are part of the groups.
CREATE TABLE alert_desk (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), through_offset BIGINT NOT NULL);
CREATE TABLE alert_caps (rule TEXT NOT NULL, jurisdiction BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (rule, jurisdiction));
CREATE TABLE alert_silences (id TEXT NOT NULL PRIMARY KEY, until_at BIGINT NOT NULL, body TEXT NOT NULL);
