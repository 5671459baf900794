//! What each vendor keeps for itself of a vSwitch: its gateways, and what else is given to no ENI. Written from the
//! vendors' documents alone: a client's rule must agree with it, or its packets die here as they do there.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use ipnetwork::{Ipv4Network, Ipv6Network};
use terway_types::{Gateways, Subnets};

use super::pool::{of_v4, to_v4, to_v6};
use crate::config::{VSwitchConfig, Vendor};

/// Where a node of Tencent Cloud finds its IPv6 router: every document on IPv6 in CVMs gives this next hop.
const TENCENT_ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xfeee, 0xffff, 0xfeff, 0xffff);

/// Addresses kept at the end of an IPv6 CIDR (Alibaba Cloud: "the first and the last nine").
const KEPT_V6: u128 = 9;

/// The gateways of a vSwitch: what its description says, the rest by the vendor's rule.
pub(crate) fn gateways(vendor: Vendor, vswitch: &VSwitchConfig) -> Gateways {
    let rule = by_rule(vendor, Subnets::new(Some(vswitch.ipv4), vswitch.ipv6));
    Gateways { v4: vswitch.gateway.or(rule.v4), ..rule }
}

/// Of 10.0.0.0/24: 10.0.0.253 on Alibaba Cloud, 10.0.0.1 on Tencent Cloud.
fn by_rule(vendor: Vendor, subnets: Subnets) -> Gateways {
    let v6_end = subnets.v6.map(|cidr| u128::from(cidr.broadcast()));
    match vendor {
        Vendor::Aliyun => Gateways {
            v4: subnets.v4.map(|cidr| to_v4(of_v4(cidr.broadcast()) - 2)),
            v6: v6_end.map(|end| to_v6(end - 2)),
        },
        Vendor::Tencent => Gateways {
            v4: subnets.v4.map(|cidr| to_v4(of_v4(cidr.network()) + 1)),
            v6: v6_end.map(|_| TENCENT_ROUTER),
        },
    }
}

/// The IPv4 addresses of a vSwitch that may be given to ENIs: of a /24 Alibaba Cloud has 252, Tencent Cloud 253.
pub(super) fn givable_v4(vendor: Vendor, cidr: Ipv4Network) -> RangeInclusive<u128> {
    let (network, broadcast) = (of_v4(cidr.network()), of_v4(cidr.broadcast()));
    match vendor {
        Vendor::Aliyun => network + 1..=broadcast - 3,
        Vendor::Tencent => network + 2..=broadcast - 1,
    }
}

/// The IPv6 addresses of a vSwitch that may be given to ENIs.
pub(super) fn givable_v6(cidr: Ipv6Network) -> RangeInclusive<u128> {
    u128::from(cidr.network()) + 1..=u128::from(cidr.broadcast()) - KEPT_V6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendor_keeps_its_own() {
        let cidr: Ipv4Network = "172.16.20.0/24".parse().unwrap();
        let subnets = Subnets::new(Some(cidr), "2408:4005:300::/64".parse().ok());
        let count = |vendor| givable_v4(vendor, cidr).count();
        let aliyun = by_rule(Vendor::Aliyun, subnets);
        assert_eq!(aliyun.v4, "172.16.20.253".parse().ok());
        assert_eq!(aliyun.v6, "2408:4005:300:0:ffff:ffff:ffff:fffd".parse().ok());
        assert_eq!(count(Vendor::Aliyun), 252);
        let tencent = by_rule(Vendor::Tencent, subnets);
        assert_eq!(tencent.v4, "172.16.20.1".parse().ok());
        assert_eq!(tencent.v6, "fe80::feee:ffff:feff:ffff".parse().ok());
        assert_eq!(count(Vendor::Tencent), 253);
        for (vendor, gateway) in [(Vendor::Aliyun, aliyun.v4), (Vendor::Tencent, tencent.v4)] {
            assert!(
                !givable_v4(vendor, cidr).contains(&of_v4(gateway.unwrap())),
                "a gateway is given to nobody"
            );
        }
    }
}
