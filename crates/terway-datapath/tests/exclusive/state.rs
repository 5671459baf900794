//! The state of an attachment as `ip`, `nft` and `/proc` give it, one object per line. What differs from run to
//! run is replaced by what it is: `ENI`, `PODEND` and `HOSTEND` are MACs, `CALI` the host link's name.

use std::fs;

use serde_json::Value;
use terway_datapath::kernel::Netns;

use crate::sandbox::run;
use crate::world::{Pod, World};

/// All objects, in no particular order.
pub(crate) fn state(world: &World, pod: &Pod) -> Vec<String> {
    let cali = format!("cali{}", &run(&format!("printf default.{} | sha1sum", pod.reference.name))[..11]);
    let (in_pod, in_node) = (json(&pod.ip("-j link")), json(&world.node("-j link")));
    let mut lines: Vec<String> = in_pod.iter().map(|link| format!("pod {}", link_line(link))).collect();
    let host_end = in_node.iter().filter(|link| link["ifname"] == *cali);
    lines.extend(host_end.map(|link| format!("node {}", link_line(link))));
    lines.extend(
        addresses(&pod.ip("-j addr show scope global")).into_iter().map(|line| format!("pod addr {line}")),
    );
    for family in ["-4", "-6"] {
        let mut all = |sort: &str, said: &str| lines.extend(ours(said).map(|line| format!("{sort} {line}")));
        all("pod route", &pod.ip(&format!("{family} route")));
        all("pod neigh", &pod.ip(&format!("{family} neigh show nud permanent")));
        all("node neigh", &world.node(&format!("{family} neigh show nud permanent")));
        let node_routes = world.node(&format!("{family} route"));
        let of_pair: Vec<_> = node_routes.lines().filter(|line| line.contains(&cali)).collect();
        all("node route", &of_pair.join("\n"));
    }
    lines.extend(
        ours(&world.on_node("nft list ruleset"))
            .filter(|line| line != "}")
            .map(|line| format!("node nft {line}")),
    );
    lines.extend(switches(&pod.netns, "pod", &["eth0", "veth1"]));
    lines.extend(switches(&world.node, "node", &["eth0", &cali, "all"]));
    let eni = pod.eni.mac.to_string();
    let (pod_end, host_end) = (mac(&in_pod, "veth1"), mac(&in_node, &cali));
    let names = [(eni, "ENI"), (pod_end, "PODEND"), (host_end, "HOSTEND"), (cali, "CALI")];
    let named = |line: String| names.iter().fold(line, |line, (text, name)| line.replace(text, name));
    lines.into_iter().map(named).collect()
}

/// Lines with single spaces, without empty ones and without the kernel's own link-local routes.
fn ours(said: &str) -> impl Iterator<Item = String> {
    let lines = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.contains("proto kernel"))
}

fn json(said: &str) -> Vec<Value> {
    serde_json::from_str(said).unwrap()
}

fn link_line(link: &Value) -> String {
    let name = link["ifname"].as_str().unwrap();
    let is_up = link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP");
    assert!(is_up, "{name} is up");
    if name == "lo" {
        return "link lo".into();
    }
    let (mac, alias) = (link["address"].as_str().unwrap(), link["ifalias"].as_str().unwrap_or("-"));
    format!("link {name} {mac} mtu {} {alias}", link["mtu"])
}

fn addresses(said: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for link in json(said) {
        for address in link["addr_info"].as_array().into_iter().flatten() {
            // What the filter leaves out is an empty object.
            let Some(local) = address["local"].as_str() else { continue };
            let nodad = if address["nodad"] == true { " nodad" } else { "" };
            let name = link["ifname"].as_str().unwrap();
            lines.push(format!("{local}/{} dev {name}{nodad}", address["prefixlen"]));
        }
    }
    lines
}

fn mac(links: &[Value], name: &str) -> String {
    let link = links.iter().find(|link| link["ifname"] == *name).expect("the link is there");
    link["address"].as_str().unwrap().to_owned()
}

const SWITCHES: [&str; 6] = [
    "ipv4/forwarding",
    "ipv4/rp_filter",
    "ipv6/accept_ra",
    "ipv6/accept_dad",
    "ipv6/disable_ipv6",
    "ipv6/forwarding",
];

fn switches(netns: &Netns, place: &str, links: &[&str]) -> Vec<String> {
    let read = || {
        let mut lines = Vec::new();
        for link in links {
            for switch in SWITCHES {
                let (family, name) = switch.split_once('/').unwrap();
                let value = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{link}/{name}")).unwrap();
                lines.push(format!("{place} sysctl {family}/{link}/{name} {}", value.trim()));
            }
        }
        lines
    };
    netns.run(read).unwrap()
}
