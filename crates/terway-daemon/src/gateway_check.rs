//! The gateways of the node's own vSwitch are told twice: by the provider's rule, since no API tells them, and by the
//! node's metadata. Where the two differ the metadata is believed, if what it names can be a gateway there. The rule
//! then holds for the other vSwitches no better, so the operator is told.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_cloud::{Ranges, VSwitch};
use terway_types::Gateways;

/// The gateways to believe, and what there is to say about them.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of the node's own vSwitch.
    pub gateways: Gateways,
    /// For the operator; nothing where both agree, or one is silent.
    pub remarks: Vec<String>,
}

/// Holds the rule for the node's own vSwitch against the node's metadata.
pub fn judge(own: &VSwitch, told: &Ranges) -> Verdict {
    let Ranges { subnets, gateways } = told;
    let v4 = Claims {
        cidr: own.subnets.v4.map(IpNetwork::V4),
        rule: own.gateways.v4.map(IpAddr::V4),
        told_cidr: subnets.v4.map(IpNetwork::V4),
        told: gateways.v4.map(IpAddr::V4),
    };
    let v6 = Claims {
        cidr: own.subnets.v6.map(IpNetwork::V6),
        rule: own.gateways.v6.map(IpAddr::V6),
        told_cidr: subnets.v6.map(IpNetwork::V6),
        told: gateways.v6.map(IpAddr::V6),
    };
    let mut verdict = Verdict { gateways: own.gateways, remarks: Vec::new() };
    let id = own.id.as_str();
    if let Some(remark) = v4.dispute(id, &mut verdict.gateways.v4, gateways.v4) {
        verdict.remarks.push(remark);
    }
    if let Some(remark) = v6.dispute(id, &mut verdict.gateways.v6, gateways.v6) {
        verdict.remarks.push(remark);
    }
    verdict
}

/// What is said of one family.
struct Claims {
    cidr: Option<IpNetwork>,
    rule: Option<IpAddr>,
    told_cidr: Option<IpNetwork>,
    told: Option<IpAddr>,
}

impl Claims {
    /// Settles a difference between rule and metadata, and says how.
    fn dispute<T>(&self, vswitch: &str, believed: &mut Option<T>, of_metadata: Option<T>) -> Option<String> {
        let (cidr, told) = self.cidr.zip(self.told)?;
        if self.rule == Some(told) {
            return None;
        }
        let rule = self.rule.map_or_else(|| "none".to_owned(), |rule| rule.to_string());
        let both =
            format!("the metadata names {told} as gateway of vSwitch {vswitch}, the cloud's rule {rule}");
        if let Some(other) = self.told_cidr.filter(|other| *other != cidr) {
            return Some(format!(
                "{both}; the rule is kept, because the metadata says {other} where the vSwitch has {cidr}"
            ));
        }
        if !possible(told, cidr) {
            return Some(format!("{both}; the rule is kept, because {told} can be no gateway of {cidr}"));
        }
        *believed = of_metadata;
        Some(format!(
            "{both}; the metadata is believed there. Other vSwitches go by the rule: make sure of their gateways, and \
             report this"
        ))
    }
}

/// Whether packets of this range may leave by this address.
fn possible(gateway: IpAddr, cidr: IpNetwork) -> bool {
    match gateway {
        IpAddr::V4(_) => cidr.contains(gateway) && gateway != cidr.network() && gateway != cidr.broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || (cidr.contains(gateway) && gateway != cidr.network()),
    }
}

#[cfg(test)]
mod tests {
    use terway_types::Subnets;

    use super::*;

    fn own() -> VSwitch {
        VSwitch {
            id: "vsw-own".into(),
            zone: "z".into(),
            vpc: "vpc-1".to_owned(),
            subnets: Subnets::new("10.0.0.0/24".parse().ok(), "fd00::/64".parse().ok()),
            gateways: Gateways::new("10.0.0.253".parse().ok(), "fd00::fffd".parse().ok()),
            free_ipv4: 7,
        }
    }

    fn told(cidr: &str, gateway: &str, ipv6_gateway: &str) -> Verdict {
        let gateways = Gateways::new(gateway.parse().ok(), ipv6_gateway.parse().ok());
        judge(&own(), &Ranges { subnets: Subnets::new(cidr.parse().ok(), None), gateways })
    }

    #[test]
    fn what_agrees_or_is_silent_is_not_spoken_of() {
        for agreed in
            [told("10.0.0.0/24", "10.0.0.253", "fd00::fffd"), told("", "", ""), told("", "10.0.0.253", "")]
        {
            assert_eq!(agreed, Verdict { gateways: own().gateways, remarks: Vec::new() });
        }
    }

    #[test]
    fn the_metadata_is_believed_where_it_can_be_right() {
        for cidr in ["10.0.0.0/24", ""] {
            let Verdict { gateways, remarks } = told(cidr, "10.0.0.1", "");
            assert_eq!((gateways.v4, gateways.v6), ("10.0.0.1".parse().ok(), own().gateways.v6));
            let expected = "the metadata names 10.0.0.1 as gateway of vSwitch vsw-own, the cloud's rule 10.0.0.253; the \
                            metadata is believed there.";
            assert!(remarks[0].starts_with(expected), "{remarks:?}");
        }
        for router in ["fe80::1", "fd00::1"] {
            let verdict = told("", "10.0.0.253", router);
            assert_eq!(verdict.gateways, Gateways::new(own().gateways.v4, router.parse().ok()));
            assert_eq!(verdict.remarks.len(), 1);
        }
    }

    #[test]
    fn what_can_be_no_gateway_is_told_and_not_believed() {
        let cases = [
            ("10.0.0.0/24", "10.0.1.1", "", "because 10.0.1.1 can be no gateway of 10.0.0.0/24"),
            ("10.0.0.0/24", "10.0.0.0", "", "because 10.0.0.0 can be no gateway of 10.0.0.0/24"),
            ("10.0.0.0/24", "10.0.0.255", "", "because 10.0.0.255 can be no gateway of 10.0.0.0/24"),
            (
                "10.0.0.0/16",
                "10.0.0.1",
                "",
                "because the metadata says 10.0.0.0/16 where the vSwitch has 10.0.0.0/24",
            ),
            ("", "", "fd01::1", "because fd01::1 can be no gateway of fd00::/64"),
        ];
        for (cidr, gateway, ipv6_gateway, why) in cases {
            let Verdict { gateways, remarks } = told(cidr, gateway, ipv6_gateway);
            assert_eq!(gateways, own().gateways, "{why}");
            assert!(remarks.len() == 1 && remarks[0].ends_with(why), "{remarks:?}");
        }
    }

    #[test]
    fn a_range_too_small_for_the_rule_has_the_gateway_that_the_metadata_names() {
        let small = VSwitch {
            subnets: Subnets::new("10.0.0.0/30".parse().ok(), None),
            gateways: Gateways::default(),
            ..own()
        };
        let gateways = Gateways::new("10.0.0.1".parse().ok(), None);
        let verdict = judge(&small, &Ranges { gateways, ..Ranges::default() });
        assert_eq!(verdict.gateways, gateways);
        assert!(verdict.remarks[0].contains("the cloud's rule none"), "{:?}", verdict.remarks);
    }
}
