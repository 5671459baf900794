//! A simulated cloud with a real kernel data path. `model` is the cloud as a pure state machine, `api`
//! speaks the vendor's wire protocol and the instance metadata service, `fabric` makes the ENIs real
//! links in network namespaces, `live` ties them to a clock, `serve` starts it all.

mod api;
pub mod calls;
pub mod config;
mod credentials;
mod fabric;
pub mod faults;
pub mod live;
pub mod manners;
pub mod model;
pub mod serve;
pub mod spread;
pub mod status;
pub mod throttle;

pub use config::{Config, ConfigError};
pub use fabric::FabricError;
pub use faults::{Fault, FaultKind, When};
pub use live::Live;
pub use model::World;
pub use serve::{Endpoints, Options, Place, Running, ServeError, serve};

#[cfg(test)]
mod fixture;
