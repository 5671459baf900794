//! Breaks what pods of every data path have, as somebody on the node might.

use std::fs;

use terway_datapath::describe::{Object, Table};
use terway_datapath::kernel::Netns;
use terway_types::IpFamily;

/// Takes an object away, or turns it if it is a switch; `ip` runs where it is.
pub(crate) fn take_away(object: &Object, netns: &Netns, ip: &dyn Fn(&str) -> String) -> String {
    let family = |is_ipv4: bool| if is_ipv4 { "-4" } else { "-6" };
    let table = |table: &Table| match table {
        Table::Main => "main".to_owned(),
        Table::OfLink(link) => {
            let said = ip(&format!("-o link show {link}"));
            (1000 + said.split(':').next().unwrap().trim().parse::<u32>().unwrap()).to_string()
        }
    };
    match object {
        Object::Loopback(_) => ip("link set lo down"),
        Object::Link(link) => ip(&format!("link del {}", link.name)),
        Object::Sysctl(sysctl) => {
            let turned = if sysctl.value == "0" { "1" } else { "0" };
            let path = format!("/proc/sys/{}", sysctl.path);
            netns.run(|| fs::write(path, turned)).unwrap().unwrap();
            String::new()
        }
        Object::Address(address) => ip(&format!("addr del {} dev {}", address.address, address.link)),
        Object::Route(route) => {
            let (family, table) = (family(route.destination.is_ipv4()), table(&route.table));
            ip(&format!("{family} route del {} dev {} table {table}", route.destination, route.link))
        }
        Object::Rule(rule) => {
            let (from, to) = (rule.from.map(|it| format!("from {it}")), rule.to.map(|it| format!("to {it}")));
            let oif = rule.oif.as_ref().map(|link| format!("oif {link}"));
            let selector = [from, to, oif].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let (family, table) = (family(rule.family == IpFamily::V4), table(&rule.table));
            ip(&format!("{family} rule del priority {} {selector} lookup {table}", rule.priority))
        }
        Object::Neighbour(neighbour) => {
            ip(&format!("neigh del {} dev {}", neighbour.address, neighbour.link))
        }
        other => panic!("{other}, which not every pod has"),
    }
}
