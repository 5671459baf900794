//! Whether anybody still talks to an address that rests: connection tracking of the node's namespace, where the
//! kernel shows it. Read only while something rests.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use terway_pool::{Event, Pool};
use terway_types::{AddressPhase, EniPhase, Timestamp};

use crate::driver::DriverHandle;

/// Pause between two readings.
const PAUSE: Duration = Duration::from_secs(10);

/// Where the kernel lists connections, if it was built to.
pub const CONNECTIONS: &str = "/proc/net/nf_conntrack";

/// Offers evidence until the driver ends. Without a list of connections there is none to offer, which is said
/// once.
pub async fn offer(driver: DriverHandle, connections: PathBuf) {
    if std::fs::File::open(&connections).is_err() {
        let path = connections.display();
        tracing::info!(
            "the kernel lists no connections at {path}: released addresses rest for their least time"
        );
        return;
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        match driver.look(resting).await {
            Ok(resting) if !resting.is_empty() => {
                let Ok(text) = tokio::fs::read_to_string(&connections).await else { continue };
                let addresses = mentioned(&text, &resting);
                if !addresses.is_empty() {
                    driver.tell(Event::Mentioned { addresses });
                }
            }
            Err(_) if driver.ended() => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Addresses that nobody holds and nobody may have yet.
fn resting(pool: &Pool, now: Timestamp) -> BTreeSet<IpAddr> {
    let mut resting = BTreeSet::new();
    for eni in pool.view(now).enis {
        if matches!(eni.record.phase, EniPhase::Quarantined { .. }) {
            resting.extend(eni.record.addresses.iter());
        }
        let singles = eni.addresses.iter().map(|address| &address.record);
        let quiet = singles.filter(|record| matches!(record.phase, AddressPhase::Quarantined { .. }));
        resting.extend(quiet.map(|record| record.address));
    }
    resting
}

/// Those of them that some connection has as an end: `src=` and `dst=` of both directions.
fn mentioned(connections: &str, resting: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let ends = connections.split_ascii_whitespace().filter_map(|field| {
        let address = field.strip_prefix("src=").or_else(|| field.strip_prefix("dst="))?;
        address.parse::<IpAddr>().ok()
    });
    let found: BTreeSet<_> = ends.filter(|address| resting.contains(address)).collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_connections_are_mentioned() {
        let text = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.7 sport=1 dport=2 \
                    src=10.0.0.7 dst=10.0.0.1 sport=2 dport=1 [ASSURED] mark=0 use=1\n\
                    ipv6     10 udp      17 29 src=fd00:0000:0000:0000:0000:0000:0000:0008 dst=fd00::1 sport=1 dport=2\n";
        let resting: BTreeSet<IpAddr> =
            ["10.0.0.7", "10.0.0.8", "fd00::8"].map(|text| text.parse().unwrap()).into();
        let found: Vec<_> = mentioned(text, &resting).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.7", "fd00::8"]);
    }
}
