//! From the kernel's link events to "this NIC is at home" and "it left", by MAC. The primary NIC is never
//! mentioned: it is not ours to give away.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use terway_datapath::kernel::{Link, Netns, NicRule};
use terway_datapath::monitor::{LinkEvent, LinkMonitor};
use terway_types::MacAddr;
use tokio::sync::mpsc::Sender;

/// Pause before the monitor is started again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A NIC came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicChange {
    /// Which.
    pub mac: MacAddr,
    /// Whether it is in the host's namespace now.
    pub present: bool,
    /// The index of its link.
    pub index: u32,
}

/// Under which index each NIC was seen last. Only a hint: it may have left since.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<MacAddr, BTreeSet<u32>>>);

impl Places {
    /// Learns what an event told.
    pub fn learn(&self, change: NicChange) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if change.present {
            places.entry(change.mac).or_default().insert(change.index);
        } else {
            places.remove(&change.mac);
        }
    }

    /// The index of a NIC; none where there is none, or which of several is not clear.
    pub fn of(&self, mac: MacAddr) -> Option<u32> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = places.get(&mac)?;
        all.first().copied().filter(|_| all.len() == 1)
    }
}

/// The NICs of the host's namespace, kept up to date by events.
#[derive(Debug)]
pub struct Nics {
    rule: NicRule,
    primary: MacAddr,
    by_index: HashMap<u32, MacAddr>,
}

impl Nics {
    /// No NIC seen yet.
    pub fn new(rule: NicRule, primary: MacAddr) -> Self {
        Self { rule, primary, by_index: HashMap::new() }
    }

    /// What an event changes, in order.
    pub fn apply(&mut self, event: LinkEvent) -> Vec<NicChange> {
        match event {
            LinkEvent::Changed(link) => self.now(link.index, self.mac_of(&link)),
            LinkEvent::Gone { index, .. } => self.now(index, None),
            LinkEvent::Resync(links) => self.resync(&links),
        }
    }

    /// Takes these for all links there are.
    pub fn resync(&mut self, links: &[Link]) -> Vec<NicChange> {
        let gone: Vec<u32> = self
            .by_index
            .keys()
            .copied()
            .filter(|index| links.iter().all(|link| link.index != *index))
            .collect();
        let mut changes: Vec<_> = gone.into_iter().flat_map(|index| self.now(index, None)).collect();
        for link in links {
            changes.extend(self.now(link.index, self.mac_of(link)));
        }
        changes
    }

    fn mac_of(&self, link: &Link) -> Option<MacAddr> {
        link.mac.filter(|mac| *mac != self.primary && self.rule.is_nic(link))
    }

    fn now(&mut self, index: u32, mac: Option<MacAddr>) -> Vec<NicChange> {
        let before = match mac {
            Some(mac) => self.by_index.insert(index, mac),
            None => self.by_index.remove(&index),
        };
        if before == mac {
            return Vec::new();
        }
        // Another link may carry the MAC for a moment while one replaces the other.
        let left = before.filter(|mac| self.by_index.values().all(|other| other != mac));
        let left = left.map(|mac| NicChange { mac, present: false, index });
        left.into_iter().chain(mac.map(|mac| NicChange { mac, present: true, index })).collect()
    }
}

/// Watches the links of a namespace and reports changes until the receiver is gone. A monitor that
/// fails is started again, and what was missed is made good.
pub async fn watch(netns: Netns, mut nics: Nics, changes: Sender<NicChange>) {
    loop {
        match LinkMonitor::start(&netns) {
            Ok((mut monitor, links)) => {
                let mut news = nics.resync(&links);
                drop(links);
                loop {
                    for change in news {
                        if changes.send(change).await.is_err() {
                            return;
                        }
                    }
                    match monitor.next().await {
                        Some(event) => news = nics.apply(event),
                        None => break,
                    }
                }
            }
            Err(error) => {
                tracing::error!(
                    error = terway_types::fault::chain(&error),
                    "failed to watch the node's links"
                );
            }
        }
        if changes.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const ENI: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn link(index: u32, mac: MacAddr, kind: Option<&str>) -> Link {
        Link {
            index,
            name: format!("eth{index}"),
            mac: Some(mac),
            mtu: 1500,
            up: true,
            kind: kind.map(str::to_owned),
            ether: true,
            ..Link::default()
        }
    }

    fn nics() -> Nics {
        Nics::new(NicRule::default(), PRIMARY)
    }

    #[test]
    fn a_nic_is_told_once_until_it_leaves() {
        let mut nics = nics();
        let up = NicChange { mac: ENI, present: true, index: 2 };
        assert_eq!(nics.resync(&[link(1, PRIMARY, None), link(2, ENI, None)]), [up]);
        assert_eq!(nics.apply(LinkEvent::Changed(link(2, ENI, None))), []);
        let gone = LinkEvent::Gone { index: 2, name: "eth2".to_owned(), mac: Some(ENI) };
        assert_eq!(nics.apply(gone.clone()), [NicChange { mac: ENI, present: false, index: 2 }]);
        assert_eq!(nics.apply(gone), []);
    }

    #[test]
    fn children_with_the_parents_mac_are_no_nics() {
        let mut nics = nics();
        assert_eq!(nics.apply(LinkEvent::Changed(link(3, ENI, Some("vlan")))), []);
        let gone = LinkEvent::Gone { index: 3, name: "eth3".to_owned(), mac: Some(ENI) };
        assert_eq!(nics.apply(gone), []);
    }

    #[test]
    fn a_resync_finds_what_was_missed() {
        let mut nics = nics();
        nics.resync(&[link(2, ENI, None)]);
        let other = MacAddr([2, 0, 0, 0, 0, 3]);
        let changes = nics.apply(LinkEvent::Resync(vec![link(4, other, None)]));
        assert_eq!(
            changes,
            [
                NicChange { mac: ENI, present: false, index: 2 },
                NicChange { mac: other, present: true, index: 4 }
            ]
        );
    }

    #[test]
    fn the_place_of_a_nic_is_told_only_where_it_is_the_only_one() {
        let (mut nics, places) = (nics(), Places::default());
        let mut hear = |event| {
            for change in nics.apply(event) {
                places.learn(change);
            }
        };
        hear(LinkEvent::Changed(link(2, ENI, None)));
        assert_eq!((places.of(ENI), places.of(PRIMARY)), (Some(2), None));
        hear(LinkEvent::Changed(link(7, ENI, None)));
        assert_eq!(places.of(ENI), None, "two have the address");
        for index in [2, 7] {
            hear(LinkEvent::Gone { index, name: String::new(), mac: Some(ENI) });
        }
        assert_eq!(places.of(ENI), None);
        hear(LinkEvent::Changed(link(9, ENI, None)));
        assert_eq!(places.of(ENI), Some(9));
    }

    #[test]
    fn a_nic_that_returns_under_another_index_is_at_home() {
        let mut nics = nics();
        nics.resync(&[link(2, ENI, None)]);
        assert_eq!(
            nics.apply(LinkEvent::Changed(link(5, ENI, None))),
            [NicChange { mac: ENI, present: true, index: 5 }]
        );
        let gone = LinkEvent::Gone { index: 2, name: "eth2".to_owned(), mac: Some(ENI) };
        assert_eq!(nics.apply(gone), []);
    }
}
