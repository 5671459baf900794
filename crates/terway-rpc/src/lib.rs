//! The wire between plugin, daemon and CLI: messages and services generated from `proto/terway.proto`
//! (see `cargo xtask gen`), their conversions to and from `terway-types`, and the client's connection.

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "client")]
pub mod client;
mod connect_error;
pub mod convert;

#[cfg(feature = "blocking")]
pub use blocking::BlockingClient;
#[cfg(feature = "client")]
pub use client::DaemonClient;
pub use connect_error::ConnectError;
pub use convert::{InterfaceError, InterfaceParts, attachment_key, datapath, fault_of, status_of};

/// Where the daemon listens unless told otherwise; the path existing installations use.
pub const DEFAULT_SOCKET: &str = "/var/run/eni/eni.socket";

/// The generated messages and services.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; which of these fire depends on the features, so `expect` cannot be used"
)]
pub mod wire {
    include!("generated/rpc.rs");
}
