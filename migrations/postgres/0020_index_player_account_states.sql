-- Accounts in a state are listed newest first, however few of all they are. The state is that of the query, word for word
-- (store/src/read/classes.rs): otherwise neither database uses the index.
CREATE INDEX player_accounts_state ON player_accounts (operator_no, (CASE WHEN closed_at IS NULL OR opened_at > closed_at THEN 'open' ELSE 'closed' END), last_record_at, batch_no, idx);
