//! systemd-udevd, which renames every NIC that is plugged in, as images with predictable names do. It may do so before
//! or after the daemon gave the NIC the name it has at home.

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;

use crate::monitor::Monitor;
use crate::node::{LIMIT, check, pods, world};
use crate::service::Service;

const PROGRAM: &str = "/usr/lib/systemd/systemd-udevd";

/// Renames what the kernel called `eth1` and on. The links of a simulated cloud have no place in a machine that a name
/// could be made of, so the rule makes one.
const SCRIPT: &str = r#"mkdir -p /run/udev/rules.d
echo 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="eth[1-9]*", NAME="ens%n"' >/run/udev/rules.d/70-names.rules
exec "#;

pub(crate) fn renames(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let node = &mut world.nodes[0];
    let service = Service::start(node, &format!("{SCRIPT}{PROGRAM}"))?;
    eventually("systemd-udevd listens", LIMIT, || {
        service.file("/run/udev/rules.d/70-names.rules").map(drop)
    })?;
    let control = format!("/proc/{}/root/run/udev/control", service.pid());
    eventually("systemd-udevd listens", LIMIT, || std::path::Path::new(&control).exists().then_some(()))?;
    let monitor = Monitor::start(node)?;
    node.start()?;
    node.wait_ready()?;
    let mut pods = pods(node)?;
    // The rename, by whoever is first.
    eventually("systemd-udevd has renamed a NIC", LIMIT, || {
        monitor.text().ok()?.contains(" ens").then_some(())
    })
    .with_context(|| format!("{}\n{}", monitor.text().unwrap_or_default(), node.log_tail()))?;
    check(&pods)?;
    for pod in &mut pods {
        pod.del()?;
    }
    for phase in node.phases()? {
        ensure!(["Ready", "InUse", "Attaching", "Creating"].contains(&&*phase), "an ENI is {phase}");
    }
    service.stop()
}
