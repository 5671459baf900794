//! Tells a long-lived program that somebody touched what may be pods': a route, a rule, a neighbour or a translation
//! was taken away or replaced, a link changed, something was put on it. Whether it really was a pod's, and is not as it should be now, is for the reader to
//! find out; most of what is told is the plugin's own work.
//!
//! Task: three, ended when the [`Interference`] is dropped. Invariant: nothing is missed in silence; where events were
//! lost, [`Touched::Anything`] says so.

use std::net::IpAddr;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocket as _, TokioSocket};
use terway_types::{AttachmentKey, MacAddr};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use crate::describe::FIRST_TABLE;
use crate::kernel::nft::{Gone, Watch};
use crate::kernel::objects::{MAIN_TABLE, OUR_PROTOCOL};
use crate::kernel::{Cause, KernelError, Netns, decode};
use crate::mark::Mark;
use crate::rules::{is_one_address, pod_of};
use crate::source_nat;

/// Touches waiting to be taken.
const WAITING: usize = 1024;
/// Room for some thousand events in the kernel.
const RECEIVE_BUFFER: usize = 4 << 20;

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
    touches: mpsc::Receiver<Touch>,
    tasks: [JoinHandle<()>; 3],
}

impl Interference {
    /// Begins to listen. Must be called within a tokio runtime that drives I/O.
    pub fn listen(netns: &Netns) -> Result<Self, KernelError> {
        const GROUPS: [MulticastGroup; 8] = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let failed = |cause: Cause| KernelError::new("listen to changes of links, routes and rules", cause);
        let filter = Watch::open(netns)?;
        let runtime = tokio::runtime::Handle::current();
        let (mut connection, _, messages) = netns
            .run(|| {
                let _reactor = runtime.enter();
                rtnetlink::new_multicast_connection(&GROUPS)
            })
            .map_err(|error| failed(error.into()))?
            .map_err(|error| failed(Cause::Socket(error)))?;
        let socket: &TokioSocket = connection.socket_mut();
        // Without privilege the system's default must do: lost events are told as such.
        let _ = setsockopt(socket.socket_ref(), RcvBufForce, &RECEIVE_BUFFER);
        let (sender, touches) = mpsc::channel(WAITING);
        let tasks = [
            tokio::spawn(translations(filter, sender.clone())),
            tokio::spawn(translate(messages, sender)),
            tokio::spawn(connection),
        ];
        Ok(Self { touches, tasks })
    }

    /// Waits for the next touch; none when the socket is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Touch> {
        self.touches.recv().await
    }
}

impl Drop for Interference {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Tells what is taken out of our tables of the packet filter.
async fn translations(mut filter: Watch, touches: mpsc::Sender<Touch>) {
    loop {
        let heard = match filter.next().await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(%error, "nothing more is heard of changes of nftables");
                return;
            }
        };
        for touch in heard.into_iter().filter_map(untranslated) {
            if touches.send(touch).await.is_err() {
                return;
            }
        }
    }
}

/// A rule without a mark that can be read may have been anybody's.
fn untranslated(gone: Gone) -> Option<Touch> {
    match gone {
        Gone::Unknown => Some(Touch { what: Touched::Anything, by: None }),
        Gone::From { table, comment, by } => (table == source_nat::TABLE).then(|| {
            let key = comment.and_then(|comment| Mark::parse(comment.as_str())?.key());
            Touch { what: key.map_or(Touched::Anything, Touched::Attachment), by: (by != 0).then_some(by) }
        }),
    }
}

async fn translate<S, A>(mut messages: S, touches: mpsc::Sender<Touch>)
where
    S: tokio_stream::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, A)> + Unpin,
{
    while let Some((message, _)) = messages.next().await {
        let port = message.header.port_number;
        let what = match &message.payload {
            NetlinkPayload::Overrun(_) => Some(Touched::Anything),
            NetlinkPayload::InnerMessage(message) => touched(message),
            _ => None,
        };
        let Some(what) = what else { continue };
        if touches.send(Touch { what, by: (port != 0).then_some(port) }).await.is_err() {
            return;
        }
    }
}

fn touched(message: &RouteNetlinkMessage) -> Option<Touched> {
    match message {
        RouteNetlinkMessage::DelRoute(message) => {
            let route = decode::route(message)?;
            match (route.protocol == OUR_PROTOCOL, route.table) {
                (true, MAIN_TABLE) if is_one_address(&route.destination) => {
                    Some(Touched::Pod(route.destination.ip()))
                }
                (true, table) if table > FIRST_TABLE => Some(Touched::TableOf(table - FIRST_TABLE)),
                _ => None,
            }
        }
        // A replaced route is told as a new one only.
        RouteNetlinkMessage::NewRoute(message) => {
            let route = decode::route(message)?;
            if route.protocol == OUR_PROTOCOL || route.table != MAIN_TABLE {
                return None;
            }
            if is_one_address(&route.destination) {
                return Some(Touched::Pod(route.destination.ip()));
            }
            route.oif.map(Touched::OnLink)
        }
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            Some(Touched::OnLink(message.header.index))
        }
        RouteNetlinkMessage::DelRule(message) => pod_of(&decode::rule(message)?).map(Touched::Pod),
        RouteNetlinkMessage::DelNeighbour(message) => {
            decode::neighbour(message).map(|entry| Touched::Pod(entry.address))
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            let entry = decode::neighbour(message)?;
            (!entry.permanent).then_some(Touched::Pod(entry.address))
        }
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            let link = decode::link(message);
            match link.alias.as_deref().and_then(Mark::parse) {
                Some(mark) => mark.key().map(Touched::Attachment),
                None => link.mac.map(Touched::Nic),
            }
        }
        _ => None,
    }
}
