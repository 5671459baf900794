//! Changes asked of the kernel, as values: each carries its encoded message and what it does in words, so a
//! batch of them can be sent at once and a refusal still names the one it belongs to.

mod address;
mod filter;
mod link;
mod neighbour;
mod qdisc;
mod route;
mod rule;

#[cfg(test)]
mod golden;

pub use link::{Ipv4Switch, IpvlanMode, LinkChange, LinkRef, Master, NewLink};

use netlink_packet_core::{Emitable as _, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::error::{Cause, KernelError};
use super::namespace::Netns;
use super::transport::Frame;
use super::words::Words;

/// Make it; refuse if it is there.
const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;
/// Make it, or make what is there like this.
const REPLACE: u16 = NLM_F_CREATE | NLM_F_REPLACE;

/// One change for [`Netlink::transact`](super::Netlink::transact).
#[derive(Clone, Debug)]
pub struct Request {
    what: Words,
    pub(super) frame: Frame,
    /// Namespaces the message names by descriptor; they must stay open until it is sent.
    held: Vec<Netns>,
}

impl Request {
    fn new(what: impl Into<Words>, flags: u16, message: &RouteNetlinkMessage) -> Self {
        let (kind, payload) = encode(message);
        Self::raw(what, Frame::acked(kind, flags, &payload))
    }

    fn raw(what: impl Into<Words>, frame: Frame) -> Self {
        Self { what: what.into(), frame, held: Vec::new() }
    }

    fn holding<'a>(mut self, namespaces: impl IntoIterator<Item = &'a Netns>) -> Self {
        self.held.extend(namespaces.into_iter().cloned());
        self
    }

    /// What it does, as the end of "failed to ...".
    pub fn what(&self) -> String {
        self.what.to_string()
    }

    /// Makes it one that every kernel refuses: of a kind there is none of. For tests of what a refusal leads to.
    pub fn spoil(&mut self) {
        const NO_SUCH_KIND: u16 = 0x0fff;
        // The kind stands behind the length of four bytes.
        if let Some(kind) = self.frame.0.get_mut(4..6) {
            kind.copy_from_slice(&NO_SUCH_KIND.to_ne_bytes());
        }
    }

    /// Says what it does in better words, for example with names instead of indexes.
    #[must_use]
    pub fn described(mut self, what: impl Into<Words>) -> Self {
        self.what = what.into();
        self
    }

    pub(super) fn failed(&self, cause: Cause) -> KernelError {
        KernelError::new(self.what(), cause)
    }
}

/// Message type and body.
pub(super) fn encode(message: &RouteNetlinkMessage) -> (u16, Vec<u8>) {
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    (message.message_type(), payload)
}
