//! Which addresses of a vSwitch are its gateways. The API does not say; the rule is documented.

use std::net::{Ipv4Addr, Ipv6Addr};

use terway_types::{Gateways, Subnets};

/// The third address from the end of each CIDR, e.g. `x.x.x.253` of a /24. The vSwitch keeps it for itself together
/// with the two behind it ("Create and manage a vSwitch": of 192.168.1.0/24 the addresses .0, .253, .254 and .255
/// are reserved; "Configure routes for ENIs": 172.16.20.253 is the gateway of 172.16.20.193). IPv6 alike.
pub(super) fn of(subnets: Subnets) -> Gateways {
    let v4 = subnets.v4.filter(|net| net.prefix() <= 29);
    let v6 = subnets.v6.filter(|net| net.prefix() <= 125);
    Gateways {
        v4: v4.map(|net| Ipv4Addr::from(u32::from(net.broadcast()) - 2)),
        v6: v6.map(|net| Ipv6Addr::from(u128::from(net.broadcast()) - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_third_from_the_end() {
        let subnets = Subnets::new("10.1.2.0/24".parse().ok(), "fd00:1::/64".parse().ok());
        let expected = Gateways::new("10.1.2.253".parse().ok(), "fd00:1::ffff:ffff:ffff:fffd".parse().ok());
        assert_eq!(of(subnets), expected);
        assert!(of(Subnets::new("10.1.2.0/30".parse().ok(), "fd00:1::/126".parse().ok())).is_empty());
    }
}
