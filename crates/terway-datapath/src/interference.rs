//! Tells a long-lived program that somebody touched what may be pods': a route, a rule or a neighbour was taken away
//! or replaced, a link changed. Whether it really was a pod's, and is not as it should be now, is for the reader to
//! find out; most of what is told is the plugin's own work.
//!
//! Task: two, ended when the [`Interference`] is dropped. Invariant: nothing is missed in silence; where events were
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
use crate::kernel::objects::{MAIN_TABLE, OUR_PROTOCOL};
use crate::kernel::{Cause, KernelError, Netns, decode};
use crate::mark::Mark;
use crate::rules::{is_one_address, pod_of};

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
    connection: JoinHandle<()>,
    translation: JoinHandle<()>,
}

impl Interference {
    /// Begins to listen. Must be called within a tokio runtime that drives I/O.
    pub fn listen(netns: &Netns) -> Result<Self, KernelError> {
        const GROUPS: [MulticastGroup; 6] = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let failed = |cause: Cause| KernelError::new("listen to changes of links, routes and rules", cause);
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
        let translation = tokio::spawn(translate(messages, sender));
        Ok(Self { touches, connection: tokio::spawn(connection), translation })
    }

    /// Waits for the next touch; none when the socket is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Touch> {
        self.touches.recv().await
    }
}

impl Drop for Interference {
    fn drop(&mut self) {
        self.connection.abort();
        self.translation.abort();
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
            let foreign = route.protocol != OUR_PROTOCOL && route.table == MAIN_TABLE;
            (foreign && is_one_address(&route.destination)).then(|| Touched::Pod(route.destination.ip()))
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
