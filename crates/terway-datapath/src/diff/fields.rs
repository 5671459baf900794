//! One object against the kernel's, field by field.

use std::fmt;

use crate::describe::{
    Address, Class, IngressRedirect, Limit, Link, LinkKind, NamespaceLayout, Neighbour, Object, Queues,
    Route, Rule, SharedNic, SmcEntry, SourceNat, Sysctl, VlanTag,
};
use crate::diff::Deviation;
use crate::kernel::nft::RuleBody;
use crate::kernel::objects::{self as kernel, Child, OUR_PROTOCOL, RouteKind, Scope};
use crate::kernel::{Filter, Hook};
use crate::observe::NamespaceState;
use crate::source_nat::{earlier_rules, rules};
use crate::{queues, tags};

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: &'static str,
    /// Its value as the kernel has it.
    pub found: String,
    /// Its value as it should be.
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} instead of {}", self.field, self.found, self.wanted)
    }
}

/// The metric the kernel gives to an IPv6 route that asks for none (`IP6_RT_PRIO_USER`).
const USUAL_IPV6_METRIC: u32 = 1024;

/// How an object differs, if it does.
pub(super) fn deviation(
    object: &Object,
    wanted: &NamespaceLayout,
    found: &NamespaceState,
) -> Option<Deviation> {
    match object {
        Object::Loopback(_) => loopback(found),
        Object::SharedNic(nic) => shared_nic(nic, found),
        Object::Link(link) => self::link(link, found),
        Object::Sysctl(sysctl) => self::sysctl(sysctl, found),
        Object::Address(address) => self::address(address, found),
        Object::Route(route) => self::route(route, found),
        Object::Rule(rule) => self::rule(rule, found),
        Object::Neighbour(neighbour) => self::neighbour(neighbour, found),
        Object::Limit(limit) => self::limit(limit, found),
        Object::Redirect(redirect) => self::redirect(redirect, wanted, found),
        Object::Tag(tag) => self::tag(tag, found),
        Object::Queues(queues) => self::queues(queues, found),
        Object::Class(class) => self::class(class, wanted, found),
        Object::SourceNat(nat) => source_nat(nat, found),
        Object::Smc(entry) => smc(entry, found),
    }
}

/// Collects the fields that differ.
#[derive(Default)]
struct Compared(Vec<Difference>);

impl Compared {
    #[expect(clippy::needless_pass_by_value, reason = "most callers have a value of their own to give")]
    fn field(&mut self, field: &'static str, wanted: impl ToString, found: impl ToString) {
        let (wanted, found) = (wanted.to_string(), found.to_string());
        if wanted != found {
            self.0.push(Difference { field, found, wanted });
        }
    }

    fn switch(&mut self, field: &'static str, wanted: bool, found: bool) {
        let word = |on| if on { "on" } else { "off" };
        self.field(field, word(wanted), word(found));
    }

    fn outcome(self) -> Option<Deviation> {
        (!self.0.is_empty()).then_some(Deviation::Altered(self.0))
    }
}

fn word<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn loopback(found: &NamespaceState) -> Option<Deviation> {
    let Some(link) = found.link("lo") else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.switch("up", true, link.up);
    compared.outcome()
}

/// What else the node's owner does with it is his business.
fn shared_nic(wanted: &SharedNic, found: &NamespaceState) -> Option<Deviation> {
    let Some(link) = found.link(&wanted.name) else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.field("address", wanted.mac, word(link.mac));
    if let Some(least) = wanted.mtu {
        compared.field("mtu", least, link.mtu.min(least));
    }
    compared.field("master", "none", word(link.master.map(|index| found.name_of(index))));
    compared.switch("up", true, link.up);
    let asks = |address: &kernel::Address| address.index == link.index && address.asks_for_neighbours();
    if let Some(wanted) = wanted.link_local.filter(|_| !found.addresses.iter().any(asks)) {
        compared.field("link-local", wanted, "none");
    }
    compared.outcome()
}

