//! The kernel floor of pods without an ENI of their own: the requests of one ADD and DEL by policy routing, by VPC routes and
//! with a child of the ENI (IPVlan), sent from a bare loop over open sockets, for both families.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipnetwork::IpNetwork;
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_datapath::kernel::objects::{Route, Rule, Scope};
use terway_datapath::kernel::request::{IpvlanMode, LinkChange, NewLink, Request};
use terway_rig::reader;
use terway_types::{IpFamily, MacAddr};

use crate::floor::{POD4, POD6, route, single};

const NIC: &str = "sharednic";
const POD_END: &str = "eth0";
const HOST_END: &str = "califloor";
/// A child's first name: the node may have a link of the other one, and the kernel looks there.
const CHILD: &str = "floorchild";
/// The table of the NIC, and where rules of pods are in the order of rules.
const TABLE: u32 = 1999;
const TO_POD: u32 = 512;
const FROM_POD: u32 = 2048;

/// How a pod is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pair of links, rules by the pod's address, and the NIC's own table.
    PolicyRoute,
    /// A pair of links.
    VpcRoute,
    /// A child of the NIC, and another one on the node.
    Ipvlan,
}

/// One NIC stand-in, which stays on the node.
pub(crate) struct Floor {
    kind: Kind,
    nic: u32,
    socket: Netlink,
    pods: usize,
}

/// The time of one ADD and one DEL.
pub(crate) struct Round {
    pub(crate) add: Duration,
    pub(crate) del: Duration,
}

impl Floor {
    /// Makes the NIC: one end on the node, the other in the VPC's namespace.
    pub(crate) fn new(kind: Kind, host: &Path, vpc: &Path) -> Result<Self> {
        let name =
            vpc.file_name().and_then(|name| name.to_str()).context("the VPC's namespace has no name")?;
        let pair = ["link", "add", NIC, "type", "veth", "peer", "name", "sharedport", "netns", name];
        reader::text(host, "ip", &pair)?;
        reader::text(host, "ip", &["link", "set", NIC, "up"])?;
        reader::text(vpc, "ip", &["link", "set", "sharedport", "up"])?;
        let mut socket = Netlink::open(&Netns::open(host)?)?;
        let nic = socket.link_by_name(NIC)?.context("the NIC is not there")?.index;
        Ok(Self { kind, nic, socket, pods: 0 })
    }

    /// One ADD and one DEL for a fresh namespace.
    pub(crate) fn round(&mut self) -> Result<Round> {
        self.pods += 1;
        let pod = Netns::create_named(format!("/run/netns/floor-{:?}-{}", self.kind, self.pods))?;
        let start = Instant::now();
        self.links(&pod)?;
        let mut inside = Netlink::open(&pod)?;
        let born_as = if self.kind == Kind::Ipvlan { CHILD } else { POD_END };
        let end = inside.link_by_name(born_as)?.context("the pod has no link")?.index;
        inside.transact(&in_pod(end, (born_as != POD_END).then_some(POD_END))?)?;
        let near = self.socket.link_by_name(HOST_END)?.context("the node's end is not there")?.index;
        let mut requests = on_host(near);
        if self.kind == Kind::PolicyRoute {
            requests.extend(rules().iter().map(Request::add_rule));
            requests.extend(of_nic(self.nic)?.iter().map(Request::replace_route));
        }
        self.socket.transact(&requests)?;
        let add = start.elapsed();
        let start = Instant::now();
        let mut requests = vec![Request::delete_link(HOST_END)];
        if self.kind == Kind::PolicyRoute {
            requests.extend(rules().iter().map(Request::delete_rule));
            // What another route goes by is deleted after it.
            requests.extend(of_nic(self.nic)?.iter().rev().map(Request::delete_route));
        }
        self.socket.transact(&requests)?;
        if self.kind == Kind::Ipvlan {
            inside.transact(&[Request::delete_link(POD_END)])?;
        }
        Ok(Round { add, del: start.elapsed() })
    }

    fn links(&mut self, pod: &Netns) -> Result<()> {
        let far = NewLink { name: POD_END, mtu: Some(1500), netns: Some(pod), ..NewLink::default() };
        let near = NewLink { name: HOST_END, up: true, mtu: Some(1500), ..NewLink::default() };
        let requests = match self.kind {
            Kind::PolicyRoute | Kind::VpcRoute => vec![Request::add_veth(&near, &far)],
            Kind::Ipvlan => {
                let child = NewLink { name: CHILD, ..far };
                [child, near].map(|end| Request::add_ipvlan(&end, self.nic, IpvlanMode::L2)).into()
            }
        };
        self.socket.transact(&requests)?;
        Ok(())
    }
}

/// The node as its pods see it.
fn hops() -> Result<[IpAddr; 2]> {
    Ok(["169.254.1.1".parse()?, "fe80::1".parse()?])
}

/// Addresses, and the node as the only next hop; the link's name, if it has to get one.
fn in_pod(end: u32, name: Option<&str>) -> Result<Vec<Request>> {
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let mut all = vec![Request::set_link("lo", &up), Request::set_link(end, &LinkChange { name, ..up })];
    all.extend([POD4, POD6].map(|address| Request::add_address(end, single(address))));
    for (hop, any) in hops()?.into_iter().zip(["0.0.0.0/0", "::/0"]) {
        all.push(Request::replace_neighbour(end, hop, mac));
        all.push(Request::add_route(&route(any.parse()?, Some(hop), end)));
    }
    Ok(all)
}

/// The way to the pod.
fn on_host(near: u32) -> Vec<Request> {
    let mac = MacAddr([2, 0, 0, 0, 0, 2]);
    let way = |pod| {
        [Request::replace_neighbour(near, pod, mac), Request::add_route(&route(single(pod), None, near))]
    };
    [POD4, POD6].into_iter().flat_map(way).collect()
}

fn rules() -> Vec<Rule> {
    let of = |pod: IpAddr| {
        let family = IpFamily::of(&pod);
        let prefix = Some(IpNetwork::from(pod));
        [
            Rule { to: prefix, ..Rule::lookup(family, TO_POD, crate::floor::MAIN) },
            Rule { from: prefix, ..Rule::lookup(family, FROM_POD, TABLE) },
        ]
    };
    [POD4, POD6].into_iter().flat_map(of).collect()
}

/// The ways out by the NIC, in its own table.
fn of_nic(nic: u32) -> Result<Vec<Route>> {
    let gateways: [IpAddr; 2] = ["10.9.2.253".parse()?, "fd00:9::fffd".parse()?];
    let of_table = |route: Route| Route { table: TABLE, ..route };
    Ok(vec![
        of_table(route("0.0.0.0/0".parse()?, Some(gateways[0]), nic)),
        of_table(Route { scope: Scope::Universe, ..route(single(gateways[1]), None, nic) }),
        of_table(Route { onlink: false, ..route("::/0".parse()?, Some(gateways[1]), nic) }),
    ])
}
