//! One round of the guard: every attachment concerned is compared with the kernel under its lock, and what is missing
//! is put back. Blocking.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use terway_datapath::describe::Layout;
use terway_datapath::facts::FactsError;
use terway_datapath::kernel::{Child, IpvlanMode, KernelError, Link, Netlink, Netns, NicRule, find_nic};
use terway_datapath::{
    Drift, Extras, HostFacts, Mark, OnEni, Snapshot, attachment_lock, can_repair, diff_host, extras, layout,
    names, observe_host, repair,
};
use terway_rpc::InterfaceParts;
use terway_types::{
    Addresses, AttachmentKey, Datapath, Fault, FaultCode, InterfacePlan, IpFamily, MacAddr, NodeMode, PodRef,
    Queueing,
};

use super::enis::Enis;
use super::losses::{Losses, Verdict};

/// An attachment to look at.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) key: AttachmentKey,
    pub(super) pod: PodRef,
    pub(super) parts: InterfaceParts,
    pub(super) mode: NodeMode,
}

/// What a round goes by.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) subjects: Vec<Subject>,
    /// Whether these are all attachments of the node.
    pub(super) everybody: bool,
    pub(super) enis: Enis,
    pub(super) host: Netns,
    pub(super) run_dir: PathBuf,
    /// The processes that did something meanwhile.
    pub(super) by: HashSet<u32>,
    pub(super) memory: Memory,
    pub(super) now: Instant,
}

/// What was put back, and what was taken off, lately.
#[derive(Debug, Default)]
pub(super) struct Memory {
    attachments: Losses<AttachmentKey>,
    enis: Losses<MacAddr>,
    /// What attachments were seen to have that the books do not tell.
    extras: HashMap<AttachmentKey, Extras>,
}

/// What a round found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) by: HashSet<u32>,
    /// Objects put back, each with its pod.
    pub(super) repaired: Vec<String>,
    /// What was taken off ENIs.
    pub(super) expelled: Vec<String>,
    /// Objects that cannot be put back.
    pub(super) left: Vec<String>,
    /// Objects whose next repair has to wait, which nobody was told yet.
    pub(super) fought: Vec<String>,
    /// Attachments the plugin works on.
    pub(super) busy: Vec<AttachmentKey>,
    /// Attachments to look at again, and when.
    pub(super) later: BTreeMap<AttachmentKey, Instant>,
    /// When to look at ENIs again.
    pub(super) enis_later: Option<Instant>,
}

impl Round {
    /// Looks at everyone; gives the memory back.
    pub(super) fn run(mut self) -> (Memory, Report) {
        let mut report = Report { by: std::mem::take(&mut self.by), ..Report::default() };
        let subjects = std::mem::take(&mut self.subjects);
        if self.everybody {
            let alive: HashSet<_> = subjects.iter().map(|subject| &subject.key).collect();
            self.memory.extras.retain(|key, _| alive.contains(key));
        }
        if subjects.is_empty() && self.enis.macs.is_empty() {
            return (self.memory, report);
        }
        let seen = self.clear_enis(&mut report).map(|(netlink, links)| Seen::of(netlink, links, &subjects));
        let mut seen = match seen {
            Ok(seen) => seen,
            Err(fault) => {
                tracing::warn!(%fault, "cannot guard attachments' state on the node");
                return (self.memory, report);
            }
        };
        for subject in subjects {
            let key = subject.key.clone();
            match self.look_after(&subject, &mut seen, &mut report) {
                Ok(()) => {}
                Err(fault) if fault.code == FaultCode::AttachmentBusy => report.busy.push(key),
                Err(fault) => {
                    tracing::warn!(attachment = %key, %fault, "cannot guard an attachment's state on the node");
                }
            }
        }
        (self.memory, report)
    }

    /// Looks at ENIs; gives the node's links.
    fn clear_enis(&mut self, report: &mut Report) -> Result<(Netlink, Vec<Link>), Fault> {
        let mut netlink = Netlink::open(&self.host).map_err(|error| error.fault())?;
        let links = netlink.links().map_err(|error| error.fault())?;
        let cleared = self.enis.clear(&mut netlink, &links, &mut self.memory.enis, self.now, report);
        cleared.map_err(|error| error.fault())?;
        Ok((netlink, links))
    }