fn link(wanted: &Link, found: &NamespaceState) -> Option<Deviation> {
    let Some(link) = found.link(&wanted.name) else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    // Which kinds make a NIC depends on the node; its MAC says more.
    if !matches!(wanted.kind, LinkKind::Nic { .. }) {
        compared.field("kind", wanted.kind.name(), word(link.kind.as_ref()));
    }
    match (&wanted.kind, link.child) {
        (LinkKind::Vlan { id, .. }, Some(Child::Vlan(found))) => compared.field("vlan", id, found),
        (LinkKind::Ipvlan { mode, .. }, Some(Child::Ipvlan(found))) => {
            compared.field("mode", mode, found.map_or("l3".to_owned(), |mode| mode.to_string()));
        }
        _ => {}
    }
    compared.field("address", wanted.mac, word(link.mac));
    compared.field("mtu", wanted.mtu, link.mtu);
    compared.field("alias", &wanted.mark, word(link.alias.as_ref()));
    if let Some(group) = wanted.group {
        compared.field("group", group, link.group);
    }
    compared.field("master", "none", word(link.master.map(|index| found.name_of(index))));
    compared.switch("up", true, link.up);
    compared.outcome()
}

fn smc(wanted: &SmcEntry, found: &NamespaceState) -> Option<Deviation> {
    let Some(entry) = found.smc.iter().find(|entry| entry.member == wanted.member) else {
        return Some(Deviation::Missing);
    };
    let mut compared = Compared::default();
    compared.field("network", &wanted.network, &entry.network);
    compared.outcome()
}

fn sysctl(wanted: &Sysctl, found: &NamespaceState) -> Option<Deviation> {
    let value = found.sysctls.get(&wanted.path).map(|value| value.trim());
    if wanted.is_satisfied_by(value) {
        return None;
    }
    let Some(value) = value else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.field("value", wanted.value.as_str(), value);
    compared.outcome()
}

fn address(wanted: &Address, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let of_link = found.addresses.iter().filter(|address| address.index == index);
    let Some(address) = of_link.into_iter().find(|address| address.network.ip() == wanted.address.ip())
    else {
        return Some(Deviation::Missing);
    };
    let mut compared = Compared::default();
    compared.field("prefix length", wanted.address.prefix(), address.network.prefix());
    compared.field("scope", scope_name(Scope::Universe), scope_name(address.scope));
    compared.switch("permanent", true, address.permanent);
    if wanted.address.is_ipv6() {
        compared.switch("nodad", true, address.nodad);
        compared.switch("tentative", false, address.tentative);
        compared.switch("dadfailed", false, address.dadfailed);
    }
    compared.outcome()
}

fn route(wanted: &Route, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let exact = as_kernel_has_it(wanted, index, found.table(&wanted.table)?);
    let is_rival =
        |route: &&kernel::Route| (route.destination, route.table) == (exact.destination, exact.table);
    let rivals: Vec<_> = found.routes.iter().filter(is_rival).collect();
    if let Some(place) = rivals.iter().position(|route| **route == exact) {
        let wins = |(at, rival): (usize, &&kernel::Route)| {
            // IPv6 routes of one metric share the traffic; of IPv4 routes the first listed is used.
            let same = rival.metric == exact.metric && (at < place || exact.destination.is_ipv6());
            at != place && (rival.metric < exact.metric || same)
        };
        let winner = rivals.iter().enumerate().find(|rival| wins(*rival))?;
        return Some(Deviation::Overridden { by: found.describe(winner.1) });
    }
    let was_ours = |route: &&&kernel::Route| route.oif == Some(index) || route.protocol == OUR_PROTOCOL;
    let stands_in = |route: &&&kernel::Route| route.metric <= exact.metric;
    let altered = rivals.iter().find(was_ours).or_else(|| rivals.iter().find(stands_in));
    altered.map_or(Some(Deviation::Missing), |altered| compare_routes(&exact, altered, found))
}

