//! The wire between plugin, daemon and CLI: messages and services generated from `proto/terway.proto`
//! (see `cargo xtask gen`), and their conversions to and from `terway-types`.

/// The generated messages and services.
#[expect(missing_docs, reason = "generated; the schema carries the documentation")]
#[expect(clippy::pedantic, unused_qualifications, reason = "generated")]
pub mod wire {
    include!("generated/rpc.rs");
}
