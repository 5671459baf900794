//! Setting a layout's switches, inside the namespace they belong to.

use super::StepError;
use super::asked::{Asked, Spoil};
use crate::describe::{Link, NamespaceLayout, Sysctl};
pub(super) use crate::kernel::sysctl::Sysctl as Tree;
use crate::kernel::sysctl::{SysctlError, ipv6_conf};
use crate::kernel::{Ipv4Switch, Netns, Request};

/// The switch that makes the node an IPv6 router.
const FORWARDING: &str = "net/ipv6/conf/all/forwarding";
/// The switch of a link that says whether routers' advertisements count, and its value for a router that lives by them.
const ACCEPT_RA: &str = "accept_ra";
const ALSO_AS_A_ROUTER: &str = "2";

/// Sets the switches that other attachments share.
pub(super) fn of_node(
    layout: &NamespaceLayout,
    uplink: &str,
    (host, tree): (&Netns, &Tree),
    spoil: Spoil<'_>,
) -> Result<(), StepError> {
    let switches = values(layout, |switch| !goes_with_a_link(switch, layout), spoil);
    if switches.is_empty() {
        return Ok(());
    }
    let makes_a_router = switches.iter().any(|(switch, _)| switch.path == FORWARDING);
    if makes_a_router && host.run(|| lives_by_advertisements(tree, uplink))?? {
        let (path, mut value) = (ipv6_conf(uplink, ACCEPT_RA), ALSO_AS_A_ROUTER);
        spoil(Asked::Switch(&path, &mut value));
        host.run(|| tree.set(&path, value))??;
    }
    Ok(host.run(|| set_all(tree, &switches))??)
}

/// Those switches of the layout's own links that the kernel takes by netlink. Sent with what makes the links.
pub(super) fn by_netlink(layout: &NamespaceLayout) -> Vec<Request> {
    let of = |link: &Link| -> Vec<_> {
        let own = layout.sysctls.iter().filter(|switch| switch.link() == Some(&link.name));
        own.filter_map(as_netlink_has_it).collect()
    };
    let wanted = layout.links.iter().map(|link| (link, of(link)));
    let wanted = wanted.filter(|(_, switches)| !switches.is_empty());
    wanted.map(|(link, switches)| Request::set_ipv4_switches(link.name.as_str(), &switches)).collect()
}

fn as_netlink_has_it(switch: &Sysctl) -> Option<(Ipv4Switch, u32)> {
    let mut parts = switch.path.rsplit('/');
    let (name, _, family) = (parts.next()?, parts.next()?, parts.nth(1)?);
    let known = Ipv4Switch::named(name).filter(|_| family == "ipv4")?;
    Some((known, switch.value.parse().ok()?))
}

/// Sets the switches of the layout's own links that [`by_netlink`] has not set.
pub(super) fn of_new_links(
    layout: &NamespaceLayout,
    place: (&Netns, &Tree),
    spoil: Spoil<'_>,
) -> Result<(), StepError> {
    let is_left = |switch: &Sysctl| goes_with_a_link(switch, layout) && as_netlink_has_it(switch).is_none();
    set_those(&values(layout, is_left, spoil), place)
}

/// Sets the switches of the layout's own links.
pub(super) fn of_links(
    layout: &NamespaceLayout,
    place: (&Netns, &Tree),
    spoil: Spoil<'_>,
) -> Result<(), StepError> {
    set_those(&values(layout, |switch| goes_with_a_link(switch, layout), spoil), place)
}

fn set_those(switches: &[(&Sysctl, &str)], (netns, tree): (&Netns, &Tree)) -> Result<(), StepError> {
    if switches.is_empty() {
        return Ok(());
    }
    Ok(netns.run(|| set_all(tree, switches))??)
}

/// Switches, each with the value it is to get.
fn values<'a>(
    layout: &'a NamespaceLayout,
    which: impl Fn(&Sysctl) -> bool,
    spoil: Spoil<'_>,
) -> Vec<(&'a Sysctl, &'a str)> {
    let wanted = layout.sysctls.iter().filter(|switch| which(switch));
    wanted
        .map(|switch| {
            let mut value = switch.value.as_str();
            spoil(Asked::Switch(&switch.path, &mut value));
            (switch, value)
        })
        .collect()
}

fn goes_with_a_link(switch: &Sysctl, layout: &NamespaceLayout) -> bool {
    switch.link().is_some_and(|name| layout.link(name).is_some())
}

fn set_all(tree: &Tree, switches: &[(&Sysctl, &str)]) -> Result<(), SysctlError> {
    switches.iter().try_for_each(|(switch, value)| match tree.set(&switch.path, value) {
        // A kernel without IPv6 has no such switch, and what is not there is off.
        Err(SysctlError::Missing { .. }) if switch.is_satisfied_by(None) => Ok(()),
        outcome => outcome.map(drop),
    })
}

/// A router ignores advertisements unless told 2 (`ip-sysctl.rst`, `accept_ra`): a node that has its default route
/// from one would lose it soon after it begins to forward.
fn lives_by_advertisements(tree: &Tree, uplink: &str) -> Result<bool, SysctlError> {
    Ok(tree.get(FORWARDING)? == "0" && tree.get(&ipv6_conf(uplink, ACCEPT_RA))? == "1")
}
