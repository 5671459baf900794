//! `show addresses`: every address of every ENI, who holds it, and where it is in its life.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::{AddressView, EniView, PoolView, StatusRequest};
use terway_types::{Fault, Timestamp};

use crate::age::age;
use crate::pool::{self, Attachment, Pod};
use crate::screen::Screen;
use crate::table::Table;

#[derive(Serialize)]
struct Eni {
    id: Option<String>,
    phase: String,
    vswitch: String,
    idle: usize,
    in_use: usize,
    resting: usize,
    prefixes: Vec<Prefix>,
    addresses: Vec<Address>,
}

#[derive(Serialize)]
struct Prefix {
    prefix: String,
    phase: String,
}

#[derive(Serialize)]
struct Address {
    #[serde(rename = "address")]
    text: String,
    phase: String,
    since_unix_ms: u64,
    rests_until_unix_ms: Option<u64>,
    attachment: Option<Attachment>,
    pod: Option<Pod>,
}

/// Asks and prints.
pub(crate) async fn run(client: &DaemonClient, screen: &mut Screen, now: Timestamp) -> Result<(), Fault> {
    let pool = client.status(StatusRequest {}).await?.pool.unwrap_or_default();
    screen.show(&view(&pool), |enis| text(enis, now))
}

fn view(pool: &PoolView) -> Vec<Eni> {
    let mut enis: Vec<Eni> = pool.enis.iter().map(eni).collect();
    enis.sort_by(|left, right| (left.id.is_none(), &left.id).cmp(&(right.id.is_none(), &right.id)));
    enis
}

fn eni(view: &EniView) -> Eni {
    let addresses: Vec<Address> = if view.shared_addresses.is_empty() {
        whole(view)
    } else {
        view.shared_addresses.iter().map(address).collect()
    };
    let count = |phase: &str| addresses.iter().filter(|address| address.phase == phase).count();
    Eni {
        id: pool::some(&view.id),
        phase: view.phase.clone(),
        vswitch: view.vswitch.clone(),
        idle: count("Idle") + count("Ready"),
        in_use: count("InUse"),
        resting: count("Quarantined"),
        prefixes: view
            .prefixes
            .iter()
            .map(|prefix| Prefix { prefix: prefix.prefix.clone(), phase: prefix.phase.clone() })
            .collect(),
        addresses,
    }
}

/// Of a whole ENI, which is where its addresses are.
fn whole(view: &EniView) -> Vec<Address> {
    let pair = view.addresses.clone().unwrap_or_default();
    let one = |text: String| Address {
        text,
        phase: view.phase.clone(),
        since_unix_ms: view.since_unix_ms,
        rests_until_unix_ms: (view.rests_until_unix_ms > 0).then_some(view.rests_until_unix_ms),
        attachment: view.attachment.as_ref().map(Attachment::from),
        pod: pool::pod(&view.pod_namespace, &view.pod_name),
    };
    [pair.ipv4, pair.ipv6].into_iter().filter(|address| !address.is_empty()).map(one).collect()
}

fn address(view: &AddressView) -> Address {
    Address {
        text: view.address.clone(),
        phase: view.phase.clone(),
        since_unix_ms: view.since_unix_ms,
        rests_until_unix_ms: (view.rests_until_unix_ms > 0).then_some(view.rests_until_unix_ms),
        attachment: view.attachment.as_ref().map(Attachment::from),
        pod: pool::pod(&view.pod_namespace, &view.pod_name),
    }
}

fn text(enis: &[Eni], now: Timestamp) -> String {
    let mut heads = Table::new(&["ENI", "PHASE", "VSWITCH", "IN USE", "IDLE", "RESTING", "PREFIXES"]);
    let mut table = Table::new(&["ADDRESS", "ENI", "PHASE", "FOR", "RESTS", "POD", "ATTACHMENT"]);
    for eni in enis {
        let id = eni.id.clone().unwrap_or_default();
        let prefixes = eni.prefixes.iter().map(|prefix| format!("{} {}", prefix.prefix, prefix.phase));
        heads.row([
            id.clone(),
            eni.phase.clone(),
            eni.vswitch.clone(),
            eni.in_use.to_string(),
            eni.idle.to_string(),
            eni.resting.to_string(),
            prefixes.collect::<Vec<_>>().join(", "),
        ]);
        for address in &eni.addresses {
            table.row([
                address.text.clone(),
                id.clone(),
                address.phase.clone(),
                age(Timestamp(address.since_unix_ms), now),
                address.rests_until_unix_ms.map(|until| age(now, Timestamp(until))).unwrap_or_default(),
                address.pod.as_ref().map(Pod::full_name).unwrap_or_default(),
                address.attachment.as_ref().map(Attachment::short).unwrap_or_default(),
            ]);
        }
    }
    format!("{}\n\n{}", heads.render(), table.render())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::pool::samples;

    #[test]
    fn addresses_of_shared_and_of_whole_enis() {
        assert_snapshot!(text(&view(&samples::shared_pool()), Timestamp(samples::NOW)), @r"
        ENI    PHASE  VSWITCH  IN USE  IDLE  RESTING  PREFIXES
        eni-s  Ready  vsw-a    3       1     1        10.0.0.32/28 Ready

        ADDRESS   ENI    PHASE        FOR  RESTS  POD          ATTACHMENT
        10.0.0.7  eni-s  InUse        10s  -      default/web  c0ffeec0ffee/eth0
        10.0.0.8  eni-s  Quarantined  10s  20s    -            -
        10.0.0.9  eni-s  Idle         10s  -      -            -
        fd00::7   eni-s  InUse        10s  -      default/web  c0ffeec0ffee/eth0
        10.0.0.6  eni-s  InUse        10s  -      default/db   decafdecafde/eth0
        ");
        let whole = text(&view(&samples::pool()), Timestamp(samples::NOW));
        let row = ["10.0.0.7", "eni-a", "InUse", "42s", "-", "default/web", "c0ffeec0ffee/eth0"];
        assert!(whole.lines().any(|line| line.split_whitespace().eq(row)), "{whole}");
    }

    #[test]
    fn json_has_every_address() {
        let json = serde_json::to_value(view(&samples::shared_pool())).unwrap();
        assert_eq!(json[0]["in_use"], 3);
        assert_eq!(json[0]["addresses"][0]["pod"]["name"], "web");
        assert_eq!(json[0]["addresses"][1]["rests_until_unix_ms"], samples::NOW + 20_000);
    }
}
