//! Setting a layout's switches, inside the namespace they belong to.

use super::StepError;
use super::asked::{Asked, Spoil};
use crate::describe::{NamespaceLayout, Sysctl};
use crate::kernel::Netns;
use crate::kernel::sysctl::{Sysctl as Tree, SysctlError, ipv6_conf};

/// The switch that makes the node an IPv6 router.
const FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// Sets the switches that other attachments share.
pub(super) fn of_node(
    layout: &NamespaceLayout,
    uplink: &str,
    host: &Netns,
    spoil: Spoil<'_>,
) -> Result<(), StepError> {
    let switches = values(layout, |switch| !goes_with_a_link(switch, layout), spoil);
    if switches.is_empty() {
        return Ok(());
    }
    Ok(host.run(|| {
        let tree = Tree::default();
        if switches.iter().any(|(switch, _)| switch.path == FORWARDING) {
            keep_advertisements(&tree, uplink)?;
        }
        set_all(&tree, &switches)
    })??)
}

/// Sets the switches of the layout's own links.
pub(super) fn of_links(layout: &NamespaceLayout, netns: &Netns, spoil: Spoil<'_>) -> Result<(), StepError> {
    let switches = values(layout, |switch| goes_with_a_link(switch, layout), spoil);
    if switches.is_empty() {
        return Ok(());
    }
    Ok(netns.run(|| set_all(&Tree::default(), &switches))??)
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
fn keep_advertisements(tree: &Tree, uplink: &str) -> Result<(), SysctlError> {
    let accept_ra = ipv6_conf(uplink, "accept_ra");
    if tree.get(FORWARDING)? == "0" && tree.get(&accept_ra)? == "1" {
        tree.set(&accept_ra, "2")?;
    }
    Ok(())
}
