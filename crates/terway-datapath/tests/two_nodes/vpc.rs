//! The VPC between two nodes: it has the gateways' addresses and knows whose addresses are behind which ENI. All that
//! pods send to each other goes by it.

use std::fs;
use std::thread;
use std::time::Duration;

use terway_types::Datapath;

use crate::meeting::Meeting;
use crate::node::{GATEWAY, addresses, mac, run};

/// Carries what such pods of the two nodes send, until each has heard the other.
pub(crate) fn carry(datapath: Datapath, meeting: &Meeting) {
    for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
    }
    let link = match datapath {
        Datapath::Exclusive => "vec0".to_owned(),
        Datapath::Vlan { id } | Datapath::VlanTag { id } => {
            run(&format!("ip link set vec1 up && ip link add link vec1 name vec1.{id} type vlan id {id}"));
            format!("vec1.{id}")
        }
        _ => "vec1".to_owned(),
    };
    // A gateway that told pods of a shorter way would not be one of a VPC.
    for scope in ["all", &link] {
        fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/send_redirects"), "0").unwrap();
    }
    run(&format!("ip link set {link} up"));
    for gateway in addresses(datapath, GATEWAY).iter() {
        let (length, flag) = if gateway.is_ipv4() { (24, "") } else { (64, "nodad") };
        run(&format!("ip addr add {gateway}/{length} dev {link} {flag}"));
    }
    if matches!(datapath, Datapath::VlanTag { .. }) {
        // A trunk asks for its own gateway without a tag.
        for gateway in addresses(datapath, GATEWAY).iter() {
            run(&format!("ip addr add {gateway} dev vec1 nodad"));
        }
    }
    let pods = [1, 2].map(|node| (mac(node, datapath), addresses(datapath, node)));
    for (mac, addresses) in &pods {
        for address in addresses.iter() {
            run(&format!("ip neigh replace {address} lladdr {mac} dev {link} nud permanent"));
        }
    }
    let all: Vec<_> = pods.iter().flat_map(|(_, addresses)| addresses.iter()).collect();
    while !meeting.have_heard(&all) {
        thread::park_timeout(Duration::from_millis(50));
    }
}
