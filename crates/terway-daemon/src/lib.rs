//! The parts of `terwayd`: it drives the pool (carries out its effects, feeds it events), serves the
//! plugin and the CLI over a Unix socket, and keeps the node's CNI configuration in place.
//!
//! # How the tests were tested
//!
//! Each of these changes was made once, and turned at least one test red:
//!
//! | part | change |
//! |---|---|
//! | mode | the flags win over what is kept |
//! | facts of before | believed on any node |
//! | live configuration | the pool is not told |
//! | cloud operations | a failed look after a create is told as it is; addresses count as gone once the call is accepted |
//! | answers | given after cloud operations are started |
//! | history | written only when something else is; calls told without their intent |
//! | inventory | ENIs of others count as orphans |
//! | recovery | a sound ledger is replaced |

pub mod actions;
pub mod arrivals;
pub mod bring_up;
pub mod call_log;
pub mod chain;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod conflist;
pub mod connections;
pub mod credentials;
pub mod daemon;
pub mod deadline;
pub mod driver;
pub mod events;
pub mod evidence;
pub mod facts_cache;
pub mod flags;
pub mod gateway_check;
pub mod grace;
pub mod health;
pub mod host_guard;
pub mod inspection;
pub mod instance_lock;
pub mod inventory;
pub mod json_keys;
pub mod leftovers;
pub mod links;
pub mod live;
pub mod logging;
pub mod metered;
pub mod metrics;
pub mod mode;
pub mod node;
pub mod node_facts;
pub mod node_kind;
pub mod node_wide;
pub mod pod_ranges;
pub mod reconfigure;
pub mod recover;
pub mod seen;
pub mod service;
pub mod settings;
pub mod sizes;
pub mod socket;
pub mod spool;
pub mod subnets;
pub mod symmetric;
pub mod targets;
pub mod turns;
pub mod views;
pub mod watched_dir;
