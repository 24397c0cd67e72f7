-- The days of a version in the shadow, newest first, a page at a time.
CREATE INDEX model_shadow_days_newest ON model_shadow_days (kind, version, day DESC, operator_no);
