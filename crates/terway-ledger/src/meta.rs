//! What the ledger knows about itself: its schema version, and the node's mode.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use terway_types::NodeMode;

/// The schema this version writes, and the newest it reads. Older ones are brought up to it.
pub(crate) const SCHEMA: u64 = 2;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";
const MODE_KEY: &str = "mode";
/// What a node's mode was found to be when it was latched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latched {
    /// There was none; the wanted one is kept from now on.
    First,
    /// The wanted one.
    Agrees,
    /// Another one, which stays.
    Differs {
        /// The mode that stays.
        kept: NodeMode,
        /// The mode that was wanted.
        wanted: NodeMode,
    },
}

/// The schema version, if this is a ledger at all.
pub(crate) fn schema(transaction: &ReadTransaction) -> Result<Option<u64>, redb::Error> {
    match transaction.open_table(META) {
        Ok(table) => Ok(table.get(SCHEMA_KEY)?.map(|version| version.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn put_schema(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    Ok(())
}

/// The mode that was latched.
pub(crate) fn mode(transaction: &ReadTransaction) -> Result<Option<NodeMode>, redb::Error> {
    mode_in(&transaction.open_table(META)?)
}

/// Keeps this mode, unless there is one already.
pub(crate) fn latch(transaction: &WriteTransaction, wanted: NodeMode) -> Result<Latched, redb::Error> {
    let mut table = transaction.open_table(META)?;
    match mode_in(&table)? {
        Some(kept) if kept == wanted => Ok(Latched::Agrees),
        Some(kept) => Ok(Latched::Differs { kept, wanted }),
        None => {
            table.insert(MODE_KEY, number_of(wanted))?;
            Ok(Latched::First)
        }
    }
}

fn mode_in(table: &impl ReadableTable<&'static str, u64>) -> Result<Option<NodeMode>, redb::Error> {
    match table.get(MODE_KEY)?.map(|number| number.value()) {
        None => Ok(None),
        Some(1) => Ok(Some(NodeMode::Exclusive)),
        Some(2) => Ok(Some(NodeMode::Shared)),
        Some(3) => Ok(Some(NodeMode::VpcRoute)),
        Some(other) => Err(redb::Error::Corrupted(format!("node mode {other} was never in use"))),
    }
}

fn number_of(mode: NodeMode) -> u64 {
    match mode {
        NodeMode::Exclusive => 1,
        NodeMode::Shared => 2,
        NodeMode::VpcRoute => 3,
    }
}
