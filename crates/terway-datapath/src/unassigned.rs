//! Addresses of a node's range that no pod has. The VPC leads the whole range to the node, which knows ways to its pods
//! only: without a word about the others, packets to them would go back to the VPC, and come again until their time is up.

use ipnetwork::IpNetwork;

use crate::kernel::objects::{MAIN_TABLE, OUR_PROTOCOL, Route, RouteFilter, RouteKind};
use crate::kernel::{KernelError, Netlink, Netns, Request};

/// Says of each range that it is unreachable, behind the routes to its pods, which are narrower; says whether anything was
/// missing. What others say of a range is left to them.
pub fn hold(ranges: &[IpNetwork], host: &Netns) -> Result<bool, KernelError> {
    let requests: Vec<_> = ranges.iter().map(|range| Request::add_route(&unreachable(*range))).collect();
    let outcomes = Netlink::open(host)?.transact_each(&requests);
    let missing = outcomes.iter().any(Result::is_ok);
    match outcomes.into_iter().filter_map(Result::err).find(|error| !error.is_exists()) {
        Some(error) => Err(error),
        None => Ok(missing),
    }
}

/// Takes away what we said of ranges that are not among these.
pub fn drop_others(ranges: &[IpNetwork], host: &Netns) -> Result<(), KernelError> {
    let mut netlink = Netlink::open(host)?;
    let all = netlink.routes(RouteFilter { table: Some(MAIN_TABLE), ..RouteFilter::default() })?;
    let is_other = |route: &&Route| is_ours(route) && !ranges.contains(&route.destination);
    netlink.transact(&all.iter().filter(is_other).map(Request::delete_route).collect::<Vec<_>>())
}

/// Whether a route is one of these.
pub(crate) fn is_ours(route: &Route) -> bool {
    (route.kind, route.protocol, route.table) == (RouteKind::Unreachable, OUR_PROTOCOL, MAIN_TABLE)
}

fn unreachable(range: IpNetwork) -> Route {
    Route { kind: RouteKind::Unreachable, ..Route::to(range) }
}
