//! The link monitor of long-lived programs: the links of a namespace now, and every change after. The socket
//! is made inside the namespace by a helper thread and stays there; nobody else enters it.
//!
//! Task: one, ended when the [`LinkMonitor`] is dropped. Invariant: whoever applies the events in order to the
//! initial links has the links of the namespace, some moments late.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocket as _, TokioSocket};
use terway_types::MacAddr;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use crate::kernel::{Cause, KernelError, Link, Netlink, Netns, decode};

/// Events waiting to be taken. A reader that falls behind further makes the monitor wait, and at last lose events
/// and resynchronise.
const WAITING_EVENTS: usize = 256;
/// Room for some thousand events in the kernel.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A change of the links of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A link appeared or changed; this is how it is now.
    Changed(Link),
    /// A link was deleted or left the namespace.
    Gone {
        /// Its index.
        index: u32,
        /// Its last name.
        name: String,
        /// Its MAC.
        mac: Option<MacAddr>,
    },
    /// Events were lost; these are all links there are now.
    Resync(Vec<Link>),
}

/// Watches the links of one namespace.
#[derive(Debug)]
pub struct LinkMonitor {
    initial: Vec<Link>,
    events: mpsc::Receiver<LinkEvent>,
    connection: JoinHandle<()>,
    translation: JoinHandle<()>,
}

impl LinkMonitor {
    /// Begins to watch. Must be called within a tokio runtime that drives I/O.
    pub fn start(netns: &Netns) -> Result<Self, KernelError> {
        let failed = |cause: Cause| KernelError::new("watch link events", cause);
        let runtime = tokio::runtime::Handle::current();
        // Subscribed first, listed second: a change in between is told twice, never not at all.
        let (mut connection, _, messages) = netns
            .run(|| {
                let _reactor = runtime.enter();
                rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
            })
            .map_err(|error| failed(error.into()))?
            .map_err(|error| failed(Cause::Socket(error)))?;
        let socket: &TokioSocket = connection.socket_mut();
        // Without privilege the system's default must do: lost events are noticed and made good.
        let _ = setsockopt(socket.socket_ref(), RcvBufForce, &RECEIVE_BUFFER);
        let mut netlink = Netlink::open(netns)?;
        let initial = netlink.links()?;
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        let translation = tokio::spawn(translate(messages, netlink, sender));
        Ok(Self { initial, events, connection: tokio::spawn(connection), translation })
    }

    /// The links there were at the start.
    pub fn initial(&self) -> &[Link] {
        &self.initial
    }

    /// Waits for the next event; none when the monitor has failed, which the log explains. Cancel safe.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }
}

impl Drop for LinkMonitor {
    fn drop(&mut self) {
        self.connection.abort();
        self.translation.abort();
    }
}

async fn translate<S, A>(mut messages: S, mut netlink: Netlink, events: mpsc::Sender<LinkEvent>)
where
    S: tokio_stream::Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, A)> + Unpin,
{
    while let Some((message, _)) = messages.next().await {
        let event = match message.payload {
            NetlinkPayload::Overrun(_) => match netlink.links() {
                Ok(links) => Some(LinkEvent::Resync(links)),
                Err(error) => {
                    tracing::error!(error = terway_types::fault::chain(&error), "the link monitor ends");
                    return;
                }
            },
            NetlinkPayload::InnerMessage(message) => event(&message),
            _ => None,
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
    tracing::error!("the link monitor ends: its netlink socket is closed");
}

fn event(message: &RouteNetlinkMessage) -> Option<LinkEvent> {
    match message {
        RouteNetlinkMessage::NewLink(message) if is_plain(message) => {
            Some(LinkEvent::Changed(decode::link(message)))
        }
        RouteNetlinkMessage::DelLink(message) if is_plain(message) => {
            let Link { index, name, mac, .. } = decode::link(message);
            Some(LinkEvent::Gone { index, name, mac })
        }
        _ => None,
    }
}

/// A bridge tells about its ports in the same group, and "deletes" one that merely leaves it.
fn is_plain(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}
