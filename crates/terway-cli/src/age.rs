//! How long ago something was, in the one or two units a person reads at a glance.

use terway_types::Timestamp;

/// The time from `since` to `now`, e.g. `850ms`, `42s`, `3m10s`, `5h2m`, `12d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let passed = now.since(since);
    let seconds = passed.as_secs();
    match seconds {
        0 => format!("{}ms", passed.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two(many: u64, unit: &str, few: u64, small: &str) -> String {
    if few == 0 { format!("{many}{unit}") } else { format!("{many}{unit}{few}{small}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [
            (850, "850ms"),
            (42_000, "42s"),
            (190_000, "3m10s"),
            (120_000, "2m"),
            (18_120_000, "5h2m"),
            (1_036_800_000, "12d"),
            (1_040_400_000, "12d1h"),
        ];
        for (passed, text) in cases {
            assert_eq!(age(Timestamp(1000), Timestamp(1000 + passed)), text);
        }
        assert_eq!(age(Timestamp(5), Timestamp(0)), "0ms", "a clock that went back");
    }
}
