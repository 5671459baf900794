//! Echo request and reply for both families, without a `ping` program on the machine.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::namespace;

/// How long one request may take before the next is sent.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends echo requests from `netns` to `target` until one is answered; its round trip. `size` is the
/// payload in bytes.
pub fn ping(netns: &Path, target: IpAddr, size: usize, limit: Duration) -> Result<Duration> {
    namespace::inside(netns, move || exchange(target, size, limit))?
        .with_context(|| format!("no echo reply from {target} in {}", netns.display()))
}

fn exchange(target: IpAddr, size: usize, limit: Duration) -> Result<Duration> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("failed to open a raw socket")?;
    socket.set_read_timeout(Some(PATIENCE)).context("failed to set a time limit")?;
    let start = Instant::now();
    let mut sequence = 0u16;
    while start.elapsed() < limit {
        sequence += 1;
        let sent = Instant::now();
        let to = SockAddr::from(SocketAddr::new(target, 0));
        match socket.send_to(&request(target, sequence, size), &to) {
            Ok(_) if answered(&socket, target, sequence) => return Ok(sent.elapsed()),
            Ok(_) => {}
            // Unreachable until the neighbour is resolved: a reason to try again, not to give up.
            Err(error)
                if matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) =>
            {
                std::thread::park_timeout(PATIENCE);
            }
            Err(error) => return Err(error).context("failed to send an echo request"),
        }
    }
    bail!("{sequence} requests of {size} bytes in {limit:?} stayed unanswered")
}

/// Reads until the reply to `sequence` is there or the patience is at its end.
fn answered(mut socket: &Socket, target: IpAddr, sequence: u16) -> bool {
    let end = Instant::now() + PATIENCE;
    let mut packet = [0u8; 10_000];
    while Instant::now() < end {
        let Ok(count) = socket.read(&mut packet) else { return false };
        if is_reply(&packet[..count], target, sequence) {
            return true;
        }
    }
    false
}

/// The kernel fills in the checksum of ICMPv6, not of ICMPv4.
fn request(target: IpAddr, sequence: u16, size: usize) -> Vec<u8> {
    let kind = if target.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0, 0x7e, 0x77];
    packet.extend(sequence.to_be_bytes());
    packet.resize(8 + size, 0x5a);
    if target.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A raw IPv4 socket delivers the IP header too; an IPv6 one does not.
fn is_reply(packet: &[u8], target: IpAddr, sequence: u16) -> bool {
    let (reply, icmp) = match target {
        IpAddr::V4(address) => {
            let header = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
            if packet.get(12..16) != Some(&address.octets()[..]) {
                return false;
            }
            (0, packet.get(header..).unwrap_or_default())
        }
        IpAddr::V6(_) => (129, packet),
    };
    icmp.first() == Some(&reply)
        && icmp.get(4..6) == Some(&[0x7e, 0x77])
        && icmp.get(6..8) == Some(&sequence.to_be_bytes())
}
