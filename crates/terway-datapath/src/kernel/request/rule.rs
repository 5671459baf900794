//! Requests about policy routing rules.

use ipnetwork::IpNetwork;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::{ADD, Request, Words};
use crate::kernel::decode::family_number;
use crate::kernel::objects::Rule;

const FRA_IIFNAME: u16 = 3;
const FRA_OIFNAME: u16 = 17;

impl Request {
    /// Adds a rule; refused if the same is there (without that the kernel would store it twice).
    pub fn add_rule(rule: &Rule) -> Self {
        Self::new(Words::about("add rule", rule), ADD, &RouteNetlinkMessage::NewRule(message(rule)))
    }

    /// Deletes the first rule that is like this one in everything said, its protocol too.
    pub fn delete_rule(rule: &Rule) -> Self {
        Self::new(Words::about("delete rule", rule), 0, &RouteNetlinkMessage::DelRule(message(rule)))
    }

    /// Deletes the first rule of this priority about these addresses, wherever it leads and whoever made it.
    pub fn delete_rule_about(rule: &Rule) -> Self {
        let mut message = message(rule);
        let is_free = |attribute: &RuleAttribute| {
            matches!(attribute, RuleAttribute::Table(_) | RuleAttribute::Protocol(_))
        };
        message.attributes.retain(|attribute| !is_free(attribute));
        Self::new(
            Words::about("delete what stands in place of rule", rule),
            0,
            &RouteNetlinkMessage::DelRule(message),
        )
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family_number(rule.family);
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    attributes.extend(rule.from.map(|prefix| RuleAttribute::Source(prefix.network())));
    attributes.extend(rule.to.map(|prefix| RuleAttribute::Destination(prefix.network())));
    attributes.extend(rule.iif.as_deref().map(|name| device(FRA_IIFNAME, name)));
    attributes.extend(rule.oif.as_deref().map(|name| device(FRA_OIFNAME, name)));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    message.header.src_len = rule.from.as_ref().map_or(0, IpNetwork::prefix);
    message.header.dst_len = rule.to.as_ref().map_or(0, IpNetwork::prefix);
    message
}

/// The library counts a terminating NUL in the attribute's length but leaves the byte as it finds it.
fn device(kind: u16, name: &str) -> RuleAttribute {
    RuleAttribute::Other(DefaultNla::new(kind, [name.as_bytes(), &[0]].concat()))
}
