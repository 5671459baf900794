//! Takes an attachment out of the kernel, whatever state it is in: complete, half made, half removed, never
//! made, its namespace gone. It needs no layout: marks, our own MACs and the ENI's MAC tell what is ours.
//!
//! Everything is attempted; one refusal does not keep the rest from being removed. What is not there counts as
//! removed. A link with the mark of another attachment is never touched, nor is the node's uplink.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;

use terway_types::{AttachmentKey, Fault, FaultCode, MacAddr, fault::chain};

use crate::describe::FIRST_TABLE;
use crate::facts::uplink_index;
use crate::home;
use crate::kernel::objects::{Link, OUR_PROTOCOL, Rule};
use crate::kernel::{KernelError, Netlink, Netns, NicRule, Request};
use crate::mark::Mark;
use crate::names::{self, ENI_MAC_GROUP, OwnLink};
use crate::{queues, rules, smc, source_nat, tags};

/// What shall be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The attachment.
    pub key: AttachmentKey,
    /// The ENI that is its own, if known: a netdev that lost its mark is recognised by it. An ENI it shares must not
    /// be named here.
    pub mac: Option<MacAddr>,
    /// Its addresses, if known: rules that its link does not lead to any more are recognised by them.
    pub addresses: Vec<IpAddr>,
    /// The names of its links on the node, if known. What was found in the pod's namespace then tells that there are no
    /// others, and the node's are not all looked at.
    pub host_links: Vec<String>,
}

/// What was there and has been removed. All empty if there was nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// ENIs that are home now, or were and have been made bare.
    pub nics: Vec<MacAddr>,
    /// Links deleted, by name.
    pub links: Vec<String>,
    /// Policy routing rules deleted.
    pub rules: usize,
    /// The routing tables of ENIs that these rules led to.
    pub tables: BTreeSet<u32>,
    /// Addresses that are not translated any more.
    pub translations: usize,
}

/// A removal that is not complete. What could be removed has been.
#[derive(Debug, thiserror::Error)]
#[error("attachment {key} is not removed completely: {}", list(failures))]
pub struct RemoveError {
    /// The attachment.
    pub key: AttachmentKey,
    /// What failed; never empty.
    pub failures: Vec<KernelError>,
}

impl RemoveError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        Fault::new(FaultCode::KernelRefused, self.to_string())
    }
}

fn list(failures: &[KernelError]) -> String {
    failures.iter().map(|failure| chain(failure)).collect::<Vec<_>>().join("; ")
}

/// Removes an attachment. `pod` is its namespace, if that still exists.
pub fn remove(
    removal: &Removal,
    host: &Netns,
    pod: Option<&Netns>,
    rule: &NicRule,
) -> Result<Removed, RemoveError> {
    removed(removal, host, pod, rule, |tables| rules::free_tables(host, tables))
}

/// The same, but leaves the routes of ENIs' tables to [`rules::free_tables`]: whether others need them can be told by all
/// rules of the node only, or by whoever knows the attachments.
pub fn remove_but_tables(
    removal: &Removal,
    host: &Netns,
    pod: Option<&Netns>,
    rule: &NicRule,
) -> Result<Removed, RemoveError> {
    removed(removal, host, pod, rule, |_| Ok(()))
}

fn removed(
    removal: &Removal,
    host: &Netns,
    pod: Option<&Netns>,
    rule: &NicRule,
    free: impl FnOnce(&BTreeSet<u32>) -> Result<(), KernelError>,
) -> Result<Removed, RemoveError> {
    let mut work = Work::new(removal, rule);
    // Links and translation have different locks in the kernel, and both wait for its readers: at the same time.
    thread::scope(|scope| {
        let mark = work.mark.clone();
        let translation = scope.spawn(move || source_nat::remove(&mark, &removal.addresses, host));
        // What the links tell must be read before they go.
        let addresses = work.addresses(host);
        work.clear_links(host, pod);
        let cleared = addresses.and_then(|addresses| work.clear_rules(host, &addresses));
        work.note(cleared);
        let freed = free(&work.removed.tables);
        work.note(freed);
        match translation.join().unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(count) => work.removed.translations = count,
            Err(error) => work.note(Err(error)),
        }
    });
    if work.failures.is_empty() {
        Ok(work.removed)
    } else {
        Err(RemoveError { key: removal.key.clone(), failures: work.failures })
    }
}

/// What a link is to the attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    /// A link we made.
    Made,
    /// The ENI.
    Nic,
}

struct Work<'a> {
    removal: &'a Removal,
    rule: &'a NicRule,
    mark: Mark,
    made: [MacAddr; 4],
    /// The ENIs that are the attachment's: the one named, and those that came out of its pod.
    macs: Vec<MacAddr>,
    /// The links on the node that its own are children of.
    parents: BTreeSet<u32>,
    removed: Removed,
    failures: Vec<KernelError>,
}

