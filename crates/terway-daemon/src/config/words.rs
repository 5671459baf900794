//! Texts inside the file's values: words of enums, durations, networks.

use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

/// One of an enum's words.
pub(super) fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::from(text))
}

/// A duration as Go writes it: `90s`, `1h30m`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"90s\" or \"1h30m\"");
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNetwork>, String> {
    text.split(',')
        .map(str::trim)
        .map(|part| {
            let network: IpNetwork =
                part.parse().map_err(|_| format!("{part:?} is not a CIDR such as \"172.21.0.0/20\""))?;
            let host_bits = network.network() != network.ip();
            if host_bits || !part.contains('/') {
                let meant = format!("{}/{}", network.network(), network.prefix());
                return Err(format!("{part:?} is not the start of a network; did you mean \"{meant}\"?"));
            }
            Ok(network)
        })
        .collect()
}

/// A share of something, from 0 to 1, in thousandths.
pub(super) fn permille(text: &str) -> Result<u16, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number such as \"0.1\""))?;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("{share} is not between 0 and 1"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let permille = (share * 1000.0).round() as u16;
    Ok(permille)
}
