//! How long a caller waits, as gRPC tells it.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The longest wait: the Go plugin gives up after 120 s in all.
const LONGEST: Duration = Duration::from_secs(115);

/// How long an answer may take: what the caller allows less what the answer's way back needs, so that the
/// reason arrives and not just the caller's own time-out.
pub fn patience(metadata: &MetadataMap) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
    let Some(asked) = asked else { return LONGEST };
    let way_back = (asked / 20).clamp(Duration::from_millis(20), Duration::from_secs(2));
    asked.saturating_sub(way_back).min(LONGEST)
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(count),
        "M" => Duration::from_mins(count),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(parse("10m"), Some(Duration::from_millis(10)));
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1ü"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_answer_leaves_before_the_caller_does() {
        let with = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            patience(&metadata)
        };
        assert_eq!(patience(&MetadataMap::new()), LONGEST);
        assert_eq!(with("20S"), Duration::from_secs(19));
        assert_eq!(with("1H"), LONGEST);
        assert_eq!(with("10m"), Duration::ZERO);
    }
}
