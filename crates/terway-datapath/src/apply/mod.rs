//! Makes a layout in the kernel: first everything that could speak against it is looked at, then the changes go
//! out in as few batches as the kernel allows. If any of them fails, all are undone.

mod check;
mod error;
mod requests;
mod switches;

use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

pub use error::{ApplyError, Step, StepError};

use crate::describe::Layout;
use crate::kernel::objects as kernel;
use crate::kernel::{KernelError, LinkChange, Netlink, Netns, NicRule, Request};
use crate::mark::Mark;
use crate::remove::{Removal, RemoveError, remove};
use crate::source_nat;

/// Where and how a layout is applied.
pub struct AttachmentContext<'a> {
    /// The node's namespace.
    pub host: &'a Netns,
    /// The pod's namespace.
    pub pod: &'a Netns,
    /// Which links count as a NIC.
    pub rule: &'a NicRule,
    /// Until when to wait for the ENI's netdev.
    pub deadline: Instant,
    /// Called before each step; an error makes the step fail. For tests of the way back.
    pub before_step: Option<&'a dyn Fn(Step) -> Result<(), String>>,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The ENI's netdev as it was in the host.
    pub nic: String,
    /// Its index in the pod.
    pub index: u32,
    /// Its address on the PCI bus, e.g. `0000:00:06.0`, if it is there.
    pub pci: Option<String>,
}

/// Makes the layout. On failure everything is as before, except what the error says could not be undone, and
/// except a stale host link of an older sandbox, which is gone.
pub fn apply(layout: &Layout, context: &AttachmentContext<'_>) -> Result<Applied, ApplyError> {
    if context.pod.is_same(context.host) {
        return Err(ApplyError::HostNamespace);
    }
    let mut host = Netlink::open(context.host)?;
    let mut pod = Netlink::open(context.pod)?;
    check::names_are_free(layout, &mut pod)?;
    let nic = check::find_nic(layout, context, &mut host)?;
    check::clear_host_name(layout, &mut host)?;
    let mut work = Work { layout, context, host, pod, nic: &nic };
    match work.all_steps() {
        Ok(index) => Ok(Applied { nic: nic.name.clone(), index, pci: nic.pci.clone() }),
        Err((step, source)) => {
            let undo = work.undo(step).map(Box::new);
            Err(ApplyError::Step { step, source: Box::new(source), undo })
        }
    }
}

struct Work<'a> {
    layout: &'a Layout,
    context: &'a AttachmentContext<'a>,
    host: Netlink,
    pod: Netlink,
    nic: &'a kernel::Link,
}

impl Work<'_> {
    /// The steps in order; gives the ENI's index in the pod.
    fn all_steps(&mut self) -> Result<u32, (Step, StepError)> {
        self.step(Step::NodeSwitches, Self::node_switches)?;
        self.step(Step::Links, Self::links)?;
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

    /// The node's own switches stay as they are set: other attachments need them too.
    fn node_switches(&mut self) -> Result<(), StepError> {
        switches::of_node(&self.layout.host, &self.layout.uplink, self.context.host)
    }

    /// Every link to its place: the pair made with its far end in the pod, the ENI moved, renamed and marked in
    /// one request. The move is by far the slowest of all requests: it waits for the kernel's readers, tens of
    /// milliseconds on some kernels. Source translation needs neither the links nor their lock, but waits for
    /// readers too, so both wait at the same time.
    fn links(&mut self) -> Result<(), StepError> {
        let mut batch = requests::make_links(self.layout, self.context.pod);
        let nic = self.layout.nic().map(|link| requests::move_nic(link, self.nic, self.context.pod));
        batch.extend(nic);
        let (layout, netns) = (self.layout, self.context.host);
        thread::scope(|scope| {
            let mark = Mark::of(&layout.key);
            let translation = scope.spawn(move || source_nat::install(&layout.host.source_nat, &mark, netns));
            self.host.transact(&batch)?;
            Ok(translation.join().unwrap_or_else(|panic| resume_unwind(panic))?)
        })
    }

    fn link_switches(&mut self) -> Result<(), StepError> {
        switches::of_links(&self.layout.pod, self.context.pod)?;
        switches::of_links(&self.layout.host, self.context.host)
    }

    fn pod_side(&mut self) -> Result<u32, StepError> {
        let links = self.pod.links()?;
        self.pod.transact(&requests::inside(&self.layout.pod, &links)?)?;
        let nic = links.iter().find(|link| link.mac == self.nic.mac);
        Ok(nic.map_or(self.nic.index, |nic| nic.index))
    }

    fn host_side(&mut self) -> Result<(), StepError> {
        let mut links = Vec::new();
        for link in &self.layout.host.links {
            links.extend(self.host.link_by_name(&link.name)?);
        }
        Ok(self.host.transact(&requests::inside(&self.layout.host, &links)?)?)
    }

    /// Last, because it needs no undoing then: the runtime or another plugin may have set it up before.
    fn loopback(&mut self) -> Result<(), StepError> {
        if self.layout.pod.loopback.is_none() {
            return Ok(());
        }
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        Ok(self.pod.transact(&[Request::set_link("lo", &up)])?)
    }

    /// The way back is the way DEL goes: whatever is there of the attachment goes, at whatever step it ended.
    fn undo(&mut self, failed: Step) -> Option<RemoveError> {
        if failed < Step::Links {
            return None;
        }
        let removal = Removal { key: self.layout.key.clone(), mac: self.nic.mac };
        let outcome = remove(&removal, self.context.host, Some(self.context.pod), self.context.rule);
        // DEL leaves the MTU as it is; here it must be as before.
        let restored = self.restore_mtu();
        match (outcome, restored) {
            (Err(error), _) => Some(error),
            (Ok(_), Err(failure)) => Some(RemoveError { key: removal.key, failures: vec![failure] }),
            (Ok(_), Ok(())) => None,
        }
    }

    fn restore_mtu(&mut self) -> Result<(), KernelError> {
        let links = self.host.links()?;
        let at_home = links.iter().find(|link| link.mac == self.nic.mac && self.context.rule.is_nic(link));
        let Some(nic) = at_home.filter(|link| link.mtu != self.nic.mtu) else { return Ok(()) };
        let change = LinkChange { mtu: Some(self.nic.mtu), ..LinkChange::default() };
        self.host.transact(&[Request::set_link(nic.index, &change)])
    }
}