impl<'a> Work<'a> {
    fn new(removal: &'a Removal, rule: &'a NicRule) -> Self {
        let key = &removal.key;
        Self {
            removal,
            rule,
            mark: Mark::of(key),
            made: [OwnLink::HostEnd, OwnLink::ErdmaHostEnd, OwnLink::PodEnd, OwnLink::Ingress]
                .map(|link| names::own_mac(key, link)),
            macs: removal.mac.into_iter().collect(),
            parents: BTreeSet::new(),
            removed: Removed::default(),
            failures: Vec::new(),
        }
    }

    fn note(&mut self, outcome: Result<(), KernelError>) {
        self.failures.extend(outcome.err());
    }

    /// A link is ours by its mark. One without any mark (the ADD that made it died before marking it) is ours by
    /// its MAC: those of links we make are derived from the key, the ENI's is the cloud's.
    fn ours(&self, link: &Link) -> Option<Ours> {
        let mark = link.alias.as_deref().and_then(Mark::parse);
        if mark.as_ref().is_some_and(|mark| *mark != self.mark) {
            return None;
        }
        let mac = link.mac?;
        let (is_nic, is_known) = (self.rule.is_nic(link), self.macs.contains(&mac));
        if self.made.contains(&mac) {
            return Some(Ours::Made);
        }
        if mark.is_none() {
            // One that is up serves others: a trunk or a shared ENI, whose MAC its children's results carry too.
            return (is_nic && is_known && !link.up).then_some(Ours::Nic);
        }
        if has_an_enis_mac(link) {
            return Some(Ours::Made);
        }
        // The rule may not know the NIC's kind while the daemon, which does, is away. An ENI must never be
        // deleted, so whatever else speaks for one counts.
        let is_the_pods = link.name == self.removal.key.ifname.as_str();
        Some(if is_nic || is_known || is_the_pods { Ours::Nic } else { Ours::Made })
    }

    /// The plugin we replace marks nothing: a real NIC under the attachment's name in the pod's own namespace
    /// can only be the pod's ENI.
    fn is_left_unmarked(&self, link: &Link) -> bool {
        link.kind.is_none()
            && self.rule.is_nic(link)
            && link.alias.as_deref().and_then(Mark::parse).is_none()
            && link.name == self.removal.key.ifname.as_str()
    }

    fn addresses(&self, host: &Netns) -> Result<Vec<IpAddr>, KernelError> {
        rules::addresses_of(&mut Netlink::open(host)?, &self.mark, &self.removal.addresses)
    }

    fn clear_rules(&mut self, host: &Netns, addresses: &[IpAddr]) -> Result<(), KernelError> {
        if addresses.is_empty() && self.parents.is_empty() {
            return Ok(());
        }
        let mut netlink = Netlink::open(host)?;
        let taken = rules::take(&mut netlink, addresses)?;
        self.removed.rules = taken.len();
        self.removed.tables = rules::tables_of(&taken);
        let ways = rules::ways_out(&taken);
        tags::remove(&mut netlink, &ways)?;
        self.clear_classes(&ways, &mut netlink)
    }

    /// On the ENIs that its rules and links lead to.
    fn clear_classes(&self, ways: &BTreeSet<(u32, IpAddr)>, host: &mut Netlink) -> Result<(), KernelError> {
        let mut addresses: BTreeSet<_> = ways.iter().map(|(_, address)| *address).collect();
        for address in self.removal.addresses.iter().filter(|_| !self.parents.is_empty()) {
            // Somebody may have taken it over.
            if rules::owner(host, *address)?.is_none_or(|owner| owner == self.mark) {
                addresses.insert(*address);
            }
        }
        let enis = ways.iter().map(|(index, _)| *index).chain(self.parents.iter().copied()).collect();
        queues::remove(host, &enis, &addresses)
    }

    fn clear_links(&mut self, host: &Netns, pod: Option<&Netns>) {
        // A path that leads to the host's own namespace must not make the host's links look like the pod's.
        if let Some(pod) = pod.filter(|pod| !pod.is_same(host)) {
            let done = self.clear_pod(pod, host);
            self.note(done);
        }
        let done = self.clear_host(host);
        self.note(done);
    }

