//! `inventory`: all ENIs looked at now and compared with the ledger. `drain`: the node goes away.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::{InspectReply, InspectRequest, RetireRequest};
use terway_types::{Fault, Timestamp};

use crate::age::age;
use crate::pool::FaultView;
use crate::screen::Screen;
use crate::table::properties;

#[derive(Serialize)]
pub(crate) struct Inventory {
    began_unix_ms: u64,
    took_ms: u64,
    enis: u32,
    foreign: Vec<String>,
    orphans: Vec<String>,
    missing: Vec<String>,
    cloud_fault: Option<FaultView>,
    metadata_macs: u32,
    metadata_fault: Option<FaultView>,
}

impl From<&InspectReply> for Inventory {
    fn from(reply: &InspectReply) -> Self {
        Self {
            began_unix_ms: reply.began_unix_ms,
            took_ms: reply.took_ms,
            enis: reply.enis,
            foreign: reply.foreign.clone(),
            orphans: reply.orphans.clone(),
            missing: reply.missing.clone(),
            cloud_fault: reply.cloud_fault.as_ref().map(FaultView::from),
            metadata_macs: reply.metadata_macs,
            metadata_fault: reply.metadata_fault.as_ref().map(FaultView::from),
        }
    }
}

impl Inventory {
    /// In one line.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let ago = age(Timestamp(self.began_unix_ms), now);
        match &self.cloud_fault {
            Some(fault) => format!("failed {ago} ago: {}", fault.line()),
            None => format!(
                "{} ENIs seen {ago} ago, {} of others, {} unknown to the ledger, {} not shown",
                self.enis,
                self.foreign.len(),
                self.orphans.len(),
                self.missing.len()
            ),
        }
    }
}

/// Asks and prints.
pub(crate) async fn run(client: &DaemonClient, screen: &mut Screen, now: Timestamp) -> Result<(), Fault> {
    let inventory = Inventory::from(&client.inspect(InspectRequest {}).await?);
    screen.show(&inventory, |inventory| text(inventory, now))
}

fn text(inventory: &Inventory, now: Timestamp) -> String {
    let metadata = match &inventory.metadata_fault {
        Some(fault) => fault.line(),
        None => format!("{} NICs listed", inventory.metadata_macs),
    };
    let list = |ids: &[String]| if ids.is_empty() { "-".to_owned() } else { ids.join(", ") };
    properties([
        ("cloud", inventory.line(now)),
        ("metadata", metadata),
        ("of others", list(&inventory.foreign)),
        ("unknown", list(&inventory.orphans)),
        ("not shown", list(&inventory.missing)),
    ])
}

#[derive(Serialize)]
struct Drained {
    in_use: u32,
}

/// Tells the daemon, and prints what still stands in the way.
pub(crate) async fn drain(client: &DaemonClient, screen: &mut Screen) -> Result<(), Fault> {
    let in_use = client.retire(RetireRequest {}).await?.in_use;
    screen.show(&Drained { in_use }, |drained| {
        format!(
            "no new pod is served; {} attachments still hold ENIs, which go as they are released",
            drained.in_use
        )
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::pool::samples::NOW;

    #[test]
    fn what_was_seen_and_what_differs() {
        let reply = InspectReply {
            began_unix_ms: NOW - 150,
            took_ms: 150,
            enis: 4,
            foreign: vec!["eni-x".into()],
            orphans: vec!["eni-y".into(), "eni-z".into()],
            metadata_macs: 3,
            ..Default::default()
        };
        assert_snapshot!(text(&Inventory::from(&reply), Timestamp(NOW)), @r"
        cloud      4 ENIs seen 150ms ago, 1 of others, 2 unknown to the ledger, 0 not shown
        metadata   3 NICs listed
        of others  eni-x
        unknown    eni-y, eni-z
        not shown  -
        ");
        let fault =
            terway_rpc::wire::Fault { code: "cloud-denied".into(), what: "no".into(), ..Default::default() };
        let failed = InspectReply { cloud_fault: Some(fault), ..reply };
        assert!(
            text(&Inventory::from(&failed), Timestamp(NOW))
                .starts_with("cloud      failed 150ms ago: cloud-denied: no")
        );
    }
}
