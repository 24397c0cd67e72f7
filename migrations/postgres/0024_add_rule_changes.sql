-- What became of the versions of rules, change by change, with the place of each in the journal: the versions in force at
-- any place are made of those up to it. Two changes of one number: the second is refused.
CREATE TABLE rule_changes (
    jurisdiction BIGINT NOT NULL,
    rule TEXT NOT NULL,
    change BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (jurisdiction, rule, change)
);
