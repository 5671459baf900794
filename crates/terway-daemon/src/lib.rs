//! The parts of `terwayd`: it drives the pool (carries out its effects, feeds it events), serves the
//! plugin and the CLI over a Unix socket, and keeps the node's CNI configuration in place.

pub mod actions;
pub mod bring_up;
pub mod clock;
pub mod config;
pub mod conflist;
pub mod credentials;
pub mod daemon;
pub mod deadline;
pub mod driver;
pub mod flags;
pub mod health;
pub mod inspection;
pub mod instance_lock;
pub mod json_keys;
pub mod links;
pub mod logging;
pub mod metered;
pub mod metrics;
pub mod node;
pub mod node_facts;
pub mod service;
pub mod settings;
pub mod socket;
pub mod spool;
pub mod turns;
pub mod views;
pub mod watched_dir;
