//! The only place that talks to the kernel: namespaces, rtnetlink, nf_tables and sysctls, as blocking
//! verbs over plain values. No netlink library type leaves this module.

pub mod error;
pub mod filter;
pub mod namespace;
pub mod netlink;
pub mod nft;
pub mod nic;
pub mod objects;
pub mod rdma;
pub mod request;
pub mod smc;
pub mod sysctl;
pub mod tbf;
pub mod watch;

mod attribute;
#[cfg(feature = "monitor")]
pub(crate) mod changes;
mod decode;
mod dump;
#[cfg(feature = "monitor")]
pub(crate) mod events;
mod rule_list;
mod support;
mod traffic;
mod transport;
mod words;

pub use error::{Cause, KernelError};
pub use filter::{Action, Filter, Hook, InstalledFilter, Match};
pub use namespace::{Netns, NetnsError, NetnsId};
pub use netlink::Netlink;
pub use nic::{NicError, NicRule, find_nic, nic_at};
pub use objects::{Address, Child, Link, Neighbour, Qdisc, Route, RouteFilter, RouteKind, Rule, Scope};
pub use rdma::RdmaError;
pub use request::{Ipv4Switch, IpvlanMode, LinkChange, LinkRef, NewLink, Request};
pub use smc::{SmcEntry, SmcMember, SmcTable};
pub use support::QdiscKind;
pub use tbf::Tbf;
pub use traffic::{Traffic, traffic};
pub use watch::wait_for_nic;
pub use words::Words;