/// The route as a dump gives it.
fn as_kernel_has_it(wanted: &Route, index: u32, table: u32) -> kernel::Route {
    let is_ipv6 = wanted.destination.is_ipv6();
    let metric = if is_ipv6 { USUAL_IPV6_METRIC } else { 0 };
    wanted.request(index, table).metric(metric)
}

fn compare_routes(
    wanted: &kernel::Route,
    route: &kernel::Route,
    found: &NamespaceState,
) -> Option<Deviation> {
    let mut compared = Compared::default();
    compared.field("kind", kind_name(wanted.kind), kind_name(route.kind));
    compared.field("via", word(wanted.gateway), word(route.gateway));
    let device = |route: &kernel::Route| word(route.oif.map(|index| found.name_of(index)));
    compared.field("dev", device(wanted), device(route));
    compared.field("src", word(wanted.prefsrc), word(route.prefsrc));
    compared.field("scope", scope_name(wanted.scope), scope_name(route.scope));
    compared.field("protocol", wanted.protocol, route.protocol);
    compared.field("metric", wanted.metric, route.metric);
    compared.switch("onlink", wanted.onlink, route.onlink);
    compared.outcome()
}

/// A rule counts by what it says and where it stands. Kernels before 4.17 do not tell who made it.
fn rule(wanted: &Rule, found: &NamespaceState) -> Option<Deviation> {
    let exact = wanted.request(found.table(&wanted.table)?);
    let selects = |rule: &kernel::Rule| (rule.family, rule.from, rule.to, rule.oif.clone());
    let is_plain = |rule: &&kernel::Rule| rule.iif.is_none() && rule.mark.is_none();
    let rivals: Vec<_> =
        found.rules.iter().filter(is_plain).filter(|rule| selects(rule) == selects(&exact)).collect();
    let is_it = |rule: &kernel::Rule| {
        (rule.priority, rule.table) == (exact.priority, exact.table)
            && [exact.protocol, 0].contains(&rule.protocol)
    };
    if rivals.iter().any(|rule| is_it(rule)) {
        let before = |rule: &&&kernel::Rule| rule.priority <= exact.priority && rule.table != exact.table;
        return rivals.iter().find(before).map(|rule| Deviation::Overridden { by: format!("rule {rule}") });
    }
    let Some(altered) = rivals.first() else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.field("priority", exact.priority, altered.priority);
    compared.field("table", exact.table, altered.table);
    compared.field("protocol", exact.protocol, altered.protocol);
    compared.outcome()
}

fn neighbour(wanted: &Neighbour, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let mut of_link = found.neighbours.iter().filter(|neighbour| neighbour.index == index);
    let Some(neighbour) = of_link.find(|neighbour| neighbour.address == wanted.address) else {
        return Some(Deviation::Missing);
    };
    let mut compared = Compared::default();
    compared.field("lladdr", wanted.mac, word(neighbour.mac));
    compared.switch("permanent", true, neighbour.permanent);
    compared.outcome()
}

fn limit(wanted: &Limit, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let mut of_link = found.qdiscs.iter().filter(|qdisc| qdisc.index == index);
    let bucket = of_link.find(|qdisc| qdisc.is_root()).and_then(|qdisc| qdisc.tbf);
    let Some(bucket) = bucket else { return Some(Deviation::Missing) };
    if wanted.bucket.is_like(&bucket) {
        return None;
    }
    let mut compared = Compared::default();
    compared.field("rate", wanted.bucket.rate, bucket.rate);
    compared.field("burst", wanted.bucket.burst, bucket.burst);
    compared.field("limit", wanted.bucket.limit, bucket.limit);
    compared.outcome()
}

fn redirect(wanted: &IngressRedirect, layout: &NamespaceLayout, found: &NamespaceState) -> Option<Deviation> {
    let from = found.link(&wanted.from)?.index;
    // Without its target the redirect cannot be told; that the target is missing is named by itself.
    let to = match found.link(&wanted.to) {
        Some(link) => link.index,
        None if layout.link(&wanted.to).is_some() => return None,
        None => return Some(Deviation::Missing),
    };
    let Some(target) = found.redirects.get(&from) else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.field("target", found.name_of(to), found.name_of(*target));
    compared.outcome()
}

