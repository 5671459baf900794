//! Names that never repeat within one world: ENI ids, MACs, request ids, tokens. Counted, not random, so
//! that the same calls give the same world.

use sha2::{Digest, Sha256};
use terway_types::{EniId, MacAddr};

/// How every ENI's MAC begins: unicast, locally administered, ours.
pub(crate) const MAC_PREFIX: [u8; 2] = [0x02, 0xc5];

/// Hands out names.
#[derive(Clone, Debug, Default)]
pub(super) struct Mint {
    enis: u32,
    requests: u64,
}

impl Mint {
    /// An id and a MAC for a new ENI.
    pub(super) fn eni(&mut self) -> (EniId, MacAddr) {
        self.enis += 1;
        let mut mac = [0; 6];
        mac[..2].copy_from_slice(&MAC_PREFIX);
        mac[2..].copy_from_slice(&self.enis.to_be_bytes());
        (EniId(format!("eni-sim{:013}", self.enis)), MacAddr(mac))
    }

    /// A request id in the vendor's form.
    pub(super) fn request_id(&mut self) -> String {
        self.requests += 1;
        let hex = digest("request", self.requests);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
    }
}

fn digest(what: &str, number: u64) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(format!("{what} {number}")) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}
