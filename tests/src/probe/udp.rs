//! Single datagrams, also from addresses the sender does not own.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};

use crate::namespace;

/// Opens a UDP socket on `address` inside `netns`.
pub fn bind(netns: &Path, address: SocketAddr) -> Result<UdpSocket> {
    namespace::inside(netns, move || {
        UdpSocket::bind(address).with_context(|| format!("failed to bind {address}"))
    })?
}

/// Opens a UDP socket inside `netns` whose packets carry `source`, an address that need not be local.
pub fn bind_foreign(netns: &Path, source: IpAddr) -> Result<UdpSocket> {
    namespace::inside(netns, move || {
        let domain = if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        if source.is_ipv4() {
            socket.set_ip_transparent_v4(true)?;
        } else {
            socket.set_freebind_v6(true)?;
        }
        socket.bind(&SocketAddr::new(source, 0).into())?;
        Ok(UdpSocket::from(socket))
    })?
}

/// Sends `payload` again and again until `receiver` has it: its sender as seen there, or `None` when the limit
/// passed. The sender's errors count as not sent.
pub fn deliver(
    sender: &UdpSocket,
    receiver: &UdpSocket,
    to: SocketAddr,
    payload: &[u8],
    limit: Duration,
) -> Result<Option<SocketAddr>> {
    let step = Duration::from_millis(50);
    receiver.set_read_timeout(Some(step)).context("failed to set a time limit")?;
    let mut buffer = [0u8; 2048];
    let end = std::time::Instant::now() + limit;
    while std::time::Instant::now() < end {
        let _ = sender.send_to(payload, to);
        if let Ok((count, from)) = receiver.recv_from(&mut buffer)
            && &buffer[..count] == payload
        {
            return Ok(Some(from));
        }
    }
    Ok(None)
}

/// Answers each datagram to `address` inside `netns` with itself, until the process ends.
pub fn echo(netns: &Path, address: SocketAddr) -> Result<()> {
    let socket = bind(netns, address)?;
    std::thread::spawn(move || {
        let mut buffer = [0u8; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
    Ok(())
}

/// Asks an [`echo`], perhaps behind a translated address, again and again until it answers from the address asked.
pub fn ask(netns: &Path, server: SocketAddr, limit: Duration) -> Result<()> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = bind(netns, any.parse()?)?;
    // A connected socket takes answers from there only.
    namespace::inside(netns, {
        let socket = socket.try_clone()?;
        move || socket.connect(server)
    })?
    .with_context(|| format!("no way to {server}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).context("failed to set a time limit")?;
    let (mut buffer, end) = ([0u8; 64], std::time::Instant::now() + limit);
    while std::time::Instant::now() < end {
        let _ = socket.send(b"ask");
        if socket.recv(&mut buffer).is_ok_and(|count| &buffer[..count] == b"ask") {
            return Ok(());
        }
    }
    anyhow::bail!("no answer from {server} within {limit:?}")
}
