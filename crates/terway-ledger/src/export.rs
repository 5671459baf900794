//! The whole ledger as lines of JSON, for people and for tests that keep books of their own.

use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use serde_json::{Value, json};
use terway_types::NodeMode;

use crate::error::{OpenError, open_error};
use crate::history::HISTORY;
use crate::inspect::sound_copy;
use crate::meta::{self, SCHEMA};
use crate::migrate;
use crate::table::RECORDS;

/// The ledger in a file that nobody has open, which is not touched. One line per row, as
/// `{"table": .., "key": .., "row": ..}`; the first one has schema version and mode. A row that is no JSON comes
/// as text: whoever looks at a ledger may do so because of it.
pub fn export(path: &Path) -> Result<String, OpenError> {
    let failed = |error| open_error(path, error);
    let (copy, schema) = sound_copy(path)?;
    if schema < SCHEMA {
        migrate::from_version_1(&copy).map_err(failed)?;
    }
    lines(&copy).map_err(failed)
}

/// The lines of an open ledger.
pub(crate) fn lines(database: &Database) -> Result<String, redb::Error> {
    let transaction = database.begin_read()?;
    let mode = meta::mode(&transaction)?.map(NodeMode::name);
    let mut text = String::new();
    push(&mut text, &json!({"table": "meta", "schema": meta::schema(&transaction)?, "mode": mode}));
    records(&transaction, &mut text)?;
    for row in transaction.open_table(HISTORY)?.iter()? {
        let (number, value) = row?;
        let row = readable(value.value());
        push(&mut text, &json!({"table": "history", "key": number.value(), "row": row}));
    }
    Ok(text)
}

fn records(transaction: &ReadTransaction, text: &mut String) -> Result<(), redb::Error> {
    for definition in RECORDS {
        let name = redb::TableHandle::name(&definition);
        for row in transaction.open_table(definition)?.iter()? {
            let (key, value) = row?;
            push(text, &json!({"table": name, "key": key.value(), "row": readable(value.value())}));
        }
    }
    Ok(())
}

fn readable(row: &[u8]) -> Value {
    serde_json::from_slice(row).unwrap_or_else(|_| String::from_utf8_lossy(row).into())
}

fn push(text: &mut String, line: &Value) {
    text.push_str(&line.to_string());
    text.push('\n');
}
