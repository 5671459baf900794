//! The kernel floor of pods with a link to the VPC of their own, which is a whole ENI or carries one VLAN of a trunk: the requests
//! of one ADD and DEL, sent from a bare loop over open sockets. No process is started, nothing is validated, read back,
//! recorded or answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipnetwork::IpNetwork;
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Element, Family, Hook, Kind, Map, Nft, Policy, RuleBody, Table, priority,
};
use terway_datapath::kernel::objects::{Route, RouteKind, Scope};
use terway_datapath::kernel::request::{LinkChange, NewLink, Request};
use terway_rig::reader;

use crate::nic;

pub(crate) const MAIN: u32 = 254;
const NIC: &str = "floornic";
/// A VLAN link's first name: the node may have a link of the other one, and the kernel looks there.
const CHILD: &str = "floorchild";
/// The VLAN.
const ID: u16 = 7;

/// The pods of all floors so far: their namespaces stay.
static PODS: AtomicUsize = AtomicUsize::new(0);

/// What the pod's own link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// The NIC itself, moved in and home.
    Nic,
    /// A link for a VLAN of the NIC, made in the pod.
    Vlan,
}

/// One NIC stand-in on a node, whose pods come and go.
pub(crate) struct Floor {
    own: Own,
    host: Netns,
    socket: Netlink,
    filter: Nft,
}

/// The time of one ADD and one DEL, and of parts of the ADD: in which links were made and moved, and of that, in which the
/// pod got its own link: of a whole ENI, its move.
pub(crate) struct Round {
    pub(crate) add: Duration,
    pub(crate) del: Duration,
    pub(crate) links: Duration,
    pub(crate) own: Duration,
}

impl Floor {
    /// Makes the NIC: one end on the node, the other in the VPC's namespace.
    pub(crate) fn new(own: Own, host: &Path, vpc: &Path) -> Result<Self> {
        nic::stand_in(host, vpc, [NIC, "floorport"])?;
        if own == Own::Vlan {
            reader::text(host, "ip", &["link", "set", NIC, "up"])?;
        }
        let host = Netns::open(host)?;
        let (socket, mut filter) = (Netlink::open(&host)?, Nft::open(&host)?);
        filter.commit(&of_all_pods())?;
        Ok(Self { own, host, socket, filter })
    }

    /// One ADD and one DEL for a fresh namespace.
    pub(crate) fn round(&mut self) -> Result<Round> {
        self.round_after(|| ())
    }

    /// The same, after a rest that the namespace lies before.
    pub(crate) fn round_after(&mut self, rest: impl FnOnce()) -> Result<Round> {
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        let pod = Netns::create_named(format!("/run/netns/floor-{number}"))?;
        let nic = self.socket.link_by_name(NIC)?.context("the NIC is not at home")?.index;
        rest();
        let start = Instant::now();
        let own = self.give(nic, &pod)?;
        let far = NewLink { name: "veth1", mtu: Some(1500), netns: Some(&pod), ..NewLink::default() };
        let near = NewLink { name: "califloor", up: true, mtu: Some(1500), ..NewLink::default() };
        self.socket.transact(&[Request::add_veth(&near, &far)])?;
        let links = start.elapsed();
        let mut inside = Netlink::open(&pod)?;
        let requests = in_pod(&mut inside, self.own)?;
        inside.transact(&requests)?;
        let near = self.socket.link_by_name("califloor")?.context("the pair is not there")?.index;
        self.socket.transact(&on_host(near))?;
        self.filter.commit(&translation())?;
        let add = start.elapsed();
        let eth0 = inside.link_by_name("eth0")?.context("the pod has no link of its own")?.index;
        let start = Instant::now();
        let home =
            LinkChange { name: Some(NIC), netns: Some(&self.host), up: Some(false), ..LinkChange::default() };
        inside.transact(&[match self.own {
            Own::Nic => Request::set_link(eth0, &home),
            Own::Vlan => Request::delete_link(eth0),
        }])?;
        self.socket.transact(&[Request::delete_link("califloor")])?;
        self.filter.commit(&no_translation())?;
        let del = start.elapsed();
        Ok(Round { add, del, links, own })
    }

    /// Gives the pod its own link, and tells how long that took.
    fn give(&mut self, nic: u32, pod: &Netns) -> Result<Duration> {
        let start = Instant::now();
        let into =
            LinkChange { name: Some("eth0"), netns: Some(pod), up: Some(true), ..LinkChange::default() };
        let child = NewLink { name: CHILD, netns: Some(pod), ..NewLink::default() };
        self.socket.transact(&[match self.own {
            Own::Nic => Request::set_link(nic, &into),
            Own::Vlan => Request::add_vlan(&child, nic, ID),
        }])?;
        Ok(start.elapsed())
    }
}

