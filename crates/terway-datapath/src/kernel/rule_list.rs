//! Policy routing rules, of which a node has four per pod. The kernel lists all or none, so what is not wanted is passed
//! over by a look at its bytes; and where something can be said without a list, by the answer to a deletion, it is.

use std::collections::HashSet;
use std::net::IpAddr;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::rule::RuleMessage;
use terway_types::IpFamily;

use super::decode;
use super::error::{Cause, KernelError};
use super::netlink::Netlink;
use super::objects::Rule;
use super::request::Request;
use super::transport::attributes;

/// `struct fib_rule_hdr`: behind it come the attributes.
const HEADER: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;

impl Netlink {
    /// The policy routing rules of both families.
    pub fn rules(&mut self) -> Result<Vec<Rule>, KernelError> {
        let mut rules = self.rules_with(IpFamily::V4, |_| true)?;
        rules.extend(self.rules_with(IpFamily::V6, |_| true)?);
        Ok(rules)
    }

    /// The policy routing rules from or to one of these addresses, of their families. Those of other pods are not
    /// decoded.
    pub fn rules_about(&mut self, addresses: &[IpAddr]) -> Result<Vec<Rule>, KernelError> {
        let mut rules = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let wanted: Vec<Vec<u8>> =
                addresses.iter().filter(|address| IpFamily::of(address) == family).map(octets).collect();
            if !wanted.is_empty() {
                rules.extend(self.rules_with(family, |rule| is_about(rule, &wanted))?);
            }
        }
        Ok(rules)
    }

    /// The tables that rules of a family lead to.
    pub fn tables_led_to(&mut self, family: IpFamily) -> Result<HashSet<u32>, KernelError> {
        let tables = self.dump(format!("list {family} rules"), &list(family), |rule| Ok(table(rule)))?;
        Ok(tables.into_iter().collect())
    }

    /// Deletes what these requests are about, and gives the rules that went.
    pub fn take_rules(&mut self, requests: &[Request]) -> Result<Vec<Rule>, KernelError> {
        let frames: Vec<_> = requests.iter().map(|request| request.frame.echoed()).collect();
        let mut gone = Vec::new();
        let answers = self.transport.exchange(&frames, |echo| {
            gone.extend(RuleMessage::parse(echo.payload).ok().as_ref().and_then(decode::rule));
        });
        let answers = answers.map_err(|error| KernelError::new("delete rules", Cause::Socket(error)))?;
        for (request, answer) in requests.iter().zip(answers) {
            let failed = match answer {
                Some(Ok(())) => continue,
                Some(Err(refusal)) => request.failed(Cause::Refused(refusal)),
                None => request.failed(Cause::Unanswered),
            };
            if !failed.is_absent() {
                return Err(failed);
            }
        }
        Ok(gone)
    }

    /// The rules of a family among those whose messages may be of interest.
    fn rules_with(
        &mut self,
        family: IpFamily,
        may_be: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Rule>, KernelError> {
        self.dump(format!("list {family} rules"), &list(family), |rule| {
            if may_be(rule) { Ok(decode::rule(&RuleMessage::parse(rule)?)) } else { Ok(None) }
        })
    }
}

fn list(family: IpFamily) -> RouteNetlinkMessage {
    let mut message = RuleMessage::default();
    message.header.family = decode::family_number(family);
    RouteNetlinkMessage::GetRule(message)
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn is_about(rule: &[u8], addresses: &[Vec<u8>]) -> bool {
    let selects = |kind| kind == FRA_DST || kind == FRA_SRC;
    let mut selectors = fields(rule).filter(|(kind, _)| selects(*kind));
    selectors.any(|(_, value)| addresses.iter().any(|address| address == value))
}

fn table(rule: &[u8]) -> Option<u32> {
    let (_, value) = fields(rule).find(|(kind, _)| *kind == FRA_TABLE)?;
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn fields(rule: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(rule.get(HEADER..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule as the kernel lists it: header, then destination or source, table, priority.
    fn listed(selector: u16, address: &[u8], table: u32) -> Vec<u8> {
        let mut bytes = vec![2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        for (kind, value) in [(FRA_TABLE, &table.to_ne_bytes()[..]), (selector, address), (6, &[0, 2, 0, 0])]
        {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
        }
        bytes
    }

    #[test]
    fn a_rule_is_told_by_its_bytes() {
        let pod = vec![10, 0, 1, 5];
        let rule = listed(FRA_SRC, &pod, 1003);
        assert!(is_about(&rule, std::slice::from_ref(&pod)));
        assert!(is_about(&listed(FRA_DST, &pod, 254), &[vec![10, 0, 1, 6], pod.clone()]));
        assert!(!is_about(&rule, &[vec![10, 0, 1, 6]]));
        assert!(!is_about(&listed(10, &pod, 254), std::slice::from_ref(&pod)), "a mark with the same bytes");
        assert_eq!((table(&rule), table(&rule[..14]), table(&[])), (Some(1003), None, None));
        assert!(!is_about(&rule[..14], &[pod]), "cut off");
    }
}
