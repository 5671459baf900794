//! From the daemon's answer and the configuration to what shall be built: one plan per interface.

use terway_rpc::{InterfaceParts, datapath, wire};
use terway_types::{AttachmentKey, Bandwidth, Datapath, Fault, FaultCode, InterfacePlan, MacAddr};

use crate::netconf::Options;

/// The plans of an answer to `AllocIP` or `GetIPInfo`; the runtime's own interface comes first. An answer
/// without interfaces is for the caller to judge.
pub(crate) fn plans(
    kind: i32,
    interfaces: &[wire::Interface],
    key: &AttachmentKey,
    options: &Options,
) -> Result<Vec<InterfacePlan>, Fault> {
    let unusable = |error: &dyn std::error::Error| {
        Fault::new(FaultCode::PlanInvalid, format!("terwayd's answer for {key} is unusable")).caused_by(error)
    };
    let datapath = datapath(kind).map_err(|error| unusable(&error))?;
    let mut plans = Vec::with_capacity(interfaces.len());
    for interface in interfaces {
        let parts = InterfaceParts::try_from(interface).map_err(|error| unusable(&error))?;
        if let Some(vf) = parts.vf.filter(|_| datapath != Datapath::Exclusive) {
            let what = format!(
                "terwayd's answer for {key} gives virtual function {vf} to a pod without an ENI of its own"
            );
            return Err(Fault::new(FaultCode::PlanInvalid, what));
        }
        let own_table = interfaces.len() > 1 || !is_first(key, options);
        plans.push(InterfacePlan { own_table, ..plan(parts, datapath, key, options) });
    }
    check_names(&plans, key)?;
    check_default_routes(&plans, key)?;
    let (mut plans, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.ifname == key.ifname);
    plans.extend(others);
    Ok(plans)
}

/// The ENIs of an answer that are virtual functions, with the hardware addresses they shall have.
pub(crate) fn virtual_functions(interfaces: &[wire::Interface]) -> Vec<(u32, MacAddr)> {
    let parts = interfaces.iter().filter_map(|interface| InterfaceParts::try_from(interface).ok());
    parts.filter_map(|parts| Some((parts.vf?, parts.mac))).collect()
}

/// Where the node last saw the netdevs of ENIs, by index: a hint that spares a look at all links.
pub(crate) fn seen_at(interfaces: &[wire::Interface]) -> Vec<(MacAddr, u32)> {
    let enis = interfaces.iter().filter_map(|interface| interface.eni.as_ref());
    enis.filter_map(|eni| Some((eni.mac.parse().ok()?, eni.link_index)))
        .filter(|(_, index)| *index > 0)
        .collect()
}

/// The name runtimes give to a pod's first interface.
const FIRST: &str = "eth0";

/// Whether this network leads the pod to everywhere: the default route and the node's services are its own. Of several
/// networks of a pod one can; unless the configuration says which, it is the one on `eth0`.
fn is_first(key: &AttachmentKey, options: &Options) -> bool {
    options.default_route.unwrap_or(key.ifname.as_str() == FIRST)
}

fn plan(parts: InterfaceParts, datapath: Datapath, key: &AttachmentKey, options: &Options) -> InterfacePlan {
    // A limit of the runtime goes over one of the daemon, as existing installations have it.
    let limit = |ours: Option<Bandwidth>, theirs: Option<u64>| {
        ours.or(theirs.map(|bytes_per_second| Bandwidth { bytes_per_second, burst_bytes: None }))
    };
    // A member of a trunk is one whatever kind of answer it comes in.
    let datapath = match (parts.vlan, datapath) {
        (Some(id), Datapath::PolicyRoute) if !options.vlan_links => Datapath::VlanTag { id },
        (Some(id), _) => Datapath::Vlan { id },
        (None, Datapath::PolicyRoute) => options.virtual_type.datapath(),
        (None, other) => other,
    };
    InterfacePlan {
        ifname: parts.ifname.unwrap_or_else(|| key.ifname.clone()),
        datapath,
        eni: parts.eni,
        mac: parts.mac,
        addresses: parts.addresses,
        subnets: parts.subnets,
        gateways: parts.gateways,
        eni_gateways: parts.eni_gateways,
        default_route: parts.default_route && is_first(key, options),
        extra_routes: parts.extra_routes,
        service_cidrs: parts.service_cidrs,
        host_stack_cidrs: options.host_stack_cidrs.clone(),
        host_peer: options.host_peer && is_first(key, options),
        host_prefix: options.veth_prefix.clone(),
        own_table: false,
        mtu: options.mtu,
        ingress: limit(options.ingress, parts.ingress),
        egress: limit(options.egress, parts.egress),
        queueing: options.queueing.of_interface(datapath, parts.class),
        erdma: parts.erdma,
        nic_kinds: parts.nic_kinds,
    }
}

