-- What the promoted model of player risk said last of each player at each operator. Every score is an input of rules.
CREATE TABLE player_risk (
    operator_no BIGINT NOT NULL,
    -- keyed digest, as in records
    player TEXT NOT NULL,
    currency TEXT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    version BIGINT NOT NULL,
    score_ppm BIGINT NOT NULL,
    -- first instant behind the day
    as_of BIGINT NOT NULL,
    reasons TEXT NOT NULL,
    PRIMARY KEY (operator_no, player, currency)
);
CREATE INDEX player_risk_highest ON player_risk (operator_no, version, score_ppm);
CREATE INDEX player_risk_player ON player_risk (player);
