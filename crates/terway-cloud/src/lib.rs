//! Clouds behind a narrow door: the [`Cloud`] and [`Metadata`] traits, rate budgets and back-off, and the
//! providers that speak a vendor's wire protocol.

pub mod cloud;

pub use cloud::{
    Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniStatus, InstanceIdentity, InstanceLimits,
    Metadata, VSwitch,
};
