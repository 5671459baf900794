//! cloud-init, whose hook udev calls for every NIC that is plugged in: it asks the cloud's metadata service again, writes
//! configuration for the NIC and brings it up. The guest has no init that would start it at boot and for the hook, so a
//! script does; and no board that would say which cloud this is, so a program does.

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::reader;

use crate::dhcp::{self, LEASED};
use crate::node::{
    LIMIT, check, cleared, diagnosed, doctor_warns, of_pods, pods, restored, shared_nic, told, untouched,
    world,
};
use crate::service::Service;

const AGENT: &str = "cloud-init";
/// Written by it, and installed by it where hot-plug is switched on.
const WRITTEN: &str = "/etc/network/interfaces.d/50-cloud-init";
const RULE: &str = "/etc/udev/rules.d/10-cloud-init-hook-hotplug.rules";
/// Written by the script when it waits for hooks.
const READY: &str = "/run/ready";

/// What the node has at its first boot. Its metadata service knows the node's own NIC, and the ENI once it is there. The
/// guest's root is this machine's, which may be a container; cloud-init would ask a container for no board.
const BOOT: &str = r#"M=/run/imds/2016-01-01/meta-data; I=network/interfaces
say() { mkdir -p $M/$1; printf "$2" >$M/$1/index.html; }
nics() { lines=; for mac; do say $I/macs/$mac vpc-id; printf vpc-lab >$M/$I/macs/$mac/vpc-id; lines="$lines$mac/\n"; done
  say $I/macs "$lines"; }
say . 'instance-id\nnetwork/'; say network interfaces/; say $I macs/; nics OWN
printf i-lab >$M/instance-id
python3 -m http.server --bind 127.0.0.1 --directory /run/imds 8001 &
mkdir -p /run/cloud-init/share /run/network /var/lib/dhcp /etc/network/interfaces.d /etc/network/if-up.d
echo 'source /etc/network/interfaces.d/*' >/etc/network/interfaces
rm -rf /etc/cloud/cloud.cfg.d/* /var/lib/cloud /etc/udev/rules.d/*-cloud-init-*
cat >/etc/cloud/cloud.cfg <<end
datasource_list: [AliYun]
datasource: {AliYun: {metadata_urls: ['http://127.0.0.1:8001']}}
updates: {network: {when: ['boot', 'hotplug']}}
disable_network_activation: true
preserve_hostname: true
system_info: {distro: debian, network: {renderers: [eni], activators: [eni]}}
end
printf '#!/bin/sh\necho Alibaba Cloud ECS\n' >/usr/sbin/dmidecode; chmod +x /usr/sbin/dmidecode
rm -f /.dockerenv
/usr/lib/systemd/systemd-udevd &
until test -e /run/udev/control; do sleep 0.05; done
"#;

/// The rest of the boot, and what cloud-init-hotplugd.service does for each call of the hook.
const HOOKS: &str = r"cloud-init init
cloud-init single --name install_hotplug --frequency always
nics OWN ENI
mkfifo /run/cloud-init/share/hook-hotplug-cmd
echo '{}' >/run/cloud-init/result.json
exec 3<>/run/cloud-init/share/hook-hotplug-cmd
touch /run/ready
while read words <&3; do cloud-init devel hotplug-hook $words; done
";

/// Boots it, with our settings or without.
fn start(node: &Node, nic: &str, ours: bool) -> Result<Service> {
    let mac = |nic: &str| -> Result<String> {
        let link = reader::json(&node.netns, "ip", &["link", "show", "dev", nic])?;
        Ok(link[0]["address"].as_str().context("no MAC")?.to_owned())
    };
    let settings = if ours { "cp -r $SETTINGS/etc/. /etc/\n" } else { "" };
    let script = format!("{BOOT}{settings}{HOOKS}").replace("OWN", &mac("eth0")?).replace("ENI", &mac(nic)?);
    let service = Service::start(node, &script)?;
    eventually("cloud-init has booted", LIMIT, || service.file(READY).map(drop))?;
    ensure!(service.file(WRITTEN).is_some_and(|text| text.contains("eth0")), "it did not find the cloud");
    Ok(service)
}

/// As the kernel tells of a NIC that is plugged in.
fn announce(service: &Service, nic: &str) -> Result<()> {
    service.ask(&["udevadm", "trigger", "--action=add", &format!("/sys/class/net/{nic}")])?;
    service.ask(&["udevadm", "settle"]).map(drop)
}

pub(crate) fn takes(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let server = dhcp::serve(&world)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, nic) = (of_pods(node)?, shared_nic(node)?);
    let service = start(node, &nic, false)?;
    ensure!(service.file(RULE).is_some(), "it did not install its hook");
    announce(&service, &nic)?;
    // It brings the ENI up by ifup, which runs dhclient.
    told(node, "EniCleared", &[LEASED, "dhclient"])?;
    ensure!(service.file(WRITTEN).is_some_and(|text| text.contains(&nic)), "it was not cloud-init");
    cleared(node, &nic)?;
    restored(node, &before)?;
    check(&pods)?;
    doctor_warns(node, &service, AGENT)?;
    service.ask(&["sh", "-c", "kill $(cat /run/dhclient.*.pid)"])?;
    service.stop()?;
    server.stop()
}

pub(crate) fn leaves(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let server = dhcp::serve(&world)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let nic = shared_nic(node)?;
    let service = start(node, &nic, true)?;
    ensure!(service.file(RULE).is_none(), "it installed its hook");
    announce(&service, &nic)?;
    let query = service.ask(&["cloud-init", "devel", "hotplug-hook", "--subsystem=net", "query"])?;
    ensure!(query.trim() == "disabled", "its hook is {query}");
    untouched(node)?;
    ensure!(diagnosed(node, &service, AGENT)?.is_none(), "the doctor takes it for at work");
    check(&pods)?;
    service.stop()?;
    server.stop()
}
