//! Names that never repeat within one world: ENI ids, MACs, request ids, tokens. Counted, not random, so
//! that the same calls give the same world.

use sha2::{Digest, Sha256};
use terway_types::{EniId, MacAddr};

use crate::config::Vendor;

/// How every ENI's MAC begins: unicast, locally administered, ours.
pub(crate) const MAC_PREFIX: [u8; 2] = [0x02, 0xc5];

/// Hands out names.
#[derive(Clone, Debug)]
pub(super) struct Mint {
    vendor: Vendor,
    enis: u32,
    requests: u64,
}

impl Mint {
    /// Names as the vendor forms them.
    pub(super) fn new(vendor: Vendor) -> Self {
        Self { vendor, enis: 0, requests: 0 }
    }

    /// An id and a MAC for a new ENI.
    pub(super) fn eni(&mut self, lingjun: bool) -> (EniId, MacAddr) {
        self.enis += 1;
        let mut mac = [0; 6];
        mac[..2].copy_from_slice(&MAC_PREFIX);
        mac[2..].copy_from_slice(&self.enis.to_be_bytes());
        let id = match self.vendor {
            Vendor::Aliyun if lingjun => format!("leni-sim{:013}", self.enis),
            Vendor::Aliyun => format!("eni-sim{:013}", self.enis),
            Vendor::Tencent => format!("eni-{}", base36(self.enis)),
        };
        (EniId(id), MacAddr(mac))
    }

    /// A request id in the vendor's form.
    pub(super) fn request_id(&mut self) -> String {
        self.requests += 1;
        let hex = digest("request", self.requests);
        let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]);
        match self.vendor {
            Vendor::Aliyun => id,
            Vendor::Tencent => id.to_lowercase(),
        }
    }
}

/// Eight lower-case letters and digits, another word for each number.
fn base36(number: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // Multiplying by a number that shares no factor with 36^8 shuffles without collisions.
    let mut rest = u64::from(number) * 1_000_000_007 % 36_u64.pow(8);
    let mut digits = [b'0'; 8];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 36).unwrap_or_default()];
        rest /= 36;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_have_the_vendors_form_and_do_not_repeat() {
        let mut mint = Mint::new(Vendor::Tencent);
        let ids: BTreeSet<String> = (0..5000).map(|_| mint.eni(false).0.0).collect();
        assert_eq!(ids.len(), 5000);
        let fits = |id: &String| {
            let word = id.strip_prefix("eni-").unwrap_or_default();
            word.len() == 8 && word.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
        };
        assert!(ids.iter().all(fits), "{:?}", ids.first());
    }
}
