//! Makes a layout in the kernel: first everything that could speak against it is looked at, then the changes go
//! out in as few batches as the kernel allows. If any of them fails, all are undone.

mod asked;
mod check;
mod error;
mod repair;
mod requests;
mod switches;

use std::collections::BTreeSet;
use std::time::Instant;

pub use asked::Asked;
use asked::Spoil;
pub use error::{ApplyError, Step, StepError};
pub use repair::{RepairError, can_repair, repair};

use crate::describe::{Eni, Layout, NamespaceLayout, Tagging};
use crate::kernel::objects as kernel;
use crate::kernel::{KernelError, LinkChange, Netlink, Netns, NicRule, Request};
use crate::mark::Mark;
use crate::remove::{Removal, RemoveError, remove};
use crate::{Seen, queues, rules, smc, source_nat, tags};

/// Where and how a layout is applied.
pub struct AttachmentContext<'a> {
    /// The node's namespace.
    pub host: &'a Netns,
    /// The pod's namespace.
    pub pod: &'a Netns,
    /// Which links count as a NIC.
    pub rule: &'a NicRule,
    /// The index the ENI's netdev was last seen under, if anybody knows: it is looked for there first.
    pub nic_index: Option<u32>,
    /// Until when to wait for the ENI's netdev.
    pub deadline: Instant,
    /// Called before each step; an error makes the step fail. For tests of the way back.
    pub before_step: Option<&'a dyn Fn(Step) -> Result<(), String>>,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The index of the pod's interface in the pod.
    pub index: u32,
    /// The address on the PCI bus, e.g. `0000:00:06.0`, of an ENI that is the pod's own.
    pub pci: Option<String>,
}

/// Connections to both sides of an attachment, and what was seen by them.
#[derive(Debug)]
pub struct Connections<'a> {
    /// To the node's namespace.
    pub host: &'a mut Netlink,
    /// To the pod's.
    pub pod: &'a mut Netlink,
    /// The pod's links, if they were looked at and their owner has changed nothing since. What others may have changed is
    /// looked at again, if that was long ago.
    pub there: Option<Seen<Vec<kernel::Link>>>,
}

/// Makes the layout. On failure everything is as before, except what the error says could not be undone, and
/// except a stale host link of an older sandbox, which is gone.
pub fn apply(layout: &Layout, context: &AttachmentContext<'_>) -> Result<Applied, ApplyError> {
    apply_spoiled(layout, context, &|_| {})
}

/// The same, over connections that are open already.
pub fn apply_over(
    connections: Connections<'_>,
    layout: &Layout,
    context: &AttachmentContext<'_>,
) -> Result<Applied, ApplyError> {
    apply_through(connections, layout, context, &|_| {})
}

/// The same, where everything that is asked of the kernel goes through `spoil` before. For tests of the way back.
pub fn apply_spoiled(
    layout: &Layout,
    context: &AttachmentContext<'_>,
    spoil: &dyn Fn(Asked<'_, '_>),
) -> Result<Applied, ApplyError> {
    let (host, pod) = (&mut Netlink::open(context.host)?, &mut Netlink::open(context.pod)?);
    apply_through(Connections { host, pod, there: None }, layout, context, spoil)
}

fn apply_through(
    Connections { host, pod, there }: Connections<'_>,
    layout: &Layout,
    context: &AttachmentContext<'_>,
    spoil: &dyn Fn(Asked<'_, '_>),
) -> Result<Applied, ApplyError> {
    if context.pod.is_same(context.host) {
        return Err(ApplyError::HostNamespace);
    }
    // This may take its time, so the pod is looked at afterwards.
    let nic = check::find_nic(layout, context, host)?;
    let there = there.and_then(Seen::fresh).map_or_else(|| pod.links(), Ok)?;
    check::default_routes_are_free(layout, &there, pod)?;
    check::names_are_free(layout, &there)?;
    check::clear_host_name(layout, host)?;
    let moved = nic.as_ref().filter(|_| matches!(layout.eni(), Some(Eni::Moved(_))));
    let tree = switches::Tree::default();
    let mut work = Work { layout, context, spoil, host, tree, pod, eni: nic.as_ref(), moved };
    match work.all_steps() {
        Ok(index) => Ok(Applied { index, pci: moved.and_then(|nic| nic.pci.clone()) }),
        Err((step, source)) => {
            let undo = work.undo(step).map(Box::new);
            Err(ApplyError::Step { step, source: Box::new(source), undo })
        }
    }
}

struct Work<'a> {
    layout: &'a Layout,
    context: &'a AttachmentContext<'a>,
    spoil: Spoil<'a>,
    host: &'a mut Netlink,
    /// The node's switches.
    tree: switches::Tree,
    pod: &'a mut Netlink,
    /// The ENI's netdev.
    eni: Option<&'a kernel::Link>,
    /// The ENI's netdev, if it moves.
    moved: Option<&'a kernel::Link>,
}

