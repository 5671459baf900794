//! What could speak against a layout, looked at before the first change.

use super::{ApplyError, AttachmentContext};
use crate::describe::{Eni, Layout, LinkKind, Table};
use crate::kernel::objects::{Child, Link, MAIN_TABLE};
use crate::kernel::{self, IpvlanMode, Netlink, Request, RouteFilter};
use crate::mark::Mark;
use crate::tags;

/// No link of the pod has a name we need.
pub(super) fn names_are_free(layout: &Layout, there: &[Link]) -> Result<(), ApplyError> {
    let taken = there.iter().map(|link| link.name.clone());
    let names: Vec<_> = taken.filter(|name| layout.pod.link(name).is_some()).collect();
    if names.is_empty() { Ok(()) } else { Err(ApplyError::NameTaken { names }) }
}

/// No other link of the pod has the default route we need.
pub(super) fn default_routes_are_free(
    layout: &Layout,
    there: &[Link],
    pod: &mut Netlink,
) -> Result<(), ApplyError> {
    let wanted = layout.pod.routes.iter().filter(|route| route.table == Table::Main);
    let wanted: Vec<_> =
        wanted.map(|route| route.destination).filter(|destination| destination.prefix() == 0).collect();
    // A pod is usually empty.
    if wanted.is_empty() || there.iter().all(|link| link.loopback) {
        return Ok(());
    }
    let routes = pod.routes(RouteFilter { table: Some(MAIN_TABLE), ..RouteFilter::default() })?;
    match routes.iter().find(|route| wanted.contains(&route.destination)) {
        None => Ok(()),
        Some(route) => {
            let holder = there.iter().find(|link| Some(link.index) == route.oif);
            let holder = holder.map_or_else(|| "another link".to_owned(), |link| link.name.clone());
            Err(ApplyError::DefaultRouteTaken { family: route.family(), holder })
        }
    }
}

/// The ENI's netdev, once it is there; none if the layout has no ENI. A wrong MAC must not take a link the node lives
/// by; one that stays on the node may be the node's own.
pub(super) fn find_nic(
    layout: &Layout,
    context: &AttachmentContext<'_>,
    host: &mut Netlink,
) -> Result<Option<Link>, ApplyError> {
    let Some(eni) = layout.eni() else { return Ok(None) };
    let mac = eni.mac();
    // Where it was seen last: a node has links for every pod.
    let seen = match &eni {
        Eni::Moved(_) => kernel::nic_at(host, context.nic_index, mac, context.rule)?,
        Eni::Shared(wanted) => host.link_by_name(&wanted.name)?,
    };
    let nic = match seen.filter(|link| link.mac == Some(mac) && context.rule.is_nic(link)) {
        Some(nic) => nic,
        None => kernel::wait_for_nic(context.host, mac, context.rule, context.deadline)?,
    };
    let in_use = |why| ApplyError::NicInUse { name: nic.name.clone(), mac, why };
    if let Some(master) = nic.master {
        return Err(in_use(format!("a port of link #{master}")));
    }
    if layout.pod.links.iter().any(|link| matches!(link.kind, LinkKind::Vlan { .. }))
        && tags::come_off(host, nic.index)?
    {
        let why = "the trunk of pods without VLAN links, for which it takes all tags off; delete them before pods \
                   with vlan_strip_type vlan";
        return Err(in_use(why.to_owned()));
    }
    if let Some(other) = other_mode(layout, nic.index, host)? {
        let why = format!(
            "the parent of pods' links of IPVlan mode {other}, and has one mode for all; delete those pods before \
             ipvlan_mode changes"
        );
        return Err(in_use(why));
    }
    match eni {
        Eni::Moved(_) if nic.name == layout.uplink => Err(in_use("the node's uplink".to_owned())),
        Eni::Shared(wanted) if nic.name != wanted.name => {
            Err(ApplyError::NicRenamed { from: wanted.name.clone(), to: nic.name, mac })
        }
        _ => Ok(Some(nic)),
    }
}

/// The mode of the ENI's children, if it is not the wanted one: the kernel would change it for all of them. Children in
/// pods without one on the node cannot be seen from here.
fn other_mode(layout: &Layout, nic: u32, host: &mut Netlink) -> Result<Option<IpvlanMode>, ApplyError> {
    let mode = layout.pod.links.iter().find_map(|link| match link.kind {
        LinkKind::Ipvlan { mode, .. } => Some(mode),
        _ => None,
    });
    let Some(mode) = mode else { return Ok(None) };
    let modes = host.links()?.into_iter().filter(|link| link.peer == Some(nic)).filter_map(|link| link.child);
    let mut others = modes.filter_map(|child| match child {
        Child::Ipvlan(Some(other)) if other != mode => Some(other),
        _ => None,
    });
    Ok(others.next())
}

/// Removes what an older sandbox of the pod left under the host link's name. Its own DEL may come later and finds
/// nothing of its own then.
pub(super) fn clear_host_name(layout: &Layout, host: &mut Netlink) -> Result<(), ApplyError> {
    for link in &layout.host.links {
        let Some(stale) = host.link_by_name(&link.name)? else { continue };
        if !is_a_pods(&stale) {
            return Err(ApplyError::HostLinkTaken { name: stale.name });
        }
        let what = format!("delete the stale link {}", stale.name);
        match host.transact(&[Request::delete_link(stale.index).described(what)]) {
            // The old sandbox's namespace took it along meanwhile.
            Err(error) if !error.is_absent() => return Err(error.into()),
            _ => tracing::info!(name = stale.name, alias = stale.alias, "deleted a stale host link"),
        }
    }
    Ok(())
}

/// Whether a link leads to a pod: it has a mark of ours, or it is one of a pair whose other end is elsewhere.
fn is_a_pods(link: &Link) -> bool {
    let marked = link.alias.as_deref().and_then(Mark::parse).is_some();
    marked || (link.kind.as_deref() == Some("veth") && link.peer_netns_id.is_some())
}
