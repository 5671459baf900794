//! From schema version 1 to 2. Version 1 knew whole ENIs only: one address per family, no claims, no history,
//! and only nodes in exclusive mode.

use redb::{Database, ReadableTable as _, Table, WriteTransaction};
use serde_json::{Map, Value, json};
use terway_types::NodeMode;

use crate::history::HISTORY;
use crate::meta::{latch, put_schema};
use crate::table::{ATTACHMENTS, ENIS, RECORDS};

/// Rewrites a ledger of version 1, in one transaction.
pub(crate) fn from_version_1(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    if rewrite(&transaction)? {
        latch(&transaction, NodeMode::Exclusive)?;
    }
    make_tables(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Makes the tables that are missing, and says that the schema is the present one.
pub(crate) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for table in RECORDS {
        transaction.open_table(table)?;
    }
    transaction.open_table(HISTORY)?;
    put_schema(transaction)
}

/// Adds what rows of version 2 have, and tells whether there were any.
fn rewrite(transaction: &WriteTransaction) -> Result<bool, redb::Error> {
    let mut enis = transaction.open_table(ENIS)?;
    let eni_rows = rows(&enis)?;
    let mut addresses_of = Map::new();
    for (token, mut row) in eni_rows {
        let addresses = row.get("addresses").cloned().unwrap_or_default();
        let ipv6 = u32::from(addresses.get("ipv6").is_some());
        let counts = json!({"ipv4": 1, "ipv6": ipv6, "ipv4_prefixes": 0, "ipv6_prefixes": 0});
        row.insert("counts".to_owned(), counts);
        put(&mut enis, &token, row)?;
        addresses_of.insert(token, addresses);
    }
    let mut attachments = transaction.open_table(ATTACHMENTS)?;
    let attachment_rows = rows(&attachments)?;
    let any = !addresses_of.is_empty() || !attachment_rows.is_empty();
    for (key, mut row) in attachment_rows {
        let addresses = row.get("eni").and_then(Value::as_str).and_then(|eni| addresses_of.get(eni));
        row.insert("addresses".to_owned(), addresses.cloned().unwrap_or_else(|| json!({})));
        put(&mut attachments, &key, row)?;
    }
    Ok(any)
}

type Fields = Map<String, Value>;
type Rows<'t> = Table<'t, &'static str, &'static [u8]>;

fn rows(table: &Rows<'_>) -> Result<Vec<(String, Fields)>, redb::Error> {
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let fields = serde_json::from_slice(value.value())
            .map_err(|error| redb::Error::Corrupted(format!("row of {}: {error}", key.value())))?;
        rows.push((key.value().to_owned(), fields));
    }
    Ok(rows)
}

fn put(table: &mut Rows<'_>, key: &str, row: Fields) -> Result<(), redb::Error> {
    table.insert(key, Value::Object(row).to_string().as_bytes())?;
    Ok(())
}
