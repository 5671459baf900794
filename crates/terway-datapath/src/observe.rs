//! What is there of a layout's objects: reads the kernel, judges nothing.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use terway_types::{Fault, FaultCode, fault::chain};

use crate::apply::rules_there;
use crate::describe::{self, Layout, NamespaceLayout, Table};
use crate::kernel::objects::{
    Address, Link, MAIN_TABLE, Neighbour, OUR_PROTOCOL, Qdisc, Route, RouteFilter, Rule,
};
use crate::kernel::sysctl::{Sysctl, SysctlError};
use crate::kernel::{Cause, Filter, Hook, KernelError, Netlink, Netns, NetnsError, SmcEntry, SmcTable};
use crate::mark::Mark;
use crate::queues::{self, Tree};
use crate::rules;
use crate::source_nat::{self, Translation};
pub use snapshot::Snapshot;

/// What the kernel has, in both namespaces of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The host's namespace.
    pub host: NamespaceState,
    /// The pod's namespace.
    pub pod: NamespaceState,
}

/// What the kernel has in one namespace, as far as a layout names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceState {
    /// The layout's links that exist, and `lo`.
    pub links: Vec<Link>,
    /// All addresses of those links.
    pub addresses: Vec<Address>,
    /// The routes of the layout's tables that matter to its own: those over its links, and those that take a destination
    /// over. Of tables of the layout's links all.
    pub routes: Vec<Route>,
    /// All rules about what the layout's own are about, in the order the kernel goes through them.
    pub rules: Vec<Rule>,
    /// All neighbours of those links.
    pub neighbours: Vec<Neighbour>,
    /// All queueing disciplines of those links.
    pub qdiscs: Vec<Qdisc>,
    /// From which link's index to which the incoming traffic is redirected.
    pub redirects: BTreeMap<u32, u32>,
    /// The filters on links with tags, with the link's index, in the order the kernel goes through them.
    pub filters: Vec<(u32, Filter)>,
    /// The qdiscs of links whose packets wait in some way, by the link's index.
    pub trees: BTreeMap<u32, Tree>,
    /// The filters that put packets into classes there, with the link's index.
    pub classes: Vec<(u32, Filter)>,
    /// The layout's switches that exist, by path.
    pub sysctls: BTreeMap<String, String>,
    /// What is translated for the attachment.
    pub source_nat: Translation,
    /// All members of physical networks, where the layout has some.
    pub smc: Vec<SmcEntry>,
}

/// Kernel state that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the {place}'s network state")]
pub struct ObserveError {
    /// `host` or `pod`.
    pub place: &'static str,
    /// Why.
    #[source]
    pub source: ObserveFailure,
}

/// Why kernel state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveFailure {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A switch could not be read.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
}

impl ObserveError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let is_netns = match &self.source {
            ObserveFailure::Netns(_) => true,
            ObserveFailure::Kernel(error) => matches!(error.cause(), Cause::Netns(_)),
            ObserveFailure::Sysctl(_) => false,
        };
        let code = if is_netns { FaultCode::NetnsInvalid } else { FaultCode::KernelRefused };
        Fault::new(code, self.to_string()).because(chain(&self.source))
    }
}

/// Reads both namespaces.
pub fn observe(layout: &Layout, host: &Netns, pod: &Netns) -> Result<Observed, ObserveError> {
    let read = |place, wanted, netns| {
        namespace(layout, wanted, netns, None).map_err(|source| ObserveError { place, source })
    };
    Ok(Observed { host: read("host", &layout.host, host)?, pod: read("pod", &layout.pod, pod)? })
}

/// Reads the node's namespace only; what a snapshot has is taken from there.
pub fn observe_host(
    layout: &Layout,
    host: &Netns,
    snapshot: Option<&mut Snapshot>,
) -> Result<NamespaceState, ObserveError> {
    namespace(layout, &layout.host, host, snapshot).map_err(|source| ObserveError { place: "host", source })
}

