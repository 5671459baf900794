//! A pod gets its own ENI: what the runtime is told, what the kernel has, and that packets really pass.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_rig::pod::Pod;
use terway_rig::probe::{icmp, tcp, udp};
use terway_rig::world::Plan;
use terway_rig::{reader, service};

use crate::support::{LIMIT, Scenario, audit, booted, both, once, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("attach::result_and_kernel_agree_dual_stack", |plan| {
            result_and_kernel(&Plan { dual_stack: true, ..plan.clone() })
        }),
        once("attach::result_and_kernel_agree_ipv4", |plan| {
            result_and_kernel(&Plan { dual_stack: false, ..plan.clone() })
        }),
        once("attach::every_cni_version_gets_its_shape", versions),
        both("attach::pods_nodes_and_services_are_reachable", reachability),
        once("attach::a_spoofed_source_is_dropped_by_the_vpc", spoofed),
        once("attach::a_runtime_without_pods_is_served", podman),
        once("attach::the_egress_limit_holds", limited),
        once("attach::mapping_agrees_with_every_namespace", mapping),
    ]
}

fn result_and_kernel(plan: &Plan) -> Result<()> {
    let (dual_stack, gateways) = (plan.dual_stack, plan.cloud.names().gateways);
    let mut world = booted(&Plan { dual_stack, ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    let result = pod.add()?.output.clone();
    ensure!(result["cniVersion"] == "1.1.0", "{result}");
    let inside = &result["interfaces"][0];
    ensure!(inside["name"] == "eth0", "{result}");
    ensure!(inside["sandbox"] == json!(pod.netns), "the sandbox must be CNI_NETNS: {result}");
    let interfaces = result["interfaces"].as_array().context("no interfaces")?;
    let host =
        interfaces.iter().find(|entry| text(entry, "sandbox").is_empty()).context("no host side listed")?;
    ensure!(text(host, "name").starts_with("cali"), "{host}");
    let host_link = reader::link(&pod.host, &text(host, "name"))?.context("the host side is not there")?;
    ensure!(host_link["address"] == host["mac"], "{host_link} {host}");

    let eth0 = reader::link(&pod.netns, "eth0")?.context("no eth0 in the pod")?;
    ensure!(eth0["address"] == inside["mac"] && eth0["mtu"] == inside["mtu"], "{eth0} {inside}");
    ensure!(eth0["flags"].to_string().contains("UP"), "{eth0}");
    let listed: Vec<String> = addresses(&pod, "eth0")?;
    for ip in result["ips"].as_array().context("no ips")? {
        ensure!(ip["interface"] == 0, "{ip}");
        ensure!(listed.contains(&text(ip, "address")), "{ip} is not on eth0: {listed:?}");
    }
    ensure!(listed.len() == if dual_stack { 2 } else { 1 }, "{listed:?}");
    let default = reader::json(&pod.netns, "ip", &["-4", "route", "show", "default"])?;
    ensure!(default[0]["gateway"] == gateways[0] && default[0]["dev"] == "eth0", "{default}");
    if dual_stack {
        let default = reader::json(&pod.netns, "ip", &["-6", "route", "show", "default"])?;
        ensure!(default[0]["gateway"] == gateways[1], "{default}");
    }
    audit(&world)
}

/// The global addresses of a pod's link, as `ip` shows them.
fn addresses(pod: &Pod, link: &str) -> Result<Vec<String>> {
    let shown = reader::json(&pod.netns, "ip", &["address", "show", "dev", link, "scope", "global"])?;
    let infos = shown[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let own = infos.iter().filter(|info| info["local"].is_string());
    Ok(own.map(|info| format!("{}/{}", text(info, "local"), info["prefixlen"])).collect())
}

fn versions(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let mut pod = world.nodes[0].pod("web")?;
        pod.configuration["cniVersion"] = json!(version);
        let result = pod.add()?.output.clone();
        ensure!(result["cniVersion"] == version, "{result}");
        let entry = &result["ips"][0];
        ensure!((entry["version"] == "4") == version.starts_with("0."), "version {version}: {entry}");
        ensure!(
            result["interfaces"][0]["mtu"].is_number() == (version == "1.1.0"),
            "version {version}: {result}"
        );
        pod.del()?;
    }
    wait_quiet(&world.nodes[0])?;
    audit(&world)
}

fn reachability(plan: &Plan) -> Result<()> {
    let plan = Plan { nodes: 2, pool: (2, 4), ..plan.clone() };
    let mut world = booted(&plan)?;
    let mut pods = Vec::new();
    for number in 0..4 {
        let mut pod = world.nodes[number % 2].pod(&format!("web{number}"))?;
        pod.add()?;
        pods.push(pod);
    }
    let state = world.cloud_state()?;
    let nodes = state["enis"].as_array().context("no enis")?;
    for version in [4, 6] {
        let family = if version == 4 { "ipv4" } else { "ipv6" };
        for to in [&pods[2], &pods[1], &pods[3]] {
            icmp::ping(&pods[0].netns, to.address(version)?, 56, LIMIT)?;
            // As large as the MTU allows: 1500 less the IP and ICMP headers.
            icmp::ping(
                &pods[0].netns,
                to.address(version)?,
                1500 - if version == 4 { 28 } else { 48 },
                LIMIT,
            )?;
        }
        let primary = nodes
            .iter()
            .find(|eni| eni["type"] == "Primary" && eni["instance"] == world.nodes[0].instance.as_str());
        let node = &primary.context("no primary ENI")?[family][0];
        let node: std::net::IpAddr = node.as_str().context("the primary ENI has no address")?.parse()?;
        icmp::ping(&pods[0].netns, node, 56, LIMIT).context("pod to its node")?;
        icmp::ping(&world.nodes[0].netns, pods[0].address(version)?, 56, LIMIT).context("node to its pod")?;
        for (number, backend) in [&pods[0], &pods[1], &pods[2]].into_iter().enumerate() {
            let server = SocketAddr::new(backend.address(version)?, 8080);
            tcp::Mirror::start(&backend.netns, server)?;
            let address = if version == 4 {
                format!("172.16.0.{}", number + 1)
            } else {
                format!("fd00:5e::{}", number + 1)
            };
            let virtual_address = SocketAddr::new(address.parse()?, 80);
            service::translate(&world.nodes[0].netns, service::TCP, virtual_address, server)?;
            let seen = tcp::ask(&pods[0].netns, virtual_address, LIMIT).with_context(|| {
                format!("pod to a service backed by {}", ["itself", "another node", "its node"][number])
            })?;
            ensure!(seen.ip() == node, "the backend saw {seen}, not the node's {node}");
        }
    }
    Ok(())
}

fn spoofed(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pods = [world.nodes[0].pod("liar")?, world.nodes[0].pod("ear")?];
    for pod in &mut pods {
        pod.add()?;
    }
    for (version, foreign) in [(4, "10.1.15.99"), (6, "fd00:10:0:1::9999")] {
        let to = SocketAddr::new(pods[1].address(version)?, 7001);
        let ear = udp::bind(&pods[1].netns, to)?;
        let honest = udp::bind(&pods[0].netns, SocketAddr::new(pods[0].address(version)?, 0))?;
        ensure!(
            udp::deliver(&honest, &ear, to, b"own", LIMIT)?.is_some(),
            "own IPv{version} address was dropped"
        );
        let liar = udp::bind_foreign(&pods[0].netns, foreign.parse()?)?;
        let through = udp::deliver(&liar, &ear, to, b"foreign", std::time::Duration::from_millis(500))?;
        ensure!(through.is_none(), "a foreign IPv{version} source passed");
    }
    // The right address under a foreign hardware address is no better.
    let to = SocketAddr::new(pods[1].address(4)?, 7002);
    let ear = udp::bind(&pods[1].netns, to)?;
    let honest = udp::bind(&pods[0].netns, SocketAddr::new(pods[0].address(4)?, 0))?;
    ensure!(udp::deliver(&honest, &ear, to, b"own", LIMIT)?.is_some(), "own hardware address was dropped");
    reader::text(&pods[0].netns, "ip", &["link", "set", "eth0", "address", "02:00:00:00:00:99"])?;
    let through = udp::deliver(&honest, &ear, to, b"foreign", std::time::Duration::from_millis(500))?;
    ensure!(through.is_none(), "a foreign hardware address passed");
    Ok(())
}

fn podman(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let pod = world.nodes[0].pod("ctr")?;
    let dummy = |call: terway_rig::plugin::Call| {
        ["CNI_IFNAME", "CNI_NETNS", "CNI_PATH"].iter().fold(call, |call, key| call.with(key, "dummy"))
    };
    let version = dummy(pod.call("VERSION")).with("CNI_ARGS", "").run()?.expect_ok("VERSION")?;
    ensure!(version.output["supportedVersions"].to_string().contains("1.1.0"), "{}", version.output);
    let args = "IgnoreUnknown=1;K8S_POD_NAME=ctr";
    for arguments in [Some(args), None] {
        let call = |verb| {
            arguments
                .map_or_else(|| pod.call(verb).without("CNI_ARGS"), |a| pod.call(verb).with("CNI_ARGS", a))
        };
        call("ADD").run()?.expect_ok("ADD without a pod")?;
        ensure!(reader::link(&pod.netns, "eth0")?.is_some(), "no eth0");
        call("DEL").run()?.expect_ok("DEL without a pod")?;
        ensure!(reader::link(&pod.netns, "eth0")?.is_none(), "eth0 is still there");
    }
    wait_quiet(&world.nodes[0])?;
    audit(&world)
}

fn limited(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut slow = world.nodes[0].pod("slow")?;
    slow.limit(None, Some(40_000_000));
    slow.add()?;
    let mut free = world.nodes[0].pod("free")?;
    free.add()?;
    let server = SocketAddr::new(free.address(4)?, 5001);
    let limited = tcp::throughput(&slow.netns, &free.netns, server, std::time::Duration::from_secs(2))? * 8.0;
    ensure!((10e6..50e6).contains(&limited), "{limited} bit/s under a limit of 40 Mbit/s");
    let qdisc = reader::json(&slow.netns, "tc", &["qdisc", "show", "dev", "eth0"])?;
    ensure!(qdisc[0]["kind"] == "tbf" && qdisc[0]["options"]["rate"] == 5_000_000, "{qdisc}");
    Ok(())
}

fn mapping(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let node = &world.nodes[0];
    wait_quiet(node)?;
    for eni in node.mapping()? {
        let mac = text(&eni, "mac");
        let (here, there) = (reader::link_by_mac(&node.netns, &mac)?, reader::link_by_mac(&pod.netns, &mac)?);
        if text(&eni, "phase") == "InUse" {
            ensure!(here.is_none() && there.is_some(), "{mac} in use, but not in its pod");
            ensure!(eni["attachment"]["container_id"] == pod.container.as_str(), "{eni}");
            ensure!(eni["addresses"].to_string().contains(&pod.address(4)?.to_string()), "{eni}");
        } else {
            ensure!(here.is_some() && there.is_none(), "{mac} idle, but not at home");
        }
    }
    Ok(())
}
