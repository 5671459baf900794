//! Who reaches whom, with real packets: every path of a pod that users live by, and those that must be closed. The same
//! for each mode, so that a mode cannot forget one.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::plugin::Outcome;
use crate::pod::Pod;
use crate::probe::{icmp, tcp, udp};
use crate::world::World;
use crate::{reader, service};

/// How long a packet that must arrive may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);
/// How long a packet that must not arrive is waited for.
const MOMENT: Duration = Duration::from_millis(400);
/// Bytes of an IP packet that fills the MTU.
const FULL: usize = 1500;

/// One path, in both families. An error says why it is not as it should be.
#[derive(Debug)]
pub struct Row {
    /// What is tried.
    pub path: &'static str,
    /// How it went over IPv4.
    pub v4: Result<()>,
    /// How it went over IPv6.
    pub v6: Result<()>,
}

type Path = fn(&Place, usize) -> Result<()>;

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
    cloud: Value,
    instances: Vec<String>,
    gateways: [IpAddr; 2],
}

/// Asks for what a path needs of the nodes' configuration; before their daemons start.
pub fn prepare(world: &World) -> Result<()> {
    // Answers to clients of a node's port.
    world.nodes.iter().try_for_each(|node| node.tell_plugin("symmetric_routing", json!(true)))
}

/// Gives pods to the first two nodes of a world and tries every path.
pub fn explore(world: &mut World, gateways: [IpAddr; 2]) -> Result<Vec<Row>> {
    let mut pods = Vec::new();
    for number in 0..4 {
        let mut pod = world.nodes[number / 2].pod(&format!("reach{number}"))?;
        pod.add()?;
        pods.push(pod);
    }
    let second =
        pods[0].call("ADD").with("CNI_IFNAME", "net1").run()?.expect_ok("ADD of a second network")?;
    let instances = world.nodes.iter().map(|node| node.instance.clone()).collect();
    let place = Place { pods, second, cloud: world.cloud_state()?, instances, gateways };
    Ok(PATHS.iter().map(|(path, go)| Row { path, v4: go(&place, 4), v6: go(&place, 6) }).collect())
}

/// The table for people and for README: one row per path, one column per mode and family.
pub fn table(modes: &[(&str, Vec<Row>)]) -> String {
    let mut text = String::from("| path |");
    let mut line = String::from("|---|");
    for (mode, _) in modes {
        // Writing to a String cannot fail.
        let _ = write!(text, " {mode}, IPv4 | {mode}, IPv6 |");
        line += "---|---|";
    }
    text = format!("{text}\n{line}\n");
    for (at, (path, _)) in PATHS.iter().enumerate() {
        let cells = modes.iter().flat_map(|(_, rows)| [&rows[at].v4, &rows[at].v6]);
        let words: Vec<_> = cells.map(|cell| if cell.is_ok() { "yes" } else { "NO" }).collect();
        let _ = writeln!(text, "| {path} | {} |", words.join(" | "));
    }
    text
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
        let enis = self.cloud["enis"].as_array().context("the cloud has no ENIs")?;
        let is_own = |eni: &&Value| eni["type"] == "Primary" && eni["instance"] == *self.instances[number];
        let primary = enis.iter().find(is_own).context("the node has no primary ENI")?;
        let text = primary[if version == 4 { "ipv4" } else { "ipv6" }][0].as_str();
        text.context("the primary ENI has no address")?.parse().context("an address that is none")
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
