//! Filters on what comes in, goes out or waits at a link: which packets, and what becomes of them. The link needs the
//! qdisc they hang on: clsact, or one with classes. All are of kind `u32`: every kernel with traffic control has it, not every one has others.

mod action;
mod selector;

#[cfg(test)]
mod golden;

use std::fmt;

use ipnetwork::IpNetwork;

pub use action::Action;

use super::attribute::{Attributes, value};
use super::transport::attributes;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_IPV6: u16 = 0x86dd;
const KIND: &str = "u32";
/// The length of `struct tcmsg`.
const HEADER: usize = 20;

/// The way a packet passes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// It comes in.
    Ingress,
    /// It goes out.
    Egress,
    /// It is about to wait in the qdisc with this handle, which has classes.
    Wait(u32),
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// All.
    All,
    /// All that carry a VLAN tag (802.1Q).
    Tagged,
    /// Those with a source in the prefix.
    From(IpNetwork),
    /// Those that carry a VLAN tag (802.1Q) and have a source in the prefix.
    TaggedFrom(IpNetwork),
    /// Those with a destination in the prefix.
    To(IpNetwork),
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Where.
    pub hook: Hook,
    /// Its place in the order, 1 to 65535; lower comes first. Filters of one priority must match packets of one
    /// protocol.
    pub priority: u16,
    /// Which packets.
    pub matches: Match,
    /// What becomes of them, one after the other.
    pub actions: Vec<Action>,
}

/// A filter as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledFilter {
    /// Names it for deletion, together with hook, priority and protocol.
    pub handle: u32,
    /// What it is.
    pub filter: Filter,
}

impl Hook {
    /// The parent of its filters, `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and its twin.
    pub(super) fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
            Self::Wait(handle) => handle,
        }
    }
}

impl Match {
    fn protocol(&self) -> u16 {
        match self {
            Self::All => ETH_P_ALL,
            Self::Tagged | Self::TaggedFrom(_) => ETH_P_8021Q,
            Self::From(prefix) | Self::To(prefix) if prefix.is_ipv4() => ETH_P_IP,
            Self::From(_) | Self::To(_) => ETH_P_IPV6,
        }
    }
}

impl Filter {
    /// The whole message: `struct tcmsg`, kind and options.
    pub(super) fn encode(&self, index: u32) -> Vec<u8> {
        let (mut options, mut actions) = (Attributes::new(), Attributes::new());
        let mut place = 0;
        for action in &self.actions {
            if let Action::ToClass(class) = action {
                options = options.bytes(TCA_U32_CLASSID, &class.to_ne_bytes());
            } else {
                place += 1;
                actions = actions.bytes(place, &action.encode());
            }
        }
        if place > 0 {
            options = options.bytes(TCA_U32_ACT, &actions.0);
        }
        options = options.bytes(TCA_U32_SEL, &selector::encode(&self.matches));
        let named = Attributes::new().text(TCA_KIND, KIND).bytes(TCA_OPTIONS, &options.0);
        [self.header(index, 0), named.0].concat()
    }

    /// The message that names the filter with this handle.
    pub(super) fn encode_name(&self, index: u32, handle: u32) -> Vec<u8> {
        [self.header(index, handle), Attributes::new().text(TCA_KIND, KIND).0].concat()
    }

    fn header(&self, index: u32, handle: u32) -> Vec<u8> {
        let info = u32::from(self.priority) << 16 | u32::from(self.matches.protocol().to_be());
        let words = [0, index, handle, self.hook.parent(), info];
        words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
    }

    /// Reads a message of the kernel's list of one hook; none if it is another link's or not a filter of ours in
    /// kind.
    pub(super) fn decode(message: &[u8], index: u32, hook: Hook) -> Option<InstalledFilter> {
        let (header, body) = message.split_at_checked(HEADER)?;
        let word = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let kind = value(body, TCA_KIND)?;
        if word(4)? != index || kind.strip_suffix(&[0]) != Some(KIND.as_bytes()) {
            return None;
        }
        let options = value(body, TCA_OPTIONS)?;
        let class =
            value(options, TCA_U32_CLASSID).and_then(|class| class.try_into().ok()).map(u32::from_ne_bytes);
        let actions = attributes(value(options, TCA_U32_ACT).unwrap_or_default());
        let actions = class
            .map(|class| Some(Action::ToClass(class)))
            .into_iter()
            .chain(actions.map(|(_, action)| Action::decode(action)));
        let [low, high] = [word(16)? & 0xffff, word(16)? >> 16].map(|half| u16::try_from(half).ok());
        let filter = Self {
            hook,
            priority: high?,
            matches: selector::decode(value(options, TCA_U32_SEL)?, u16::from_be(low?))?,
            actions: actions.collect::<Option<Vec<_>>>().filter(|actions| !actions.is_empty())?,
        };
        Some(InstalledFilter { handle: word(8)?, filter })
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingress => f.write_str("ingress"),
            Self::Egress => f.write_str("egress"),
            Self::Wait(handle) => write!(f, "qdisc {:x}:", handle >> 16),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tagged => f.write_str("protocol 802.1q"),
            Self::From(prefix) => write!(f, "src {prefix}"),
            Self::TaggedFrom(prefix) => write!(f, "protocol 802.1q src {prefix}"),
            Self::To(prefix) => write!(f, "dst {prefix}"),
        }
    }
}
