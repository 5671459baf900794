//! A new ledger for a node in VPC mode, pure: no cloud knows which pod has which address, only the routes to pods do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_pool::node_record;
use terway_types::{
    AddressPhase, AddressRecord, Addresses, AttachmentKey, AttachmentRecord, EniRecord, PodRef, PrefixPhase,
    PrefixRecord, Subnets, Timestamp,
};

use super::kernel::Traces;
use super::rebuild::Rebuilt;

/// Gives every address of the ranges that a route leads to back to the attachment whose link it leads to.
pub fn rebuild_routed(ranges: Subnets, traces: &Traces, now: Timestamp) -> Rebuilt {
    let node = node_record(now, ranges);
    let mut done = Rebuilt::default();
    let mut taken = BTreeSet::new();
    for link in &traces.nameless {
        done.uncertain
            .push(format!("host link {link} is of an attachment whose name is too long to be read back"));
    }
    for (key, routed) in &traces.holders {
        let own = |address: &&IpAddr| ranges.iter().any(|net| net.contains(**address));
        for address in routed.iter().filter(|address| !own(address)) {
            done.uncertain
                .push(format!("{key} has {address}, which is of no --pod-cidr; the pod must be made anew"));
        }
        let addresses = pair(routed.iter().filter(own));
        if addresses.is_empty() {
            done.uncertain.push(format!(
                "attachment {key} has a host link and no address of a --pod-cidr is routed to it"
            ));
        } else if let Some(twice) = addresses.iter().find(|address| taken.contains(address)) {
            done.uncertain.push(format!("{twice} is routed to {key} too; kept for the first"));
        } else {
            taken.extend(addresses.iter());
            done.certain.push(format!("{key} holds {}", words(addresses)));
            hold(&mut done, key, &node, addresses);
        }
    }
    let prefix = |net: IpNetwork| PrefixRecord {
        prefix: net,
        eni: node.token.clone(),
        phase: PrefixPhase::Ready,
        since: now,
    };
    done.snapshot.prefixes.extend(ranges.iter().map(prefix));
    done.snapshot.addresses.sort_by_key(|record| record.address);
    done.snapshot.enis.push(node);
    done
}

fn pair<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> Addresses {
    addresses.fold(Addresses::default(), |pair, address| match address {
        IpAddr::V4(v4) => Addresses { v4: Some(*v4), ..pair },
        IpAddr::V6(v6) => Addresses { v6: Some(*v6), ..pair },
    })
}

fn words(addresses: Addresses) -> String {
    addresses.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" and ")
}

/// Notes that an attachment holds these addresses of the node's own NIC.
fn hold(done: &mut Rebuilt, key: &AttachmentKey, node: &EniRecord, addresses: Addresses) {
    let (eni, since) = (node.token.clone(), node.since);
    done.snapshot.addresses.extend(addresses.iter().map(|address| AddressRecord {
        address,
        eni: eni.clone(),
        phase: AddressPhase::InUse(key.clone()),
        since,
    }));
    done.snapshot.attachments.push(AttachmentRecord {
        key: key.clone(),
        // The kernel does not know pods by name; the runtime's DEL names the sandbox, which is enough.
        pod: PodRef::default(),
        netns: String::new(),
        eni,
        addresses,
        claim: None,
        since,
    });
}

#[cfg(test)]
mod tests {
    use terway_types::{ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn pods_keep_what_is_routed_to_them_and_doubts_are_told() {
        let key = |container: &str| AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let holder = |name: &str, texts: &[&str]| {
            (key(name), texts.iter().map(|text| text.parse().unwrap()).collect())
        };
        let traces = Traces {
            holders: [
                holder("a", &["10.9.1.2", "fd00:9::2"]),
                holder("b", &["10.9.1.2"]),
                holder("c", &["10.8.1.2"]),
                holder("d", &["10.9.1.3"]),
            ]
            .into(),
            ..Traces::default()
        };
        let ranges = Subnets::new("10.9.1.0/24".parse().ok(), "fd00:9::/64".parse().ok());
        let rebuilt = rebuild_routed(ranges, &traces, Timestamp(7));
        let held: Vec<_> = rebuilt
            .snapshot
            .addresses
            .iter()
            .map(|held| format!("{} {:?}", held.address, held.phase.name()))
            .collect();
        assert_eq!(held, ["10.9.1.2 \"InUse\"", "10.9.1.3 \"InUse\"", "fd00:9::2 \"InUse\""]);
        assert_eq!(
            rebuilt.certain,
            ["terway/a/eth0 holds 10.9.1.2 and fd00:9::2", "terway/d/eth0 holds 10.9.1.3"]
        );
        assert_eq!(rebuilt.uncertain.len(), 3, "{:?}", rebuilt.uncertain);
        assert_eq!((rebuilt.snapshot.enis.len(), rebuilt.snapshot.prefixes.len()), (1, 2));
    }
}