impl Work<'_> {
    /// The steps in order; gives the index of the pod's interface.
    fn all_steps(&mut self) -> Result<u32, (Step, StepError)> {
        self.step(Step::Links, Self::links)?;
        self.step(Step::NodeSwitches, Self::node_switches)?;
        self.step(Step::LinkSwitches, Self::link_switches)?;
        let index = self.step(Step::Pod, Self::pod_side)?;
        self.step(Step::Host, Self::host_side)?;
        self.step(Step::Loopback, Self::loopback)?;
        Ok(index)
    }

    fn step<T>(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut Self) -> Result<T, StepError>,
    ) -> Result<T, (Step, StepError)> {
        let allowed = self.context.before_step.map_or(Ok(()), |before| before(step));
        allowed.map_err(StepError::Stopped).and_then(|()| work(self)).map_err(|error| (step, error))
    }

    /// Every link to its place: the ENI moved, renamed and marked in one request, the pair made with its far end in the
    /// pod. The move is by far the slowest of all requests, and comes first: on several processors it ends after whatever
    /// the kernel has put off for its readers by then, and each tick of the clock before it may begin a wait that it must
    /// sit out before its own.
    fn links(&mut self) -> Result<(), StepError> {
        let mut batch = Vec::new();
        if let (Some(Eni::Moved(link)), Some(nic)) = (self.layout.eni(), self.moved) {
            batch.push(requests::move_nic(link, nic, self.context.pod));
        }
        batch.extend(requests::make_children(self.layout, self.eni, self.context.pod)?);
        batch.extend(requests::make_links(self.layout, self.context.pod));
        batch.extend(switches::by_netlink(&self.layout.host));
        self.host.transact(&spoiled(batch, self.spoil))?;
        if self.layout.pod.links.iter().any(|link| link.kind.is_child()) {
            let names = requests::name_children(self.layout, &self.pod.links()?);
            self.pod.transact(&spoiled(names, self.spoil))?;
        }
        Ok(())
    }

    /// The node's own switches stay as they are set: other attachments need them too.
    fn node_switches(&mut self) -> Result<(), StepError> {
        let place = (self.context.host, &self.tree);
        switches::of_node(&self.layout.host, &self.layout.uplink, place, self.spoil)
    }

    fn link_switches(&mut self) -> Result<(), StepError> {
        switches::of_links(&self.layout.pod, (self.context.pod, &switches::Tree::default()), self.spoil)?;
        switches::of_new_links(&self.layout.host, (self.context.host, &self.tree), self.spoil)
    }

    fn pod_side(&mut self) -> Result<u32, StepError> {
        let links = self.pod.links()?;
        let rules = rules_there(&self.layout.pod, self.pod)?;
        let batch = spoiled(requests::inside(&self.layout.pod, &links, &rules)?, self.spoil);
        self.pod.transact(&batch)?;
        for link in queues::links(&self.layout.pod, &links) {
            let batch = spoiled(queues::missing(self.pod, link, &self.layout.pod)?, self.spoil);
            self.pod.transact(&batch)?;
        }
        smc::add_missing(&self.layout.pod.smc, self.context.pod)?;
        let main = self.layout.main().and_then(|main| links.iter().find(|link| link.name == main.name));
        Ok(main.map_or(0, |main| main.index))
    }

    fn host_side(&mut self) -> Result<(), StepError> {
        let host = &self.layout.host;
        let names = host.nics.iter().map(|nic| &nic.name).chain(host.links.iter().map(|link| &link.name));
        let mut links = Vec::new();
        for name in names {
            links.extend(self.host.link_by_name(name)?);
        }
        // Rules of a node grow with its pods: what stands in the way is deleted unseen.
        rules::clear(self.host, &requests::rules(host, &links)?)?;
        let batch = spoiled(requests::inside(host, &links, &[])?, self.spoil);
        self.host.transact(&batch)?;
        for link in queues::links(host, &links) {
            let batch = spoiled(queues::missing(self.host, link, host)?, self.spoil);
            self.host.transact(&batch)?;
        }
        let batch = spoiled(requests::link_locals(host, &links, self.host)?, self.spoil);
        self.host.transact(&batch)?;
        for (link, tagging) in tags::by_index(host, &links) {
            let batch = spoiled(tags::missing(self.host, link, tagging)?, self.spoil);
            self.host.transact(&batch)?;
        }
        smc::add_missing(&host.smc, self.context.host)?;
        self.translate()
    }

    fn translate(&self) -> Result<(), StepError> {
        let wanted = &self.layout.host.source_nat;
        if wanted.is_empty() {
            return Ok(());
        }
        let mark = Mark::of(&self.layout.key);
        let mut additions: Vec<_> =
            wanted.iter().map(|nat| (*nat, source_nat::addition(nat, &mark))).collect();
        for (_, addition) in &mut additions {
            for number in 0..addition.len() {
                (self.spoil)(Asked::Change(addition, number));
            }
        }
        Ok(source_nat::install(&additions, &mark, self.context.host)?)
    }

    /// Last, because it needs no undoing then: the runtime or another plugin may have set it up before.
    fn loopback(&mut self) -> Result<(), StepError> {
        if self.layout.pod.loopback.is_none() {
            return Ok(());
        }
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        let batch = spoiled(vec![Request::set_link("lo", &up)], self.spoil);
        Ok(self.pod.transact(&batch)?)
    }

    /// The way back is the way DEL goes: whatever is there of the attachment goes, at whatever step it ended.
    fn undo(&mut self, failed: Step) -> Option<RemoveError> {
        if failed < Step::Links {
            return None;
        }
        let addresses = self.layout.pod.addresses.iter().map(|address| address.address.ip()).collect();
        let mac = self.moved.and_then(|nic| nic.mac);
        let removal = Removal { key: self.layout.key.clone(), mac, addresses, host_links: Vec::new() };
        let outcome = remove(&removal, self.context.host, Some(self.context.pod), self.context.rule);
        // DEL leaves the MTU as it is, and finds tables by the rules that lead there; here all must be as before.
        let restored = self
            .delete_unmarked()
            .and_then(|()| self.free_tables())
            .and_then(|()| self.untag())
            .and_then(|()| self.unclass())
            .and_then(|()| self.restore_mtu());
        match (outcome, restored) {
            (Err(error), _) => Some(error),
            (Ok(_), Err(failure)) => Some(RemoveError { key: removal.key, failures: vec![failure] }),
            (Ok(_), Ok(())) => None,
        }
    }

    /// A child on the node has the ENI's MAC; its mark, by which DEL tells whose it is, may be what was refused.
    fn delete_unmarked(&mut self) -> Result<(), KernelError> {
        for link in self.layout.host.links.iter().filter(|link| link.kind.is_child()) {
            let made = self.host.link_by_name(&link.name)?;
            if let Some(made) = made.filter(|made| made.child.is_some() && made.alias.is_none()) {
                self.host.transact(&[Request::delete_link(made.index)])?;
            }
        }
        Ok(())
    }

    /// The rule that leads to a table may be what was refused.
    fn free_tables(&mut self) -> Result<(), KernelError> {
        let mut tables = BTreeSet::new();
        for route in self.layout.host.routes.iter().filter(|route| route.shared) {
            let Some(link) = route.table.link() else { continue };
            let index = self.host.link_by_name(link)?.map(|link| link.index);
            tables.extend(route.table.number(|_| index));
        }
        rules::free(self.host, &tables)
    }

    /// DEL finds the trunk by the rule that leads there, too.
    fn untag(&mut self) -> Result<(), KernelError> {
        let links = self.host.links()?;
        let tagged = tags::by_index(&self.layout.host, &links);
        let sources = tagged.filter_map(|(link, tagging)| match tagging {
            Tagging::On { source, .. } => Some((link, source)),
            Tagging::Off => None,
        });
        tags::remove(self.host, &sources.collect())
    }

    /// And a child's parent by the child.
    fn unclass(&mut self) -> Result<(), KernelError> {
        let classes = &self.layout.host.classes;
        let mut links = BTreeSet::new();
        for class in classes {
            links.extend(self.host.link_by_name(&class.link)?.map(|link| link.index));
        }
        queues::remove(self.host, &links, &classes.iter().map(|class| class.source).collect())
    }

    fn restore_mtu(&mut self) -> Result<(), KernelError> {
        let Some(moved) = self.moved else { return Ok(()) };
        let links = self.host.links()?;
        let at_home = links.iter().find(|link| link.mac == moved.mac && self.context.rule.is_nic(link));
        let Some(nic) = at_home.filter(|link| link.mtu != moved.mtu) else { return Ok(()) };
        let change = LinkChange { mtu: Some(moved.mtu), ..LinkChange::default() };
        self.host.transact(&[Request::set_link(nic.index, &change)])
    }
}

fn spoiled(mut batch: Vec<Request>, spoil: Spoil<'_>) -> Vec<Request> {
    for request in &mut batch {
        spoil(Asked::Request(request));
    }
    batch
}

/// The rules of a namespace about what the wanted ones are about.
pub(crate) fn rules_there(
    wanted: &NamespaceLayout,
    netlink: &mut Netlink,
) -> Result<Vec<kernel::Rule>, KernelError> {
    let prefixes = wanted.rules.iter().filter_map(|rule| rule.from.or(rule.to));
    if wanted.rules.iter().all(|rule| rule.from.or(rule.to).is_some()) {
        return netlink.rules_about(&prefixes.map(|prefix| prefix.ip()).collect::<Vec<_>>());
    }
    netlink.rules()
}
