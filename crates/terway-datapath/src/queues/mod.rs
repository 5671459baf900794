//! How what leaves by an ENI waits, per queue of its netdev: fair queueing, which sends packets at the time they bear,
//! three classes of which one goes before the other, or fair queueing in each of the classes.
//!
//! ```text
//!   one queue   several queues       classes          both
//!   fq          mq                   prio             prio
//!               1:1 fq   1:2 fq      :1  :2  :3       :1 fq  :2 fq  :3 fq
//! ```
//!
//! The tree belongs to the ENI. Whoever needs it first makes it, whoever needs more adds to it, and nobody takes it
//! away: without filters three classes are what the kernel has by default, and it goes with the ENI. So it needs no
//! lock: each request says "make it so", and changes nothing where it is so. A token bucket at the root stays, with the
//! tree below it.

pub(crate) mod classes;

use std::collections::BTreeSet;

pub(crate) use classes::{class_of, filter, left, place, remove, source};

use crate::describe::{NamespaceLayout, Queues};
use crate::kernel::objects::{Link, Qdisc};
use crate::kernel::{Filter, Hook, KernelError, Netlink, Request};

const CLASSES: usize = 3;
/// The handle of the root of a link with several queues, as existing agents make it.
const MQ: u32 = 1 << 16;
/// The same where something else has it.
const OTHER_MQ: u32 = 2 << 16;
/// The handles of what is in the class with a minor number: below those that the kernel chooses itself.
const PRIO: u32 = 0x7000 << 16;

/// The qdiscs of a link, as far as they matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// At the root.
    pub root: Option<Qdisc>,
    /// Where packets wait; none if a link with several queues has not a class for each.
    pub leaves: Vec<Leaf>,
}

/// Where packets wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The class it is in.
    pub parent: u32,
    /// What is there.
    pub qdisc: Option<Qdisc>,
    /// If that has classes, in which of them packets leave at the time they bear.
    pub paced: [bool; CLASSES],
}

impl Leaf {
    fn bare(parent: u32) -> Self {
        Self { parent, qdisc: None, paced: [false; CLASSES] }
    }

    /// The handle of its classes, if it has some.
    fn prio(&self) -> Option<u32> {
        self.qdisc.as_ref().filter(|qdisc| qdisc.kind == "prio").map(|prio| prio.handle)
    }

    fn is_fq(&self) -> bool {
        self.qdisc.as_ref().is_some_and(|qdisc| qdisc.kind == "fq")
    }

    fn is_paced(&self) -> bool {
        self.is_fq() || (self.prio().is_some() && self.paced.iter().all(|paced| *paced))
    }

    fn serves(&self, wanted: &Queues) -> bool {
        (!wanted.paced || self.is_paced()) && (!wanted.classes || self.prio().is_some())
    }

    /// What makes it serve. One that paces packets goes on to do so: somebody may count on it.
    fn missing(&self, index: u32, wanted: &Queues) -> Vec<Request> {
        let prio = match self.prio() {
            None if !wanted.classes => {
                let fq = Request::replace_fq_at(index, self.parent);
                return if wanted.paced && !self.is_fq() { vec![fq] } else { Vec::new() };
            }
            prio => prio,
        };
        let handle = prio.unwrap_or_else(|| own_prio(self.parent));
        let made = prio.is_none().then(|| Request::replace_prio(index, self.parent, handle));
        let pace = wanted.paced || self.is_fq();
        let unpaced = (1..).zip(self.paced).filter(|(_, paced)| pace && !paced);
        let paced = unpaced.map(|(class, _)| Request::replace_fq_at(index, handle | class));
        made.into_iter().chain(paced).collect()
    }

    /// What is there, for people.
    pub(crate) fn words(&self) -> String {
        match (&self.qdisc, self.prio().is_some() && self.is_paced()) {
            (_, true) => "prio of fq".to_owned(),
            (Some(qdisc), false) => qdisc.kind.clone(),
            (None, false) => "none".to_owned(),
        }
    }
}

impl Tree {
    /// Where something is missing.
    pub(crate) fn lacking(&self, wanted: &Queues) -> Vec<&Leaf> {
        self.leaves.iter().filter(|leaf| !leaf.serves(wanted)).collect()
    }

    /// Whether packets leave at the time they bear wherever they wait.
    pub(crate) fn is_paced(&self) -> bool {
        !self.leaves.is_empty() && self.leaves.iter().all(Leaf::is_paced)
    }

    /// The handles of classes.
    pub(crate) fn prios(&self) -> impl Iterator<Item = u32> {
        self.leaves.iter().filter_map(Leaf::prio)
    }

