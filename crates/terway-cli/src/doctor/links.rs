//! The links of this node that its services must leave alone: pods' links and ENIs, but not the node's own NIC.

use terway_datapath::facts::uplink_index;
use terway_datapath::kernel::{KernelError, Link, Netlink, Netns, NicRule};
use terway_datapath::mark::Mark;
use terway_datapath::names::HOST_LINK_PREFIX;
use terway_types::{Fault, FaultCode};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodLink {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
}

/// Reads them from the namespace the program runs in.
pub(crate) fn observe() -> Result<Vec<PodLink>, Fault> {
    let host = Netns::current().map_err(|error| {
        Fault::new(FaultCode::NetnsInvalid, "this node's namespace cannot be used").caused_by(&error)
    })?;
    read(&host).map_err(|error| error.fault())
}

fn read(host: &Netns) -> Result<Vec<PodLink>, KernelError> {
    let mut netlink = Netlink::open(host)?;
    let uplink = uplink_index(&mut netlink)?;
    Ok(choose(&netlink.links()?, uplink))
}

fn choose(links: &[Link], uplink: Option<u32>) -> Vec<PodLink> {
    let nics = NicRule::default();
    let concerns = |link: &&Link| {
        let marked = link.alias.as_deref().and_then(Mark::parse).is_some();
        Some(link.index) != uplink && (marked || link.name.starts_with(HOST_LINK_PREFIX) || nics.is_nic(link))
    };
    let chosen = links.iter().filter(concerns);
    chosen.map(|link| PodLink { index: link.index, name: link.name.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mtu: 1500,
            up: true,
            kind: kind.map(str::to_owned),
            loopback: name == "lo",
            ether: true,
            ..Link::default()
        }
    }

    #[test]
    fn nics_and_pods_links_but_not_the_nodes_own() {
        let marked = Link { alias: Some("terway:terway/c/eth0".into()), ..link(5, "x", Some("veth")) };
        let links = [
            link(1, "lo", None),
            link(2, "eth0", None),
            link(3, "eth1", None),
            link(4, "cali12345678901", Some("veth")),
            marked,
            link(6, "docker0", Some("bridge")),
        ];
        let names: Vec<String> = choose(&links, Some(2)).into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["eth1", "cali12345678901", "x"]);
    }
}
