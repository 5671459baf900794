//! What an attachment looks like in the kernel, and the verbs over that description.
//!
//! [`layout`] describes; [`apply`], [`diff`] and [`remove`] make, compare and remove; only [`kernel`] talks to
//! the kernel.

pub mod apply;
pub mod attachment_lock;
pub mod describe;
pub mod diff;
pub mod draw;
pub mod extras;
pub mod facts;
mod home;
pub mod host_agent;
#[cfg(feature = "monitor")]
pub mod interference;
pub mod intruder;
pub mod kernel;
pub mod layout;
pub mod leftovers;
pub mod mark;
#[cfg(feature = "monitor")]
pub mod monitor;
pub mod names;
pub mod observe;
/// The plan that tests start from, those in a real kernel too.
#[cfg(test)]
#[path = "../tests/sandbox/plan.rs"]
mod plan;
pub mod queues;
pub mod remove;
pub mod rules;
mod seen;
mod smc;
pub mod source_check;
mod source_nat;
pub mod symmetric;
mod tags;
pub mod unassigned;

pub use apply::{
    Applied, ApplyError, Asked, AttachmentContext, RepairError, Step, apply, apply_spoiled, can_repair,
    repair,
};
pub use describe::Layout;
pub use diff::{Drift, diff, diff_host};
pub use draw::draw;
pub use extras::{Extras, OnEni};
pub use facts::HostFacts;
pub use layout::{LayoutError, layout, least_rate};
pub use mark::Mark;
pub use observe::{ObserveError, Observed, Snapshot, observe, observe_host};
pub use remove::{Removal, RemoveError, Removed, remove, remove_but_tables};
pub use seen::Seen;
