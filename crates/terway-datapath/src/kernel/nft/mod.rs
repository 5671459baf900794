//! A small nf_tables client: tables, chains, rules and maps, changed in atomic batches and read back. Enough for the
//! source NAT of host pairs and the port filters of a simulated VPC; no `nft` program is needed.

mod batch;
mod body;
mod client;
mod comment;
mod expression;
mod lookups;
mod map;
mod object;
#[cfg(feature = "monitor")]
mod watch;

pub use batch::{Batch, Deletion};
pub use body::{EtherType, RuleBody};
pub use client::{InstalledRule, Nft};
pub use comment::{Comment, CommentTooLong};
pub use expression::{Comparison, Expr, MetaKey, NatKind, PayloadBase, Register, Verdict};
pub use map::{Element, Map};
pub use object::{Base, Chain, Family, Hook, Kind, Policy, Table, priority};
#[cfg(feature = "monitor")]
pub(crate) use watch::{Gone, Watch};

#[cfg(test)]
mod golden;
