//! The link monitor of long-lived programs: the links of a namespace now, and every change after. The socket
//! is made inside the namespace by a helper thread and stays there; nobody else enters it.
//!
//! Invariant: whoever applies the events in order to the links there were at the start has the links of the namespace,
//! some moments late.

use std::collections::VecDeque;

use rtnetlink::MulticastGroup;
use terway_types::MacAddr;
use terway_types::fault::chain;

use crate::kernel::changes::{Change, Changes};
use crate::kernel::events::Heard;
use crate::kernel::{KernelError, Link, Netlink, Netns};

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
    changes: Changes,
    netlink: Netlink,
    /// Of one read of the socket, which is nearly always a single event.
    read: VecDeque<LinkEvent>,
}

impl LinkMonitor {
    /// Begins to watch; gives the links there are. Must be called within a tokio runtime that drives I/O.
    pub fn start(netns: &Netns) -> Result<(Self, Vec<Link>), KernelError> {
        // Subscribed first, listed second: a change in between is told twice, never not at all.
        let changes = Changes::listen(netns, "watch link events", &[MulticastGroup::Link])?;
        let mut netlink = Netlink::open(netns)?;
        let links = netlink.links()?;
        Ok((Self { changes, netlink, read: VecDeque::new() }, links))
    }

    /// Waits for the next event; none when the monitor has failed, which the log explains. A reader that falls too far
    /// behind is told [`LinkEvent::Resync`]. Cancel safe.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(event);
            }
            let Self { changes, read, .. } = self;
            let why = match changes.next(|change, _| read.extend(event(change))).await {
                Ok(Heard::Messages) => continue,
                Ok(Heard::Lost) => match self.netlink.links() {
                    Ok(links) => return Some(LinkEvent::Resync(links)),
                    Err(error) => chain(&error),
                },
                Err(error) => chain(&error),
            };
            tracing::error!(error = why, "the link monitor ends");
            return None;
        }
    }
}

fn event(change: Change) -> Option<LinkEvent> {
    match change {
        Change::Link(link) => Some(LinkEvent::Changed(link)),
        Change::LinkGone(Link { index, name, mac, .. }) => Some(LinkEvent::Gone { index, name, mac }),
        _ => None,
    }
}
