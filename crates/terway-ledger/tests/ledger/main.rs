//! The ledger from outside: what goes in comes out, whatever happens to the file in between.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod mishaps;
mod past;
mod records;
mod recovery;
mod samples;
mod schema_1;
mod strategies;