    fn clear_pod(&mut self, pod: &Netns, host: &Netns) -> Result<(), KernelError> {
        let mut netlink = Netlink::open(pod)?;
        let links = netlink.links()?;
        let left = self.clear_tables(&links, &mut netlink);
        self.note(left);
        let (mut made, mut nics) = (Vec::new(), Vec::new());
        for link in links {
            match self.ours(&link) {
                Some(Ours::Made) => made.push(link),
                Some(Ours::Nic) => nics.push(link),
                None if self.is_left_unmarked(&link) => nics.push(link),
                // It gets its mark with its name; in the pod's own namespace it can only be the attachment's.
                None if is_child(&link) && names::is_unnamed_child(&link.name) => made.push(link),
                None => {}
            }
        }
        self.parents.extend(made.iter().filter(|link| is_child(link)).filter_map(|link| link.peer));
        let over_rdma = made.iter().filter(|link| link.group == ENI_MAC_GROUP);
        let over_rdma: Vec<_> = over_rdma.map(|link| link.name.as_str()).collect();
        if !over_rdma.is_empty() {
            let forgotten = smc::forget(&over_rdma, pod);
            self.note(forgotten);
        }
        if nics.is_empty() {
            for link in &made {
                let outcome = delete(link, &mut netlink);
                self.deleted(link, outcome);
            }
            return Ok(());
        }
        // A deletion waits for the kernel's readers after it gave back the lock of links, a move while it has it:
        // each takes tens of milliseconds, at the same time.
        let mut second = Netlink::open(pod)?;
        thread::scope(|scope| {
            let deletions =
                scope.spawn(|| made.iter().map(|link| delete(link, &mut second)).collect::<Vec<_>>());
            for nic in &nics {
                let outcome = self.bring_home(nic, &mut netlink, host);
                self.note(outcome);
            }
            let outcomes = deletions.join().unwrap_or_else(|panic| resume_unwind(panic));
            for (link, outcome) in made.iter().zip(outcomes) {
                self.deleted(link, outcome);
            }
        });
        Ok(())
    }

    /// The rules of the links' own tables stay when a link goes; the routes do not.
    fn clear_tables(&self, links: &[Link], pod: &mut Netlink) -> Result<(), KernelError> {
        let leads_to = |rule: &Rule| {
            let of = |link: &&Link| rule.table == FIRST_TABLE + link.index;
            rule.protocol == OUR_PROTOCOL && links.iter().filter(of).any(|link| self.ours(link).is_some())
        };
        let stale: Vec<_> = pod.rules()?.into_iter().filter(leads_to).collect();
        let requests: Vec<_> = stale.iter().map(Request::delete_rule).collect();
        pod.transact_if_present(&requests).map(drop)
    }

    fn bring_home(&mut self, nic: &Link, pod: &mut Netlink, host: &Netns) -> Result<(), KernelError> {
        let Some(mac) = nic.mac else { return Ok(()) };
        home::bring(nic, &names::nic_home(mac), pod, host)?;
        if !self.macs.contains(&mac) {
            self.macs.push(mac);
        }
        self.removed.nics.push(mac);
        Ok(())
    }

    /// Read only now: the pair's host end has gone with the pod's, and NICs have come home.
    fn clear_host(&mut self, host: &Netns) -> Result<(), KernelError> {
        let mut netlink = Netlink::open(host)?;
        let uplink = uplink_index(&mut netlink);
        let links = match self.expected(&mut netlink)? {
            Some(links) => links,
            None => netlink.links()?,
        };
        for link in links {
            match (self.ours(&link), &uplink) {
                (Some(Ours::Made), _) => {
                    self.parents.extend(link.peer.filter(|_| is_child(&link)));
                    let outcome = delete(&link, &mut netlink);
                    self.deleted(&link, outcome);
                }
                (Some(Ours::Nic), Ok(uplink)) if Some(link.index) != *uplink => {
                    let outcome = self.settle(&link, &mut netlink);
                    self.note(outcome);
                }
                _ => {}
            }
        }
        // Not knowing the uplink, no NIC was touched.
        uplink.map(drop)
    }

    /// The attachment's links on the node where there can be no others: its side in the pod was there, and every ENI
    /// that came out of it is at home under its name. None if one must look for them.
    fn expected(&self, host: &mut Netlink) -> Result<Option<Vec<Link>>, KernelError> {
        let (nics, known) = (&self.removed.nics, &self.removal.host_links);
        let seen = !self.removed.links.is_empty() || !nics.is_empty();
        if known.is_empty() || !seen || self.macs.iter().any(|mac| !nics.contains(mac)) {
            return Ok(None);
        }
        let mut links = Vec::new();
        for name in known {
            links.extend(host.link_by_name(name)?);
        }
        for mac in nics {
            let Some(home) = host.link_by_name(&names::nic_home(*mac))? else { return Ok(None) };
            if home.mac != Some(*mac) {
                return Ok(None);
            }
            links.push(home);
        }
        Ok(Some(links))
    }

    fn settle(&mut self, nic: &Link, host: &mut Netlink) -> Result<(), KernelError> {
        let Some(mac) = nic.mac else { return Ok(()) };
        let changed = home::settle(nic, &names::nic_home(mac), host)?;
        if changed && !self.removed.nics.contains(&mac) {
            self.removed.nics.push(mac);
        }
        Ok(())
    }

