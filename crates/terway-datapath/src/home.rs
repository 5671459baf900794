//! Bringing an ENI's netdev home: out of the pod, down, bare, under its home name, without a mark. The name is
//! a convenience, being found by MAC is what counts: a name that is taken never keeps a NIC from coming home.

use terway_types::MacAddr;

use crate::kernel::objects::Link;
use crate::kernel::{KernelError, LinkChange, Netlink, Netns, Request};

/// A pattern the kernel makes a free name of, for when the home name is taken.
const ANY_NAME: &str = "eni%d";

/// Moves a NIC from the pod to the host. It arrives down and flushed: the kernel closes a link that moves, and
/// takes its addresses, routes and qdiscs.
pub(crate) fn bring(nic: &Link, name: &str, pod: &mut Netlink, host: &Netns) -> Result<(), KernelError> {
    let mut last = Ok(());
    for name in [name, ANY_NAME] {
        let change =
            LinkChange { name: Some(name), alias: Some(""), netns: Some(host), ..LinkChange::default() };
        let what = format!("move NIC {} of MAC {} to the host as {name}", nic.name, word(nic.mac));
        last = pod.transact(&[Request::set_link(nic.index, &change).described(what)]);
        if last.is_ok() {
            return Ok(());
        }
        // The kernel moves first and renames then: it may have arrived under another name.
        let still_here = pod.link_by_index(nic.index)?.filter(|link| link.mac == nic.mac);
        if still_here.is_none() {
            return Ok(());
        }
    }
    last
}

/// Makes a NIC that is in the host down, bare, unmarked and, if possible, called by its home name. Says whether
/// there was anything to do.
pub(crate) fn settle(nic: &Link, name: &str, host: &mut Netlink) -> Result<bool, KernelError> {
    let mut requests = Vec::new();
    for address in host.addresses(Some(nic.index))? {
        requests.push(Request::delete_address(nic.index, address.network));
    }
    for qdisc in host.qdiscs(nic.index)? {
        match qdisc.kind.as_str() {
            "tbf" if qdisc.is_root() => requests.push(Request::delete_root_qdisc(nic.index)),
            "clsact" => requests.push(Request::delete_clsact(nic.index)),
            _ => {}
        }
    }
    if nic.up {
        requests.push(set(nic, LinkChange { up: Some(false), ..LinkChange::default() }));
    }
    if nic.alias.is_some() {
        requests.push(set(nic, LinkChange { alias: Some(""), ..LinkChange::default() }));
    }
    // An address goes with its link's state or with its primary one; what is gone need not be deleted.
    let settled = host.transact_if_present(&requests);
    if nic.name != name {
        // Another link may have the name; any name will do.
        let rename = set(nic, LinkChange { name: Some(name), ..LinkChange::default() });
        if let Err(error) = host.transact(&[rename]) {
            tracing::warn!(%error, nic = nic.name, name, "the NIC keeps its name");
        }
    }
    settled.map(|_| !requests.is_empty() || nic.name != name)
}

fn set(nic: &Link, change: LinkChange<'_>) -> Request {
    Request::set_link(nic.index, &change)
}

fn word(mac: Option<MacAddr>) -> String {
    mac.map_or_else(|| "(none)".to_owned(), |mac| mac.to_string())
}
