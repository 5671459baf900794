//! What the node still has of attachments: the traces by which those that are gone are found. Whether one is gone is
//! for the reader to find out; a trace is there only after its attachment is in the books, so whoever looks here first
//! and into the books second takes no attachment for gone that has just come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use terway_types::{AttachmentKey, MacAddr};

use crate::kernel::objects::Link;
use crate::kernel::{KernelError, Netlink, Netns};
use crate::mark::Mark;
use crate::names::ENI_MAC_GROUP;
use crate::{queues, rules, source_nat};

/// What there is of one attachment, by the mark it carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Links that were made for it, by name. There being one says that the pod may live: the end of a pair goes with
    /// the namespace of the other.
    pub links: BTreeSet<String>,
    /// ENIs that came home with its mark, by name.
    pub nics: BTreeSet<String>,
    /// Whether its traffic is translated.
    pub translated: bool,
}

/// The traces of all attachments, with the hardware addresses of the node's ENIs.
pub fn find(host: &Netns, enis: &BTreeSet<MacAddr>) -> Result<BTreeMap<AttachmentKey, Traces>, KernelError> {
    let links = Netlink::open(host)?.links()?;
    Ok(traces(&links, &source_nat::marks(host)?, enis))
}

fn traces(
    links: &[Link],
    translated: &BTreeSet<String>,
    enis: &BTreeSet<MacAddr>,
) -> BTreeMap<AttachmentKey, Traces> {
    let key_of = |text: &str| Mark::parse(text)?.key();
    let mut all: BTreeMap<AttachmentKey, Traces> = BTreeMap::new();
    for link in links {
        let Some(key) = link.alias.as_deref().and_then(key_of) else { continue };
        let traces = all.entry(key).or_default();
        // A child of an ENI has its MAC too.
        let has_an_enis_mac = link.mac.is_some_and(|mac| enis.contains(&mac));
        let was_made = link.child.is_some() || link.group == ENI_MAC_GROUP;
        let is_nic = link.kind.is_none() || (has_an_enis_mac && !was_made);
        let names = if is_nic { &mut traces.nics } else { &mut traces.links };
        names.insert(link.name.clone());
    }
    for key in translated.iter().filter_map(|text| key_of(text)) {
        all.entry(key).or_default().translated = true;
    }
    all
}

/// The addresses whose packets are of a class on an ENI though no attachment's link leads to them, with the indexes of
/// those links. Some attachments have no link on the node: the books know their addresses.
pub fn classes(host: &Netns) -> Result<BTreeMap<IpAddr, BTreeSet<u32>>, KernelError> {
    let mut host = Netlink::open(host)?;
    let mut found = queues::left(&mut host)?;
    if !found.is_empty() {
        // Behind the filters: of an attachment that has just come, the link was there before them.
        let led_to = rules::led_to(&mut host)?;
        found.retain(|address, _| !led_to.iter().any(|(to, _)| to == address));
    }
    Ok(found)
}

/// Has packets of these addresses be of no class on these links any more.
pub fn clear_classes(host: &Netns, stale: &BTreeMap<IpAddr, BTreeSet<u32>>) -> Result<(), KernelError> {
    let links = stale.values().flatten().copied().collect();
    queues::remove(&mut Netlink::open(host)?, &links, &stale.keys().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::objects::Child;

    fn link(name: &str, kind: Option<&str>, mac: u8, alias: Option<&str>) -> Link {
        Link {
            index: 5,
            name: name.into(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, mac])),
            mtu: 1500,
            up: true,
            kind: kind.map(str::to_owned),
            alias: alias.map(str::to_owned),
            ether: true,
            ..Link::default()
        }
    }

    #[test]
    fn marks_tell_whose_a_trace_is_and_nothing_else_is_one() {
        let (a, b) = (Some("terway:terway/a/eth0"), Some("terway:terway/b/eth0"));
        let links = [
            link("cali1", Some("veth"), 1, a),
            link("eth1", None, 2, a),
            link("eth2", Some("veth"), 3, b),
            Link { child: Some(Child::Ipvlan(None)), ..link("cali3", Some("ipvlan"), 3, b) },
            Link { group: ENI_MAC_GROUP, ..link("cali4", Some("veth"), 3, b) },
            link("cali9", Some("veth"), 4, Some("calico:terway/c/eth0")),
            link("cali8", Some("veth"), 5, None),
        ];
        let translated = ["terway:terway/b/eth0", "terway:terway/d/eth0", "words of somebody"];
        let enis = BTreeSet::from([MacAddr([2, 0, 0, 0, 0, 3])]);
        let all = traces(&links, &translated.map(str::to_owned).into(), &enis);
        let shown: Vec<_> = all
            .iter()
            .map(|(key, traces)| format!("{key} {:?} {:?} {}", traces.links, traces.nics, traces.translated))
            .collect();
        assert_eq!(
            shown,
            [
                r#"terway/a/eth0 {"cali1"} {"eth1"} false"#,
                r#"terway/b/eth0 {"cali3", "cali4"} {"eth2"} true"#,
                "terway/d/eth0 {} {} true",
            ]
        );
    }
}
