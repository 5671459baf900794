//! Matches as `u32` has them: words at offsets of the network header, each under a mask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::{ETH_P_8021Q, ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, Match};

/// `TC_U32_TERMINAL`: a packet that matches is done with.
const TERMINAL: u8 = 1;
/// The length of `struct tc_u32_sel` before its keys, and of a key.
const WORDS: usize = 16;

/// A word of the packet under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    mask: u32,
    value: u32,
    offset: u32,
}

/// Matches everything; a filter has at least one key.
const ANY: Key = Key { mask: 0, value: 0, offset: 0 };

/// The version, the first four bits of either family's header. The protocol of what bears a tag is the tag's.
fn version(is_ipv4: bool) -> Key {
    Key { mask: 0xf000_0000, value: if is_ipv4 { 0x4000_0000 } else { 0x6000_0000 }, offset: 0 }
}

pub(super) fn encode(matches: &Match) -> Vec<u8> {
    let keys = keys(matches);
    let count = u8::try_from(keys.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0; WORDS];
    (bytes[0], bytes[2]) = (TERMINAL, count);
    for Key { mask, value, offset } in keys {
        bytes.extend(mask.to_be_bytes());
        bytes.extend(value.to_be_bytes());
        bytes.extend(offset.to_ne_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

fn keys(matches: &Match) -> Vec<Key> {
    let keys = match matches {
        Match::All | Match::Tagged => Vec::new(),
        Match::From(prefix) => prefix_keys(*prefix, source_offset(prefix.is_ipv4())),
        Match::TaggedFrom(prefix) => {
            let source = prefix_keys(*prefix, source_offset(prefix.is_ipv4()));
            [version(prefix.is_ipv4())].into_iter().chain(source).collect()
        }
        Match::To(prefix) => prefix_keys(*prefix, destination_offset(prefix.is_ipv4())),
    };
    if keys.is_empty() { vec![ANY] } else { keys }
}

/// Where the source address is: RFC 791 section 3.1, RFC 8200 section 3.
fn source_offset(is_ipv4: bool) -> u32 {
    if is_ipv4 { 12 } else { 8 }
}

fn destination_offset(is_ipv4: bool) -> u32 {
    if is_ipv4 { 16 } else { 24 }
}

/// The words of an address that a prefix says anything about.
fn prefix_keys(prefix: IpNetwork, start: u32) -> Vec<Key> {
    let words: Vec<u32> = match prefix.network() {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => address.octets().chunks_exact(4).map(word).collect(),
    };
    let key = |(value, place): (u32, u32)| {
        let length = u32::from(prefix.prefix()).saturating_sub(32 * place).min(32);
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        Key { mask, value, offset: start + 4 * place }
    };
    words.into_iter().zip(0..).map(key).filter(|key| key.mask != 0).collect()
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The match that these keys are for a protocol; none if it is one of another program's.
pub(super) fn decode(selector: &[u8], protocol: u16) -> Option<Match> {
    let keys: Vec<Key> = selector.get(WORDS..)?.chunks_exact(WORDS).map(key).collect::<Option<_>>()?;
    let is_version = |key: &&Key| [version(true), version(false)].contains(key);
    let told = keys.first().filter(is_version).copied();
    let about = keys.get(usize::from(told.is_some())..)?;
    let (first, length) = (about.first()?, about.iter().map(|key| key.mask.leading_ones()).sum::<u32>());
    let value = |place: u32, start: u32| {
        let at = |key: &&Key| key.offset == start + 4 * place;
        about.iter().find(at).map_or(0, |key| key.value)
    };
    let ipv4 = |start| network(IpAddr::V4(Ipv4Addr::from_bits(value(0, start))), length);
    let ipv6 = |start| {
        let bits = (0..4).fold(0_u128, |bits, place| bits << 32 | u128::from(value(place, start)));
        network(IpAddr::V6(Ipv6Addr::from_bits(bits)), length)
    };
    let found = match (protocol, first.offset) {
        (ETH_P_ALL, 0) => Match::All,
        (ETH_P_8021Q, 0) => Match::Tagged,
        (ETH_P_8021Q, 12) if told == Some(version(true)) => Match::TaggedFrom(ipv4(12)?),
        (ETH_P_8021Q, 8) if told == Some(version(false)) => Match::TaggedFrom(ipv6(8)?),
        (ETH_P_IP, 12) => Match::From(ipv4(12)?),
        (ETH_P_IP, 16) => Match::To(ipv4(16)?),
        (ETH_P_IPV6, 8) => Match::From(ipv6(8)?),
        (ETH_P_IPV6, 24) => Match::To(ipv6(24)?),
        _ => return None,
    };
    (self::keys(&found) == keys).then_some(found)
}

fn network(address: IpAddr, length: u32) -> Option<IpNetwork> {
    IpNetwork::new(address, u8::try_from(length).ok()?).ok()
}

fn key(bytes: &[u8]) -> Option<Key> {
    let (mask, rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_first_chunk()?;
    let (offset, _) = rest.split_first_chunk()?;
    Some(Key {
        mask: u32::from_be_bytes(*mask),
        value: u32::from_be_bytes(*value),
        offset: u32::from_ne_bytes(*offset),
    })
}
