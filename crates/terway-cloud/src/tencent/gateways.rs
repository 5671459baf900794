//! Which addresses are the gateways of a subnet. The API does not say; the rules are documented.

use std::net::{Ipv4Addr, Ipv6Addr};

use terway_types::{Gateways, Subnets};

/// The next hop of IPv6 on every ENI, whatever its subnet ("Configuring IPv6 for Linux CVMs", product 1142:
/// `default dev eth0 via fe80::feee:ffff:feff:ffff`).
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xfeee, 0xffff, 0xfeff, 0xffff);

/// IPv4: the first address of the CIDR, e.g. `x.x.x.1` of a /24. Network, gateway and broadcast address are the only
/// ones a subnet keeps for itself: CreateSubnet's example has a `TotalIpAddressCount` of 253 in a /24, and the example
/// of `local-ipv4s/IP/gateway` ("Viewing Instance Metadata", product 213) ends in .1. IPv6: the same router everywhere.
pub(super) fn of(subnets: Subnets) -> Gateways {
    let v4 = subnets.v4.filter(|net| net.prefix() <= 29);
    Gateways {
        v4: v4.map(|net| Ipv4Addr::from(u32::from(net.network()) + 1)),
        v6: subnets.v6.map(|_| ROUTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_first_address_and_a_router_on_the_link() {
        let subnets = Subnets::new("10.1.32.0/20".parse().ok(), "2402:4e00:1900:1::/64".parse().ok());
        let expected = Gateways::new("10.1.32.1".parse().ok(), "fe80::feee:ffff:feff:ffff".parse().ok());
        assert_eq!(of(subnets), expected);
        let v4_only = of(Subnets::new("10.1.2.0/28".parse().ok(), None));
        assert_eq!(v4_only, Gateways::new("10.1.2.1".parse().ok(), None));
        assert!(of(Subnets::new("10.1.2.0/30".parse().ok(), None)).is_empty());
    }
}
