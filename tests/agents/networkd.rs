//! systemd-networkd, which manages the node's NICs by files as images bring them: the node's own with the addresses it
//! has, and every other by DHCP. When it takes over a NIC it removes routes and rules that it did not make.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::reader;

use crate::monitor::Monitor;
use crate::node::{LIMIT, check, events, of_pods, pods, restored, shared_nic, told, untouched, world};
use crate::service::Service;

pub(crate) const PROGRAM: &str = "/usr/lib/systemd/systemd-networkd";
const UDEVD: &str = "/usr/lib/systemd/systemd-udevd";

/// The promise. A busy machine may break it once in a while, so half of the repairs must keep it.
pub(crate) const PROMISED: Duration = Duration::from_secs(2);

/// Starts it, with our settings or without, and waits until it is done with the node's own NIC. It looks at a NIC once
/// udev has.
fn start(node: &Node, ours: bool) -> Result<Service> {
    let own = reader::json(&node.netns, "ip", &["address", "show", "dev", "eth0"])?;
    let index = own[0]["ifindex"].as_u64().context("eth0 has no index")?;
    let addresses = own[0]["addr_info"].as_array().into_iter().flatten();
    let addresses = addresses.filter(|address| address["scope"] == "global");
    let addresses: Vec<String> = addresses
        .map(|address| {
            let local = address["local"].as_str().unwrap_or_default();
            // It never is done with an address that it would like to have another broadcast address.
            format!("[Address]\\nAddress={local}/{}\\nBroadcast=no", address["prefixlen"])
        })
        .collect();
    let mut gateways = Vec::new();
    for family in ["-4", "-6"] {
        let routes = reader::json(&node.netns, "ip", &[family, "route", "show", "default"])?;
        let gateway = routes[0]["gateway"].as_str().context("the node has no gateway")?;
        gateways.push(format!("Gateway={gateway}"));
    }
    let gateways = gateways.join("\\n");
    let settings = if ours { "cp -r $SETTINGS/etc/. /etc/" } else { "true" };
    let script = format!(
        "{UDEVD} &
until test -e /run/udev/control; do sleep 0.05; done
until test -e /run/udev/data/n{index}; do
    for link in /sys/class/net/*/uevent; do echo add >$link; done
    sleep 0.2
done
printf '[Match]\\nName=eth0\\n[Network]\\nIPv6AcceptRA=no\\n{gateways}\\n{}\\n' >/etc/systemd/network/10-node.network
printf '[Match]\\nName=en* eth*\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/20-all.network
{settings}
exec {PROGRAM}",
        addresses.join("\\n")
    );
    let service = Service::start(node, &script)?;
    let state = format!("/run/systemd/netif/links/{index}");
    eventually("systemd-networkd has configured eth0", LIMIT, || {
        service.file(&state)?.contains("ADMIN_STATE=configured").then_some(())
    })
    .with_context(|| format!("{:?}", service.file(&state)))?;
    Ok(service)
}

pub(crate) fn takes(name: &str) -> Result<()> {
    let mut world = world(name)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, monitor) = (of_pods(node)?, Monitor::start(node)?);
    let service = start(node, false)?;
    let name = format!("process {} (systemd-network)", service.pid());
    told(node, "HostStateRepaired", &["rule", &name])?;
    restored(node, &before)?;
    let (gone, still) = monitor.absences()?;
    ensure!(
        !gone.is_empty() && still == 0,
        "gone were {gone:?}, and {still} are still:\n{}",
        monitor.text()?
    );
    ensure!(gone[gone.len() / 2] < PROMISED, "gone were {gone:?}");
    check(&pods)?;
    service.stop()
}

pub(crate) fn leaves(name: &str) -> Result<()> {
    let mut world = world(name)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, monitor) = (of_pods(node)?, Monitor::start(node)?);
    // A restart is what it is known for.
    start(node, true)?.stop()?;
    let service = start(node, true)?;
    let nic = shared_nic(node)?;
    let link = reader::json(&node.netns, "ip", &["link", "show", "dev", &nic])?;
    let state = format!("/run/systemd/netif/links/{}", link[0]["ifindex"]);
    eventually("systemd-networkd leaves the shared ENI alone", LIMIT, || {
        service.file(&state)?.contains("ADMIN_STATE=unmanaged").then_some(())
    })
    .with_context(|| format!("{:?}", service.file(&state)))?;
    ensure!(monitor.absences()? == (vec![], 0), "taken away:\n{}", monitor.text()?);
    ensure!(of_pods(node)? == before, "was:\n{before}\nis:\n{}", of_pods(node)?);
    untouched(node)?;
    check(&pods)?;
    service.stop()
}

/// Restarted again and again it is let have its way for a while, and the operator hears what helps. How often that takes
/// depends on how fast the guest is: a pause may be over before the next restart.
pub(crate) fn is_not_fought(name: &str) -> Result<()> {
    let mut world = world(name)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let before = of_pods(node)?;
    let is_told = |node: &Node| {
        let told = events(node, "HostStateFought").ok()?;
        Some(told.iter().any(|message| {
            ["systemd-network", "terway-cli doctor"].iter().all(|word| message.contains(word))
        }))
    };
    for _ in 0..8 {
        let service = start(node, false)?;
        let fought = eventually("it is put back, or told that it is not", LIMIT, || {
            let (told, now) = (is_told(node)?, of_pods(node).ok()?);
            (told || now == before).then_some(told)
        })?;
        service.stop()?;
        if fought {
            restored(node, &before).context("after the pause")?;
            return check(&pods);
        }
    }
    bail!("it was put back at once eight times")
}
