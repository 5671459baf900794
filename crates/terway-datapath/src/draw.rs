//! A layout as a picture: which links there are, where they lead, and what goes where. For people; short
//! enough for a terminal, complete enough to follow a packet.

use std::fmt::{self, Write as _};

use crate::describe::{
    Layout, Link, LinkKind, NamespaceLayout, Queues, Route, Rule, SmcEntry, Table, Tagging, VlanTag,
};

/// Draws the layout.
pub fn draw(layout: &Layout) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = picture(layout, &mut text);
    text
}

fn picture(layout: &Layout, text: &mut String) -> fmt::Result {
    writeln!(text, "{}", layout.key)?;
    writeln!(text)?;
    for link in &layout.pod.links {
        let addresses = addresses(&layout.pod, link);
        let end = match &link.kind {
            LinkKind::Nic { home } => format!("==== ENI {} ====> VPC   (at home: {home})", link.mac),
            LinkKind::PairEnd { peer } => format!("<---- pair ----> {peer} [node]"),
            LinkKind::Vlan { trunk, id } => format!("---- VLAN {id} ----> {trunk} [node]"),
            LinkKind::Ipvlan { parent, mode } => format!("---- IPVlan {mode} ----> {parent} [node]"),
            LinkKind::Ifb => "(incoming traffic passes here)".to_owned(),
        };
        writeln!(text, "  [pod] {:<8} {addresses} {end}", link.name)?;
    }
    for nic in &layout.host.nics {
        writeln!(text, " [node] {:<8} ==== shared ENI {} ====> VPC", nic.name, nic.mac)?;
    }
    for (place, namespace) in [("pod", &layout.pod), ("node", &layout.host)] {
        writeln!(text)?;
        writeln!(text, "{place}:")?;
        for nic in &namespace.nics {
            ways(namespace, &nic.name, text)?;
        }
        for link in &namespace.links {
            details(namespace, link, text)?;
        }
        for rule in &namespace.rules {
            writeln!(text, "  {}", packets(rule))?;
        }
        for tag in &namespace.tags {
            writeln!(text, "  {}", tagged(tag))?;
        }
        for queues in &namespace.queues {
            writeln!(text, "  {}", waiting(queues))?;
        }
        for class in &namespace.classes {
            writeln!(text, "  what {} sends is {} at {}", class.source, class.class.word(), class.link)?;
        }
        for SmcEntry { network, member } in &namespace.smc {
            writeln!(text, "  {member} is of network {network} for SMC")?;
        }
        for nat in &namespace.source_nat {
            writeln!(
                text,
                "  {} appears as {} beyond this node, and so do its callers to it",
                nat.pod, nat.node
            )?;
        }
    }
    Ok(())
}

fn tagged(VlanTag { link, tagging }: &VlanTag) -> String {
    match tagging {
        Tagging::On { source, id } => format!("{link} puts VLAN {id} on what {source} sends"),
        Tagging::Off => format!("{link} takes VLAN tags off what comes in"),
    }
}

fn waiting(Queues { link, paced, classes }: &Queues) -> String {
    let how = [(*classes, "by classes"), (*paced, "until the time they bear")];
    let how: Vec<_> = how.into_iter().filter(|(wanted, _)| *wanted).map(|(_, words)| words).collect();
    format!("packets wait at {link} {}", how.join(" and "))
}

fn details(namespace: &NamespaceLayout, link: &Link, text: &mut String) -> fmt::Result {
    writeln!(text, "  {} mtu {}", link.name, link.mtu)?;
    for limit in namespace.limits.iter().filter(|limit| limit.link == link.name) {
        writeln!(text, "    sends at most {} bytes/s", limit.bucket.rate)?;
    }
    for redirect in namespace.redirects.iter().filter(|redirect| redirect.from == link.name) {
        writeln!(text, "    receives through {}", redirect.to)?;
    }
    ways(namespace, &link.name, text)?;
    for neighbour in namespace.neighbours.iter().filter(|neighbour| neighbour.link == link.name) {
        writeln!(text, "    {} is at {}", neighbour.address, neighbour.mac)?;
    }
    Ok(())
}

fn ways(namespace: &NamespaceLayout, link: &str, text: &mut String) -> fmt::Result {
    let own = namespace.routes.iter().filter(|route| route.link == link);
    own.into_iter().try_for_each(|route| writeln!(text, "    to {}", way(route)))
}

fn packets(rule: &Rule) -> String {
    let mut text = "packets".to_owned();
    let from = rule.from.map(|prefix| format!(" from {}", prefix.ip()));
    let to = rule.to.map(|prefix| format!(" to {}", prefix.ip()));
    let bound = rule.oif.as_ref().map(|link| format!(" bound to {link}"));
    text.extend([from, to, bound].into_iter().flatten());
    match &rule.table {
        Table::Main => text + " take the usual ways",
        Table::OfLink(link) => text + &format!(" take the ways of {link}"),
    }
}

fn way(route: &Route) -> String {
    let mut text = match &route.table {
        Table::Main => route.destination.to_string(),
        Table::OfLink(link) => format!("{} (a way of {link})", route.destination),
    };
    // Writing to a String cannot fail.
    let _ = match (route.via, route.source) {
        (Some(via), _) => write!(text, " by {via}"),
        (None, Some(source)) => write!(text, " directly, speaking as {source}"),
        (None, None) => write!(text, " directly"),
    };
    text
}

fn addresses(namespace: &NamespaceLayout, link: &Link) -> String {
    let of_link = namespace.addresses.iter().filter(|address| address.link == link.name);
    of_link.map(|address| address.address.ip().to_string()).collect::<Vec<_>>().join(" ")
}
