//! Limits that a pod's annotations ask for, as the runtime hands them over with the capability
//! `io.kubernetes.cri.pod-annotations`: no question to the API server, and nothing to wait for.

use std::collections::BTreeMap;

use terway_types::Bandwidth;

use crate::limits::Asked;

/// The capability by which containerd and CRI-O hand over annotations.
pub(crate) const CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";

/// The class of a pod's traffic among that of its ENI.
pub(crate) const PRIORITY: &str = "k8s.aliyun.com/network-priority";

/// Annotations and how their numbers count; the first that is there holds. The standard ones are bits per second in
/// steps of 1000 (or 1024, `Ki`), the older ones of this component bytes per second in steps of 1024.
const INGRESS: [(&str, Count); 2] =
    [("kubernetes.io/ingress-bandwidth", Count::Bits), ("k8s.aliyun.com/ingress-bandwidth", Count::Bytes)];
const EGRESS: [(&str, Count); 2] =
    [("kubernetes.io/egress-bandwidth", Count::Bits), ("k8s.aliyun.com/egress-bandwidth", Count::Bytes)];

/// What the number of an annotation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// Bits per second, as a Kubernetes quantity.
    Bits,
    /// Bytes per second, with a unit that is a power of 1024.
    Bytes,
}

/// Limits into and out of the pod, and what is wrong with the annotations.
pub(crate) fn limits(annotations: &BTreeMap<String, String>) -> (Option<Asked>, Option<Asked>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut limit = |keys: [(&str, Count); 2]| {
        let (key, count) = keys.into_iter().find(|(key, _)| annotations.contains_key(*key))?;
        let text = annotations.get(key)?.trim();
        let bytes = bytes_per_second(text, count);
        let by = format!("annotation {key} {text:?}");
        if bytes.is_none() {
            wrong.push(format!("{by} is not {}", count.words()));
        }
        Some(Asked { limit: Bandwidth { bytes_per_second: bytes?, burst_bytes: None }, by })
    };
    let (ingress, egress) = (limit(INGRESS), limit(EGRESS));
    (ingress, egress, wrong)
}

impl Count {
    fn words(self) -> &'static str {
        match self {
            Self::Bits => "a rate in bits/s between 1k and 1P, such as 10M",
            Self::Bytes => "a rate in bytes/s with a unit, such as 10M",
        }
    }
}

/// Kubernetes takes 1k to 1P bits per second (`pkg/util/bandwidth`); the older annotations want a unit and more than zero.
fn bytes_per_second(text: &str, count: Count) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match count {
        Count::Bits => {
            let bits = number.checked_mul(bits_unit(unit)?)?;
            (1_000..=1_000_000_000_000_000).contains(&bits).then(|| bits.div_ceil(8))
        }
        Count::Bytes => number.checked_mul(bytes_unit(unit)?).filter(|bytes| *bytes > 0),
    }
}

fn bits_unit(unit: &str) -> Option<u64> {
    let power = |base: u64, letters: [&str; 5]| {
        let at = letters.iter().position(|letter| *letter == unit)?;
        base.checked_pow(u32::try_from(at).ok()? + 1)
    };
    if unit.is_empty() {
        return Some(1);
    }
    power(1000, ["k", "M", "G", "T", "P"]).or_else(|| power(1024, ["Ki", "Mi", "Gi", "Ti", "Pi"]))
}

fn bytes_unit(unit: &str) -> Option<u64> {
    let at = ["K", "M", "G", "T"].iter().position(|letter| unit.eq_ignore_ascii_case(letter))?;
    1024_u64.checked_pow(u32::try_from(at).ok()? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(key: &str, text: &str) -> Result<u64, String> {
        let (limit, _, wrong) = limits(&BTreeMap::from([(key.to_owned(), text.to_owned())]));
        limit.map(|asked| asked.limit.bytes_per_second).ok_or_else(|| wrong.join("; "))
    }

    #[test]
    fn the_standard_annotations_are_bits_and_the_older_ones_bytes() {
        for (text, bytes) in [("10M", 1_250_000), ("1000", 125), ("8Ki", 1024), ("1P", 125_000_000_000_000)] {
            assert_eq!(ingress("kubernetes.io/ingress-bandwidth", text), Ok(bytes), "{text}");
        }
        for (text, bytes) in [("10M", 10 << 20), ("1k", 1024), ("2G", 2 << 30)] {
            assert_eq!(ingress("k8s.aliyun.com/ingress-bandwidth", text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_key_and_value() {
        for (key, text) in [
            ("kubernetes.io/ingress-bandwidth", "999"),
            ("kubernetes.io/ingress-bandwidth", "2P"),
            ("kubernetes.io/ingress-bandwidth", "fast"),
            ("kubernetes.io/ingress-bandwidth", "-1M"),
            ("kubernetes.io/ingress-bandwidth", "9223372036854775808"),
            ("kubernetes.io/ingress-bandwidth", "9223372036854775808G"),
            ("k8s.aliyun.com/ingress-bandwidth", "18446744073709551616K"),
            ("k8s.aliyun.com/ingress-bandwidth", "10"),
            ("k8s.aliyun.com/ingress-bandwidth", "0M"),
        ] {
            let said = ingress(key, text).unwrap_err();
            assert!(said.contains(key) && said.contains(text) && said.contains("such as 10M"), "{said}");
        }
    }

    #[test]
    fn the_standard_annotation_goes_over_the_older_one() {
        let both = BTreeMap::from([
            ("k8s.aliyun.com/egress-bandwidth".to_owned(), "1M".to_owned()),
            ("kubernetes.io/egress-bandwidth".to_owned(), "8M".to_owned()),
        ]);
        let (ingress, egress, wrong) = limits(&both);
        assert_eq!((ingress, egress.map(|asked| asked.limit.bytes_per_second)), (None, Some(1_000_000)));
        assert!(wrong.is_empty());
    }
}
