//! Two nodes on one VPC, all three guests of the lab with kernels of their own: pods of the two exchange full-sized
//! packets. The same program runs in each; it is told which part it plays, and they wait for each other by files in a
//! folder that all see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/plan.rs"]
mod plan;
#[path = "../sandbox/verbs.rs"]
mod verbs;

mod meeting;
mod node;
mod vpc;

use std::env;
use std::process::ExitCode;

use libtest_mimic::Arguments;
use terway_types::Datapath;

use meeting::Meeting;
use needs::Need;
use node::{Node, Pod};

/// Set by the lab for what it runs in connected guests.
const TWO_GUESTS: Need = Need {
    what: "other node: two connected guests of the lab are two nodes",
    probe: "test -n \"$TERWAY_NODE\" && ip link show vec1",
};

const VLAN: Need = Need {
    what: "VLAN links (8021q)",
    probe: "ip link add link vec1 name probe type vlan id 5 && ip link del probe",
};

const IPVLAN: Need = Need {
    what: "IPVlan links (ipvlan)",
    probe: "ip link add link vec1 name probe type ipvlan mode l2 && ip link del probe",
};

/// Filters that put tags on and take them off.
const TAGS: Need = Need {
    what: "filters for VLAN tags (sch_ingress, cls_u32, act_vlan)",
    probe: "tc qdisc add dev vec1 clsact && \
            tc filter add dev vec1 egress protocol ip u32 match ip src 10.0.0.1/32 action vlan push id 7; \
            said=$?; tc qdisc del dev vec1 clsact; exit $said",
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: &[(&str, Datapath, &'static [Need])] = &[
        ("whole_enis", Datapath::Exclusive, &[TWO_GUESTS]),
        ("addresses_of_shared_enis", Datapath::PolicyRoute, &[TWO_GUESTS]),
        ("children_of_shared_enis", Datapath::Ipvlan, &[TWO_GUESTS, IPVLAN]),
        ("routed_children_of_shared_enis", Datapath::IpvlanL3s, &[TWO_GUESTS, IPVLAN]),
        ("members_of_trunks", Datapath::Vlan { id: 7 }, &[TWO_GUESTS, VLAN]),
        ("tagged_members_of_trunks", Datapath::VlanTag { id: 9 }, &[TWO_GUESTS, VLAN, TAGS]),
    ];
    let trials = tests.iter().map(|(name, datapath, needs)| {
        let (about, datapath) = (*name, *datapath);
        (needs::trial(about, move || talk(about, datapath)), *needs)
    });
    needs::run(&arguments, trials)
}

/// A pod on one node and one on the other hear each other, in both families, under the addresses they have.
fn talk(about: &'static str, datapath: Datapath) {
    let meeting = Meeting::new(about);
    let own = match env::var("TERWAY_NODE").unwrap().as_str() {
        "vpc" => return vpc::carry(datapath, &meeting),
        number => number.parse().unwrap(),
    };
    let node = Node::new(own);
    let pod = Pod::new("pod", datapath);
    let layout = node.add(&pod);
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    let [near, far] = [own, 3 - own].map(|node| node::addresses(datapath, node));
    for (near, far) in near.iter().zip(far.iter()) {
        meeting.talk(&pod.netns, near, far);
    }
    assert_eq!(node.check(&pod, &layout), Vec::<String>::new());
    node.del(pod);
}
