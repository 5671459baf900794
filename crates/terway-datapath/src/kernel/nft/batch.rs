//! Changes that happen all or not at all.

use super::body::RuleBody;
use super::comment::Comment;
use super::expression::encode_all;
use super::map::{self, Element, Map};
use super::object::{Chain, Family, Table};
use crate::kernel::attribute::Attributes;
use crate::kernel::transport::Frame;
use crate::kernel::words::Words;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_NONREC};
use std::net::IpAddr;

pub(super) const SUBSYSTEM: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 0;
pub(super) const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_NEWRULE: u16 = 6;
pub(super) const NFT_MSG_GETRULE: u16 = 7;
pub(super) const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_NEWSET: u16 = 9;
pub(super) const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_DELSET: u16 = 11;
const NFT_MSG_NEWSETELEM: u16 = 12;
pub(super) const NFT_MSG_GETSETELEM: u16 = 13;
pub(super) const NFT_MSG_DELSETELEM: u16 = 14;
pub(super) const NFT_MSG_GETGEN: u16 = 16;
const NFNL_BATCH_GENID: u16 = 1;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
pub(super) const NFTA_RULE_HANDLE: u16 = 3;
pub(super) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(super) const NFTA_RULE_USERDATA: u16 = 7;

/// How far a deletion goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// With everything inside.
    Whole,
    /// Only if nothing is inside; else the whole batch fails with `EBUSY`.
    IfEmpty,
}

impl Deletion {
    fn flags(self) -> u16 {
        match self {
            Self::Whole => 0,
            Self::IfEmpty => NLM_F_NONREC,
        }
    }
}

/// Changes for [`Nft::commit`](super::Nft::commit). They travel in one message, which the default send buffer
/// limits to some 200 KiB: about 500 rules.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) commands: Vec<Command>,
}

/// One change and what it does in words.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) what: Words,
    pub(super) frame: Frame,
}

impl Batch {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// What the change with this number does, as the end of "failed to ...".
    pub fn what(&self, number: usize) -> String {
        self.commands.get(number).map(|command| command.what.to_string()).unwrap_or_default()
    }

    /// Makes a change one that every kernel refuses: of a kind there is none of. For tests of what a refusal leads to.
    pub fn spoil(&mut self, number: usize) {
        const NO_SUCH_KIND: u16 = 0xff;
        if let Some(kind) = self.commands.get_mut(number).and_then(|command| command.frame.0.get_mut(4..6)) {
            kind.copy_from_slice(&(SUBSYSTEM << 8 | NO_SUCH_KIND).to_ne_bytes());
        }
    }

