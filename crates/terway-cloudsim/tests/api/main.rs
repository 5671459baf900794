//! The simulated cloud's API, metadata service and control socket over loopback TCP, without a fabric.
//! Most tests speak with a signer of their own; `aliyun` uses the agent's client, written independently.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod aliyun;
mod bench;
mod both;
mod calls;
mod control;
mod enis;
mod faults;
mod lingjun;
mod manners;
mod manners_of_both;
mod metadata;
mod scale;
mod signature;
mod tencent;
mod tencent_client;
