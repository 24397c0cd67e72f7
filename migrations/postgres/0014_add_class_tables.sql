-- What the classes of data say, beside their records. Every row names the record that wrote it last: batch and position.
-- Times are microseconds since the epoch, UTC; amounts are minor units.

-- Sums of a retail day. '' is no outlet, -1 no product.
CREATE TABLE sales_days (
    operator_no BIGINT NOT NULL,
    day BIGINT NOT NULL,
    outlet TEXT NOT NULL,
    product BIGINT NOT NULL,
    currency TEXT NOT NULL,
    sold_count BIGINT NOT NULL,
    sold_minor BIGINT NOT NULL,
    redeemed_count BIGINT NOT NULL,
    redeemed_minor BIGINT NOT NULL,
    voided_count BIGINT NOT NULL,
    voided_minor BIGINT NOT NULL,
    failed_count BIGINT NOT NULL,
    replacing_count BIGINT NOT NULL,
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (operator_no, day, outlet, product, currency)
);

-- The newest of each kind of a player's records, by keyed digest.
CREATE TABLE player_accounts (
    operator_no BIGINT NOT NULL,
    player BYTEA NOT NULL,
    opened_at BIGINT,
    closed_at BIGINT,
    last_login_at BIGINT,
    last_record_at BIGINT NOT NULL,
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (operator_no, player)
);
CREATE INDEX player_accounts_newest ON player_accounts (operator_no, last_record_at, batch_no, idx);
-- A limit without an amount was taken away.
CREATE TABLE player_limits (
    operator_no BIGINT NOT NULL,
    player BYTEA NOT NULL,
    limit_type TEXT NOT NULL,
    minor BIGINT,
    since BIGINT NOT NULL,
    PRIMARY KEY (operator_no, player, limit_type)
);

-- What a licence authority has said, each time: the newest by occurred_at is how the licence stands.
CREATE TABLE licence_statuses (
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    operator_no BIGINT NOT NULL,
    number TEXT NOT NULL,
    state TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    record_id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (batch_no, idx)
);
CREATE INDEX licence_statuses_newest ON licence_statuses (operator_no, occurred_at, batch_no, idx);
CREATE INDEX licence_statuses_number ON licence_statuses (operator_no, number, occurred_at, batch_no, idx);

-- The newest version of each document.
CREATE TABLE invoices (
    operator_no BIGINT NOT NULL,
    authority TEXT NOT NULL,
    number TEXT NOT NULL,
    state TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    record_id TEXT NOT NULL,
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (operator_no, authority, number)
);
CREATE INDEX invoices_newest ON invoices (operator_no, occurred_at, batch_no, idx);
CREATE TABLE payments (
    operator_no BIGINT NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    method TEXT,
    account BYTEA,
    record_id TEXT NOT NULL,
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (operator_no, reference)
);
CREATE INDEX payments_newest ON payments (operator_no, occurred_at, batch_no, idx);
CREATE TABLE bank_lines (
    operator_no BIGINT NOT NULL,
    account BYTEA NOT NULL,
    statement TEXT NOT NULL,
    line BIGINT NOT NULL,
    -- what the line did to the balance: a debit is negative
    change_minor BIGINT NOT NULL,
    balance_after_minor BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    currency TEXT NOT NULL,
    record_id TEXT NOT NULL,
    batch_no BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (operator_no, account, statement, line)
);
CREATE INDEX bank_lines_newest ON bank_lines (operator_no, occurred_at, batch_no, idx);