    fn deleted(&mut self, link: &Link, outcome: Result<(), KernelError>) {
        match outcome {
            Ok(()) => self.removed.links.push(link.name.clone()),
            // The other end of the pair was deleted meanwhile, or the pod's namespace took it along.
            Err(error) if error.is_absent() => {}
            Err(error) => self.note(Err(error)),
        }
    }
}

fn delete(link: &Link, netlink: &mut Netlink) -> Result<(), KernelError> {
    let request = Request::delete_link(link.index).described(format!("delete link {}", link.name));
    netlink.transact(&[request])
}

/// Whether a link is made on an ENI and has its MAC.
fn is_child(link: &Link) -> bool {
    matches!(link.kind.as_deref(), Some("vlan" | "ipvlan"))
}

/// Whether a link was made, and yet has the MAC of the ENI it was made for.
fn has_an_enis_mac(link: &Link) -> bool {
    is_child(link) || link.group == ENI_MAC_GROUP
}

#[cfg(test)]
mod tests {
    use terway_types::{ContainerId, IfName, NetworkName};

    use super::*;

    const ENI: MacAddr = MacAddr([0, 0x16, 0x3e, 1, 2, 3]);

    fn removal(mac: Option<MacAddr>) -> Removal {
        let key = AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new("c0ffee").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        Removal { key, mac, addresses: Vec::new(), host_links: Vec::new() }
    }

    fn link(name: &str, kind: Option<&str>, mac: MacAddr, alias: Option<&str>) -> Link {
        Link {
            index: 5,
            name: name.into(),
            mac: Some(mac),
            mtu: 1500,
            kind: kind.map(str::to_owned),
            alias: alias.map(str::to_owned),
            ether: true,
            ..Link::default()
        }
    }

    #[test]
    fn whose_a_link_is() {
        let (ours, others) = (Some("terway:terway/c0ffee/eth0"), Some("terway:terway/other/eth0"));
        let pair = names::own_mac(&removal(None).key, OwnLink::HostEnd);
        let foreign = MacAddr([2; 6]);
        let known = removal(Some(ENI));
        for (link, wanted) in [
            (link("eth0", None, ENI, ours), Some(Ours::Nic)),
            (link("dev8", None, foreign, ours), Some(Ours::Nic)),
            (link("eni1", None, ENI, None), Some(Ours::Nic)),
            (link("eni1", None, ENI, Some("admin's words")), Some(Ours::Nic)),
            (link("eni1", None, ENI, others), None),
            (link("eni1", None, foreign, None), None),
            (link("eth0.7", Some("vlan"), ENI, None), None),
            (link("eth0", Some("vlan"), ENI, ours), Some(Ours::Made)),
            (link("eth0", Some("vlan"), ENI, others), None),
            (Link { up: true, ..link("eth1", None, ENI, None) }, None),
            (link("calix", Some("veth"), pair, ours), Some(Ours::Made)),
            (link("calix", Some("veth"), pair, None), Some(Ours::Made)),
            (link("calix", Some("veth"), pair, others), None),
            (link("calix", Some("veth"), foreign, None), None),
            // The pod's end of a pair for eRDMA, which the ENI's MAC does not make an ENI.
            (Link { group: ENI_MAC_GROUP, ..link("eth0", Some("veth"), ENI, ours) }, Some(Ours::Made)),
            (Link { group: ENI_MAC_GROUP, ..link("eth0", Some("veth"), ENI, others) }, None),
            (Link { group: ENI_MAC_GROUP, ..link("eth0", Some("veth"), ENI, None) }, None),
            // A kind the rule does not know: never to be deleted.
            (link("eth0", Some("veth"), ENI, ours), Some(Ours::Nic)),
            (link("eth0", Some("veth"), foreign, ours), Some(Ours::Nic)),
        ] {
            assert_eq!(Work::new(&known, &NicRule::default()).ours(&link), wanted, "{link:?}");
            if link.group == ENI_MAC_GROUP {
                // Where simulated clouds have ENIs of this kind.
                let simulated = NicRule::with_kinds(["veth"]);
                assert_eq!(Work::new(&known, &simulated).ours(&link), wanted, "{link:?}");
            }
        }
    }

    #[test]
    fn what_the_plugin_before_us_left_is_the_pods_eni() {
        let (rule, removal) = (NicRule::default(), removal(None));
        let work = Work::new(&removal, &rule);
        assert!(work.is_left_unmarked(&link("eth0", None, ENI, None)));
        assert!(!work.is_left_unmarked(&link("eth1", None, ENI, None)));
        assert!(!work.is_left_unmarked(&link("eth0", Some("veth"), ENI, None)));
        assert!(!work.is_left_unmarked(&link("eth0", None, ENI, Some("terway:terway/other/eth0"))));
    }
}
