//! The token bucket filter's parameters, in the kernel's encoding (`struct tc_tbf_qopt`).

use super::attribute::value;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`. Unset, the kernel would want the rate table of old times to guess it from.
const LINKLAYER_ETHERNET: u8 = 1;
const NANOS: u128 = 1_000_000_000;
/// The kernel's scheduler clock ticks every 64 ns (`PSCHED_SHIFT` 6).
const TICK_NANOS: u128 = 64;

/// A token bucket filter without peak rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tbf {
    /// Rate in bytes per second; not zero.
    pub rate: u64,
    /// Bucket size in bytes. A packet larger than this never passes.
    pub burst: u32,
    /// How many bytes may wait.
    pub limit: u32,
}

impl Tbf {
    /// A filter that holds packets back for at most `latency_ms` beyond what the bucket lets through at once.
    pub fn with_latency(rate: u64, burst: u32, latency_ms: u32) -> Self {
        let waiting = u128::from(rate) * u128::from(latency_ms) / 1000;
        let limit = u32::try_from(waiting.saturating_add(burst.into())).unwrap_or(u32::MAX);
        Self { rate, burst, limit }
    }

    /// Whether two filters limit alike. The kernel keeps the bucket as a time in ticks of 64 ns, so a burst read
    /// back may differ by what flows in two of them.
    pub fn is_like(&self, other: &Self) -> bool {
        let grain = u64::try_from(2 * TICK_NANOS * u128::from(self.rate) / NANOS).unwrap_or(u64::MAX);
        self.rate == other.rate
            && self.limit == other.limit
            && u64::from(self.burst.abs_diff(other.burst)) <= grain + 1 + u64::from(self.burst >> 12)
    }

    /// The attributes of the qdisc's options: kind and value.
    pub(super) fn encode(&self) -> Vec<(u16, Vec<u8>)> {
        let ticks = u128::from(self.burst) * NANOS / (u128::from(self.rate.max(1)) * TICK_NANOS);
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        let mut parms = Vec::with_capacity(36);
        // struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate
        parms.extend([0, LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0]);
        parms.extend(u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        parms.extend([0; 12]); // no peak rate
        for field in [self.limit, ticks, 0] {
            parms.extend(field.to_ne_bytes());
        }
        let mut options = vec![(TCA_TBF_PARMS, parms), (TCA_TBF_BURST, self.burst.to_ne_bytes().to_vec())];
        if self.rate > u64::from(u32::MAX) {
            options.push((TCA_TBF_RATE64, self.rate.to_ne_bytes().to_vec()));
        }
        options
    }

    /// Reads the options the kernel gives back.
    pub(super) fn decode(options: &[u8]) -> Option<Self> {
        let parms = value(options, TCA_TBF_PARMS)?;
        let word = |at: usize| Some(u32::from_ne_bytes(parms.get(at..at + 4)?.try_into().ok()?));
        let rate64 =
            value(options, TCA_TBF_RATE64).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
        let rate = rate64.unwrap_or(word(8)?.into());
        let burst = u128::from(word(28)?) * TICK_NANOS * u128::from(rate) / NANOS;
        Some(Self { rate, burst: u32::try_from(burst).unwrap_or(u32::MAX), limit: word(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(tbf: Tbf) -> Tbf {
        let mut bytes = Vec::new();
        for (kind, value) in tbf.encode() {
            bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(&value);
        }
        Tbf::decode(&bytes).unwrap()
    }

    #[test]
    fn rates_survive_the_encoding() {
        for rate in [1, 1000, 125_000, 125_000_000, 4_294_967_295, 4_294_967_296, 12_500_000_000] {
            let tbf = Tbf::with_latency(rate, 15_000, 25);
            let back = there_and_back(tbf);
            assert_eq!((back.rate, back.limit), (tbf.rate, tbf.limit), "{rate}");
            if rate >= 1000 {
                assert!(tbf.is_like(&back), "{tbf:?} {back:?}");
            }
        }
    }

    #[test]
    fn another_rate_or_burst_is_not_alike() {
        let tbf = Tbf::with_latency(1_250_000, 10_000, 25);
        assert!(!tbf.is_like(&Tbf { rate: 1_250_001, ..tbf }));
        assert!(!tbf.is_like(&Tbf { burst: 10_400, ..tbf }));
        assert_eq!(tbf.limit, 31_250 + 10_000);
    }

    /// `tc qdisc add dev lo root tbf rate 10mbit burst 10kb latency 25ms`, as strace shows it. Ours differ in two
    /// fields that only the rate table of old kernels needs, and which are blanked here: cell_log and cell_align.
    #[test]
    fn the_parameters_are_those_of_tc() {
        let golden = "00010000000000 00d012130000000000000000000000000012a2000000f4010000000000";
        let options = Tbf::with_latency(1_250_000, 10_240, 25).encode();
        let hex: String = options[0].1.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        assert_eq!(hex, golden.replace(' ', ""));
        assert_eq!(options[1], (TCA_TBF_BURST, vec![0x00, 0x28, 0, 0]));
    }
}
