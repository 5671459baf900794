//! Requests about links: make, change, move, delete.

use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoNetkit, InfoVeth, InfoVlan, IpVlanFlags,
    IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use terway_types::MacAddr;

use super::{ADD, Request};
use crate::kernel::attribute::{NESTED, attribute};
use crate::kernel::namespace::Netns;

const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const AF_INET: u16 = 2;

/// Names a link of the namespace a request is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRef<'a> {
    /// By index.
    Index(u32),
    /// By name: for a link made earlier in the same batch.
    Name(&'a str),
}

impl From<u32> for LinkRef<'_> {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl<'a> From<&'a str> for LinkRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for LinkRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "#{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How a new link shall be. The kernel takes no alias at creation: set it by [`Request::set_link`], by name,
/// in the same batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address; none lets the kernel choose.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; none takes the kind's own.
    pub mtu: Option<u32>,
    /// Whether it is up from the start. The far end of a pair cannot be: it is made first, and a pair's end does not
    /// come up alone (`ENOTCONN`).
    pub up: bool,
    /// The namespace it is made in; none for that of the request.
    pub netns: Option<&'a Netns>,
    /// The bridge it is a port of, by index in its own namespace.
    pub master: Option<u32>,
    /// The group of links it is in from the start; none for the kernel's 0.
    pub group: Option<u32>,
}

/// How an IPVlan link reaches the others of its parent, and the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// Like ports of a switch.
    #[default]
    L2,
    /// Routed in the parent's namespace, where the packet filter sees it both ways (since Linux 4.9).
    L3s,
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3s => "l3s",
        })
    }
}

/// An IPv4 switch of a link (`IPV4_DEVCONF_*`), and its name under `/proc/sys/net/ipv4/conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ipv4Switch {
    /// `forwarding`.
    Forwarding = 1,
    /// `rp_filter`.
    RpFilter = 8,
    /// `arp_ignore`.
    ArpIgnore = 19,
}

impl Ipv4Switch {
    const ALL: [Self; 3] = [Self::Forwarding, Self::RpFilter, Self::ArpIgnore];

    /// The switch of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|switch| switch.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::RpFilter => "rp_filter",
            Self::ArpIgnore => "arp_ignore",
        }
    }
}

impl fmt::Display for Ipv4Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A link's membership in a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// A port of the link with this index.
    Index(u32),
    /// A port of none.
    None,
}

/// What shall change about a link; `None` leaves a property as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Up or down. A link must be down to take a MAC with some drivers.
    pub up: Option<bool>,
    /// New name. With `netns`, the name there.
    pub name: Option<&'a str>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Hardware address.
    pub mac: Option<MacAddr>,
    /// Bridge membership.
    pub master: Option<Master>,
    /// Alias of at most 255 bytes; an empty one clears it.
    pub alias: Option<&'a str>,
    /// Group of links.
    pub group: Option<u32>,
    /// The namespace to move to. The kernel moves first and applies the rest there; if the rest fails (say, the
    /// name is taken there) the link stays moved, under its old name.
    pub netns: Option<&'a Netns>,
}

impl Request {
    /// Makes a pair of Ethernet links, each end at once in its namespace, with name, MAC and MTU.
    pub fn add_veth(near: &NewLink<'_>, far: &NewLink<'_>) -> Self {
        let peer = InfoData::Veth(InfoVeth::Peer(new_message(far)));
        let what = format!("create veth pair {} - {}", near.name, far.name);
        Self::add_link(what, near, InfoKind::Veth, Some(peer)).holding(far.netns)
    }

    /// Makes a pair whose ends are up to programs of eBPF (since Linux 6.7), each end at once in its namespace. No layout has it;
    /// the bench compares with it.
    pub fn add_netkit(near: &NewLink<'_>, far: &NewLink<'_>) -> Self {
        let peer = InfoData::Netkit(vec![InfoNetkit::Peer(new_message(far))]);
        let what = format!("create netkit pair {} - {}", near.name, far.name);
        Self::add_link(what, near, InfoKind::Netkit, Some(peer)).holding(far.netns)
    }