/// Of two filters for the same packets the first one counts.
fn tag(wanted: &VlanTag, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let exact = tags::filter(wanted.tagging);
    let about = |filter: &Filter| (filter.hook, filter.matches);
    let mut rivals =
        found.filters.iter().filter(|(at, filter)| *at == index && about(filter) == about(&exact));
    let Some((_, first)) = rivals.next() else { return Some(Deviation::Missing) };
    if *first == exact {
        return None;
    }
    if rivals.any(|(_, filter)| *filter == exact) {
        return Some(Deviation::Overridden { by: format!("a filter of priority {}", first.priority) });
    }
    let mut compared = Compared::default();
    compared.field("priority", exact.priority, first.priority);
    compared.field("actions", tags::words(&exact), tags::words(first));
    compared.outcome()
}

/// Whoever made them: what serves is right.
fn queues(wanted: &Queues, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let Some(tree) = found.trees.get(&index) else { return Some(Deviation::Missing) };
    let lacking = tree.lacking(wanted);
    if lacking.len() == tree.leaves.len() {
        return Some(Deviation::Missing);
    }
    let words = lacking.first()?.words();
    let mut compared = Compared::default();
    compared.field("qdisc", wanted.kinds(), words);
    compared.outcome()
}

/// In every place where packets wait by classes, the first filter for them counts. That there are no classes is named by
/// itself.
fn class(wanted: &Class, layout: &NamespaceLayout, found: &NamespaceState) -> Option<Deviation> {
    let index = found.link(&wanted.link)?.index;
    let mut prios = found.trees.get(&index).into_iter().flat_map(queues::Tree::prios).peekable();
    if prios.peek().is_none() {
        let is_named = layout.queues.iter().any(|queues| queues.link == wanted.link && queues.classes);
        return (!is_named).then_some(Deviation::Missing);
    }
    prios.find_map(|prio| {
        let exact = queues::filter(wanted, prio);
        let is_about = |one: &&(u32, Filter)| {
            (one.0, one.1.hook, one.1.matches) == (index, Hook::Wait(prio), exact.matches)
        };
        let Some((_, first)) = found.classes.iter().find(is_about) else { return Some(Deviation::Missing) };
        let mut compared = Compared::default();
        let class = queues::class_of(first).map(terway_types::PriorityClass::word);
        compared.field("class", wanted.class.word(), word(class));
        compared.outcome()
    })
}

fn source_nat(wanted: &SourceNat, found: &NamespaceState) -> Option<Deviation> {
    let there =
        |rules: &[RuleBody]| rules.iter().filter(|rule| found.source_nat.rules.contains(rule)).count();
    let (shared, earlier) = (rules(wanted), earlier_rules(wanted));
    if there(&earlier) == earlier.len() {
        return None;
    }
    let is_it = |one: &&SourceNat| (one.pod, one.of_services) == (wanted.pod, wanted.of_services);
    let Some(pod) = found.source_nat.pods.iter().find(is_it) else { return Some(Deviation::Missing) };
    let mut compared = Compared::default();
    compared.field("snat to", wanted.node, pod.node);
    compared.field("rules", shared.len(), there(&shared));
    compared.outcome()
}

fn scope_name(scope: Scope) -> String {
    match scope {
        Scope::Universe => "global".to_owned(),
        Scope::Link => "link".to_owned(),
        Scope::Host => "host".to_owned(),
        Scope::Other(number) => number.to_string(),
    }
}

fn kind_name(kind: RouteKind) -> String {
    match kind {
        RouteKind::Unicast => "unicast".to_owned(),
        RouteKind::Local => "local".to_owned(),
        RouteKind::Blackhole => "blackhole".to_owned(),
        RouteKind::Unreachable => "unreachable".to_owned(),
        RouteKind::Other(number) => number.to_string(),
    }
}
