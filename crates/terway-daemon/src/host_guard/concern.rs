//! Which attachments a touch concerns. What is told by the index of a link is looked up: nearly always it is one pod's
//! link, and nobody else needs a look then.

use std::collections::{BTreeSet, HashSet};

use terway_datapath::Mark;
use terway_datapath::interference::Touched;
use terway_datapath::kernel::{Link, Netlink, Netns};
use terway_types::{AttachmentRecord, EniRecord, MacAddr};

/// What was heard, as far as whose it is can be told.
#[derive(Debug, Default)]
pub(super) struct Concern {
    touched: HashSet<Touched>,
    /// Links without a mark that got or lost an address or a way.
    on_nics: Vec<MacAddr>,
}

/// Finds out whose links were touched. Of a link that is gone, its attachment has heard already. Blocking.
pub(super) fn resolve(touched: HashSet<Touched>, host: &Netns) -> Concern {
    let mut netlink = Netlink::open(host).ok();
    let mut look = |index: u32| netlink.as_mut().map(|netlink| netlink.link_by_index(index));
    let mut concern = Concern::default();
    for what in touched {
        match what {
            Touched::OnLink(index) | Touched::TableOf(index) | Touched::Queues(index) => match look(index) {
                Some(Ok(link)) => concern.extend(link.as_ref(), &what),
                // Not knowing whose it is, everybody is looked at.
                _ => drop(concern.touched.insert(Touched::Anything)),
            },
            what => drop(concern.touched.insert(what)),
        }
    }
    concern
}

impl Concern {
    fn extend(&mut self, link: Option<&Link>, what: &Touched) {
        let Some(link) = link else { return };
        let mark = link.alias.as_deref().and_then(Mark::parse).and_then(|mark| mark.key());
        match (mark, link.mac, what) {
            (Some(key), ..) => drop(self.touched.insert(Touched::Attachment(key))),
            (None, Some(mac), Touched::OnLink(_)) => self.on_nics.push(mac),
            (None, Some(mac), _) => drop(self.touched.insert(Touched::Nic(mac))),
            (None, None, _) => drop(self.touched.insert(Touched::Anything)),
        }
    }

    /// Knowing the node's ENIs: what happens on any other link without a mark may concern everybody, such as the node's
    /// own address. Says whether ENIs may have got what they should not have.
    pub(super) fn settle(&mut self, enis: &BTreeSet<MacAddr>) -> bool {
        let mut at_enis = self.touched.contains(&Touched::Anything);
        for mac in self.on_nics.drain(..) {
            at_enis = true;
            let is_enis = enis.contains(&mac);
            self.touched.insert(if is_enis { Touched::Nic(mac) } else { Touched::Anything });
        }
        at_enis
    }

    /// Whether everybody is to be looked at.
    pub(super) fn is_about_everybody(&self) -> bool {
        self.touched.contains(&Touched::Anything)
    }

    /// Whether anything touched may be the attachment's. With a link's last IPv4 address the kernel takes all routes over
    /// it, of every table, and tells nobody.
    pub(super) fn is_about(&self, held: &AttachmentRecord, eni: &EniRecord) -> bool {
        self.touched.iter().any(|touched| match touched {
            Touched::Anything | Touched::TableOf(_) | Touched::OnLink(_) | Touched::Queues(_) => true,
            Touched::Attachment(key) => *key == held.key,
            Touched::Nic(mac) => eni.mac == Some(*mac),
            Touched::Pod(address) => {
                held.addresses.iter().chain(eni.addresses.iter()).any(|own| own == *address)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use terway_types::AttachmentKey;

    use super::*;

    const ENI: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const UPLINK: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn link(mac: MacAddr, alias: Option<&str>) -> Link {
        Link {
            index: 5,
            name: "x5".to_owned(),
            mac: Some(mac),
            mtu: 1500,
            up: true,
            alias: alias.map(str::to_owned),
            ether: true,
            ..Link::default()
        }
    }

    fn after(links: &[Option<Link>], what: &Touched) -> (Vec<Touched>, bool) {
        let mut concern = Concern::default();
        for link in links {
            concern.extend(link.as_ref(), what);
        }
        let at_enis = concern.settle(&BTreeSet::from([ENI]));
        (concern.touched.into_iter().collect(), at_enis)
    }

    #[test]
    fn an_address_on_a_pods_link_concerns_that_pod_alone() {
        let pods = link(MacAddr([6; 6]), Some("terway:terway/a/eth0"));
        let (touched, at_enis) = after(&[Some(pods)], &Touched::OnLink(5));
        let key: Vec<AttachmentKey> =
            Mark::parse("terway:terway/a/eth0").and_then(|mark| mark.key()).into_iter().collect();
        assert_eq!((touched, at_enis), (vec![Touched::Attachment(key[0].clone())], false));
        assert_eq!(after(&[None], &Touched::OnLink(5)), (vec![], false), "it is gone");
    }

    #[test]
    fn an_address_on_an_eni_concerns_its_pods_and_one_on_the_uplink_everybody() {
        assert_eq!(after(&[Some(link(ENI, None))], &Touched::OnLink(5)), (vec![Touched::Nic(ENI)], true));
        assert_eq!(after(&[Some(link(UPLINK, None))], &Touched::OnLink(5)), (vec![Touched::Anything], true));
    }

    #[test]
    fn the_table_of_an_eni_concerns_its_pods() {
        for what in [Touched::TableOf(5), Touched::Queues(5)] {
            assert_eq!(after(&[Some(link(ENI, None))], &what), (vec![Touched::Nic(ENI)], false));
        }
    }
}
