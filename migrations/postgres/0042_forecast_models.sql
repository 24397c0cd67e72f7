-- How many alerts were expected of a version of a model when it was promoted: what its brake holds. None of before.
ALTER TABLE model_acts ADD COLUMN forecasts TEXT;
