//! An attachment as plain values: every object it needs in the host's namespace and in the pod's, by link
//! name. `layout` writes this description; ADD, CHECK, repair and the picture for people read it.

mod ip;
mod link;
mod traffic;

use std::fmt;

pub use crate::kernel::{SmcEntry, SmcMember};
pub use ip::{Address, FIRST_TABLE, Neighbour, Route, Rule, Table};
pub use link::{Link, LinkKind, Loopback, SharedNic};
use terway_types::{AttachmentKey, MacAddr};
pub use traffic::{Class, IngressRedirect, Limit, Queues, SourceNat, Sysctl, Tagging, VlanTag};

/// All that one attachment needs in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The attachment; its mark is on every link and every translation rule.
    pub key: AttachmentKey,
    /// The link that leads the node to the VPC, which must never be moved.
    pub uplink: String,
    /// What must exist in the host's namespace.
    pub host: NamespaceLayout,
    /// What must exist in the pod's namespace.
    pub pod: NamespaceLayout,
}

/// All that one attachment needs in one namespace. The order within a list is the order of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceLayout {
    /// Whether `lo` must be up.
    pub loopback: Option<Loopback>,
    /// ENIs that stay here and serve several attachments.
    pub nics: Vec<SharedNic>,
    /// Links that must exist and be up.
    pub links: Vec<Link>,
    /// Kernel switches, set before the links come up.
    pub sysctls: Vec<Sysctl>,
    /// Addresses of the links.
    pub addresses: Vec<Address>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Policy routing rules. Made after the routes of the main table and before those of other tables, see
    /// [`crate::rules`].
    pub rules: Vec<Rule>,
    /// Permanent neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// Token buckets at the root of links.
    pub limits: Vec<Limit>,
    /// Incoming traffic that takes a detour through a limited link.
    pub redirects: Vec<IngressRedirect>,
    /// Tags of VLANs that links of the node put on and take off.
    pub tags: Vec<VlanTag>,
    /// How what leaves by ENIs waits.
    pub queues: Vec<Queues>,
    /// What waits in which class.
    pub classes: Vec<Class>,
    /// Source translation of the pod's traffic.
    pub source_nat: Vec<SourceNat>,
    /// What connections may go over RDMA between.
    pub smc: Vec<SmcEntry>,
}

/// Any one object of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The loopback link.
    Loopback(Loopback),
    /// An ENI that stays where it is.
    SharedNic(SharedNic),
    /// A link.
    Link(Link),
    /// A kernel switch.
    Sysctl(Sysctl),
    /// An address.
    Address(Address),
    /// A route.
    Route(Route),
    /// A policy routing rule.
    Rule(Rule),
    /// A neighbour entry.
    Neighbour(Neighbour),
    /// A token bucket.
    Limit(Limit),
    /// A detour of incoming traffic.
    Redirect(IngressRedirect),
    /// A tag of a VLAN.
    Tag(VlanTag),
    /// How packets wait.
    Queues(Queues),
    /// A class that packets wait in.
    Class(Class),
    /// A source translation.
    SourceNat(SourceNat),
    /// What belongs to a physical network, for RDMA.
    Smc(SmcEntry),
}

impl NamespaceLayout {
    /// Every object, in order of creation. A new kind of object that is left out here does not compile.
    pub fn objects(&self) -> Vec<Object> {
        let Self {
            loopback,
            nics,
            links,
            sysctls,
            addresses,
            routes,
            rules,
            neighbours,
            limits,
            redirects,
            tags,
            queues,
            classes,
            source_nat,
            smc,
        } = self;
        let mut all = Vec::new();
        all.extend(loopback.iter().copied().map(Object::Loopback));
        all.extend(nics.iter().cloned().map(Object::SharedNic));
        all.extend(links.iter().cloned().map(Object::Link));
        all.extend(sysctls.iter().cloned().map(Object::Sysctl));
        all.extend(addresses.iter().cloned().map(Object::Address));
        all.extend(routes.iter().cloned().map(Object::Route));
        all.extend(rules.iter().cloned().map(Object::Rule));
        all.extend(neighbours.iter().cloned().map(Object::Neighbour));
        all.extend(limits.iter().cloned().map(Object::Limit));
        all.extend(redirects.iter().cloned().map(Object::Redirect));
        all.extend(tags.iter().cloned().map(Object::Tag));
        all.extend(queues.iter().cloned().map(Object::Queues));
        all.extend(classes.iter().cloned().map(Object::Class));
        all.extend(source_nat.iter().copied().map(Object::SourceNat));
        all.extend(smc.iter().cloned().map(Object::Smc));
        all
    }

    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Whether the layout says anything about the link of this name itself.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.link(name).is_some() || self.nics.iter().any(|nic| nic.name == name)
    }
}