    /// These changes, and then those of another batch.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.commands.extend(other.commands.iter().cloned());
        self
    }

    /// Makes a table, unless it is there.
    #[must_use]
    pub fn add_table(self, table: &Table) -> Self {
        let attributes = Attributes::new().text(NFTA_TABLE_NAME, &table.name).u32(NFTA_TABLE_FLAGS, 0);
        self.push(Words::about("add table", table), NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, &attributes)
    }

    /// Deletes a table.
    #[must_use]
    pub fn delete_table(self, table: &Table, how: Deletion) -> Self {
        let attributes = Attributes::new().text(NFTA_TABLE_NAME, &table.name);
        self.push(
            Words::about("delete table", table),
            NFT_MSG_DELTABLE,
            how.flags(),
            table.family,
            &attributes,
        )
    }

    /// Makes a chain, unless it is there.
    #[must_use]
    pub fn add_chain(self, chain: &Chain) -> Self {
        let what = Words::about("add chain", chain);
        self.push(what, NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain.table.family, &chain.encode())
    }

    /// Deletes a chain.
    #[must_use]
    pub fn delete_chain(self, chain: &Chain, how: Deletion) -> Self {
        let what = Words::about("delete chain", chain);
        self.push(what, NFT_MSG_DELCHAIN, how.flags(), chain.table.family, &chain.encode_name())
    }

    /// Makes a map, unless it is there.
    #[must_use]
    pub fn add_map(self, map: &Map) -> Self {
        self.push(Words::about("add map", map), NFT_MSG_NEWSET, NLM_F_CREATE, map.table.family, &map.encode())
    }

    /// Deletes a map, which no rule may look up.
    #[must_use]
    pub fn delete_map(self, map: &Map, how: Deletion) -> Self {
        let what = Words::about("delete map", map);
        self.push(what, NFT_MSG_DELSET, how.flags(), map.table.family, &map.encode_name())
    }

    /// Adds an element to a map that has none of its key; else the whole batch fails with `EEXIST` or `EBUSY`.
    #[must_use]
    pub fn add_element(self, map: &Map, element: &Element) -> Self {
        let (key, to) = (element.key, map.clone());
        let what = move || format!("add {key} to map {to}");
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.push(what, NFT_MSG_NEWSETELEM, flags, map.table.family, &map.encode_with(&element.encode()))
    }

    /// Deletes the element with this key.
    #[must_use]
    pub fn delete_element(self, map: &Map, key: IpAddr) -> Self {
        let from = map.clone();
        let what = move || format!("delete {key} from map {from}");
        let attributes = map.encode_with(&map::key(key));
        self.push(what, NFT_MSG_DELSETELEM, 0, map.table.family, &attributes)
    }

    /// Adds a rule at the end of a chain.
    #[must_use]
    pub fn add_rule(self, chain: &Chain, rule: &RuleBody, comment: Option<&Comment>) -> Self {
        let (to, marked) = (chain.clone(), comment.cloned());
        let what = move || match &marked {
            Some(comment) => format!("add a rule to chain {to} for {}", comment.as_str()),
            None => format!("add a rule to chain {to}"),
        };
        let mut attributes = rule_of(chain).nest(NFTA_RULE_EXPRESSIONS, &encode_all(&rule.expressions));
        if let Some(comment) = comment {
            attributes = attributes.bytes(NFTA_RULE_USERDATA, &comment.encode());
        }
        self.push(what, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, chain.table.family, &attributes)
    }

    /// Deletes the rule with this handle, as read by [`Nft::rules`](super::Nft::rules).
    #[must_use]
    pub fn delete_rule(self, chain: &Chain, handle: u64) -> Self {
        let of = chain.clone();
        let what = move || format!("delete rule {handle} of chain {of}");
        let attributes = rule_of(chain).u64(NFTA_RULE_HANDLE, handle);
        self.push(what, NFT_MSG_DELRULE, 0, chain.table.family, &attributes)
    }

    fn push(
        mut self,
        what: impl Into<Words>,
        message: u16,
        flags: u16,
        family: Family,
        attributes: &Attributes,
    ) -> Self {
        let payload = [&nfgenmsg(family.number(), 0)[..], &attributes.0].concat();
        let frame = Frame::acked(SUBSYSTEM << 8 | message, flags, &payload);
        self.commands.push(Command { what: what.into(), frame });
        self
    }
}

/// The frames around a batch; one that was made for a generation is refused in any other (`ERESTART`).
pub(super) fn fence(generation: Option<u32>) -> (Frame, Frame) {
    let header = nfgenmsg(0, SUBSYSTEM);
    let made_for = generation.into_iter().fold(Attributes::new(), |all, it| all.u32(NFNL_BATCH_GENID, it));
    let begin = [&header[..], &made_for.0].concat();
    (Frame::new(NFNL_MSG_BATCH_BEGIN, 0, &begin), Frame::new(NFNL_MSG_BATCH_END, 0, &header))
}

/// A request for all objects of a sort in one family.
pub(super) fn list(message: u16, family: Family, attributes: &Attributes) -> Frame {
    let payload = [&nfgenmsg(family.number(), 0)[..], &attributes.0].concat();
    Frame::dump(SUBSYSTEM << 8 | message, &payload)
}

/// A request for one object.
pub(super) fn get(message: u16, family: Family, attributes: &Attributes) -> Frame {
    let payload = [&nfgenmsg(family.number(), 0)[..], &attributes.0].concat();
    Frame::acked(SUBSYSTEM << 8 | message, 0, &payload)
}

/// The attributes that name a chain in a request about rules.
pub(super) fn rule_of(chain: &Chain) -> Attributes {
    Attributes::new().text(NFTA_RULE_TABLE, &chain.table.name).text(NFTA_RULE_CHAIN, &chain.name)
}

/// The header of every nfnetlink message: family, version 0, resource id.
fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
