//! Addresses of pods, subnets and network cards.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// One of the two IP families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both of them, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family an address belongs to.
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Something that exists per IP family: one, the other, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DualStack<V4, V6 = V4> {
    /// The IPv4 side, if the family is in use.
    pub v4: Option<V4>,
    /// The IPv6 side, if the family is in use.
    pub v6: Option<V6>,
}

/// A pod's or an ENI's address per family.
pub type Addresses = DualStack<Ipv4Addr, Ipv6Addr>;
/// A gateway per family. Which one a vSwitch has is the cloud's rule: its provider knows.
pub type Gateways = DualStack<Ipv4Addr, Ipv6Addr>;
/// A vSwitch's CIDR per family.
pub type Subnets = DualStack<Ipv4Network, Ipv6Network>;

impl<V4, V6> Default for DualStack<V4, V6> {
    fn default() -> Self {
        Self { v4: None, v6: None }
    }
}

impl<V4, V6> DualStack<V4, V6> {
    /// Both sides as given.
    pub fn new(v4: Option<V4>, v6: Option<V6>) -> Self {
        Self { v4, v6 }
    }

    /// Whether neither family is in use.
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

impl Addresses {
    /// The addresses present, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// The address of one family.
    pub fn get(&self, family: IpFamily) -> Option<IpAddr> {
        match family {
            IpFamily::V4 => self.v4.map(IpAddr::V4),
            IpFamily::V6 => self.v6.map(IpAddr::V6),
        }
    }
}

impl Subnets {
    /// The CIDRs present, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpNetwork> + use<> {
        self.v4.map(IpNetwork::V4).into_iter().chain(self.v6.map(IpNetwork::V6))
    }

    /// The CIDR of one family.
    pub fn get(&self, family: IpFamily) -> Option<IpNetwork> {
        match family {
            IpFamily::V4 => self.v4.map(IpNetwork::V4),
            IpFamily::V6 => self.v6.map(IpNetwork::V6),
        }
    }
}

/// How many addresses and prefixes an ENI is to get by one call. A prefix is a /28 of IPv4 (16 addresses) or a
/// /80 of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressCounts {
    /// Single IPv4 addresses. A new ENI's primary address counts, so it has at least one.
    pub ipv4: u32,
    /// Single IPv6 addresses.
    pub ipv6: u32,
    /// IPv4 prefixes.
    pub ipv4_prefixes: u32,
    /// IPv6 prefixes.
    pub ipv6_prefixes: u32,
}

impl AddressCounts {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A set of addresses and prefixes, e.g. all that an ENI has. Each list is sorted and without repetition
/// where it comes from this project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressSet {
    /// Single IPv4 addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// Single IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Prefixes of both families.
    pub prefixes: Vec<IpNetwork>,
}

impl AddressSet {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty() && self.prefixes.is_empty()
    }

    /// Every single address, IPv4 first.
    pub fn singles(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ipv4.iter().copied().map(IpAddr::V4).chain(self.ipv6.iter().copied().map(IpAddr::V6))
    }
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

/// A text that is not a usable MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address of the form 00:16:3e:01:02:03")]
pub struct MacAddrError(pub String);

impl MacAddr {
    /// Whether the address may belong to one card: not zero and not a group address.
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }

    /// The identifier that is made of it (modified EUI-64; RFC 4291, appendix A): the kernel's for IPv6 interfaces, and that of
    /// drivers for RDMA devices.
    pub fn eui64(self) -> [u8; 8] {
        let mut bytes = [0, 0, 0, 0xff, 0xfe, 0, 0, 0];
        let (vendor, card) = self.0.split_at(3);
        bytes[..3].copy_from_slice(vendor);
        bytes[5..].copy_from_slice(card);
        bytes[0] ^= 2;
        bytes
    }

    /// The six bytes as twelve lower-case digits without separators.
    pub fn hex(self) -> String {
        self.to_string().replace(':', "")
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MacAddrError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_what_it_prints() {
        let mac: MacAddr = "00:16:3E:0a:0b:0c".parse().unwrap();
        assert_eq!(mac.to_string(), "00:16:3e:0a:0b:0c");
        assert_eq!(mac.hex(), "00163e0a0b0c");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn mac_refuses_what_is_none() {
        for text in ["", "00:16:3e:0a:0b", "00:16:3e:0a:0b:0c:0d", "00:16:3e:0a:0b:+c", "0:16:3e:0a:0b:0c1"] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError(text.to_owned())), "{text}");
        }
        assert!(!MacAddr([0xff; 6]).is_unicast());
        assert!(!MacAddr([0; 6]).is_unicast());
    }
}
