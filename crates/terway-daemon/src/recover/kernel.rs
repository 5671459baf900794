//! What the kernel shows of attachments: the marks of host links, the routes to pods' addresses that leave by
//! them, and the NICs that are at home.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use terway_datapath::Mark;
use terway_datapath::kernel::{KernelError, Link, Netlink, NicRule, Route, RouteFilter};
use terway_types::{AttachmentKey, MacAddr};

/// The traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Attachments with the addresses that are routed to them.
    pub holders: BTreeMap<AttachmentKey, BTreeSet<IpAddr>>,
    /// Links with a mark of ours that does not say whose they are: the key was too long.
    pub nameless: Vec<String>,
    /// NICs in the host's namespace.
    pub home: BTreeSet<MacAddr>,
}

/// Reads the namespace this process runs in.
pub fn read(rule: &NicRule) -> Result<Traces, KernelError> {
    let mut netlink = Netlink::here()?;
    let links = netlink.links()?;
    let routes = netlink.routes(RouteFilter::default())?;
    Ok(traces(&links, &routes, rule))
}

fn traces(links: &[Link], routes: &[Route], rule: &NicRule) -> Traces {
    let mut traces = Traces::default();
    for link in links {
        if rule.is_nic(link) {
            traces.home.extend(link.mac);
        }
        let Some(mark) = link.alias.as_deref().and_then(Mark::parse) else { continue };
        let Some(key) = mark.key() else {
            traces.nameless.push(link.name.clone());
            continue;
        };
        let mine = routes.iter().filter(|route| route.oif == Some(link.index));
        let single = mine
            .map(|route| route.destination)
            .filter(|net| net.prefix() == if net.is_ipv4() { 32 } else { 128 });
        // The kernel adds link-local ones by itself.
        let pods = single.map(|net| net.ip()).filter(|address| !is_link_local(address));
        traces.holders.entry(key).or_default().extend(pods);
    }
    traces
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>, alias: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])),
            mtu: 1500,
            up: true,
            kind: kind.map(str::to_owned),
            alias: alias.map(str::to_owned),
            ether: true,
            ..Link::default()
        }
    }

    #[test]
    fn marks_and_routes_tell_who_holds_what() {
        let links = [
            link(2, "eth1", None, None),
            link(3, "cali1", Some("veth"), Some("terway:terway/c1/eth0")),
            link(4, "cali2", Some("veth"), Some("terway:#abc")),
            link(5, "other", Some("veth"), Some("calico")),
        ];
        let route = |net: &str, oif: u32| Route::to(net.parse().unwrap()).dev(oif);
        let routes = [
            route("10.0.0.7/32", 3),
            route("fd00::7/128", 3),
            route("fe80::1/128", 3),
            route("10.0.0.0/24", 3),
            route("10.0.0.8/32", 5),
        ];
        let traces = traces(&links, &routes, &NicRule::default());
        assert_eq!(traces.home, [MacAddr([2, 0, 0, 0, 0, 2])].into());
        assert_eq!(traces.nameless, ["cali2"]);
        let (key, addresses) = traces.holders.first_key_value().unwrap();
        assert_eq!((key.to_string().as_str(), traces.holders.len()), ("terway/c1/eth0", 1));
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.7", "fd00::7"]);
    }
}
