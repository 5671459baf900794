//! What a filter does with a packet, as the kernel's actions `vlan`, `tunnel_key`, `skbedit` and `mirred`.

use crate::kernel::attribute::{Attributes, NESTED, attribute, value};

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
/// The parameters of each of these actions.
const PARMS: u16 = 2;
const TCA_VLAN_PUSH_VLAN_ID: u16 = 3;
const TCA_TUNNEL_KEY_NO_CSUM: u16 = 10;
const TCA_SKBEDIT_PTYPE: u16 = 7;

// How the kernel goes on after an action.
const RECLASSIFY: u32 = 1;
const PIPE: u32 = 3;
const STOLEN: u32 = 4;

// What `vlan`, `tunnel_key` and `mirred` do.
const VLAN_POP: u32 = 1;
const VLAN_PUSH: u32 = 2;
const TUNNEL_KEY_RELEASE: u32 = 2;
const EGRESS_REDIR: u32 = 1;
const INGRESS_REDIR: u32 = 3;
/// `PACKET_HOST` of `if_packet.h`.
const PACKET_HOST: u16 = 0;
/// The length of what all parameters begin with: index, capabilities, control, and two counts.
const GENERIC: usize = 20;

/// One thing done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Takes the VLAN tag off and looks at the packet anew.
    PopVlan,
    /// Puts a VLAN tag with this id (1 to 4094) on.
    PushVlan(u16),
    /// Takes tunnel metadata off.
    UnsetTunnel,
    /// Makes it count as addressed to this host.
    ForThisHost,
    /// Sends it out by the link with this index.
    SendBy(u32),
    /// Lets it come in by the link with this index.
    ReceiveBy(u32),
    /// Has it wait in this class of the qdisc that the filter is on. To the kernel no action, but where it goes.
    ToClass(u32),
}

impl Action {
    pub(super) fn encode(self) -> Vec<u8> {
        let vlan = |what, rest: &[u8]| {
            options("vlan", &[&parms(if what == VLAN_POP { RECLASSIFY } else { PIPE }, &[what]), rest])
        };
        match self {
            Self::PopVlan => vlan(VLAN_POP, &[]),
            Self::PushVlan(id) => vlan(VLAN_PUSH, &attribute(TCA_VLAN_PUSH_VLAN_ID, &id.to_ne_bytes())),
            Self::UnsetTunnel => {
                let checksums = attribute(TCA_TUNNEL_KEY_NO_CSUM, &[0]);
                options("tunnel_key", &[&checksums, &parms(PIPE, &[TUNNEL_KEY_RELEASE])])
            }
            Self::ForThisHost => {
                let kind = attribute(TCA_SKBEDIT_PTYPE, &PACKET_HOST.to_ne_bytes());
                options("skbedit", &[&parms(PIPE, &[]), &kind])
            }
            Self::SendBy(index) => options("mirred", &[&parms(STOLEN, &[EGRESS_REDIR, index])]),
            Self::ToClass(_) => Vec::new(),
            Self::ReceiveBy(index) => options("mirred", &[&parms(STOLEN, &[INGRESS_REDIR, index])]),
        }
    }

    /// None if it is another action, or one of these that does something else.
    pub(super) fn decode(action: &[u8]) -> Option<Self> {
        let kind = value(action, TCA_ACT_KIND)?.strip_suffix(&[0])?;
        let options = value(action, TCA_ACT_OPTIONS)?;
        let own = value(options, PARMS)?.get(GENERIC..)?;
        let word = |at: usize| Some(u32::from_ne_bytes(own.get(at..at + 4)?.try_into().ok()?));
        let short = |kind| value(options, kind)?.try_into().ok().map(u16::from_ne_bytes);
        match (kind, word(0)) {
            (b"vlan", Some(VLAN_POP)) => Some(Self::PopVlan),
            (b"vlan", Some(VLAN_PUSH)) => short(TCA_VLAN_PUSH_VLAN_ID).map(Self::PushVlan),
            (b"tunnel_key", Some(TUNNEL_KEY_RELEASE)) => Some(Self::UnsetTunnel),
            (b"skbedit", None) => (short(TCA_SKBEDIT_PTYPE)? == PACKET_HOST).then_some(Self::ForThisHost),
            (b"mirred", Some(EGRESS_REDIR)) => word(4).map(Self::SendBy),
            (b"mirred", Some(INGRESS_REDIR)) => word(4).map(Self::ReceiveBy),
            _ => None,
        }
    }
}

fn options(kind: &str, parts: &[&[u8]]) -> Vec<u8> {
    Attributes::new().text(TCA_ACT_KIND, kind).bytes(TCA_ACT_OPTIONS | NESTED, &parts.concat()).0
}

/// Parameters: what all actions have, of which only the control is ours to say, then the action's own words.
fn parms(control: u32, own: &[u32]) -> Vec<u8> {
    let words = [0, 0, control, 0, 0];
    let bytes: Vec<u8> = words.iter().chain(own).flat_map(|word| word.to_ne_bytes()).collect();
    attribute(PARMS, &bytes)
}