    /// Makes a bridge.
    pub fn add_bridge(link: &NewLink<'_>) -> Self {
        Self::add_link(format!("create bridge {}", link.name), link, InfoKind::Bridge, None)
    }

    /// Makes a bridge that gives multicast to every port instead of learning who listens.
    pub fn add_flooding_bridge(link: &NewLink<'_>) -> Self {
        let data = InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)]);
        Self::add_link(format!("create bridge {}", link.name), link, InfoKind::Bridge, Some(data))
    }

    /// Makes an intermediate functional block: a link whose egress stands for another one's ingress.
    pub fn add_ifb(link: &NewLink<'_>) -> Self {
        Self::add_link(format!("create ifb {}", link.name), link, InfoKind::Ifb, None)
    }

    /// Makes a link that carries the frames of one VLAN (802.1Q, id 1 to 4094) of its parent, whose MAC it takes. The
    /// parent is in the request's namespace, the link in its own. A parent has a VLAN once, wherever the link is.
    pub fn add_vlan(link: &NewLink<'_>, parent: u32, id: u16) -> Self {
        let what = format!("create link {} for VLAN {id} of link #{parent}", link.name);
        Self::add_child(what, link, parent, InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(id)]))
    }

    /// Makes a link that shares its parent's MAC and has addresses of its own. Links of one parent have one mode and
    /// reach each other.
    pub fn add_ipvlan(link: &NewLink<'_>, parent: u32, mode: IpvlanMode) -> Self {
        let mode = match mode {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let data = vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(IpVlanFlags::empty())];
        let what = format!("create ipvlan {} on link #{parent}", link.name);
        Self::add_child(what, link, parent, InfoKind::IpVlan, InfoData::IpVlan(data))
    }

    /// Makes a link of its parent with a MAC of its own. A VPC drops what bears a MAC that it did not give, so no layout has it;
    /// the bench compares with it.
    pub fn add_macvlan(link: &NewLink<'_>, parent: u32) -> Self {
        let what = format!("create macvlan {} on link #{parent}", link.name);
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
        Self::add_child(what, link, parent, InfoKind::MacVlan, data)
    }

    /// An IPVlan link without a parent, which no kernel makes: what it says tells whether it knows the kind.
    pub(in crate::kernel) fn add_orphaned_ipvlan() -> Self {
        let orphan = NewLink::default();
        Self::add_link("ask for IPVlan links".to_owned(), &orphan, InfoKind::IpVlan, None)
    }

    fn add_child(what: String, link: &NewLink<'_>, parent: u32, kind: InfoKind, data: InfoData) -> Self {
        let mut message = new_message(link);
        message.attributes.push(LinkAttribute::Link(parent));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        Self::new(what, ADD, &RouteNetlinkMessage::NewLink(message)).holding(link.netns)
    }

    fn add_link(what: String, link: &NewLink<'_>, kind: InfoKind, data: Option<InfoData>) -> Self {
        let mut message = new_message(link);
        let info = std::iter::once(LinkInfo::Kind(kind)).chain(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info.collect()));
        Self::new(what, ADD, &RouteNetlinkMessage::NewLink(message)).holding(link.netns)
    }

    /// Changes a link in one request.
    pub fn set_link<'a>(link: impl Into<LinkRef<'a>>, change: &LinkChange<'_>) -> Self {
        let link = link.into();
        let mut message = LinkMessage::default();
        match link {
            LinkRef::Index(index) => {
                message.header.index = index;
                push_name(&mut message, change.name);
            }
            // The name is spent on finding the link: renaming takes an index.
            LinkRef::Name(name) => push_name(&mut message, Some(name)),
        }
        let attributes = &mut message.attributes;
        attributes.extend(change.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())));
        attributes.extend(change.mtu.map(LinkAttribute::Mtu));
        attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(change.alias.map(alias));
        attributes.extend(change.group.map(LinkAttribute::Group));
        attributes.extend(change.master.map(|master| match master {
            Master::Index(index) => LinkAttribute::Controller(index),
            Master::None => LinkAttribute::Controller(0),
        }));
        if let Some(up) = change.up {
            set_up(&mut message, up);
        }
        let what = format!("{} link {link}", words(change).join(", "));
        Self::new(what, 0, &RouteNetlinkMessage::SetLink(message)).holding(change.netns)
    }

    /// Gives IPv4 switches of a link their values. Those of `/proc/sys` that need the lock of links do not wait for it:
    /// they try again until they get it, which keeps processors busy while others move their NICs.
    pub fn set_ipv4_switches<'a>(link: impl Into<LinkRef<'a>>, switches: &[(Ipv4Switch, u32)]) -> Self {
        let link = link.into();
        let mut message = LinkMessage::default();
        match link {
            LinkRef::Index(index) => message.header.index = index,
            LinkRef::Name(name) => push_name(&mut message, Some(name)),
        }
        let values: Vec<u8> = switches
            .iter()
            .flat_map(|(switch, value)| attribute(*switch as u16, &value.to_ne_bytes()))
            .collect();
        let of_family = attribute(AF_INET | NESTED, &attribute(IFLA_INET_CONF | NESTED, &values));
        message.attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_AF_SPEC | NESTED, of_family)));
        let words: Vec<_> = switches.iter().map(|(switch, value)| format!("{switch} {value}")).collect();
        let what = format!("set IPv4 switches {} of link {link}", words.join(", "));
        Self::new(what, 0, &RouteNetlinkMessage::SetLink(message))
    }

    /// Deletes a link; of a veth pair, both ends.
    pub fn delete_link<'a>(link: impl Into<LinkRef<'a>>) -> Self {
        let link = link.into();
        let mut message = LinkMessage::default();
        match link {
            LinkRef::Index(index) => message.header.index = index,
            LinkRef::Name(name) => push_name(&mut message, Some(name)),
        }
        Self::new(format!("delete link {link}"), 0, &RouteNetlinkMessage::DelLink(message))
    }
}

