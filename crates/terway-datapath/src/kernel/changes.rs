//! What rtnetlink tells of a namespace's links, addresses, routes, rules, neighbours and qdiscs while it changes, reduced to our
//! own values one event at a time.

use std::io;

use netlink_packet_core::{DecodeError, Parseable as _};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use rtnetlink::MulticastGroup;

use super::decode;
use super::error::KernelError;
use super::events::{Events, Heard};
use super::namespace::Netns;
use super::objects::{Link, Neighbour, Route, Rule};
use super::transport::Message;

// Kinds of messages, from `linux/rtnetlink.h`.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_DELRULE: u16 = 33;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_DELTFILTER: u16 = 45;

/// A change, of those that anybody here asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A link is there, and is so now.
    Link(Link),
    /// A link was deleted or left; so it was.
    LinkGone(Link),
    /// The link with this index got or lost an address.
    Address(u32),
    /// A route is there, perhaps in the place of another.
    Route(Route),
    /// A route was taken away.
    RouteGone(Route),
    /// A neighbour is known, and is so now.
    Neighbour(Neighbour),
    /// A neighbour is known no more.
    NeighbourGone(Neighbour),
    /// A rule was taken away.
    RuleGone(Rule),
    /// Packets wait in another way at the link with this index: a qdisc came or went, or a filter went.
    Waiting(u32),
}

/// Hears changes.
#[derive(Debug)]
pub(crate) struct Changes {
    events: Events,
}

impl Changes {
    /// Hears these groups. Must be called within a tokio runtime that drives I/O.
    pub(crate) fn listen(netns: &Netns, what: &str, groups: &[MulticastGroup]) -> Result<Self, KernelError> {
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (*group as u32 - 1));
        let events =
            Events::open(netns, NETLINK_ROUTE, mask).map_err(|cause| KernelError::new(what, cause))?;
        Ok(Self { events })
    }

    /// Waits until there is something, and hands it out with the netlink port of whoever asked for it, if the kernel did
    /// not do it by itself. Cancel safe.
    pub(crate) async fn next(&mut self, each: impl FnMut(Change, Option<u32>)) -> io::Result<Heard> {
        self.events.next(told(each)).await
    }

    /// The same without waiting; none if there is nothing.
    pub(crate) fn next_now(&mut self, each: impl FnMut(Change, Option<u32>)) -> io::Result<Option<Heard>> {
        self.events.next_now(told(each))
    }
}

fn told(mut each: impl FnMut(Change, Option<u32>)) -> impl FnMut(&Message<'_>) {
    move |message| {
        if let Some(change) = change(message) {
            each(change, (message.port != 0).then_some(message.port));
        }
    }
}

/// What a message of rtnetlink tells. One that cannot be read is of a kind newer than the decoder, and not ours.
fn change(message: &Message<'_>) -> Option<Change> {
    decode(message.kind, message.payload).unwrap_or_else(|error| {
        tracing::debug!(kind = message.kind, %error, "skipped an event that cannot be read");
        None
    })
}

fn decode(kind: u16, payload: &[u8]) -> Result<Option<Change>, DecodeError> {
    // A bridge tells about its ports in the group of links, and "deletes" one that merely leaves it.
    let of_a_bridge = payload.first() != Some(&0);
    Ok(match kind {
        RTM_NEWLINK | RTM_DELLINK if of_a_bridge => None,
        RTM_NEWLINK => Some(Change::Link(decode::link(payload)?)),
        RTM_DELLINK => Some(Change::LinkGone(decode::link(payload)?)),
        RTM_NEWADDR | RTM_DELADDR => link_of(payload).map(Change::Address),
        RTM_NEWROUTE => decode::route(&RouteMessage::parse(payload)?).map(Change::Route),
        RTM_DELROUTE => decode::route(&RouteMessage::parse(payload)?).map(Change::RouteGone),
        RTM_NEWNEIGH => decode::neighbour(&NeighbourMessage::parse(payload)?).map(Change::Neighbour),
        RTM_DELNEIGH => decode::neighbour(&NeighbourMessage::parse(payload)?).map(Change::NeighbourGone),
        RTM_NEWQDISC | RTM_DELQDISC | RTM_DELTFILTER => link_of(payload).map(Change::Waiting),
        RTM_DELRULE => decode::rule(&RuleMessage::parse(payload)?).map(Change::RuleGone),
        _ => None,
    })
}

/// The index of the link, as `struct ifaddrmsg` and `struct tcmsg` have it.
fn link_of(payload: &[u8]) -> Option<u32> {
    payload.get(4..8)?.try_into().ok().map(u32::from_ne_bytes)
}
