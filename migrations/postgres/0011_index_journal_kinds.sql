-- Those who read the journal by kind must not walk through what feeds write into it. The lists are those of the queries,
-- word for word: otherwise neither database uses the indexes.
CREATE INDEX journal_register ON journal (seq) WHERE kind IN ('person_added', 'person_keys_added', 'exclusion_registered', 'exclusion_extended', 'exclusion_renewed', 'exclusion_lapsed', 'people_imported', 'match_keys_derived');
CREATE INDEX journal_evidence ON journal (seq) WHERE kind IN ('evidence_opened', 'evidence_rooted', 'evidence_closed', 'evidence_gap');