pub(crate) fn single(address: IpAddr) -> IpNetwork {
    address.into()
}

pub(crate) fn route(destination: IpNetwork, gateway: Option<IpAddr>, oif: u32) -> Route {
    let link_scope = gateway.is_none() && destination.is_ipv4();
    Route {
        destination,
        kind: RouteKind::Unicast,
        gateway,
        oif: Some(oif),
        table: MAIN,
        prefsrc: None,
        scope: if link_scope { Scope::Link } else { Scope::Universe },
        protocol: 157,
        metric: 0,
        onlink: gateway.is_some(),
    }
}

pub(crate) const POD4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 2, 50));
pub(crate) const POD6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x50));

/// Addresses, routes and neighbours of both links in the pod, both families.
fn in_pod(socket: &mut Netlink, own: Own) -> Result<Vec<Request>> {
    let born_as = if own == Own::Vlan { CHILD } else { "eth0" };
    let eth0 = socket.link_by_name(born_as)?.context("the pod has no link of its own")?.index;
    let veth1 = socket.link_by_name("veth1")?.context("the pair is not in the pod")?.index;
    let hop: [IpAddr; 2] = ["169.254.1.1".parse()?, "fe80::1".parse()?];
    let gateway: [IpAddr; 2] = ["10.9.2.253".parse()?, "fd00:9::fffd".parse()?];
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let mac = "02:00:00:00:00:01".parse()?;
    // The kernel cannot make the far end of a pair up.
    let mut all = vec![Request::set_link("lo", &up), Request::set_link(veth1, &up)];
    if own == Own::Vlan {
        all.push(Request::set_link(eth0, &LinkChange { name: Some("eth0"), ..up }));
    }
    for index in [eth0, veth1] {
        all.extend([POD4, POD6].map(|address| Request::add_address(index, single(address))));
    }
    all.extend(hop.map(|address| Request::replace_neighbour(veth1, address, mac)));
    all.push(Request::add_route(&route(single(gateway[1]), None, eth0)));
    all.push(Request::add_route(&route("0.0.0.0/0".parse()?, Some(gateway[0]), eth0)));
    all.push(Request::add_route(&route("::/0".parse()?, Some(gateway[1]), eth0)));
    all.extend(hop.map(|address| Request::add_route(&route(single(address), None, veth1))));
    for destination in ["172.16.0.0/16", "10.2.0.1/32", "169.254.20.10/32"] {
        all.push(Request::add_route(&route(destination.parse()?, Some(hop[0]), veth1)));
    }
    for destination in ["fd00:5e::/108", "fd00:10:0:2::1/128"] {
        all.push(Request::add_route(&route(destination.parse()?, Some(hop[1]), veth1)));
    }
    Ok(all)
}

/// Routes and neighbours of the pod on the host.
fn on_host(near: u32) -> Vec<Request> {
    let mac = terway_types::MacAddr([2, 0, 0, 0, 0, 2]);
    [POD4, POD6]
        .into_iter()
        .flat_map(|pod| {
            [Request::replace_neighbour(near, pod, mac), Request::add_route(&route(single(pod), None, near))]
        })
        .collect()
}

/// Per family, the map of the node's pods and the chain whose rules look them up.
fn maps() -> [(Map, Chain); 2] {
    [Family::Ip, Family::Ip6].map(|family| {
        let base = Base {
            kind: Kind::Nat,
            hook: Hook::Postrouting,
            priority: priority::SRCNAT,
            policy: Policy::Accept,
        };
        let table = Table::new(family, "floor");
        (Map::new(&table, "pods"), Chain::base(&table, "postrouting", base))
    })
}

/// What a node's first pod makes and its last one takes away.
pub(crate) fn of_all_pods() -> Batch {
    maps().iter().fold(Batch::new(), |batch, (map, chain)| {
        let batch = batch.add_table(&map.table).add_chain(chain).add_map(map);
        let batch = batch.add_rule(chain, &RuleBody::new().snat_by_saddr(map), None);
        batch.add_rule(chain, &RuleBody::new().snat_by_daddr(map), None)
    })
}

/// Both addresses of the pod translated.
pub(crate) fn translation() -> Batch {
    let nodes: [IpAddr; 2] =
        [Ipv4Addr::new(10, 2, 0, 1).into(), Ipv6Addr::new(0xfd00, 0x10, 0, 2, 0, 0, 0, 1).into()];
    maps().iter().zip([POD4, POD6]).zip(nodes).fold(Batch::new(), |batch, (((map, _), key), value)| {
        batch.add_element(map, &Element { key, value, comment: None })
    })
}

/// And not any more.
pub(crate) fn no_translation() -> Batch {
    maps()
        .iter()
        .zip([POD4, POD6])
        .fold(Batch::new(), |batch, ((map, _), key)| batch.delete_element(map, key))
}
