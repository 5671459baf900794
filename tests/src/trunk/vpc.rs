//! The VPC of trunks: a router with a port for each node's own NIC and one for each member, which is a VLAN of its
//! trunk's link. It knows who has which address, and drops what does not bear the port's.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{GATEWAYS, Member};
use crate::namespace;

/// The gateways of the nodes' vSwitch.
const HOME: [&str; 2] = ["10.2.0.253/32", "fd00:10:0:2::fffd/128"];

/// The addresses of a node.
pub(super) fn node(number: u8) -> (IpAddr, IpAddr) {
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0, 2, 0, 0, 0, number.into());
    (Ipv4Addr::new(10, 2, 0, number).into(), v6.into())
}

/// The hardware address of a node's trunk, which its members have too.
pub(super) fn trunk_mac(node: u8) -> String {
    format!("00:16:3e:00:09:0{node}")
}

fn own_mac(node: u8) -> String {
    format!("00:16:3e:00:08:0{node}")
}

/// Gives a node its own NIC and a trunk.
pub(super) fn attach(number: u8, own: &Path, vpc: &Path) -> Result<()> {
    let far = vpc.file_name().context("a namespace without a name")?.to_string_lossy();
    let (v4, v6) = node(number);
    let [gateway4, gateway6] = HOME.map(|text| text.split('/').next().unwrap_or(text));
    ip(
        own,
        &format!(
            "link add eth0 address {} type veth peer name up{number} netns {far}\n\
             link add eth1 address {} type veth peer name trunk{number} netns {far}\n\
             link set eth0 addrgenmode none up\n\
             addr add fe80::{number}/64 dev eth0 nodad\n\
             addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             route add {gateway4} dev eth0\n\
             route add default via {gateway4} dev eth0\n\
             route add {gateway6} dev eth0\n\
             route add default via {gateway6} dev eth0\n",
            own_mac(number),
            trunk_mac(number)
        ),
    )?;
    let mut ways = format!("link set up{number} up\nlink set trunk{number} up\n");
    // What asks for the trunk's gateway does so without a tag.
    for (port, gateways) in [
        (format!("up{number}"), HOME.map(str::to_owned)),
        (format!("trunk{number}"), [format!("{}/32", GATEWAYS[0]), format!("{}/128", GATEWAYS[1])]),
    ] {
        for gateway in gateways {
            let _ = writeln!(ways, "addr add {gateway} dev {port} nodad");
        }
    }
    for (address, length) in [(v4, 32), (v6, 128)] {
        let _ = writeln!(ways, "route add {address}/{length} dev up{number}");
        let _ = writeln!(ways, "neigh add {address} lladdr {} dev up{number} nud permanent", own_mac(number));
    }
    set(vpc, "ipv4/conf/all/forwarding", "1")?;
    set(vpc, "ipv6/conf/all/forwarding", "1")?;
    set(vpc, "ipv4/conf/all/send_redirects", "0")?;
    set(vpc, "ipv4/conf/default/send_redirects", "0")?;
    ip(vpc, &ways)
}

/// Gives each member a port.
pub(super) fn carry(members: &[Member], vpc: &Path) -> Result<()> {
    let mut ways = String::new();
    for member in members {
        let (port, trunk) = (member.port(), format!("trunk{}", member.node));
        let _ = writeln!(ways, "link add link {trunk} name {port} type vlan id {}", member.vlan);
        let _ = writeln!(ways, "link set {port} up");
        for (gateway, address, length) in
            [(GATEWAYS[0], IpAddr::V4(member.v4), 32), (GATEWAYS[1], IpAddr::V6(member.v6), 128)]
        {
            let _ = writeln!(ways, "addr add {gateway}/{length} dev {port} nodad");
            let _ = writeln!(ways, "route add {address}/{length} dev {port}");
            let mac = trunk_mac(member.node);
            let _ = writeln!(ways, "neigh add {address} lladdr {mac} dev {port} nud permanent");
        }
    }
    ip(vpc, &ways)
}

/// Drops what does not bear its port's address, and lets neighbour discovery pass.
pub(super) fn guard(members: &[Member], vpc: &Path) -> Result<()> {
    let mut rules = String::new();
    let members =
        members.iter().map(|member| (member.port(), IpAddr::from(member.v4), IpAddr::from(member.v6)));
    let nodes = [1, 2].map(|number| (format!("up{number}"), node(number).0, node(number).1));
    for (port, v4, v6) in members.chain(nodes) {
        let _ = writeln!(rules, "iifname {port} ip saddr {v4} accept; iifname {port} ip6 saddr {v6} accept;");
    }
    let text = format!(
        "table inet guard {{ chain sources {{ type filter hook prerouting priority raw; policy drop; \
         icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept; iifname lo accept; \
         {rules}}}\n}}\n"
    );
    feed(vpc, "nft", &["-f", "-"], &text)
}

impl Member {
    /// The name of its port.
    fn port(&self) -> String {
        format!("member{}", self.vlan)
    }
}

fn set(netns: &Path, switch: &str, value: &'static str) -> Result<()> {
    let path = format!("/proc/sys/net/{switch}");
    namespace::inside(netns, move || std::fs::write(path, value))?
        .with_context(|| format!("failed to set {switch}"))
}

fn ip(netns: &Path, commands: &str) -> Result<()> {
    feed(netns, "ip", &["-batch", "-"], commands)
}

/// Runs a program inside a namespace that reads what it shall do.
fn feed(netns: &Path, program: &'static str, words: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = namespace::spawn(netns, command)?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} refuses: {}\n{input}", said.trim());
    Ok(())
}
