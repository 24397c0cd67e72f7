-- When each source last succeeded, also where it brought nothing new: kept now and then, about once an expected interval.
CREATE TABLE source_successes (
    source_no BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
