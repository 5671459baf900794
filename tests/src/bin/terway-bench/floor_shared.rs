//! The kernel floor of pods whose only link leads to the node: the requests of one ADD and DEL by policy routing, by VPC routes,
//! with a child of the ENI (IPVlan) and with a trunk that puts tags of a VLAN on, sent from a bare loop over open sockets, for both
//! families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use ipnetwork::IpNetwork;
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_datapath::kernel::nft::Nft;
use terway_datapath::kernel::objects::{Route, Rule, Scope};
use terway_datapath::kernel::request::{IpvlanMode, LinkChange, NewLink, Request};
use terway_datapath::kernel::{Action, Filter, Hook, InstalledFilter, Match};
use terway_rig::reader;
use terway_types::{IpFamily, MacAddr};

use crate::floor::{MAIN, Round, no_translation, of_all_pods, route, single, translation};
use crate::nic;

const NIC: &str = "sharednic";
const POD_END: &str = "eth0";
const HOST_END: &str = "califloor";
/// A child's first name: the node may have a link of the other one, and the kernel looks there.
const CHILD: &str = "floorchild";
/// The pod's addresses.
pub(crate) const POD: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 9, 2, 50)), IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x50))];
/// The table of the NIC, and where rules of pods are in the order of rules.
const TABLE: u32 = 1999;
const TO_POD: u32 = 512;
const FROM_POD: u32 = 2048;

/// The pods of all floors so far: their namespaces stay.
static PODS: AtomicUsize = AtomicUsize::new(0);

/// How a pod is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pair of links, rules by the pod's address, and the NIC's own table.
    PolicyRoute,
    /// A pair of links.
    VpcRoute,
    /// A child of the NIC, and another one on the node.
    Ipvlan(IpvlanMode),
    /// As by policy routing, with filters on the NIC that put the tag of a VLAN on what the pod sends and take it off.
    Tags,
}

/// One NIC stand-in, which stays on the node.
pub(crate) struct Floor {
    kind: Kind,
    nic: u32,
    socket: Netlink,
    filter: Nft,
}

impl Floor {
    /// Makes the NIC: one end on the node, the other in the VPC's namespace.
    pub(crate) fn new(kind: Kind, host: &Path, vpc: &Path) -> Result<Self> {
        nic::stand_in(host, vpc, [NIC, "sharedport"])?;
        reader::text(host, "ip", &["link", "set", NIC, "up"])?;
        let host = Netns::open(host)?;
        let (mut socket, mut filter) = (Netlink::open(&host)?, Nft::open(&host)?);
        filter.commit(&of_all_pods())?;
        let nic = socket.link_by_name(NIC)?.context("the NIC is not there")?.index;
        Ok(Self { kind, nic, socket, filter })
    }

    /// One ADD and one DEL for a fresh namespace.
    pub(crate) fn round(&mut self) -> Result<Round> {
        let pod = PODS.fetch_add(1, Ordering::Relaxed);
        let name = format!("/run/netns/floor-{:?}-{pod}", self.kind).replace(['(', ')'], "");
        let pod = Netns::create_named(name)?;
        let start = Instant::now();
        self.links(&pod)?;
        let links = start.elapsed();
        let mut inside = Netlink::open(&pod)?;
        let born_as = if self.is_child() { CHILD } else { POD_END };
        let end = inside.link_by_name(born_as)?.context("the pod has no link")?.index;
        inside.transact(&in_pod(end, (born_as != POD_END).then_some(POD_END))?)?;
        let near = self.socket.link_by_name(HOST_END)?.context("the node's end is not there")?.index;
        let mut requests = on_host(near);
        requests.extend(self.rules().iter().map(Request::add_rule));
        requests.extend(self.ways()?.iter().map(Request::replace_route));
        if self.kind == Kind::Tags {
            requests.push(Request::ensure_clsact(self.nic));
            requests.extend(tags().iter().map(|filter| Request::add_filter(self.nic, filter)));
        }
        self.socket.transact(&requests)?;
        if self.is_child() {
            self.filter.commit(&translation(&POD))?;
        }
        let add = start.elapsed();
        let start = Instant::now();
        let mut requests = vec![Request::delete_link(HOST_END)];
        requests.extend(self.tags()?.iter().map(|installed| Request::delete_filter(self.nic, installed)));
        requests.extend(self.rules().iter().map(Request::delete_rule));
        // What another route goes by is deleted after it.
        requests.extend(self.ways()?.iter().rev().map(Request::delete_route));
        self.socket.transact(&requests)?;
        if self.is_child() {
            inside.transact(&[Request::delete_link(POD_END)])?;
            self.filter.commit(&no_translation(&POD))?;
        }
        Ok(Round { add, del: start.elapsed(), links, own: links })
    }

    const fn is_child(&self) -> bool {
        matches!(self.kind, Kind::Ipvlan(_))
    }

    fn links(&mut self, pod: &Netns) -> Result<()> {
        let far = NewLink { name: POD_END, mtu: Some(1500), netns: Some(pod), ..NewLink::default() };
        let near = NewLink { name: HOST_END, up: true, mtu: Some(1500), ..NewLink::default() };
        let requests = match self.kind {
            Kind::PolicyRoute | Kind::VpcRoute | Kind::Tags => vec![Request::add_veth(&near, &far)],
            Kind::Ipvlan(mode) => {
                let child = NewLink { name: CHILD, ..far };
                [child, near].map(|end| Request::add_ipvlan(&end, self.nic, mode)).into()
            }
        };
        self.socket.transact(&requests)?;
        Ok(())
    }

    /// Which way from the pod and to it.
    fn rules(&self) -> Vec<Rule> {
        let of = |pod: IpAddr| {
            let (family, prefix) = (IpFamily::of(&pod), Some(IpNetwork::from(pod)));
            let to = Rule { to: prefix, ..Rule::lookup(family, TO_POD, MAIN) };
            let from = Rule { from: prefix, ..Rule::lookup(family, FROM_POD, TABLE) };
            match self.kind {
                Kind::PolicyRoute | Kind::Tags => vec![to, from],
                Kind::Ipvlan(IpvlanMode::L3s) => vec![Rule { oif: Some(NIC.to_owned()), ..from }],
                Kind::Ipvlan(IpvlanMode::L2) | Kind::VpcRoute => Vec::new(),
            }
        };
        POD.into_iter().flat_map(of).collect()
    }

    /// The ways out by the NIC, in its own table, if a rule leads there.
    fn ways(&self) -> Result<Vec<Route>> {
        if self.rules().is_empty() { Ok(Vec::new()) } else { of_nic(self.nic) }
    }

    /// The filters as the kernel has them: it deletes them by the handles it gave.
    fn tags(&mut self) -> Result<Vec<InstalledFilter>> {
        let mut all = Vec::new();
        if self.kind == Kind::Tags {
            for hook in [Hook::Egress, Hook::Ingress] {
                all.extend(self.socket.filters(self.nic, hook)?);
            }
        }
        Ok(all)
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
    all.extend(POD.map(|address| Request::add_address(end, single(address))));
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
    POD.into_iter().flat_map(way).collect()
}

/// Tags of a VLAN go on by the pod's address, and come off whatever has them.
fn tags() -> [Filter; 3] {
    let on = |priority, pod| Filter {
        hook: Hook::Egress,
        priority,
        matches: Match::From(single(pod)),
        actions: vec![Action::PushVlan(7)],
    };
    let off = Filter {
        hook: Hook::Ingress,
        priority: 20_000,
        matches: Match::Tagged,
        actions: vec![Action::PopVlan],
    };
    [on(50_001, POD[0]), on(50_002, POD[1]), off]
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
