//! The daemon as its callers meet it: over its real socket, with its real ledger, on a cloud and a kernel
//! made of memory.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod actions;
mod away;
mod calls;
mod cloud;
mod crash;
mod driver;
mod group_commit;
mod live;
mod looks;
mod modes;
mod pages;
mod past;
mod recover;
mod spool;
mod start;
mod support;
