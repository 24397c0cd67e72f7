-- With which key something was done with a version of a model: none where a name was only typed, and of before.
ALTER TABLE model_acts ADD COLUMN done_by_key TEXT;