    fn look_after(&mut self, subject: &Subject, seen: &mut Seen, report: &mut Report) -> Result<(), Fault> {
        let key = &subject.key;
        let _lock = attachment_lock::acquire(&self.run_dir, key, Duration::ZERO)?;
        let Some(layout) = self.layout(subject, seen)? else { return Ok(()) };
        let mut due = Vec::new();
        for drift in self.drifts(&layout, seen)? {
            match self.memory.attachments.judge(key, &drift.object.name(), self.now) {
                Verdict::Repair => due.push(drift),
                Verdict::Wait { until, news } => {
                    report.fought.extend(news.then(|| said(&drift, subject)));
                    let at = report.later.entry(key.clone()).or_insert(until);
                    *at = until.min(*at);
                }
            }
        }
        if !due.iter().any(can_repair) {
            self.give_up(&due, subject, report);
            return Ok(());
        }
        repair(&layout, &due, &self.host).map_err(|error| error.fault())?;
        let after = self.drifts_now(&layout, None)?;
        let (left, back): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|drift| after.iter().any(|still| still.object == drift.object));
        for drift in &back {
            self.memory.attachments.repaired(key, &drift.object.name(), self.now);
            report.repaired.push(said(drift, subject));
        }
        self.give_up(&left, subject, report);
        Ok(())
    }

    /// What cannot be put back is told like a repair that did not last: ever more seldom.
    fn give_up(&mut self, left: &[Drift], subject: &Subject, report: &mut Report) {
        for drift in left {
            self.memory.attachments.repaired(&subject.key, &drift.object.name(), self.now);
            report.left.push(said(drift, subject));
        }
    }

    /// By what was read once for all, if that is enough: it may be older than a change of this attachment.
    fn drifts(&self, layout: &Layout, seen: &mut Seen) -> Result<Vec<Drift>, Fault> {
        if let Some(snapshot) = &mut seen.snapshot
            && self.drifts_now(layout, Some(snapshot))?.is_empty()
        {
            return Ok(Vec::new());
        }
        self.drifts_now(layout, None)
    }

    fn drifts_now(&self, layout: &Layout, snapshot: Option<&mut Snapshot>) -> Result<Vec<Drift>, Fault> {
        let observed = observe_host(layout, &self.host, snapshot).map_err(|error| error.fault())?;
        Ok(diff_host(layout, &observed))
    }

    /// How the attachment should look on the node. None where it has no link there: it is not made yet, is going
    /// away, or has nothing on the node. What only concerns the pod's side is left out, and so are limits, which the
    /// runtime may have set.
    fn layout(&mut self, subject: &Subject, seen: &mut Seen) -> Result<Option<Layout>, Fault> {
        let mark = Mark::of(&subject.key);
        let Some(name) = seen.ends.get(mark.as_str()) else { return Ok(None) };
        // Before the lock was taken, the plugin may have deleted it.
        let end = seen.netlink.link_by_name(name).map_err(|error| error.fault())?;
        let Some(end) = end.filter(|end| end.alias.as_deref() == Some(mark.as_str())) else {
            return Ok(None);
        };
        let mut plan = plan(subject, &end);
        let mut facts = self.facts(&plan, seen)?;
        let layout = |plan: &InterfacePlan, facts: &HostFacts| {
            layout(plan, &subject.key, &subject.pod, facts).map_err(|error| error.fault())
        };
        // Without a way out of a family there is nothing to lay out for it; the other is guarded all the same.
        plan.addresses = both(plan.addresses, facts.addresses);
        if !plan.datapath.shares_the_eni() {
            return layout(&plan, &facts).map(Some);
        }
        let nics = NicRule::with_kinds(&plan.nic_kinds);
        let index = find_nic(&seen.links, plan.mac, &nics).map_err(|error| error.fault())?.index;
        // It may have been renamed since.
        let found = facts.find_nic(&self.host, plan.mac, &nics, Some(index), Instant::now());
        found.map_err(|error| error.fault())?;
        let on_eni = seen.on_eni(index).map_err(|error| error.fault())?;
        let extras = self.memory.extras.entry(subject.key.clone()).or_default();
        extras.learn(&plan, facts.addresses, &on_eni);
        // What was learnt may not go together with what the node is by now; the rest is guarded all the same.
        layout(&extras.complete(&plan, &on_eni), &facts).or_else(|_| layout(&plan, &facts)).map(Some)
    }

    /// The node's facts, read once a round for each set of families. Those of one family if the other has no way out.
    fn facts(&self, plan: &InterfacePlan, seen: &mut Seen) -> Result<HostFacts, Fault> {
        let in_use = |family: &IpFamily| plan.addresses.get(*family).is_some();
        let families: Vec<_> = IpFamily::BOTH.into_iter().filter(in_use).collect();
        if let Some((_, facts)) = seen.facts.iter().find(|(of, _)| *of == families) {
            return Ok(facts.clone());
        }
        let observe = |families: &[IpFamily]| HostFacts::observe(&self.host, families.iter().copied());
        let facts = match observe(&families) {
            Err(error @ (FactsError::NoDefaultRoute(lost) | FactsError::NoAddress { family: lost, .. }))
                if families.len() > 1 =>
            {
                tracing::warn!(%error, "pods' state on the node is guarded in the other family only");
                families.iter().find(|family| **family != lost).map_or(Err(error), |left| observe(&[*left]))
            }
            facts => facts,
        };
        let facts = facts.map_err(|error| error.fault())?;
        seen.facts.push((families, facts.clone()));
        Ok(facts)
    }
}

