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
    /// The NIC's name, and that of the pair's end on the node.
    names: [String; 2],
    /// The addresses of its pod.
    addresses: [IpAddr; 2],
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

/// A pod that a floor has added.
pub(crate) struct Added {
    pod: Netlink,
    add: Duration,
    links: Duration,
    own: Duration,
}

impl Floor {
    /// Makes the NIC: one end on the node, the other in the VPC's namespace.
    pub(crate) fn new(own: Own, host: &Path, vpc: &Path) -> Result<Self> {
        Self::of_many(0, own, host, vpc)
    }

    /// One of several on a node, which have numbers from zero on.
    pub(crate) fn of_many(number: u8, own: Own, host: &Path, vpc: &Path) -> Result<Self> {
        let names = [format!("{NIC}{number}"), format!("califloor{number}")];
        nic::stand_in(host, vpc, [&names[0], &format!("floorport{number}")])?;
        if own == Own::Vlan {
            reader::text(host, "ip", &["link", "set", &names[0], "up"])?;
        }
        let host = Netns::open(host)?;
        let (socket, mut filter) = (Netlink::open(&host)?, Nft::open(&host)?);
        if number == 0 {
            filter.commit(&of_all_pods())?;
        }
        let addresses = [
            Ipv4Addr::new(10, 9, 3, number).into(),
            Ipv6Addr::new(0xfd00, 9, 1, 0, 0, 0, 0, number.into()).into(),
        ];
        Ok(Self { own, names, addresses, host, socket, filter })
    }

    /// A fresh namespace.
    pub(crate) fn sandbox() -> Result<Netns> {
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        Ok(Netns::create_named(format!("/run/netns/floor-{number}"))?)
    }

    /// One ADD and one DEL for a fresh namespace, after a rest that the namespace lies before.
    pub(crate) fn round_after(&mut self, rest: impl FnOnce()) -> Result<Round> {
        let pod = Self::sandbox()?;
        rest();
        let mut added = self.add(&pod)?;
        let del = self.del(&mut added)?;
        let Added { add, links, own, .. } = added;
        Ok(Round { add, del, links, own })
    }

    /// The requests of an ADD.
    pub(crate) fn add(&mut self, pod: &Netns) -> Result<Added> {
        let [name, near_name] = self.names.each_ref().map(String::as_str);
        let nic = self.socket.link_by_name(name)?.context("the NIC is not at home")?.index;
        let start = Instant::now();
        let into =
            LinkChange { name: Some("eth0"), netns: Some(pod), up: Some(true), ..LinkChange::default() };
        let child = NewLink { name: CHILD, netns: Some(pod), ..NewLink::default() };
        self.socket.transact(&[match self.own {
            Own::Nic => Request::set_link(nic, &into),
            Own::Vlan => Request::add_vlan(&child, nic, ID),
        }])?;
        let own = start.elapsed();
        let far = NewLink { name: "veth1", mtu: Some(1500), netns: Some(pod), ..NewLink::default() };
        let near = NewLink { name: near_name, up: true, mtu: Some(1500), ..NewLink::default() };
        self.socket.transact(&[Request::add_veth(&near, &far)])?;
        let links = start.elapsed();
        let mut inside = Netlink::open(pod)?;
        let requests = in_pod(&mut inside, self.own, &self.addresses)?;
        inside.transact(&requests)?;
        let near = self.socket.link_by_name(near_name)?.context("the pair is not there")?.index;
        self.socket.transact(&on_host(near, &self.addresses))?;
        self.filter.commit(&translation(&self.addresses))?;
        Ok(Added { pod: inside, add: start.elapsed(), links, own })
    }

    /// The requests of a DEL, and how long they take.
    pub(crate) fn del(&mut self, added: &mut Added) -> Result<Duration> {
        let [name, near] = self.names.each_ref().map(String::as_str);
        let eth0 = added.pod.link_by_name("eth0")?.context("the pod has no link of its own")?.index;
        let start = Instant::now();
        let home = LinkChange {
            name: Some(name),
            netns: Some(&self.host),
            up: Some(false),
            ..LinkChange::default()
        };
        added.pod.transact(&[match self.own {
            Own::Nic => Request::set_link(eth0, &home),
            Own::Vlan => Request::delete_link(eth0),
        }])?;
        self.socket.transact(&[Request::delete_link(near)])?;
        self.filter.commit(&no_translation(&self.addresses))?;
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

/// Addresses, routes and neighbours of both links in the pod, both families.
fn in_pod(socket: &mut Netlink, own: Own, addresses: &[IpAddr; 2]) -> Result<Vec<Request>> {
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
        all.extend(addresses.map(|address| Request::add_address(index, single(address))));
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
fn on_host(near: u32, addresses: &[IpAddr; 2]) -> Vec<Request> {
    let mac = terway_types::MacAddr([2, 0, 0, 0, 0, 2]);
    addresses
        .iter()
        .flat_map(|&pod| {
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
pub(crate) fn translation(addresses: &[IpAddr; 2]) -> Batch {
    let nodes: [IpAddr; 2] =
        [Ipv4Addr::new(10, 2, 0, 1).into(), Ipv6Addr::new(0xfd00, 0x10, 0, 2, 0, 0, 0, 1).into()];
    maps().iter().zip(*addresses).zip(nodes).fold(Batch::new(), |batch, (((map, _), key), value)| {
        batch.add_element(map, &Element { key, value, comment: None })
    })
}

/// And not any more.
pub(crate) fn no_translation(addresses: &[IpAddr; 2]) -> Batch {
    maps().iter().zip(*addresses).fold(Batch::new(), |batch, ((map, _), key)| batch.delete_element(map, key))
}