impl FromIterator<Object> for NamespaceLayout {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut layout = Self::default();
        for object in objects {
            match object {
                Object::Loopback(object) => layout.loopback = Some(object),
                Object::SharedNic(object) => layout.nics.push(object),
                Object::Link(object) => layout.links.push(object),
                Object::Sysctl(object) => layout.sysctls.push(object),
                Object::Address(object) => layout.addresses.push(object),
                Object::Route(object) => layout.routes.push(object),
                Object::Rule(object) => layout.rules.push(object),
                Object::Neighbour(object) => layout.neighbours.push(object),
                Object::Limit(object) => layout.limits.push(object),
                Object::Redirect(object) => layout.redirects.push(object),
                Object::Tag(object) => layout.tags.push(object),
                Object::Queues(object) => layout.queues.push(object),
                Object::Class(object) => layout.classes.push(object),
                Object::SourceNat(object) => layout.source_nat.push(object),
                Object::Smc(object) => layout.smc.push(object),
            }
        }
        layout
    }
}

/// How a layout uses its ENI's netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eni<'a> {
    /// It moves into the pod.
    Moved(&'a Link),
    /// It stays on the node.
    Shared(&'a SharedNic),
}

impl Eni<'_> {
    /// The hardware address it is found by.
    pub fn mac(&self) -> MacAddr {
        match self {
            Self::Moved(link) => link.mac,
            Self::Shared(nic) => nic.mac,
        }
    }
}

impl Layout {
    /// The ENI; a layout without one lives by the node's own NIC.
    pub fn eni(&self) -> Option<Eni<'_>> {
        let moved = self.pod.links.iter().find(|link| matches!(link.kind, LinkKind::Nic { .. }));
        moved.map(Eni::Moved).or_else(|| self.host.nics.first().map(Eni::Shared))
    }

    /// The pod's own interface.
    pub fn main(&self) -> Option<&Link> {
        self.pod.links.first()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(object) => object.fmt(f),
            Self::SharedNic(object) => object.fmt(f),
            Self::Link(object) => object.fmt(f),
            Self::Sysctl(object) => object.fmt(f),
            Self::Address(object) => object.fmt(f),
            Self::Route(object) => object.fmt(f),
            Self::Rule(object) => object.fmt(f),
            Self::Neighbour(object) => object.fmt(f),
            Self::Limit(object) => object.fmt(f),
            Self::Redirect(object) => object.fmt(f),
            Self::Tag(object) => object.fmt(f),
            Self::Queues(object) => object.fmt(f),
            Self::Class(object) => object.fmt(f),
            Self::SourceNat(object) => object.fmt(f),
            Self::Smc(object) => object.fmt(f),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, namespace) in [("pod", &self.pod), ("host", &self.host)] {
            writeln!(f, "{place}:")?;
            for object in namespace.objects() {
                writeln!(f, "  {object}")?;
            }
        }
        Ok(())
    }
}

impl Object {
    /// The link the object is, belongs to or leads over; without that link it cannot exist.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Loopback(_) => Some("lo"),
            Self::SharedNic(nic) => Some(&nic.name),
            Self::Link(link) => Some(&link.name),
            Self::Sysctl(sysctl) => sysctl.link(),
            Self::Address(address) => Some(&address.link),
            Self::Route(route) => Some(&route.link),
            Self::Rule(rule) => rule.table.link(),
            Self::Neighbour(neighbour) => Some(&neighbour.link),
            Self::Limit(limit) => Some(&limit.link),
            Self::Redirect(redirect) => Some(&redirect.from),
            Self::Tag(tag) => Some(&tag.link),
            Self::Queues(queues) => Some(&queues.link),
            Self::Class(class) => Some(&class.link),
            Self::SourceNat(_) => None,
            Self::Smc(entry) => entry.member.link(),
        }
    }

    /// A short name, enough to find the object with the usual tools.
    pub fn name(&self) -> String {
        match self {
            Self::SharedNic(nic) => format!("link {}", nic.name),
            Self::Link(link) => format!("link {}", link.name),
            Self::Sysctl(sysctl) => format!("sysctl {}", sysctl.path),
            Self::Neighbour(neighbour) => format!("neighbour {} dev {}", neighbour.address, neighbour.link),
            Self::Limit(limit) => format!("qdisc tbf dev {}", limit.link),
            Self::SourceNat(nat) => format!("source nat of {}", nat.pod),
            other => other.to_string(),
        }
    }
}