    /// What makes it serve, and where packets wait then.
    fn complete(&self, link: &Link, wanted: Option<&Queues>) -> (Vec<Request>, Vec<Leaf>) {
        let (mut requests, mut leaves) = (Vec::new(), self.leaves.clone());
        if leaves.is_empty() && wanted.is_some() {
            let is_taken = self.root.as_ref().is_some_and(|root| root.handle == MQ);
            let handle = if is_taken { OTHER_MQ } else { MQ };
            requests.push(Request::replace_mq(link.index, handle));
            leaves = (1..=link.tx_queues).map(|queue| Leaf::bare(handle | queue)).collect();
        }
        for leaf in leaves.iter().filter(|_| wanted.is_some()) {
            requests.extend(wanted.map(|wanted| leaf.missing(link.index, wanted)).unwrap_or_default());
        }
        (requests.into_iter().map(|request| named(request, link)).collect(), leaves)
    }
}

fn named(request: Request, link: &Link) -> Request {
    let what = request.what().replace(&format!("link #{}", link.index), &link.name);
    request.described(format!("{what} (needs kernel modules sch_prio and sch_fq)"))
}

/// The handle of classes that we make.
fn own_prio(parent: u32) -> u32 {
    let minor = if parent == Qdisc::ROOT { 0 } else { parent & 0xfff };
    PRIO | minor << 16
}

/// Whether there can be classes of pods where this is at the root. What the kernel puts there by itself has no handle.
fn may_have_classes(root: &Qdisc) -> bool {
    root.handle != 0 && ["mq", "tbf", "prio"].contains(&root.kind.as_str())
}

/// The classes in which packets wait, by what is at the root.
fn places(root: Option<&Qdisc>, tx_queues: u32) -> Vec<u32> {
    match root.filter(|root| root.handle != 0) {
        Some(mq) if mq.kind == "mq" => (1..=tx_queues).map(|queue| mq.handle | queue).collect(),
        Some(bucket) if bucket.kind == "tbf" => vec![bucket.handle | 1],
        _ if tx_queues > 1 => Vec::new(),
        _ => vec![Qdisc::ROOT],
    }
}

/// Reads what there is at a link.
pub(crate) fn read(netlink: &mut Netlink, link: &Link) -> Result<Tree, KernelError> {
    let mut tree = bare(netlink, link)?;
    for leaf in &mut tree.leaves {
        let Some(handle) = leaf.prio() else { continue };
        for (class, paced) in (1..).zip(&mut leaf.paced) {
            *paced = netlink.qdisc(link.index, handle | class)?.is_some_and(|qdisc| qdisc.kind == "fq");
        }
    }
    Ok(tree)
}

/// The same without what is in classes.
fn bare(netlink: &mut Netlink, link: &Link) -> Result<Tree, KernelError> {
    let root = netlink.qdisc(link.index, Qdisc::ROOT)?;
    let mut leaves = Vec::new();
    for parent in places(root.as_ref(), link.tx_queues) {
        let qdisc = if parent == Qdisc::ROOT { root.clone() } else { netlink.qdisc(link.index, parent)? };
        leaves.push(Leaf { qdisc, ..Leaf::bare(parent) });
    }
    Ok(Tree { root, leaves })
}

/// The filters that put packets into classes, in the order the kernel goes through them.
pub(crate) fn filters(netlink: &mut Netlink, index: u32, tree: &Tree) -> Result<Vec<Filter>, KernelError> {
    let mut all = Vec::new();
    for handle in tree.prios() {
        let of_one = netlink.filters(index, Hook::Wait(handle))?;
        all.extend(of_one.into_iter().map(|installed| installed.filter));
    }
    Ok(all)
}

/// The links that a layout says something about here.
pub(crate) fn links<'a>(wanted: &NamespaceLayout, there: &'a [Link]) -> Vec<&'a Link> {
    let queues = wanted.queues.iter().map(|queues| queues.link.as_str());
    let names: BTreeSet<_> = queues.chain(wanted.classes.iter().map(|class| class.link.as_str())).collect();
    there.iter().filter(|link| names.contains(link.name.as_str())).collect()
}

/// What is left to do on a link.
pub(crate) fn missing(
    netlink: &mut Netlink,
    link: &Link,
    wanted: &NamespaceLayout,
) -> Result<Vec<Request>, KernelError> {
    let queues = wanted.queues.iter().find(|queues| queues.link == link.name);
    let (mut requests, leaves) = read(netlink, link)?.complete(link, queues);
    let own: Vec<_> = wanted.classes.iter().filter(|class| class.link == link.name).collect();
    if own.is_empty() {
        return Ok(requests);
    }
    for leaf in leaves {
        let (handle, there) = match leaf.prio() {
            Some(handle) => (handle, netlink.filters(link.index, Hook::Wait(handle))?),
            None if queues.is_some_and(|queues| queues.classes) => (own_prio(leaf.parent), Vec::new()),
            None => continue,
        };
        requests.extend(own.iter().flat_map(|class| place(link, class, handle, &there)));
    }
    Ok(requests)
}

#[cfg(test)]
mod tests;
