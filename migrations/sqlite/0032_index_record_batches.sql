-- Nothing to do here: records lie in the order of their batches. PostgreSQL gets another index.
SELECT 1;
