//! Clouds behind a narrow door: the [`Cloud`] and [`Metadata`] traits, rate budgets and back-off, the
//! shared watch over ENIs on their way, and the providers that speak a vendor's wire protocol.

mod access;
pub mod aliyun;
mod answer;
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
#[cfg(test)]
mod golden_files;
mod instance_data;
mod limits;
#[cfg(test)]
mod loopback;
mod meaning;
#[cfg(test)]
mod no_secrets;
pub mod poller;
mod random;
pub mod tencent;
mod transport;

pub use access::{Access, AccessOptions, EniSource, Provider, ProviderError};
pub use backoff::Backoff;
pub use budget::{Budget, BudgetError, Permit};
pub use calls::{CallRecord, CallSink, on_behalf_of};
pub use cloud::{
    Assign, Carried, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus,
    InstanceDescription, InstanceIdentity, InstanceLimits, InstanceStatus, Metadata, Ranges, Trunking,
    VSwitch,
};
pub use credentials::{AccessKey, Chain, CredentialError, CredentialSource, KeyPlaces, StaticKey};
pub use endpoint::{ConfigError, EndpointError, EndpointNetwork};
pub use error::fault;
pub use goal::Goal;
pub use poller::{EniWatch, WatchPace};
pub use transport::{ClientError, Timeouts, Trust};
