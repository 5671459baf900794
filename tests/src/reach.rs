//! Who reaches whom, with real packets: every path of a pod that users live by, and those that must be closed. The same
//! for each mode, so that a mode cannot forget one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use serde_json::{Value, json};

use crate::node::Node;
use crate::plugin::Outcome;
use crate::pod::Pod;
use crate::probe::{icmp, tcp, udp};
use crate::service::{self, Balancer};
use crate::world::World;
use crate::{kernel, reader};

/// How long a packet that must arrive may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);
/// How long a packet that must not arrive is waited for.
const MOMENT: Duration = Duration::from_millis(400);
/// Bytes of an IP packet that fills the MTU.
const FULL: usize = 1500;

/// One path, in both families.
#[derive(Debug)]
pub struct Row {
    /// What is tried.
    pub path: &'static str,
    /// How it went over IPv4.
    pub v4: Cell,
    /// How it went over IPv6.
    pub v6: Cell,
}

/// How a path went in one family.
#[derive(Debug)]
pub enum Cell {
    /// As it should.
    Held,
    /// Not so, and why.
    Broken(Error),
    /// It was not tried: what the kernel has not.
    Lacking(&'static str),
}

type Path = fn(&Place, usize) -> Result<()>;

/// The path that not every kernel can be asked for.
pub const BY_IPVS: &str = "pod to a service by IPVS, backend elsewhere";

const PATHS: &[(&str, Path)] = &[
    ("pod to pod, same node", |place, version| ping(&place.pods[0], place.pods[1].address(version)?, 56)),
    ("pod to pod, other node", |place, version| ping(&place.pods[0], place.pods[2].address(version)?, 56)),
    ("full-size packets to a pod, same node", |place, version| {
        ping(&place.pods[0], place.pods[1].address(version)?, payload(version))
    }),
    ("full-size packets to a pod, other node", |place, version| {
        ping(&place.pods[0], place.pods[2].address(version)?, payload(version))
    }),
    ("TCP to a pod, other node", |place, version| place.tcp(2, version)),
    ("pod to its node", |place, version| ping(&place.pods[0], place.node(0, version)?, 56)),
    ("node to its pod", |place, version| {
        icmp::ping(&place.pods[0].host, place.pods[0].address(version)?, 56, LIMIT).map(drop)
    }),
    ("pod to another node", |place, version| ping(&place.pods[0], place.node(1, version)?, 56)),
    ("another node to the pod", |place, version| {
        icmp::ping(&place.pods[2].host, place.pods[0].address(version)?, 56, LIMIT).map(drop)
    }),
    ("pod to the gateway", Place::to_gateway),
    ("pod to a service, backend on the node", |place, version| place.service(1, version)),
    ("pod to a service, backend elsewhere", |place, version| place.service(2, version)),
    ("UDP to a service, backend elsewhere", |place, version| place.udp_service(version)),
    (BY_IPVS, |place, version| place.balanced_service(version)),
    ("a pod to itself by its service", |place, version| place.service(0, version)),
    ("another node to a port of the pod's node", |place, version| place.node_port(version)),
    ("by a second interface, other node, both ways", Place::by_second_interface),
    ("an address nobody has is dropped", |place, version| {
        place.lie(&strangers()[usize::from(version == 6)], version)
    }),
    ("an address of another ENI is dropped", |place, version| {
        place.lie(&place.pods[3].address(version)?.to_string(), version)
    }),
];

/// Four pods, two on each of the first two nodes of a world; the first has a second network.
struct Place {
    pods: Vec<Pod>,
    second: Outcome,
    nodes: Vec<[IpAddr; 2]>,
    gateways: [IpAddr; 2],
}

/// Asks for what a path needs of the nodes' configuration; before their daemons start.
pub fn prepare(world: &World) -> Result<()> {
    // Answers to clients of a node's port.
    world.nodes.iter().try_for_each(|node| node.tell_plugin("symmetric_routing", json!(true)))
}

/// Gives pods to the first two nodes of a world and tries every path.
pub fn explore(world: &mut World, gateways: [IpAddr; 2]) -> Result<Vec<Row>> {
    let cloud = world.cloud_state()?;
    let nodes = world.nodes.iter().map(|node| addresses(&cloud, node)).collect::<Result<Vec<_>>>()?;
    explore_nodes(&mut world.nodes, nodes, gateways)
}

/// The same with two nodes that have these addresses.
pub fn explore_nodes(
    nodes: &mut [Node],
    addresses: Vec<[IpAddr; 2]>,
    gateways: [IpAddr; 2],
) -> Result<Vec<Row>> {
    let mut pods = Vec::new();
    for number in 0..4 {
        let mut pod = nodes[number / 2].pod(&format!("reach{number}"))?;
        pod.add()?;
        pods.push(pod);
    }
    let second =
        pods[0].call("ADD").with("CNI_IFNAME", "net1").run()?.expect_ok("ADD of a second network")?;
    let place = Place { pods, second, nodes: addresses, gateways };
    let has_ipvs = kernel::has_ipvs();
    let cell = |path: &str, go: &Path, version| match go {
        _ if path == BY_IPVS && !has_ipvs => Cell::Lacking("ip_vs"),
        go => go(&place, version).map_or_else(Cell::Broken, |()| Cell::Held),
    };
    Ok(PATHS.iter().map(|(path, go)| Row { path, v4: cell(path, go, 4), v6: cell(path, go, 6) }).collect())
}

/// Every path of a mode that the kernel has not.
pub fn lacking(what: &'static str) -> Vec<Row> {
    let row =
        |(path, _): &(&'static str, Path)| Row { path, v4: Cell::Lacking(what), v6: Cell::Lacking(what) };
    PATHS.iter().map(row).collect()
}

/// The addresses of a node in the cloud's books.
fn addresses(cloud: &Value, node: &Node) -> Result<[IpAddr; 2]> {
    let enis = cloud["enis"].as_array().context("the cloud has no ENIs")?;
    let is_own = |eni: &&Value| eni["type"] == "Primary" && eni["instance"] == *node.instance;
    let primary = enis.iter().find(is_own).context("the node has no primary ENI")?;
    let address = |family: &str| -> Result<IpAddr> {
        let text = primary[family][0].as_str().context("the primary ENI has no address")?;
        text.parse().context("an address that is none")
    };
    Ok([address("ipv4")?, address("ipv6")?])
}

/// Addresses of the pods' subnet that no ENI has.
fn strangers() -> [String; 2] {
    ["10.1.15.99".to_owned(), "fd00:10:0:1::9999".to_owned()]
}

/// A service's address.
fn virtual_address(version: usize) -> Result<IpAddr> {
    let text = if version == 4 { "172.16.0.77" } else { "fd00:5e::77" };
    Ok(text.parse()?)
}

/// What an echo request carries if its packet fills the MTU.
fn payload(version: usize) -> usize {
    FULL - if version == 4 { 28 } else { 48 }
}

fn ping(from: &Pod, to: IpAddr, size: usize) -> Result<()> {
    icmp::ping(&from.netns, to, size, LIMIT).map(drop)
}

impl Place {
    /// The address of a node.
    fn node(&self, number: usize, version: usize) -> Result<IpAddr> {
        Ok(self.nodes.get(number).context("no such node")?[usize::from(version == 6)])
    }

    fn gateway(&self, version: usize) -> Result<IpAddr> {
        self.gateways.get(usize::from(version == 6)).copied().context("no gateway")
    }

    /// A router with a link-local address answers on the ENI's own link only, which pods that share the ENI do not
    /// have: there its answer to the neighbour discovery of the paths before is asked for.
    fn to_gateway(&self, version: usize) -> Result<()> {
        let (gateway, pod) = (self.gateway(version)?, &self.pods[0]);
        if !matches!(gateway, IpAddr::V6(router) if router.is_unicast_link_local()) {
            return ping(pod, gateway, 56);
        }
        let known = |netns| reader::json(netns, "ip", &["-6", "neigh", "show", &gateway.to_string()]);
        let all = [known(&pod.netns)?, known(&pod.host)?];
        let answered =
            all.iter().filter_map(Value::as_array).flatten().any(|known| known["lladdr"].is_string());
        ensure!(answered, "{gateway} did not answer: {all:?}");
        Ok(())
    }

    fn tcp(&self, to: usize, version: usize) -> Result<()> {
        let server = SocketAddr::new(self.pods[to].address(version)?, 8080);
        tcp::Mirror::start(&self.pods[to].netns, server)?;
        let seen = tcp::ask(&self.pods[0].netns, server, LIMIT)?;
        let own = self.pods[0].address(version)?;
        ensure!(seen.ip() == own, "the server saw {seen}, not {own}");
        Ok(())
    }

    /// A virtual address that the first node translates.
    fn service(&self, backend: usize, version: usize) -> Result<()> {
        let port = 9000 + u16::try_from(backend)?;
        let server = SocketAddr::new(self.pods[backend].address(version)?, port);
        tcp::Mirror::start(&self.pods[backend].netns, server)?;
        let address = SocketAddr::new(virtual_address(version)?, port);
        service::translate(&self.pods[0].host, service::TCP, address, server)?;
        tcp::ask(&self.pods[0].netns, address, LIMIT).map(drop)
    }

    fn udp_service(&self, version: usize) -> Result<()> {
        let server = SocketAddr::new(self.pods[2].address(version)?, 9053);
        udp::echo(&self.pods[2].netns, server)?;
        let address = SocketAddr::new(virtual_address(version)?, 53);
        service::translate(&self.pods[0].host, service::UDP, address, server)?;
        udp::ask(&self.pods[0].netns, address, LIMIT)
    }

    /// A virtual address that the first node's IPVS spreads over its backends.
    fn balanced_service(&self, version: usize) -> Result<()> {
        let server = SocketAddr::new(self.pods[2].address(version)?, 9100);
        tcp::Mirror::start(&self.pods[2].netns, server)?;
        let address = SocketAddr::new(virtual_address(version)?, 9100);
        let _balancer = Balancer::start(&self.pods[0].host, address, server)?;
        tcp::ask(&self.pods[0].netns, address, LIMIT).map(drop)
    }

    /// A port of the first node that stands for its pod, asked by the other node, whose address the pod's answer has
    /// to go to.
    fn node_port(&self, version: usize) -> Result<()> {
        let server = SocketAddr::new(self.pods[0].address(version)?, 9080);
        tcp::Mirror::start(&self.pods[0].netns, server)?;
        let port = SocketAddr::new(self.node(0, version)?, 30080);
        service::translate(&self.pods[0].host, service::TCP, port, server)?;
        tcp::ask(&self.pods[2].host, port, LIMIT).map(drop)
    }

    /// What bears the second interface's address leaves by it and is answered there.
    fn by_second_interface(&self, version: usize) -> Result<()> {
        let near = SocketAddr::new(self.second.address(version)?.parse()?, 7300);
        let far = SocketAddr::new(self.pods[2].address(version)?, 7300);
        let own = udp::bind(&self.pods[0].netns, near)?;
        let other = udp::bind(&self.pods[2].netns, far)?;
        let seen = udp::deliver(&own, &other, far, b"there", LIMIT)?;
        ensure!(seen == Some(near), "{near} was seen as {seen:?}");
        let seen = udp::deliver(&other, &own, near, b"back", LIMIT)?;
        ensure!(seen == Some(far), "{far} was seen as {seen:?}");
        Ok(())
    }

    /// A datagram of the first pod with a foreign source must not reach a pod of the other node; one with its own does.
    fn lie(&self, source: &str, version: usize) -> Result<()> {
        let ear_port = 7001 + u16::try_from(source.len())?;
        let to = SocketAddr::new(self.pods[2].address(version)?, ear_port);
        let ear = udp::bind(&self.pods[2].netns, to)?;
        let honest = udp::bind(&self.pods[0].netns, SocketAddr::new(self.pods[0].address(version)?, 0))?;
        ensure!(udp::deliver(&honest, &ear, to, b"own", LIMIT)?.is_some(), "its own address was dropped");
        let liar = udp::bind_foreign(&self.pods[0].netns, source.parse()?)?;
        let through = udp::deliver(&liar, &ear, to, b"foreign", MOMENT)?;
        ensure!(through.is_none(), "the source {source} passed");
        Ok(())
    }
}
