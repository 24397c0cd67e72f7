-- Records are read back by batch. BRIN lost its use where a range was being summarised when another worker interrupted it:
-- its placeholder stays, and behind it every range is read (seen at 33 million records: 800,000 pages for one batch).
-- Numbers of batches only grow, so a B-tree is written at its right end, and one posting list holds the rows of a batch.
DROP INDEX feed_records_batch;
CREATE INDEX feed_records_batch ON feed_records (batch_no) WITH (fillfactor = 100);
