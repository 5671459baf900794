//! Tells a long-lived program that somebody touched what may be pods': a route, a rule, a neighbour or a translation
//! was taken away or replaced, a link changed, something was put on it. Whether it really was a pod's, and is not as it should be now, is for the reader to
//! find out; most of what is told is the plugin's own work.
//!
//! Invariant: nothing is missed in silence; where events were lost, [`Touched::Anything`] says so. Nothing is queued here:
//! what is not asked for waits in the kernel, which has its bounds (`kernel/events`).

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use rtnetlink::MulticastGroup;
use terway_types::fault::chain;
use terway_types::{AttachmentKey, MacAddr};

use crate::describe::FIRST_TABLE;
use crate::kernel::changes::{Change, Changes};
use crate::kernel::events::Heard;
use crate::kernel::nft::{Gone, Watch};
use crate::kernel::objects::{MAIN_TABLE, OUR_PROTOCOL};
use crate::kernel::{KernelError, Netns};
use crate::mark::Mark;
use crate::rules::{is_one_address, pod_of};
use crate::{source_check, source_nat, unassigned};

/// What was touched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touched {
    /// The way to or from this address.
    Pod(IpAddr),
    /// A link that carries the mark of this attachment.
    Attachment(AttachmentKey),
    /// A link with this hardware address and no mark.
    Nic(MacAddr),
    /// The routes of the link with this index.
    TableOf(u32),
    /// The link with this index got or lost an address, or got a way of the node that is not ours.
    OnLink(u32),
    /// The way packets wait at the link with this index.
    Queues(u32),
    /// Events were lost.
    Anything,
}

/// Something was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What.
    pub what: Touched,
    /// The netlink port of whoever asked for it, which is nearly always the number of his process; none if the kernel
    /// did it by itself or does not tell.
    pub by: Option<u32>,
}

/// Hears of every touch in one namespace.
#[derive(Debug)]
pub struct Interference {
    routing: Changes,
    /// None once it has failed.
    filter: Option<Watch>,
    /// Of one read of a socket.
    read: VecDeque<Touch>,
}

impl Interference {
    /// Begins to listen. Must be called within a tokio runtime that drives I/O.
    pub fn listen(netns: &Netns) -> Result<Self, KernelError> {
        const GROUPS: [MulticastGroup; 9] = [
            MulticastGroup::Link,
            MulticastGroup::Tc,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let what = "listen to changes of links, routes and rules";
        let filter = Some(Watch::open(netns)?);
        Ok(Self { routing: Changes::listen(netns, what, &GROUPS)?, filter, read: VecDeque::new() })
    }

    /// Waits for the next touch; none when the socket has failed. Cancel safe.
    pub async fn next(&mut self) -> Option<Touch> {
        loop {
            if let Some(touch) = self.read.pop_front() {
                return Some(touch);
            }
            let Self { routing, filter, read } = self;
            tokio::select! {
                heard = routing.next(note(read)) => match heard {
                    Ok(Heard::Messages) => {}
                    Ok(Heard::Lost) => return Some(LOST),
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "nothing more is heard of the node's links and routes");
                        return None;
                    }
                },
                heard = translations(filter) => match heard {
                    Ok(gone) => self.read.extend(gone.into_iter().filter_map(untranslated)),
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "nothing more is heard of changes of nftables");
                        self.filter = None;
                    }
                },
            }
        }
    }

    /// The next touch of which the kernel has told by now, without waiting; none if there is none, or a socket has failed,
    /// of which [`Interference::next`] tells then. Whoever has just changed routes, rules or links had to wait for others
    /// who did: what they did before is told by now, and by whom.
    pub fn told_by_now(&mut self) -> Option<Touch> {
        loop {
            if let Some(touch) = self.read.pop_front() {
                return Some(touch);
            }
            match self.routing.next_now(note(&mut self.read)) {
                Ok(Some(Heard::Messages)) => continue,
                Ok(Some(Heard::Lost)) => return Some(LOST),
                Ok(None) | Err(_) => {}
            }
            let gone = self.filter.as_mut()?.next_now().ok()??;
            self.read.extend(gone.into_iter().filter_map(untranslated));
        }
    }
}

/// Nobody knows what was touched, nor by whom.
const LOST: Touch = Touch { what: Touched::Anything, by: None };

fn note(read: &mut VecDeque<Touch>) -> impl FnMut(Change, Option<u32>) {
    |change, by| read.extend(touched(&change).map(|what| Touch { what, by }))
}

/// What is taken out of the packet filter; never anything if that cannot be heard.
async fn translations(filter: &mut Option<Watch>) -> io::Result<Vec<Gone>> {
    match filter {
        Some(filter) => filter.next().await,
        None => std::future::pending().await,
    }
}

/// A rule without a mark that can be read may have been anybody's.
fn untranslated(gone: Gone) -> Option<Touch> {
    match gone {
        Gone::Unknown => Some(LOST),
        Gone::From { table, comment, by } => {
            [source_nat::TABLE, source_check::TABLE].contains(&table.as_str()).then(|| {
                let key = comment.and_then(|comment| Mark::parse(comment.as_str())?.key());
                Touch {
                    what: key.map_or(Touched::Anything, Touched::Attachment),
                    by: (by != 0).then_some(by),
                }
            })
        }
    }
}

fn touched(change: &Change) -> Option<Touched> {
    match change {
        Change::RouteGone(route) => match (route.protocol == OUR_PROTOCOL, route.table) {
            _ if unassigned::is_ours(route) => Some(Touched::Anything),
            (true, MAIN_TABLE) if is_one_address(&route.destination) => {
                Some(Touched::Pod(route.destination.ip()))
            }
            (true, table) if table > FIRST_TABLE => Some(Touched::TableOf(table - FIRST_TABLE)),
            _ => None,
        },
        // A replaced route is told as a new one only.
        Change::Route(route) if route.protocol == OUR_PROTOCOL || route.table != MAIN_TABLE => None,
        Change::Route(route) if is_one_address(&route.destination) => {
            Some(Touched::Pod(route.destination.ip()))
        }
        Change::Route(route) => route.oif.map(Touched::OnLink),
        Change::Waiting(index) => Some(Touched::Queues(*index)),
        Change::Address(index) => Some(Touched::OnLink(*index)),
        Change::RuleGone(rule) => pod_of(rule).map(Touched::Pod),
        Change::NeighbourGone(entry) => Some(Touched::Pod(entry.address)),
        Change::Neighbour(entry) => (!entry.permanent).then_some(Touched::Pod(entry.address)),
        Change::Link(link) | Change::LinkGone(link) => match link.alias.as_deref().and_then(Mark::parse) {
            Some(mark) => mark.key().map(Touched::Attachment),
            None => link.mac.map(Touched::Nic),
        },
    }
}
