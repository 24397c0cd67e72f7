//! Two sets of migrations, one schema.

use super::bench::{Database, Kind};
use std::collections::BTreeSet;

/// `table.column type null key`, for every column; and `table unique (columns)`.
async fn describe(kind: Kind) -> BTreeSet<String> {
    let database = Database::fresh(kind).await;
    let columns = match kind {
        Kind::Sqlite => {
            "SELECT m.name || '.' || c.name || ' ' || REPLACE(c.type, 'BLOB', 'BYTES') || ' ' || \
             CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN 'not null' ELSE 'null' END || ' ' || \
             CASE WHEN c.pk > 0 THEN 'key' ELSE '-' END \
             FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'"
        }
        Kind::Postgres => {
            "SELECT t.relname || '.' || a.attname || ' ' || REPLACE(REPLACE(UPPER(format_type(a.atttypid, a.atttypmod)), 'BYTEA', 'BYTES'), 'bigint', 'BIGINT') || ' ' || \
             CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END || ' ' || \
             CASE WHEN EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary AND a.attnum = ANY(i.indkey)) THEN 'key' ELSE '-' END \
             FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE n.nspname = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND t.relname NOT LIKE '\\_sqlx%'"
        }
    };
    let uniques = match kind {
        Kind::Sqlite => {
            "SELECT m.name || ' unique (' || (SELECT GROUP_CONCAT(c.name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno) c) || ')' \
             FROM sqlite_master m JOIN pragma_index_list(m.name) i ON i.\"unique\" = 1 AND i.origin = 'u' WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\'"
        }
        Kind::Postgres => {
            "SELECT t.relname || ' unique (' || (SELECT STRING_AGG(a.attname, ',' ORDER BY k.n) FROM UNNEST(i.indkey) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) || ')' \
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
             WHERE n.nspname = 'public' AND i.indisunique AND NOT i.indisprimary AND NOT t.relispartition AND t.relname NOT LIKE '\\_sqlx%'"
        }
    };
    let mut described: BTreeSet<String> = database.texts(columns).await.into_iter().collect();
    described.extend(database.texts(uniques).await);
    described
}

pub async fn both_schemas_say_the_same() {
    let (sqlite, postgres) = (describe(Kind::Sqlite).await, describe(Kind::Postgres).await);
    assert!(sqlite.iter().any(|line| line == "journal.seq BIGINT not null key"), "the description works: {sqlite:#?}");
    assert!(sqlite.iter().any(|line| line == "operators unique (code)"), "the description works: {sqlite:#?}");
    // records have no unique index on PostgreSQL, where one costs dearly as it grows; SQLite clusters them by theirs
    let postgres: BTreeSet<String> = postgres
        .into_iter()
        .map(|line| match &*line {
            "feed_records.batch_no BIGINT not null -" | "feed_records.idx BIGINT not null -" => {
                line.replace(" -", " key")
            }
            _ => line,
        })
        .collect();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(
        (only(&sqlite, &postgres), only(&postgres, &sqlite)),
        (vec![], vec![]),
        "only in SQLite, only in PostgreSQL"
    );
}
