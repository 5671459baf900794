//! What must outlive the daemon, in one crash-safe embedded database. The pool's `Persist` effects end here, one
//! durable transaction each; the pool is rebuilt from [`Ledger::snapshot`]. Also a bounded history, for people
//! who ask afterwards, and the node's mode, which is decided once.

mod error;
mod export;
mod file;
mod history;
mod inspect;
pub mod measure;
mod meta;
mod migrate;
mod reader;
mod row;
mod shared;
mod store;
mod table;
#[cfg(test)]
mod tests;

pub use error::{CommitError, CreateError, OpenError, ReadError, SetAsideError};
pub use export::export;
pub use file::{create_with, set_aside};
pub use history::{DEFAULT_HISTORY, HistoryQuery};
pub use meta::Latched;
pub use reader::LedgerReader;
pub use store::Ledger;
