//! Both engines have the same tables.

use super::{Exam, Place};
use crate::{Store, params};

exams![on postgres: both_engines_have_the_same_tables, the_schema_dump_is_the_sum_of_the_migrations];

/// One line per column, key, reference and index, in the same words from both engines.
async fn described(store: &Store, sql: [&'static str; 3]) -> Vec<String> {
    let mut lines = Vec::new();
    for sql in sql {
        lines.extend(store.read(move |tx| tx.query(sql, params![], |row| row.text(0))).await.unwrap());
    }
    lines.sort();
    lines
}

const SQLITE: [&str; 3] = [
    "SELECT m.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", ' NOT NULL', '') || ' key ' || c.pk
     FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
    "SELECT m.name || '.' || f.\"from\" || ' references ' || f.\"table\" || '.' || f.\"to\"
     FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
    "SELECT m.name || iif(i.\"unique\", ' unique', '') || ' index '
         || (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
     FROM sqlite_schema m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin <> 'pk'",
];

const POSTGRES: [&str; 3] = [
    "SELECT c.table_name || '.' || c.column_name
         || CASE c.data_type WHEN 'bytea' THEN ' BLOB' WHEN 'bigint' THEN ' INTEGER' ELSE ' ' || upper(c.data_type) END
         || CASE c.is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END || ' key '
         || coalesce((SELECT k.ordinal_position FROM information_schema.key_column_usage k
                JOIN information_schema.table_constraints t USING (constraint_schema, constraint_name, table_name)
                WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_schema = c.table_schema
                  AND k.table_name = c.table_name AND k.column_name = c.column_name), 0)
     FROM information_schema.columns c WHERE c.table_schema = current_schema()",
    "SELECT conrelid::regclass || '.' || a.attname || ' references ' || confrelid::regclass || '.' || b.attname
     FROM pg_constraint JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1]
         JOIN pg_attribute b ON b.attrelid = confrelid AND b.attnum = confkey[1]
     WHERE contype = 'f' AND connamespace = current_schema()::regnamespace",
    "SELECT indrelid::regclass || CASE WHEN indisunique THEN ' unique' ELSE '' END || ' index '
         || (SELECT string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = indexrelid)
     FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
     WHERE NOT indisprimary AND relnamespace = current_schema()::regnamespace",
];

async fn both_engines_have_the_same_tables(exam: Exam) {
    let folder = Place::folder();
    let file = folder.open().unwrap();
    let (here, there) = (described(&file, SQLITE).await, described(&exam.store, POSTGRES).await);
    let missing = |from: &[String], of: &[String]| -> Vec<String> {
        from.iter().filter(|line| !of.contains(line)).cloned().collect()
    };
    assert_eq!(
        (missing(&here, &there), missing(&there, &here)),
        (vec![], vec![]),
        "only on SQLite, only on PostgreSQL"
    );
    assert!(here.contains(&"device.school_id references school.id".to_owned()), "{here:?}");
}

/// Tables as the server knows them, then their indexes.
const DUMP: &str = "
    SELECT 'CREATE TABLE ' || relname || ' (' || chr(10) || (
            SELECT string_agg('    ' || line, ',' || chr(10) ORDER BY place) FROM (
                SELECT attnum AS place, attname || ' ' || format_type(atttypid, atttypmod)
                    || CASE WHEN attcollation = 950 THEN ' COLLATE \"C\"' ELSE '' END
                    || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END AS line
                FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
                UNION ALL
                SELECT 1000 + row_number() OVER (ORDER BY contype DESC, conname), pg_get_constraintdef(pg_constraint.oid)
                FROM pg_constraint WHERE conrelid = pg_class.oid AND contype IN ('p', 'u', 'f')
            ) lines) || chr(10) || ');' || coalesce(chr(10) || (
            SELECT string_agg(replace(indexdef, schemaname || '.', '') || ';', chr(10) ORDER BY indexname)
            FROM pg_indexes WHERE schemaname = current_schema() AND tablename = relname
                AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = pg_class.oid)), '')
    FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname";

/// Refresh with `BBT_REGENERATE=1 cargo test -p bbt-store schema_dump`, the server's address set.
async fn the_schema_dump_is_the_sum_of_the_migrations(exam: Exam) {
    let tables = exam.store.read(|tx| tx.query(DUMP, params![], |row| row.text(0))).await.unwrap();
    let dump = tables.join("\n\n") + "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/postgres.sql");
    if std::env::var_os("BBT_REGENERATE").is_some() {
        std::fs::write(&path, &dump).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == dump,
        "schema/postgres.sql differs: BBT_REGENERATE=1 cargo test -p bbt-store schema_dump"
    );
}
