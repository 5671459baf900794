//! ENIs and attachments in one crash-safe embedded database. The pool's `Persist` effects end here, one
//! durable transaction each; the pool is rebuilt from [`Ledger::snapshot`].

mod error;
mod inspect;
mod row;
mod store;

pub use error::{CommitError, OpenError, ReadError};
pub use store::Ledger;
