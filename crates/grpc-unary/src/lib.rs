//! A blocking gRPC client: one call at a time over a Unix socket, no task and no thread. It is for programs that live
//! for milliseconds, ask one question and end: what they need of HTTP/2 (RFC 9113), of header compression (RFC 7541)
//! and of gRPC's framing is so little that a runtime and a general client cost ten times more than the call.
//!
//! Bytes in, bytes out: what a message means is the caller's business. Servers are ordinary gRPC servers.

mod answer;
mod connection;
mod frame;
mod hpack;
mod status;

pub use connection::{Connection, Take};
pub use status::Status;

use std::io;

/// A call without an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The deadline passed first.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended or failed under the call.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The server sent what the protocol does not allow, or what is beyond this client.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// The server answered with a status other than OK.
    #[error("refused with gRPC status {}: {}", .0.code, .0.message)]
    Refused(Status),
}
