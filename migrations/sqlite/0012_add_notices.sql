-- What people are told outside the screens: one row for each channel a notice goes to. Kept as its log.
CREATE TABLE notices (
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    -- When it was made, and which of its group it is: the order in which a channel sends.
    at BIGINT NOT NULL,
    number BIGINT NOT NULL,
    grp TEXT NOT NULL,
    jurisdiction BIGINT NOT NULL,
    -- pending, sent, failed, dropped; only a pending one changes.
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    first_try_at BIGINT,
    next_at BIGINT NOT NULL,
    sent_at BIGINT,
    last_error TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (id, channel)
);
CREATE INDEX notices_waiting ON notices (channel, at, number, id) WHERE state = 'pending';
CREATE INDEX notices_waiting_groups ON notices (channel, grp) WHERE state = 'pending';
CREATE INDEX notices_groups ON notices (grp);
CREATE INDEX notices_newest ON notices (jurisdiction, at, id, channel);
CREATE INDEX notices_age ON notices (at);
