//! Reads of kernel state. Filters are the kernel's own where it has them, so a node with ten thousand routes
//! does not copy them all for the sake of one table. Kernels before 4.20 ignore them: they are applied here too.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NLM_F_ECHO, NLM_F_REQUEST, Parseable as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::tc::{TcHandle, TcHeader, TcMessage};
use nix::errno::Errno;
use terway_types::IpFamily;

use super::decode;
use super::error::KernelError;
use super::filter::{Filter, Hook, InstalledFilter};
use super::netlink::Netlink;
use super::objects::{Address, Link, Neighbour, Qdisc, Route, RouteFilter};
use super::request::encode;
use super::transport::{Frame, Message};

impl Netlink {
    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.dump("list links", &RouteNetlinkMessage::GetLink(message), decode_link)
    }

    /// The link with this name, if there is one.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, KernelError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.link(format!("look up link {name}"), message)
    }

    /// The link with this index, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.link(format!("look up link #{index}"), message)
    }

    /// The addresses of one link, or of all.
    pub fn addresses(&mut self, index: Option<u32>) -> Result<Vec<Address>, KernelError> {
        let mut message = AddressMessage::default();
        message.header.index = index.unwrap_or(0);
        let what = index.map_or("list addresses".into(), |index| format!("list addresses of link #{index}"));
        self.dump(what, &RouteNetlinkMessage::GetAddress(message), |payload| {
            let address = decode::address(&AddressMessage::parse(payload)?);
            Ok(address.filter(|address| index.is_none_or(|wanted| address.index == wanted)))
        })
        .or_else(none_if_absent)
    }

    /// The routes the filter lets through. Entries of the routing cache are left out.
    pub fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>, KernelError> {
        let mut routes = Vec::new();
        for family in IpFamily::BOTH {
            if filter.family.is_none_or(|wanted| wanted == family) {
                routes.extend(self.routes_of(family, filter)?);
            }
        }
        Ok(routes)
    }

    fn routes_of(&mut self, family: IpFamily, filter: RouteFilter) -> Result<Vec<Route>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = decode::family_number(family);
        message.attributes.extend(filter.table.map(RouteAttribute::Table));
        message.attributes.extend(filter.oif.map(RouteAttribute::Oif));
        let request = RouteNetlinkMessage::GetRoute(message);
        self.dump(format!("list {family} routes"), &request, |payload| {
            Ok(decode::route(&RouteMessage::parse(payload)?).filter(|route| filter.lets_through(route)))
        })
        // A table nobody has written to does not exist.
        .or_else(none_if_absent)
    }

    /// The entry of the routing tables that packets of this host to an address follow, if there is one. One answer,
    /// however many routes there are. A kernel before 4.13 tells the way instead, which is no entry of a table.
    pub fn route_to(&mut self, address: IpAddr) -> Result<Option<Route>, KernelError> {
        let mut message = RouteMessage::default();
        message.header.address_family = decode::family_number(IpFamily::of(&address));
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.header.flags = RouteFlags::FibMatch;
        message.attributes.push(RouteAttribute::Destination(match address {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        }));
        let what = format!("look up the route to {address}");
        let found = self.one(what, &RouteNetlinkMessage::GetRoute(message), |payload| {
            Ok(decode::route(&RouteMessage::parse(payload)?))
        });
        match found {
            Err(error) if matches!(error.errno(), Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH)) => Ok(None),
            found => found,
        }
    }

    /// The neighbours known on a link.
    pub fn neighbours(&mut self, index: u32) -> Result<Vec<Neighbour>, KernelError> {
        let mut message = NeighbourMessage::default();
        message.attributes.push(NeighbourAttribute::IfIndex(index));
        let request = RouteNetlinkMessage::GetNeighbour(message);
        self.dump(format!("list neighbours of link #{index}"), &request, |payload| {
            let neighbour = decode::neighbour(&NeighbourMessage::parse(payload)?);
            Ok(neighbour.filter(|neighbour| neighbour.index == index))
        })
        .or_else(none_if_absent)
    }

    /// The queueing disciplines of a link.
    pub fn qdiscs(&mut self, index: u32) -> Result<Vec<Qdisc>, KernelError> {
        // Even new kernels ignore the index in this dump and give those of every link.
        let request = RouteNetlinkMessage::GetQueueDiscipline(tc(index, TcHandle::UNSPEC));
        self.dump(format!("list qdiscs of link #{index}"), &request, |payload| {
            let qdisc = decode::qdisc(&TcMessage::parse(payload)?);
            Ok(qdisc.filter(|qdisc| qdisc.index == index))
        })
    }

    /// The qdisc in a class of a link, or at its root ([`Qdisc::ROOT`]), if somebody put one there or the kernel shows its
    /// own. One answer, however many links there are.
    pub fn qdisc(&mut self, index: u32, parent: u32) -> Result<Option<Qdisc>, KernelError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(tc(index, parent.into()));
        // Kernels before 6.5 tell it those who listen for changes, and who asks only if he wants an echo of his request.
        self.one_with(NLM_F_ECHO, format!("look at a qdisc of link #{index}"), &request, |payload| {
            Ok(decode::qdisc(&TcMessage::parse(payload)?))
        })
    }

    /// The index of the link to which a filter on the clsact qdisc sends what arrives on this link.
    pub fn ingress_redirect(&mut self, index: u32) -> Result<Option<u32>, KernelError> {
        let parent = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };
        let request = RouteNetlinkMessage::GetTrafficFilter(tc(index, parent));
        let found = self.dump(format!("list ingress filters of link #{index}"), &request, |payload| {
            Ok(decode::redirect(&TcMessage::parse(payload)?))
        });
        match found {
            Ok(targets) => Ok(targets.first().copied()),
            // No clsact qdisc, no filters.
            Err(error) if error.is_absent() || error.errno() == Some(Errno::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The filters at one hook of a link that are of the kinds we make; none if it has no clsact qdisc.
    pub fn filters(&mut self, index: u32, hook: Hook) -> Result<Vec<InstalledFilter>, KernelError> {
        let request = RouteNetlinkMessage::GetTrafficFilter(tc(index, TcHandle::from(hook.parent())));
        let what = format!("list {hook} filters of link #{index}");
        match self.dump(what, &request, |payload| Ok(Filter::decode(payload, index, hook))) {
            Err(error) if error.is_absent() || error.errno() == Some(Errno::EINVAL) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    fn link(&mut self, what: String, mut message: LinkMessage) -> Result<Option<Link>, KernelError> {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.one(what, &RouteNetlinkMessage::GetLink(message), decode_link)
    }

    /// Asks for one object; none if it is not there.
    fn one<T>(
        &mut self,
        what: String,
        request: &RouteNetlinkMessage,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<T>, KernelError> {
        self.one_with(0, what, request, decode)
    }

    fn one_with<T>(
        &mut self,
        flags: u16,
        what: String,
        request: &RouteNetlinkMessage,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<T>, KernelError> {
        let (kind, payload) = encode(request);
        let frame = Frame::acked(kind, NLM_F_REQUEST | flags, &payload);
        let mut found = Vec::new();
        let answers = self.transport.exchange([&frame], |message| keep(message, &decode, &mut found));
        match answers.map(|answers| answers.into_iter().next().flatten()) {
            Ok(Some(Ok(()))) => Ok(found.pop()),
            Ok(Some(Err(refusal))) => match KernelError::new(what, refusal) {
                error if error.is_absent() => Ok(None),
                error => Err(error),
            },
            Ok(None) => Err(KernelError::new(what, super::Cause::Unanswered)),
            Err(error) => Err(KernelError::new(what, super::Cause::Socket(error))),
        }
    }

    pub(super) fn dump<T>(
        &mut self,
        what: impl Into<String>,
        request: &RouteNetlinkMessage,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, KernelError> {
        let (kind, payload) = encode(request);
        let frame = Frame::dump(kind, &payload);
        self.transport
            .dump(&frame, Vec::new, |found, message| keep(message, &decode, found))
            .map_err(|cause| KernelError::new(what, cause))
    }
}

fn decode_link(payload: &[u8]) -> Result<Option<Link>, DecodeError> {
    decode::link(payload).map(Some)
}

/// Keeps an object of a dump. One that cannot be read is some other program's and of a kind newer than the
/// decoder: it must not make ours unreadable.
fn keep<T>(
    message: &Message<'_>,
    decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    found: &mut Vec<T>,
) {
    match decode(message.payload) {
        Ok(object) => found.extend(object),
        Err(error) => tracing::warn!(kind = message.kind, %error, "skipped an unreadable kernel object"),
    }
}

fn tc(index: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header = TcHeader { index: index.cast_signed(), parent, ..TcHeader::default() };
    message
}

fn none_if_absent<T>(error: KernelError) -> Result<Vec<T>, KernelError> {
    if error.is_absent() { Ok(Vec::new()) } else { Err(error) }
}
