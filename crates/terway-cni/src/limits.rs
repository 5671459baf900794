//! A traffic limit somebody asked for, and whether the data path can keep it.

use terway_datapath::least_rate;
use terway_types::Bandwidth;

/// The highest rate in bytes per second: the 1P bits per second of Kubernetes. Far beyond, the kernel's clock has no
/// tick left for a packet, and a limit would be none.
const HIGHEST_RATE: u64 = 125_000_000_000_000;

/// A limit, and the words that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) limit: Bandwidth,
    /// Key and value as they were given, e.g. `runtimeConfig.bandwidth.egressRate 8000`.
    pub(crate) by: String,
}

impl Asked {
    /// The limit, or what is wrong with it where packets have `mtu` bytes.
    pub(crate) fn possible(self, mtu: u32) -> Result<Bandwidth, String> {
        let (lowest, rate) = (least_rate(mtu), self.limit.bytes_per_second);
        if (lowest..=HIGHEST_RATE).contains(&rate) {
            return Ok(self.limit);
        }
        let wrong = if rate < lowest {
            format!("holds packets of {mtu} bytes back too long")
        } else {
            "is faster than can be counted".to_owned()
        };
        let (by, range) = (self.by, format!("{} to {} bits/s", lowest * 8, HIGHEST_RATE * 8));
        Err(format!("{by} is {rate} bytes/s, which {wrong}; ask for {range}, or for no limit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(bytes_per_second: u64, mtu: u32) -> Result<u64, String> {
        let limit = Bandwidth { bytes_per_second, burst_bytes: None };
        Asked { limit, by: "key 7".into() }.possible(mtu).map(|limit| limit.bytes_per_second)
    }

    #[test]
    fn from_a_packet_in_time_to_what_can_be_counted() {
        for (rate, mtu) in [(60_000, 1500), (384_000, 9600), (HIGHEST_RATE, 1500)] {
            assert_eq!(asked(rate, mtu), Ok(rate));
        }
        assert_eq!(
            asked(59_999, 1500).unwrap_err(),
            "key 7 is 59999 bytes/s, which holds packets of 1500 bytes back too long; \
             ask for 480000 to 1000000000000000 bits/s, or for no limit"
        );
        for rate in [HIGHEST_RATE + 1, 1 << 63, u64::MAX] {
            let said = asked(rate, 1500).unwrap_err();
            assert!(said.contains(&format!("{rate} bytes/s, which is faster than can be counted")), "{said}");
        }
    }
}