/// Each name once, and the one the runtime asked for among them: runtimes look for their pod's address
/// under it.
fn check_names(plans: &[InterfacePlan], key: &AttachmentKey) -> Result<(), Fault> {
    let refuse = |what| Err(Fault::new(FaultCode::PlanInvalid, what));
    if plans.is_empty() {
        return Ok(());
    }
    for (at, plan) in plans.iter().enumerate() {
        if plans[..at].iter().any(|other| other.ifname == plan.ifname) {
            return refuse(format!("terwayd's answer for {key} has interface {} twice", plan.ifname));
        }
    }
    if !plans.iter().any(|plan| plan.ifname == key.ifname) {
        return refuse(format!("terwayd's answer for {key} lacks interface {}", key.ifname));
    }
    Ok(())
}

/// A pod leaves by one interface where nothing says otherwise.
fn check_default_routes(plans: &[InterfacePlan], key: &AttachmentKey) -> Result<(), Fault> {
    let mut with = plans.iter().filter(|plan| plan.default_route).map(|plan| &plan.ifname);
    match (with.next(), with.next()) {
        (Some(one), Some(two)) => {
            let what = format!("terwayd's answer for {key} has two default routes, of {one} and of {two}");
            Err(Fault::new(FaultCode::PlanInvalid, what)
                .remedy("say defaultRoute for one network of k8s.aliyun.com/pod-networks-request only"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::fixture::{conf, go_interface, interface, key, options};
    use crate::queueing::Asked;

    const EXCLUSIVE: i32 = wire::AttachmentType::TypeVpceni as i32;

    fn plans_of(interfaces: &[wire::Interface]) -> Result<Vec<InterfacePlan>, Fault> {
        plans(EXCLUSIVE, interfaces, &key(), &options())
    }

    #[test]
    fn a_go_daemons_answer_is_enough() {
        let plans = plans_of(&[go_interface()]).unwrap();
        assert_eq!(plans[0].ifname.as_str(), "eth0", "no name means CNI_IFNAME");
        assert_eq!(plans[0].eni, None);
        assert!(plans[0].nic_kinds.is_empty());
        assert_eq!(plans[0].gateways.v4, "10.0.1.253".parse().ok());
    }

    #[test]
    fn the_configurations_part_is_joined_in() {
        let options = Options {
            host_stack_cidrs: vec!["169.254.20.10/32".parse().unwrap()],
            default_route: None,
            virtual_type: crate::virtual_type::VirtualType::Veth,
            require_virtual_type: false,
            vlan_links: false,
            host_peer: false,
            veth_prefix: "veth".to_owned(),
            mtu: 8500,
            auto_mtu: false,
            allocate_timeout: std::time::Duration::from_secs(110),
            ingress: Some(Bandwidth { bytes_per_second: 7, burst_bytes: None }),
            egress: None,
            queueing: Asked::default(),
        };
        let mut answer = interface();
        answer.pod = Some(wire::PodInfo { ingress: 1, egress: 2, ..Default::default() });
        let plan = plans(EXCLUSIVE, &[answer], &key(), &options).unwrap().remove(0);
        assert_eq!((plan.mtu, plan.host_peer, plan.host_stack_cidrs.len()), (8500, false, 1));
        assert_eq!(plan.host_prefix, "veth");
        assert_eq!(plan.ingress.unwrap().bytes_per_second, 7, "the runtime's limit wins");
        assert_eq!(plan.egress.unwrap().bytes_per_second, 2, "the daemon's holds where it has none");
    }

    #[test]
    fn of_several_networks_of_a_pod_one_leads_everywhere() {
        let plan = |ifname: &str, default_route| {
            let key = crate::fixture::key_of("terway", "c0ffee", ifname);
            let plan = plans(EXCLUSIVE, &[interface()], &key, &Options { default_route, ..options() });
            let plan = plan.unwrap().remove(0);
            (plan.default_route, plan.host_peer, plan.own_table)
        };
        assert_eq!(plan("eth0", None), (true, true, false));
        assert_eq!(plan("net1", None), (false, false, true), "not unless asked");
        assert_eq!(plan("net1", Some(true)), (true, true, false));
        assert_eq!(plan("eth0", Some(false)), (false, false, true));
    }

    #[test]
    fn two_default_routes_are_refused() {
        let second = wire::Interface { ifname: "eth1".to_owned(), ..interface() };
        let fault = plans_of(&[interface(), second]).unwrap_err();
        assert_eq!(fault.code, FaultCode::PlanInvalid);
        assert!(fault.what.contains("two default routes, of eth0 and of eth1"), "{fault}");
    }

    /// A further interface as the control plane describes it.
    fn second() -> wire::Interface {
        wire::Interface { ifname: "eth1".to_owned(), default_route: false, ..interface() }
    }

    #[test]
    fn the_runtimes_interface_comes_first() {
        let second = second();
        let names: Vec<_> =
            plans_of(&[second, interface()]).unwrap().iter().map(|plan| plan.ifname.to_string()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
    }

    #[test]
    fn names_are_unique_and_the_runtimes_is_there() {
        let named = |name: &str| wire::Interface { ifname: name.to_owned(), ..interface() };
        for (interfaces, word) in
            [(vec![named(""), named("eth0")], "twice"), (vec![named("eth1")], "lacks interface eth0")]
        {
            let fault = plans_of(&interfaces).unwrap_err();
            assert_eq!(fault.code, FaultCode::PlanInvalid);
            assert!(fault.what.contains(word), "{fault}");
        }
        assert_eq!(plans_of(&[]), Ok(vec![]));
    }

    #[test]
    fn several_interfaces_get_tables_of_their_own() {
        assert!(plans_of(&[second(), interface()]).unwrap().iter().all(|plan| plan.own_table));
        assert!(!plans_of(&[interface()]).unwrap()[0].own_table);
    }

    #[test]
    fn an_address_of_a_shared_eni_is_routed_by_policy() {
        let shared = wire::AttachmentType::TypeEniMultiIp as i32;
        let plan = plans(shared, &[interface()], &key(), &options()).unwrap().remove(0);
        assert_eq!(plan.datapath, Datapath::PolicyRoute);
    }

    #[test]
    fn members_of_trunks_get_tags_or_links() {
        let mut member = interface();
        let eni = member.eni.as_mut().unwrap();
        (eni.trunk, eni.vlan_id) = (true, 7);
        eni.gateway = Some(wire::AddressPair { ipv4: "10.0.9.253".to_owned(), ipv6: String::new() });
        let shared = wire::AttachmentType::TypeEniMultiIp as i32;
        let plan = |kind, text: &str| {
            let options = Options::read(&conf(&json!({ "vlan_strip_type": text }))).unwrap();
            plans(kind, &[member.clone()], &key(), &options).unwrap().remove(0)
        };
        for (kind, text, wanted) in [
            (shared, "", Datapath::VlanTag { id: 7 }),
            (shared, "Filter", Datapath::VlanTag { id: 7 }),
            (shared, "vlan", Datapath::Vlan { id: 7 }),
            (EXCLUSIVE, "", Datapath::Vlan { id: 7 }),
        ] {
            assert_eq!(plan(kind, text).datapath, wanted, "{kind} {text:?}");
        }
        let plan = plan(shared, "");
        assert_eq!(
            (plan.gateways.v4, plan.eni_gateways.v4),
            ("10.0.1.253".parse().ok(), "10.0.9.253".parse().ok())
        );
        assert_eq!(plan.eni_gateways.v6, plan.gateways.v6, "not told");
    }

    #[test]
    fn an_address_of_the_nodes_range_is_routed_by_the_vpc_whatever_the_virtual_type() {
        let options = Options {
            virtual_type: crate::virtual_type::VirtualType::Ipvlan(terway_datapath::kernel::IpvlanMode::L2),
            ..options()
        };
        let routed = wire::AttachmentType::TypeVpcip as i32;
        let plan = plans(routed, &[interface()], &key(), &options).unwrap().remove(0);
        assert_eq!(plan.datapath, Datapath::VpcRoute);
    }

    #[test]
    fn other_data_paths_and_broken_values_are_refused_by_name() {
        assert!(plans(9, &[interface()], &key(), &options()).unwrap_err().cause.contains("type is 9"));
        let mut function = interface();
        function.eni.as_mut().unwrap().vf_id = Some(3);
        for kind in [wire::AttachmentType::TypeEniMultiIp, wire::AttachmentType::TypeVpcip] {
            let fault = plans(kind as i32, &[function.clone()], &key(), &options()).unwrap_err();
            assert!(fault.what.contains("virtual function 3"), "{fault}");
        }
        assert_eq!(virtual_functions(&[function]), [(3, "00:16:3e:01:02:03".parse().unwrap())]);
        let mut broken = interface();
        broken.eni.as_mut().unwrap().mac = "ff:ff:ff:ff:ff:ff".to_owned();
        assert!(plans_of(&[broken]).unwrap_err().cause.contains("eni.mac"));
    }
}