/// The addresses of the families that both have.
fn both(pod: Addresses, node: Addresses) -> Addresses {
    Addresses::new(pod.v4.filter(|_| node.v4.is_some()), pod.v6.filter(|_| node.v6.is_some()))
}

/// What one round reads once for all.
struct Seen {
    netlink: Netlink,
    links: Vec<Link>,
    /// The names of attachments' links on the node, by their marks.
    ends: HashMap<String, String>,
    facts: Vec<(Vec<IpFamily>, HostFacts)>,
    /// What there is on shared ENIs, by index. It gets old: what seems to be missing is looked at anew.
    on_enis: HashMap<u32, OnEni>,
    /// None where one attachment only is looked at.
    snapshot: Option<Snapshot>,
}

impl Seen {
    fn of(netlink: Netlink, links: Vec<Link>, subjects: &[Subject]) -> Self {
        let macs: HashSet<_> = subjects.iter().map(|subject| subject.parts.mac).collect();
        // An ENI that has come home keeps its mark until DEL.
        // A child of one has its MAC too.
        let is_end = |link: &Link| link.child.is_some() || link.mac.is_none_or(|mac| !macs.contains(&mac));
        let ends = links.iter().filter(|link| is_end(link));
        let ends = ends.filter_map(|link| Some((link.alias.clone()?, link.name.clone()))).collect();
        let snapshot = (subjects.len() > 1).then(Snapshot::default);
        Self { ends, netlink, links, facts: Vec::new(), on_enis: HashMap::new(), snapshot }
    }

    fn on_eni(&mut self, index: u32) -> Result<OnEni, KernelError> {
        if let Some(known) = self.on_enis.get(&index) {
            return Ok(known.clone());
        }
        let Some(nic) = self.links.iter().find(|link| link.index == index) else {
            return Ok(OnEni::default());
        };
        let found = extras::on_eni(&mut self.netlink, nic)?;
        self.on_enis.insert(index, found.clone());
        Ok(found)
    }
}

fn plan(subject: &Subject, end: &Link) -> InterfacePlan {
    let parts = subject.parts.clone();
    let prefix = end.name.len().saturating_sub(names::HOST_LINK_DIGITS);
    InterfacePlan {
        ifname: parts.ifname.unwrap_or_else(|| subject.key.ifname.clone()),
        datapath: match subject.mode {
            NodeMode::Exclusive => Datapath::Exclusive,
            NodeMode::Shared if end.child == Some(Child::Ipvlan(Some(IpvlanMode::L3s))) => {
                Datapath::IpvlanL3s
            }
            NodeMode::Shared if end.child.is_some() => Datapath::Ipvlan,
            NodeMode::Shared => Datapath::PolicyRoute,
            NodeMode::VpcRoute => Datapath::VpcRoute,
        },
        eni: parts.eni,
        mac: parts.mac,
        addresses: parts.addresses,
        subnets: parts.subnets,
        gateways: parts.gateways,
        eni_gateways: parts.eni_gateways,
        default_route: parts.default_route,
        extra_routes: Vec::new(),
        service_cidrs: Vec::new(),
        host_stack_cidrs: Vec::new(),
        host_peer: true,
        host_prefix: end.name.get(..prefix).unwrap_or_default().to_owned(),
        own_table: false,
        mtu: end.mtu,
        ingress: None,
        egress: None,
        // What hangs on the pod's annotations is learnt from what is there.
        queueing: Queueing::default(),
        erdma: names::is_for_erdma(end.mac, &subject.key).unwrap_or(parts.erdma),
        nic_kinds: parts.nic_kinds,
    }
}

fn said(drift: &Drift, subject: &Subject) -> String {
    format!("{} of {}", drift.object.name(), subject.pod)
}

#[cfg(test)]
mod tests;
