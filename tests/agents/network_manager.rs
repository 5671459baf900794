//! NetworkManager, which makes a connection with DHCP for every NIC that is plugged in unless it is told to leave it. It
//! hears of NICs from udev, and wants a system bus.

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;
use terway_rig::node::Node;

use crate::dhcp::{self, LEASED, LEASES};
use crate::node::{LIMIT, check, cleared, diagnosed, doctor_warns, pods, shared_nic, told, untouched, world};
use crate::service::Service;

const AGENT: &str = "NetworkManager";

/// The links of a simulated cloud are veths, which its rules for udev take for containers'; a cloud's are not. The bus
/// runs as root, because a guest has the users of this machine.
const SCRIPT: &str = r#"mkdir -p /run/dbus /run/udev/rules.d
echo 'SUBSYSTEM=="net", KERNEL=="eth*|eni*", ENV{NM_UNMANAGED}="0"' >/run/udev/rules.d/90-nics.rules
sed -i 's/messagebus/root/' /usr/share/dbus-1/system.conf
dbus-daemon --system --nofork --nopidfile --nosyslog &
/usr/lib/systemd/systemd-udevd &
until test -e /run/udev/control && test -e /run/dbus/system_bus_socket; do sleep 0.05; done
# udevd may be there and not hear yet.
until test -e /run/udev/data/n$(cat /sys/class/net/eth0/ifindex); do
    for link in /sys/class/net/*/uevent; do echo add >$link; done
    sleep 0.2
done
"#;

/// Starts it, with our settings or without, and waits until it knows the node's own NIC, which is configured already.
fn start(node: &Node, ours: bool) -> Result<Service> {
    let settings = if ours { "cp -r $SETTINGS/etc/. /etc/\n" } else { "" };
    let service = Service::start(node, &format!("{SCRIPT}{settings}exec NetworkManager --debug"))?;
    is(&service, "eth0", "connected (externally)")?;
    Ok(service)
}

/// Waits until it says that a NIC is in this state.
fn is(service: &Service, nic: &str, state: &str) -> Result<()> {
    let (mut said, wanted) = (String::new(), format!("{nic}:{state}"));
    let outcome = eventually(&format!("{AGENT} says {wanted}"), LIMIT, || {
        said = service.ask(&["nmcli", "--terse", "--fields", "DEVICE,STATE", "device"]).ok()?;
        said.lines().any(|line| line == wanted).then_some(())
    });
    outcome.context(said)
}

/// It is there before ENIs are plugged in.
pub(crate) fn takes(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let server = dhcp::serve(&world)?;
    let service = start(&world.nodes[0], false)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let nic = shared_nic(node)?;
    told(node, "EniCleared", &[LEASED, AGENT])?;
    cleared(node, &nic)?;
    check(&pods)?;
    doctor_warns(node, &service, AGENT)?;
    service.stop()?;
    server.stop()
}

pub(crate) fn leaves(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let server = dhcp::serve(&world)?;
    let service = start(&world.nodes[0], true)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    is(&service, &shared_nic(node)?, "unmanaged")?;
    untouched(node)?;
    let leases = server.file(LEASES).unwrap_or_default();
    ensure!(!leases.contains(LEASED), "it asked for {leases}");
    let found = diagnosed(node, &service, AGENT)?.context("the doctor does not find it")?;
    ensure!(found["outcome"] == "fine", "{found}");
    check(&pods)?;
    service.stop()?;
    server.stop()
}