fn new_message(link: &NewLink<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    push_name(&mut message, Some(link.name));
    let attributes = &mut message.attributes;
    attributes.extend(link.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(link.mtu.map(LinkAttribute::Mtu));
    attributes.extend(link.master.map(LinkAttribute::Controller));
    attributes.extend(link.group.map(LinkAttribute::Group));
    attributes.extend(link.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())));
    if link.up {
        set_up(&mut message, true);
    }
    message
}

fn push_name(message: &mut LinkMessage, name: Option<&str>) {
    message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.to_owned())));
}

fn set_up(message: &mut LinkMessage, up: bool) {
    message.header.change_mask |= LinkFlags::Up;
    message.header.flags.set(LinkFlags::Up, up);
}

/// The alias without a terminating NUL: the kernel counts every byte of it against its limit of 255, and takes
/// an attribute of no bytes for "none".
fn alias(text: &str) -> LinkAttribute {
    LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, text.as_bytes().to_vec()))
}

fn words(change: &LinkChange<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(netns) = change.netns {
        let place = netns.path().map_or("another namespace".into(), |path| path.display().to_string());
        words.push(format!("move to {place}"));
    }
    words.extend(change.name.map(|name| format!("rename to {name}")));
    words.extend(change.mtu.map(|mtu| format!("set mtu {mtu} of")));
    words.extend(change.mac.map(|mac| format!("set address {mac} of")));
    words.extend(change.master.map(|master| match master {
        Master::Index(index) => format!("add to bridge #{index}"),
        Master::None => "take from its bridge".into(),
    }));
    words.extend(change.alias.map(|alias| format!("set alias {alias:?} of")));
    words.extend(change.group.map(|group| format!("set group {group} of")));
    words.extend(change.up.map(|up| if up { "set up".into() } else { "set down".into() }));
    words
}
