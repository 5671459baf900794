//! An attachment as plain values: every object it needs in the host's namespace and in the pod's, by link
//! name. `layout` writes this description; ADD, CHECK, repair and the picture for people read it.

mod ip;
mod link;
mod traffic;

use std::fmt;

pub use ip::{Address, Neighbour, Route};
pub use link::{Link, LinkKind, Loopback};
use terway_types::AttachmentKey;
pub use traffic::{IngressRedirect, Limit, SourceNat, Sysctl};

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
    /// Links that must exist and be up.
    pub links: Vec<Link>,
    /// Kernel switches, set before the links come up.
    pub sysctls: Vec<Sysctl>,
    /// Addresses of the links.
    pub addresses: Vec<Address>,
    /// Routes of the main table.
    pub routes: Vec<Route>,
    /// Permanent neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// Token buckets at the root of links.
    pub limits: Vec<Limit>,
    /// Incoming traffic that takes a detour through a limited link.
    pub redirects: Vec<IngressRedirect>,
    /// Source translation of the pod's traffic.
    pub source_nat: Vec<SourceNat>,
}

/// Any one object of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The loopback link.
    Loopback(Loopback),
    /// A link.
    Link(Link),
    /// A kernel switch.
    Sysctl(Sysctl),
    /// An address.
    Address(Address),
    /// A route.
    Route(Route),
    /// A neighbour entry.
    Neighbour(Neighbour),
    /// A token bucket.
    Limit(Limit),
    /// A detour of incoming traffic.
    Redirect(IngressRedirect),
    /// A source translation.
    SourceNat(SourceNat),
}

impl NamespaceLayout {
    /// Every object, in order of creation. A new kind of object that is left out here does not compile.
    pub fn objects(&self) -> Vec<Object> {
        let Self { loopback, links, sysctls, addresses, routes, neighbours, limits, redirects, source_nat } =
            self;
        let mut all = Vec::new();
        all.extend(loopback.iter().copied().map(Object::Loopback));
        all.extend(links.iter().cloned().map(Object::Link));
        all.extend(sysctls.iter().cloned().map(Object::Sysctl));
        all.extend(addresses.iter().cloned().map(Object::Address));
        all.extend(routes.iter().cloned().map(Object::Route));
        all.extend(neighbours.iter().cloned().map(Object::Neighbour));
        all.extend(limits.iter().cloned().map(Object::Limit));
        all.extend(redirects.iter().cloned().map(Object::Redirect));
        all.extend(source_nat.iter().copied().map(Object::SourceNat));
        all
    }

    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}

impl Layout {
    /// The ENI's link in the pod; every layout has one.
    pub fn nic(&self) -> Option<&Link> {
        self.pod.links.iter().find(|link| matches!(link.kind, LinkKind::Nic { .. }))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(object) => object.fmt(f),
            Self::Link(object) => object.fmt(f),
            Self::Sysctl(object) => object.fmt(f),
            Self::Address(object) => object.fmt(f),
            Self::Route(object) => object.fmt(f),
            Self::Neighbour(object) => object.fmt(f),
            Self::Limit(object) => object.fmt(f),
            Self::Redirect(object) => object.fmt(f),
            Self::SourceNat(object) => object.fmt(f),
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
            Self::Link(link) => Some(&link.name),
            Self::Sysctl(sysctl) => sysctl.link(),
            Self::Address(address) => Some(&address.link),
            Self::Route(route) => Some(&route.link),
            Self::Neighbour(neighbour) => Some(&neighbour.link),
            Self::Limit(limit) => Some(&limit.link),
            Self::Redirect(redirect) => Some(&redirect.from),
            Self::SourceNat(_) => None,
        }
    }

    /// A short name, enough to find the object with the usual tools.
    pub fn name(&self) -> String {
        match self {
            Self::Link(link) => format!("link {}", link.name),
            Self::Sysctl(sysctl) => format!("sysctl {}", sysctl.path),
            Self::Neighbour(neighbour) => format!("neighbour {} dev {}", neighbour.address, neighbour.link),
            Self::Limit(limit) => format!("qdisc tbf dev {}", limit.link),
            Self::SourceNat(nat) => format!("source nat of {}", nat.pod),
            other => other.to_string(),
        }
    }
}
