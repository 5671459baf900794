//! Groups: who hears what is sent to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::namespace;

/// Joins `group` inside `netns` on the interface with the index `interface`; the socket hears the group's `port`.
pub fn join(netns: &Path, group: IpAddr, port: u16, local: Ipv4Addr, interface: u32) -> Result<UdpSocket> {
    namespace::inside(netns, move || {
        let any: IpAddr =
            if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket =
            UdpSocket::bind(SocketAddr::new(any, port)).context("failed to bind the group's port")?;
        match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4(&group, &local).context("failed to join the group")?;
            }
            IpAddr::V6(group) => {
                socket.join_multicast_v6(&group, interface).context("failed to join the group")?;
            }
        }
        Ok(socket)
    })?
}
