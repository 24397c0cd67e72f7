-- When licences and operators' states were entered is read from the journal once, so that rules hear of those from before
-- they listened. The list is that of the query, word for word: otherwise neither database uses the index.
CREATE INDEX journal_operators ON journal (seq) WHERE kind IN ('operator_set', 'licence_set');
