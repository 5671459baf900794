//! Traffic limits as token buckets: how big a bucket and a queue a rate needs.

use terway_types::Bandwidth;

use crate::describe::Limit;
use crate::kernel::Tbf;

/// How long a packet may wait for tokens; the queue holds what the rate drains in this time.
pub(super) const LATENCY_MS: u32 = 25;

/// Refills per second a bucket must bridge: the tick of the slowest usual kernel (`CONFIG_HZ`). A smaller bucket
/// would run over between two refills and the rate would not be reached (`tc-tbf(8)`, "burst").
const REFILLS_PER_SECOND: u64 = 250;

/// Room for the link's header and tags, and for a packet that arrives when the bucket is nearly empty.
const HEADROOM: u64 = 1500;

/// A limit of what leaves by a link.
pub(super) fn limit(link: &str, wanted: Bandwidth, mtu: u32) -> Limit {
    let rate = wanted.bytes_per_second;
    let burst = wanted.burst_bytes.map_or(rate / REFILLS_PER_SECOND, u64::from);
    let burst = u32::try_from(burst.max(u64::from(mtu) + HEADROOM)).unwrap_or(u32::MAX);
    Limit { link: link.to_owned(), bucket: Tbf::with_latency(rate, burst, LATENCY_MS) }
}

/// The least rate in bytes per second that lets one packet of `mtu` bytes pass within the 25 ms it may wait.
pub fn least_rate(mtu: u32) -> u64 {
    u64::from(mtu) * 1000 / u64::from(LATENCY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes_per_second: u64, burst_bytes: Option<u32>, mtu: u32) -> (u32, u32) {
        let bucket = limit("eth0", Bandwidth { bytes_per_second, burst_bytes }, mtu).bucket;
        (bucket.burst, bucket.limit)
    }

    #[test]
    fn a_bucket_holds_a_packet_and_a_refill() {
        assert_eq!(of(100_000, None, 1500), (3000, 5500), "slow: by the MTU");
        assert_eq!(of(125_000_000, None, 1500), (500_000, 3_625_000), "1 Gbit/s: by the tick");
        assert_eq!(of(1_000_000, Some(64_000), 1500), (64_000, 89_000), "as given");
        assert_eq!(of(1_000_000, Some(10), 9001), (10_501, 35_501), "never below one packet");
    }

    #[test]
    fn no_rate_overflows() {
        assert_eq!(of(u64::MAX, Some(u32::MAX), 9600), (u32::MAX, u32::MAX));
    }
}
