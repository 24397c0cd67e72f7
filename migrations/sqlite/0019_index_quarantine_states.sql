-- What is open of a source is listed newest first, however much of it was settled.
CREATE INDEX quarantine_states ON quarantine (source_no, state, id);
