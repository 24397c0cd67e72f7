-- The few promotions among all events, and the highest scores of a version over all operators: both are read at each start.
CREATE INDEX journal_models ON journal (seq) WHERE kind = 'model_promoted';
CREATE INDEX player_risk_version ON player_risk (version, score_ppm);
-- What people made of a rule's alerts at an operator: a model's day is judged by it.
CREATE INDEX alert_groups_rule ON alert_groups (operator_no, rule, last_at);
