//! Clouds behind a narrow door: the [`Cloud`] and [`Metadata`] traits, rate budgets and back-off, the
//! shared watch over ENIs on their way, and the providers that speak a vendor's wire protocol.

pub mod aliyun;
pub mod backoff;
pub mod budget;
pub mod calls;
pub mod cloud;
pub mod credentials;
mod digest;
mod endpoint;
pub mod error;
mod exchange;
mod goal;
mod meaning;
pub mod poller;
mod random;
mod transport;

pub use backoff::Backoff;
pub use budget::{Budget, BudgetError, Permit};
pub use calls::{CallRecord, CallSink, on_behalf_of};
pub use cloud::{
    Assign, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus, InstanceIdentity,
    InstanceLimits, Metadata, VSwitch,
};
pub use credentials::{AccessKey, Chain, CredentialError, CredentialSource, StaticKey};
pub use endpoint::EndpointError;
pub use error::fault;
pub use goal::Goal;
pub use poller::{EniWatch, WatchPace};
pub use transport::{Timeouts, Trust};
