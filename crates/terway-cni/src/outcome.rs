//! What was built, as a CNI result; and what of it a previous result lacks.

use std::net::IpAddr;

use cni_protocol::{CniResult, Interface, IpConfig, Route};
use terway_datapath::Layout;
use terway_datapath::describe::{Link, Table};
use terway_types::{InterfacePlan, IpFamily};

use crate::blueprint::Blueprint;

/// The result of the interfaces in `built`: per interface the pod's own first (chained plugins look for
/// it by name and sandbox), then the host's side, then whatever else is in the pod.
pub(crate) fn result(built: &[Blueprint], netns: &str) -> CniResult {
    let mut result = CniResult::default();
    for Blueprint { plan, layout, .. } in built {
        let index = result.interfaces.len();
        let inside = |link: &Link| interface(link, Some(netns));
        result.interfaces.extend(layout.main().map(inside));
        result.interfaces.extend(layout.host.links.iter().map(|link| interface(link, None)));
        result.interfaces.extend(layout.pod.links.iter().skip(1).map(inside));

        let own = layout.pod.addresses.iter().filter(|address| address.link == plan.ifname.as_str());
        result.ips.extend(own.map(|own| IpConfig {
            address: own.address,
            gateway: gateway(plan, layout, IpFamily::of(&own.address.ip())),
            interface: Some(index),
        }));
        let main = layout.pod.routes.iter().filter(|route| route.table == Table::Main);
        result.routes.extend(main.map(|route| Route::new(route.destination, route.via)));
    }
    result
}

/// The next hop of the interface's default route, else the gateway of its subnet.
fn gateway(plan: &InterfacePlan, layout: &Layout, family: IpFamily) -> Option<IpAddr> {
    let ways = layout.pod.routes.iter().filter(|route| route.link == plan.ifname.as_str());
    let mut defaults = ways.filter(|route| route.destination.prefix() == 0).filter_map(|route| route.via);
    defaults.find(|via| IpFamily::of(via) == family).or_else(|| plan.gateways.get(family))
}

fn interface(link: &Link, sandbox: Option<&str>) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: Some(link.mac.to_string()),
        mtu: Some(link.mtu),
        sandbox: sandbox.map(str::to_owned),
        ..Interface::default()
    }
}

/// Where the result that the runtime has kept differs from what should be there. What other plugins added
/// is theirs; what is ours must be in it unchanged.
pub(crate) fn deviations(kept: &CniResult, expected: &CniResult) -> Vec<String> {
    let mut deviations = Vec::new();
    for wanted in &expected.interfaces {
        match find(kept, wanted) {
            None => deviations.push(format!("prevResult lacks {}", named(wanted))),
            Some(found) => {
                if let (Some(kept), Some(ours)) = (&found.mac, &wanted.mac)
                    && !kept.eq_ignore_ascii_case(ours)
                {
                    deviations.push(format!("prevResult says {} has MAC {kept}, not {ours}", named(wanted)));
                }
            }
        }
    }
    for wanted in &expected.ips {
        let ip = wanted.address.ip();
        let holder = |ip: &IpConfig, result: &CniResult| {
            ip.interface.and_then(|index| result.interfaces.get(index)).map(|holder| holder.name.clone())
        };
        match kept.ips.iter().find(|kept| kept.address.ip() == ip) {
            None => deviations.push(format!("prevResult lacks address {ip}")),
            Some(found) => {
                let (theirs, ours) = (holder(found, kept), holder(wanted, expected));
                if let Some(theirs) = theirs.filter(|theirs| Some(theirs) != ours.as_ref()) {
                    deviations.push(format!("prevResult says {theirs} has address {ip}"));
                }
            }
        }
    }
    deviations
}

fn find<'a>(kept: &'a CniResult, wanted: &Interface) -> Option<&'a Interface> {
    let sandbox = |interface: &Interface| interface.sandbox.clone().unwrap_or_default();
    kept.interfaces.iter().find(|kept| kept.name == wanted.name && sandbox(kept) == sandbox(wanted))
}

fn named(interface: &Interface) -> String {
    let place = if interface.sandbox.is_some() { "in the pod" } else { "on the host" };
    format!("interface {} {place}", interface.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::blueprint;

    const NETNS: &str = "/run/netns/a";

    #[test]
    fn r1_r2_the_pods_interface_comes_first_and_the_hosts_has_no_sandbox() {
        let result = result(&[blueprint()], NETNS);
        let names: Vec<_> = result
            .interfaces
            .iter()
            .map(|interface| (interface.name.as_str(), interface.sandbox.as_deref()))
            .collect();
        assert_eq!(names[0], ("eth0", Some(NETNS)));
        assert!(names[1].0.starts_with("cali") && names[1].1.is_none(), "{names:?}");
        assert_eq!(names[2], ("veth1", Some(NETNS)));
        assert!(
            result.interfaces.iter().all(|interface| interface.mac.is_some() && interface.mtu == Some(1500))
        );
    }

    #[test]
    fn r4_r5_addresses_are_as_configured_and_name_their_interface() {
        let result = result(&[blueprint()], NETNS);
        let ips: Vec<_> = result.ips.iter().map(|ip| (ip.address.to_string(), ip.interface)).collect();
        assert_eq!(ips, [("10.0.1.5/32".to_owned(), Some(0)), ("fd00:1::5/128".to_owned(), Some(0))]);
        assert_eq!(result.ips[0].gateway, "10.0.1.253".parse().ok());
        let default = Route::new("0.0.0.0/0".parse().unwrap(), "10.0.1.253".parse().ok());
        assert!(result.routes.contains(&default));
    }

    #[test]
    fn c1_c2_what_others_add_is_no_deviation() {
        let expected = result(&[blueprint()], NETNS);
        let mut kept = expected.clone();
        kept.interfaces.insert(0, Interface { name: "other0".to_owned(), ..Interface::default() });
        for ip in &mut kept.ips {
            ip.interface = Some(1);
        }
        kept.ips.push(IpConfig {
            address: "192.168.0.2/24".parse().unwrap(),
            gateway: None,
            interface: Some(0),
        });
        assert_eq!(deviations(&kept, &expected), Vec::<String>::new());
    }

    #[test]
    fn c1_c3_whatever_of_ours_is_missing_or_changed_is_named() {
        let expected = result(&[blueprint()], NETNS);
        let mut kept = expected.clone();
        kept.interfaces[0].mac = Some("00:00:00:00:00:01".to_owned());
        kept.interfaces[1].sandbox = Some("/elsewhere".to_owned());
        kept.ips[0].interface = Some(2);
        kept.ips.remove(1);
        let all = deviations(&kept, &expected).join("; ");
        for part in [
            "interface eth0 in the pod has MAC 00:00:00:00:00:01",
            "lacks interface cali",
            "veth1 has address 10.0.1.5",
            "lacks address fd00:1::5",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
