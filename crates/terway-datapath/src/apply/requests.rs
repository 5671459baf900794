//! A layout's objects as requests to the kernel.

use super::StepError;
use crate::describe::{Layout, Link, LinkKind, NamespaceLayout};
use crate::kernel::objects as kernel;
use crate::kernel::{LinkChange, Netns, NewLink, Request};

/// Makes the links that do not exist yet, each at once in its namespace. Sent in the host.
pub(super) fn make_links(layout: &Layout, pod: &Netns) -> Vec<Request> {
    let mut requests = Vec::new();
    for link in &layout.host.links {
        let LinkKind::PairEnd { peer } = &link.kind else { continue };
        let Some(far) = layout.pod.link(peer) else { continue };
        requests.push(Request::add_veth(&new(link, None), &new(far, Some(pod))));
        // The kernel takes no alias at creation.
        let marked = LinkChange { alias: Some(link.mark.as_str()), ..LinkChange::default() };
        requests.push(Request::set_link(link.name.as_str(), &marked));
    }
    for link in layout.pod.links.iter().filter(|link| link.kind == LinkKind::Ifb) {
        let what = format!("create ifb {} (needs kernel module ifb)", link.name);
        requests.push(Request::add_ifb(&new(link, Some(pod))).described(what));
    }
    requests
}

/// Moves the ENI's netdev to the pod under its name there. Sent in the host.
pub(super) fn move_nic(link: &Link, nic: &kernel::Link, pod: &Netns) -> Request {
    let change = LinkChange {
        name: Some(&link.name),
        mtu: Some(link.mtu),
        alias: Some(link.mark.as_str()),
        netns: Some(pod),
        ..LinkChange::default()
    };
    let what = format!("move NIC {} of MAC {} to the pod as {}", nic.name, link.mac, link.name);
    Request::set_link(nic.index, &change).described(what)
}

/// Everything on the links of one namespace. Limits come before the links are up: no packet passes unlimited.
pub(super) fn inside(wanted: &NamespaceLayout, links: &[kernel::Link]) -> Result<Vec<Request>, StepError> {
    let index = |name: &str| {
        let link = links.iter().find(|link| link.name == name);
        link.map(|link| link.index).ok_or_else(|| StepError::Vanished(name.to_owned()))
    };
    let mut requests = Vec::new();
    for limit in &wanted.limits {
        let what = format!("add {limit} (needs kernel module sch_tbf)");
        requests.push(Request::replace_tbf(index(&limit.link)?, &limit.bucket).described(what));
    }
    for redirect in &wanted.redirects {
        let (from, to) = (index(&redirect.from)?, index(&redirect.to)?);
        let what = format!("add clsact to {} (needs kernel module sch_ingress)", redirect.from);
        requests.push(Request::add_clsact(from).described(what));
        let what = format!("add {redirect} (needs kernel modules cls_u32 and act_mirred)");
        requests.push(Request::redirect_ingress(from, to).described(what));
    }
    for link in &wanted.links {
        let change = LinkChange { up: Some(true), alias: Some(link.mark.as_str()), ..LinkChange::default() };
        let what = format!("mark and set up link {}", link.name);
        requests.push(Request::set_link(index(&link.name)?, &change).described(what));
    }
    for address in &wanted.addresses {
        let request = Request::add_address(index(&address.link)?, address.address);
        requests.push(request.described(format!("add {address}")));
    }
    for neighbour in &wanted.neighbours {
        let request = Request::replace_neighbour(index(&neighbour.link)?, neighbour.address, neighbour.mac);
        requests.push(request.described(format!("add {neighbour}")));
    }
    for route in &wanted.routes {
        requests.push(self::route(route, index(&route.link)?));
    }
    Ok(requests)
}

/// A route with a preferred source is the node's way to a pod: it replaces one an older attachment of the same
/// address left. In the pod nothing is replaced; what stands there is another plugin's.
fn route(route: &crate::describe::Route, index: u32) -> Request {
    let wanted = route.request(index);
    let request =
        if route.source.is_some() { Request::replace_route(&wanted) } else { Request::add_route(&wanted) };
    request.described(format!("add {route}"))
}

fn new<'a>(link: &'a Link, netns: Option<&'a Netns>) -> NewLink<'a> {
    NewLink { name: &link.name, mac: Some(link.mac), mtu: Some(link.mtu), netns, ..NewLink::default() }
}