fn namespace(
    layout: &Layout,
    wanted: &NamespaceLayout,
    netns: &Netns,
    mut snapshot: Option<&mut Snapshot>,
) -> Result<NamespaceState, ObserveFailure> {
    let mut netlink = Netlink::open(netns)?;
    let mut state = NamespaceState::default();
    let loopback = wanted.loopback.map(|_| "lo");
    let nics = wanted.nics.iter().map(|nic| nic.name.as_str());
    for name in wanted.links.iter().map(|link| link.name.as_str()).chain(nics).chain(loopback) {
        let Some(link) = netlink.link_by_name(name)? else { continue };
        state.addresses.extend(netlink.addresses(Some(link.index))?);
        state.neighbours.extend(netlink.neighbours(link.index)?);
        if wanted.limits.iter().any(|limit| limit.link == name) {
            state.qdiscs.extend(netlink.qdiscs(link.index)?);
        }
        if wanted.redirects.iter().any(|redirect| redirect.from == name) {
            state.redirects.extend(netlink.ingress_redirect(link.index)?.map(|to| (link.index, to)));
        }
        if wanted.tags.iter().any(|tag| tag.link == name) {
            state.filters.extend(filters(&mut netlink, link.index)?);
        }
        if !queues::links(wanted, std::slice::from_ref(&link)).is_empty() {
            let tree = queues::read(&mut netlink, &link)?;
            let classes = queues::filters(&mut netlink, link.index, &tree)?;
            state.classes.extend(classes.into_iter().map(|filter| (link.index, filter)));
            state.trees.insert(link.index, tree);
        }
        state.links.push(link);
    }
    state.sysctls = match &snapshot {
        Some(snapshot) => sysctls(wanted, netns, &snapshot.switches)?,
        None => sysctls(wanted, netns, &Sysctl::default())?,
    };
    if !wanted.source_nat.is_empty() {
        let mark = Mark::of(&layout.key);
        state.source_nat = match &mut snapshot {
            Some(snapshot) => snapshot.source_nat(&mark, netns)?,
            None => source_nat::held(&wanted.source_nat, &mark, netns)?,
        };
    }
    if !wanted.smc.is_empty()
        && let Some(mut table) = SmcTable::open(netns)?
    {
        state.smc = table.entries()?;
    }
    state.routes = routes(wanted, &state, &mut netlink)?;
    state.rules = match snapshot {
        Some(snapshot) => snapshot.rules(wanted, &mut netlink)?,
        None => rules_there(wanted, &mut netlink)?,
    };
    Ok(state)
}

/// Reads the tables that the layout has routes in. Of the node's main table, which has a route per pod, only what leads
/// over the layout's links and what the kernel prefers. A shared route that somebody wanted to take away a moment ago is
/// as good as before: whoever it was looks again.
fn routes(
    wanted: &NamespaceLayout,
    state: &NamespaceState,
    netlink: &mut Netlink,
) -> Result<Vec<Route>, KernelError> {
    let tables: BTreeSet<_> = wanted.routes.iter().filter_map(|route| state.table(&route.table)).collect();
    let mut found = Vec::new();
    for table in tables {
        let filter = RouteFilter { table: Some(table), ..RouteFilter::default() };
        let in_table = || wanted.routes.iter().filter(|route| state.table(&route.table) == Some(table));
        if table == MAIN_TABLE && in_table().all(|route| rules::is_one_address(&route.destination)) {
            found.extend(routes_to(in_table(), state, netlink)?);
        } else {
            found.extend(netlink.routes(filter)?);
        }
    }
    for route in found.iter_mut().filter(|route| route.protocol == rules::LEAVING) {
        route.protocol = OUR_PROTOCOL;
    }
    Ok(found)
}

fn filters(netlink: &mut Netlink, index: u32) -> Result<Vec<(u32, Filter)>, KernelError> {
    let mut found = netlink.filters(index, Hook::Egress)?;
    found.extend(netlink.filters(index, Hook::Ingress)?);
    Ok(found.into_iter().map(|installed| (index, installed.filter)).collect())
}

/// Routes of the main table to single addresses: those over their links, behind those that the kernel prefers.
fn routes_to<'a>(
    wanted: impl Iterator<Item = &'a describe::Route>,
    state: &NamespaceState,
    netlink: &mut Netlink,
) -> Result<Vec<Route>, KernelError> {
    let (mut found, mut links) = (Vec::new(), BTreeSet::new());
    for route in wanted {
        let preferred = netlink.route_to(route.destination.ip())?;
        found.extend(preferred.filter(|way| way.table == MAIN_TABLE && way.destination == route.destination));
        links.extend(state.link(&route.link).map(|link| link.index));
    }
    for index in links {
        let filter = RouteFilter { table: Some(MAIN_TABLE), oif: Some(index), ..RouteFilter::default() };
        found.extend(netlink.routes(filter)?);
    }
    let mut seen = HashSet::new();
    found.retain(|route| seen.insert(route.clone()));
    Ok(found)
}

/// Reads the switches that are there.
fn sysctls(
    wanted: &NamespaceLayout,
    netns: &Netns,
    tree: &Sysctl,
) -> Result<BTreeMap<String, String>, ObserveFailure> {
    let read = || {
        let mut found = BTreeMap::new();
        for switch in &wanted.sysctls {
            match tree.get(&switch.path) {
                Ok(value) => found.extend([(switch.path.clone(), value)]),
                Err(SysctlError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    };
    Ok(netns.run(read)??)
}

impl NamespaceState {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The number of a table; none if its link is not there.
    pub(crate) fn table(&self, table: &Table) -> Option<u32> {
        table.number(|name| self.link(name).map(|link| link.index))
    }

    /// The name of the link with this index, or `#` and the index.
    pub(crate) fn name_of(&self, index: u32) -> String {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("#{index}"), |link| link.name.clone())
    }

    /// A route with its link's name.
    pub(crate) fn describe(&self, route: &Route) -> String {
        let device = route.oif.map(|index| format!("dev {}", self.name_of(index)));
        let via = route.gateway.map(|gateway| format!("via {gateway}"));
        let words = [Some(format!("route {}", route.destination)), via, device];
        format!("{} metric {}", words.into_iter().flatten().collect::<Vec<_>>().join(" "), route.metric)
    }
}
