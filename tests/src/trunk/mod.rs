//! Two nodes whose pods are members of trunk ENIs, and the VPC between them. Nobody makes such members yet, so a
//! stand-in for the daemon hands them out; the plugin and all it does to the kernel are the shipped ones.

mod daemon;
mod vpc;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;
use terway_datapath::kernel::Netns;
use terway_datapath::symmetric::{self, SymmetricRouting};
use terway_rpc::wire::{AddressPair, BasicInfo, EniInfo, Interface};

use crate::cloud::Cloud;
use crate::node::Node;
use crate::{kernel, namespace, reader};

/// The gateways of the pods' vSwitch, which is the trunks' too.
pub const GATEWAYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 1, 15, 253)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0xffff, 0xffff, 0xffff, 0xfffd)),
];

/// What the kernel has not, of what members need that have links for their VLANs or, without, tags that the trunk puts on.
/// The VPC's side has such links in any case.
pub fn lacking(vlan_links: bool) -> Result<Option<&'static str>> {
    Ok(if !kernel::has_vlan()? {
        Some("VLAN links")
    } else if !vlan_links && !kernel::has_tags()? {
        Some("filters for VLAN tags")
    } else {
        None
    })
}

/// Members that each trunk carries.
const MEMBERS: u8 = 4;

/// The two nodes.
#[derive(Debug)]
pub struct Trunks {
    /// Without a daemon; the stand-in is at their sockets.
    pub nodes: Vec<Node>,
    /// The VPC's namespace.
    pub vpc: PathBuf,
}

/// A member of a trunk: what the VPC and the daemon know of it.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// The node its trunk is attached to.
    node: u8,
    vlan: u16,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Trunks {
    /// Makes VPC and nodes below `directory`. Pods get links for their VLANs or, without, have their tags put on and
    /// taken off by the trunk.
    pub fn start(name: &str, vlan_links: bool, binaries: &Path, directory: &Path) -> Result<Self> {
        let netns = |part: &str| PathBuf::from(format!("/run/netns/{name}-{part}"));
        let vpc = netns("vpc");
        namespace::create(&vpc)?;
        let mut nodes = Vec::new();
        for number in [1, 2] {
            let own = netns(&format!("node{number}"));
            namespace::create(&own)?;
            let home = directory.join(name).join(format!("node{number}"));
            let node = Node::new(Cloud::default(), &format!("node{number}"), &own, home, binaries)?;
            node.tell_plugin("vlan_strip_type", json!(if vlan_links { "vlan" } else { "filter" }))?;
            vpc::attach(number, &own, &vpc)?;
            let members: Vec<_> = members(number).collect();
            vpc::carry(&members, &vpc)?;
            answer_by_the_own_nic(&own)?;
            daemon::serve(&node.socket(), members.iter().map(Member::interface).collect())?;
            nodes.push(node);
        }
        vpc::guard(&[1, 2].into_iter().flat_map(members).collect::<Vec<_>>(), &vpc)?;
        Ok(Self { nodes, vpc })
    }

    /// The nodes' own addresses.
    pub fn addresses() -> Vec<[IpAddr; 2]> {
        [1, 2].map(|number| vpc::node(number).into()).to_vec()
    }
}

/// As the daemon does where the configuration has `symmetric_routing`.
fn answer_by_the_own_nic(node: &Path) -> Result<()> {
    let wanted =
        SymmetricRouting { uplink: "eth0".to_owned(), mark: 0x10, mask: 0x10, table: 100, priority: 600 };
    symmetric::install(&wanted, &Netns::open(node)?)?;
    reader::text(node, "ip", &["link", "set", "lo", "up"]).map(drop)
}

fn members(node: u8) -> impl Iterator<Item = Member> {
    (0..MEMBERS).map(move |number| {
        let host = 10 * node + number;
        Member {
            node,
            vlan: host.into(),
            v4: Ipv4Addr::new(10, 1, 0, host),
            v6: Ipv6Addr::new(0xfd00, 0x10, 0, 1, 0, 0, 0, host.into()),
        }
    })
}

impl Member {
    /// As the daemon tells the plugin.
    fn interface(&self) -> Interface {
        let pair = |ipv4: String, ipv6: String| Some(AddressPair { ipv4, ipv6 });
        let gateways = || pair(GATEWAYS[0].to_string(), GATEWAYS[1].to_string());
        Interface {
            basic: Some(BasicInfo {
                pod_ip: pair(self.v4.to_string(), self.v6.to_string()),
                pod_cidr: pair("10.1.0.0/20".to_owned(), "fd00:10:0:1::/64".to_owned()),
                gateway: gateways(),
                service_cidr: pair("172.16.0.0/16".to_owned(), "fd00:5e::/108".to_owned()),
            }),
            eni: Some(EniInfo {
                mac: vpc::trunk_mac(self.node),
                trunk: true,
                vlan_id: self.vlan.into(),
                gateway: gateways(),
                id: format!("member-{}", self.vlan),
                nic_kinds: vec!["veth".to_owned()],
                ..EniInfo::default()
            }),
            default_route: true,
            ..Interface::default()
        }
    }
}
