//! Waiting for a NIC to appear. The kernel says when links change; nothing here polls.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use terway_types::MacAddr;

use super::error::{Cause, KernelError};
use super::namespace::Netns;
use super::netlink::Netlink;
use super::nic::{NicError, NicRule, find_nic};
use super::objects::Link;
use super::transport::{Transport, is_overrun};

/// The multicast group mask of link events (`RTMGRP_LINK`).
const LINK_EVENTS: u32 = 1;

/// Waits until exactly one NIC of the namespace has the MAC, and gives it. Several are an error at once:
/// waiting does not make them fewer.
pub fn wait_for_nic(
    netns: &Netns,
    mac: MacAddr,
    rule: &NicRule,
    deadline: Instant,
) -> Result<Link, NicError> {
    let start = Instant::now();
    let mut netlink = Netlink::open(netns)?;
    // Nearly always it is there already.
    if let Some(link) = look(&mut netlink, mac, rule)? {
        return Ok(link);
    }
    let failed = |cause: Cause| KernelError::new("watch link events", cause);
    // Subscribed first, listed second: a link that appears in between is in both, never in neither.
    let mut events = netns
        .run(|| Transport::subscribed(NETLINK_ROUTE, LINK_EVENTS))
        .map_err(|error| failed(error.into()))?
        .map_err(|error| failed(Cause::Socket(error)))?;
    loop {
        if let Some(link) = look(&mut netlink, mac, rule)? {
            return Ok(link);
        }
        if !await_event(&events, deadline).map_err(|errno| failed(Cause::Socket(errno.into())))? {
            let waited_ms = u64::try_from(start.elapsed().as_millis()).ok();
            return Err(NicError::Missing { mac, waited_ms });
        }
        drain(&mut events).map_err(|error| failed(Cause::Socket(error)))?;
    }
}

fn look(netlink: &mut Netlink, mac: MacAddr, rule: &NicRule) -> Result<Option<Link>, NicError> {
    match find_nic(&netlink.links()?, mac, rule) {
        Ok(link) => Ok(Some(link.clone())),
        Err(NicError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether something happened before the deadline.
fn await_event(events: &Transport, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so the last wait does not spin through the final fraction of a millisecond.
        let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// Takes all events there are. What they say is read from the list of links; that they were so many that some
/// were lost (`ENOBUFS`) is no matter then.
fn drain(events: &mut Transport) -> io::Result<()> {
    loop {
        match events.receive(|_| {}) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if is_overrun(&error) => {}
            Err(error) => return Err(error),
        }
    }
}
