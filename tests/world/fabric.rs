//! The simulated VPC itself, without any daemon: what an address that comes to an ENI may do, and who is told
//! what by the instance metadata service.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use terway_rig::cloud::{Cloud, Names};
use terway_rig::namespace;
use terway_rig::probe::udp;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, both, once, started};

/// How long a packet that is dropped is waited for.
const MOMENT: Duration = Duration::from_millis(300);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("fabric::an_address_may_send_while_it_is_assigned", assigned),
        both("fabric::each_node_reads_its_own_metadata", metadata),
        both("fabric::metadata_answers_in_nodes_only", from_nodes_only),
    ]
}

fn world(plan: &Plan) -> Result<World> {
    started(&Plan { nodes: 2, ..plan.clone() })
}

/// The nodes' own ENIs.
fn primaries(world: &World) -> Result<Vec<Value>> {
    let state = world.cloud_state()?;
    let enis = state["enis"].as_array().context("no enis")?;
    Ok(enis.iter().filter(|eni| eni["type"] == "Primary").cloned().collect())
}

fn assigned(plan: &Plan) -> Result<()> {
    let world = world(plan)?;
    let [own, other] = &primaries(&world)?[..] else { bail!("not two nodes") };
    let ear = |family: &str| -> Result<(UdpSocket, SocketAddr)> {
        let address = other[family][0].as_str().context("no address")?;
        let to = SocketAddr::new(address.parse()?, 7001);
        Ok((udp::bind(&world.nodes[1].netns, to)?, to))
    };
    let ears = [ear("ipv4")?, ear("ipv6")?];
    let passes = |source: IpAddr, limit: Duration| -> Result<bool> {
        let (ear, to) = &ears[usize::from(source.is_ipv6())];
        let mouth = udp::bind_foreign(&world.nodes[0].netns, source)?;
        Ok(udp::deliver(&mouth, ear, *to, source.to_string().as_bytes(), limit)?.is_some())
    };
    let eni = own["id"].as_str().context("no id")?;
    let what = json!({ "ipv4": ["10.2.0.77"], "ipv6": ["fd00:10:0:2::77"], "prefixes": ["10.2.0.96/28"] });
    let by_hand = |deed: &str| world.change(&format!("/v1/console/enis/{eni}/{deed}"), &what);
    let sources: [IpAddr; 3] = ["10.2.0.77".parse()?, "fd00:10:0:2::77".parse()?, "10.2.0.103".parse()?];
    for source in sources {
        ensure!(!passes(source, MOMENT)?, "{source} passed before it was assigned");
    }
    by_hand("assign")?;
    for source in sources {
        ensure!(passes(source, LIMIT)?, "{source} was dropped although it is assigned");
    }
    ensure!(!passes("10.2.0.112".parse()?, MOMENT)?, "the address behind the prefix passed");
    by_hand("unassign")?;
    for source in sources {
        ensure!(!passes(source, MOMENT)?, "{source} passed after it was taken away");
    }
    Ok(())
}

fn metadata(plan: &Plan) -> Result<()> {
    let cloud = plan.cloud;
    let world = world(plan)?;
    for node in &world.nodes {
        let seen = instance_id(&node.netns, cloud).with_context(|| node.instance.clone())?;
        ensure!(seen == node.instance, "{} is told to be {seen}", node.instance);
    }
    Ok(())
}

/// At its real address, from inside a node: not from the namespace scenarios run in, and not to somebody whose address
/// is no instance's.
fn from_nodes_only(plan: &Plan) -> Result<()> {
    let world = world(plan)?;
    let host = plan.cloud.names().metadata;
    let server = SocketAddr::new(host.parse()?, 80);
    ensure!(TcpStream::connect_timeout(&server, MOMENT).is_err(), "{server} answers outside the VPC");
    let (head, _) = exchange(&world.vpc, host, "GET /latest/meta-data/instance-id HTTP/1.1\r\n")?;
    ensure!(head.starts_with("HTTP/1.1 403"), "a stranger was answered: {head}");
    Ok(())
}

/// What the metadata service says who the caller is; with a session token where it wants one.
fn instance_id(netns: &Path, cloud: Cloud) -> Result<String> {
    let Names { metadata: host, session, .. } = cloud.names();
    let mut read = "GET /latest/meta-data/instance-id HTTP/1.1\r\n".to_owned();
    if let Some([life, header]) = session {
        let ask = format!("PUT /latest/api/token HTTP/1.1\r\n{life}: 60\r\n");
        let (_, token) = exchange(netns, host, &ask)?;
        read = format!("{read}{header}: {token}\r\n");
    }
    let (head, id) = exchange(netns, host, &read)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head} {id}");
    Ok(id)
}

/// One request without body from inside a namespace: the head and the body of its answer.
fn exchange(netns: &Path, host: &str, request: &str) -> Result<(String, String)> {
    let server = SocketAddr::new(host.parse()?, 80);
    let request = format!("{request}host: {host}\r\nconnection: close\r\n\r\n");
    let answer = namespace::inside(netns, move || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&server, LIMIT)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
    let head = head.lines().next().unwrap_or_default();
    Ok((head.to_owned(), body.to_owned()))
}
