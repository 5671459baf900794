//! Hears what is taken out of the packet filter of one namespace: rules, elements of maps and whole tables. What is added is not told;
//! most of it is our own work, and nothing of ours gets lost by it.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::batch::{
    NFT_MSG_DELRULE, NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, SUBSYSTEM,
};
use super::client::HEADER;
use super::comment::Comment;
use super::map;
use crate::kernel::attribute::{text_value, value};
use crate::kernel::error::KernelError;
use crate::kernel::events::{Events, Heard};
use crate::kernel::namespace::Netns;
use crate::kernel::transport::Message;

/// The mask of the multicast group `NFNLGRP_NFTABLES`, which is number 7.
const EVENTS: u32 = 1 << 6;

/// A socket that hears it.
#[derive(Debug)]
pub(crate) struct Watch {
    events: Events,
}

/// What is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// A rule or an element of a map of this table, or the table with all that was in it.
    From {
        /// The table's name.
        table: String,
        /// Its comment; none of a table, of what has none, or if the kernel does not tell.
        comment: Option<Comment>,
        /// The netlink port of whoever asked for it; 0 if the kernel does not tell.
        by: u32,
    },
    /// So much happened at once that some of it was not told.
    Unknown,
}

impl Watch {
    /// Begins to hear. Must be called within a tokio runtime that drives I/O.
    pub(crate) fn open(netns: &Netns) -> Result<Self, KernelError> {
        let events = Events::open(netns, NETLINK_NETFILTER, EVENTS)
            .map_err(|cause| KernelError::new("listen to changes of nftables", cause))?;
        Ok(Self { events })
    }

    /// Waits until something is heard. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<Gone>> {
        let mut all = Vec::new();
        let heard = self.events.next(|message| all.extend(gone(message))).await?;
        Ok(or_unknown(heard, all))
    }

    /// The same without waiting; none if there is nothing.
    pub(crate) fn next_now(&mut self) -> io::Result<Option<Vec<Gone>>> {
        let mut all = Vec::new();
        let heard = self.events.next_now(|message| all.extend(gone(message)))?;
        Ok(heard.map(|heard| or_unknown(heard, all)))
    }
}

fn or_unknown(heard: Heard, all: Vec<Gone>) -> Vec<Gone> {
    match heard {
        Heard::Messages => all,
        Heard::Lost => vec![Gone::Unknown],
    }
}

fn gone(message: &Message<'_>) -> Vec<Gone> {
    const RULE: u16 = SUBSYSTEM << 8 | NFT_MSG_DELRULE;
    const ELEMENTS: u16 = SUBSYSTEM << 8 | NFT_MSG_DELSETELEM;
    const TABLE: u16 = SUBSYSTEM << 8 | NFT_MSG_DELTABLE;
    let attributes = message.payload.get(HEADER..).unwrap_or_default();
    let comments = match message.kind {
        RULE => vec![value(attributes, NFTA_RULE_USERDATA).and_then(Comment::decode)],
        ELEMENTS => map::comments(attributes).collect(),
        TABLE => vec![None],
        _ => return Vec::new(),
    };
    // A table's own name has the number that names the table of a rule, or of a map.
    let Some(table) = text_value(attributes, NFTA_RULE_TABLE) else { return Vec::new() };
    let from = |comment| Gone::From { table: table.clone(), comment, by: message.port };
    comments.into_iter().map(from).collect()
}
