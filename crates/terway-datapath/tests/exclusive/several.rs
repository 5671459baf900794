//! Pods with several ENIs, all of one vSwitch: further interfaces of one attachment, and further networks.

use std::net::{IpAddr, SocketAddr};

use terway_datapath::{ApplyError, apply};
use terway_types::{FaultCode, IfName, IpFamily::V4, IpFamily::V6};

use crate::talk::{ask, translate};
use crate::world::{Pod, World, similar};

/// The same pod with another ENI, called so.
fn further(world: &World, pod: &Pod, ifname: &str) -> Pod {
    let eni = world.eni();
    let mut plan = pod.plan.clone();
    plan.ifname = IfName::new(ifname).unwrap();
    (plan.mac, plan.addresses, plan.own_table) = (eni.mac, eni.addresses, true);
    (plan.default_route, plan.host_peer) = (false, false);
    let (name, netns) = (pod.name.clone(), pod.netns.clone());
    Pod { name, netns, key: pod.key.clone(), reference: pod.reference.clone(), eni, plan }
}

/// An attachment of another network.
fn of_another_network(world: &World, pod: &Pod, ifname: &str) -> Pod {
    let mut other = further(world, pod, ifname);
    other.key.ifname = other.plan.ifname.clone();
    other
}

/// Whoever asks an address of the pod from outside hears that address; the node, a service and everybody are reached.
fn all_speak(world: &World, pods: &[&Pod]) {
    for (family, node, service) in [(V4, "10.0.0.9", "172.16.0.10"), (V6, "fd00::9", "fd00:172::10")] {
        let of = |pod: &Pod| pod.eni.addresses.get(family).unwrap();
        for pod in pods {
            let at = SocketAddr::new(of(pod), 7001);
            ask(&world.vpc, at, &pod.netns, at);
        }
        let (node, service): (IpAddr, IpAddr) = (node.parse().unwrap(), service.parse().unwrap());
        let [first, ..] = pods else { panic!("a pod has an interface") };
        let at = SocketAddr::new(node, 7002);
        assert_eq!(ask(&first.netns, at, &world.node, at), of(first), "pod to node");
        translate(&world.node, service, 81, SocketAddr::new(node, 8081));
        let (service, backend) = (SocketAddr::new(service, 81), SocketAddr::new(node, 8081));
        assert_eq!(ask(&first.netns, service, &world.node, backend), of(first), "pod to service");
    }
}

pub(crate) fn interfaces_of_one_attachment() {
    let world = World::new();
    let mut first = world.pod(&[V4, V6]);
    first.plan.own_table = true;
    let mut second = further(&world, &first, "eth1");
    second.plan.extra_routes = vec!["10.0.0.253/32".parse().unwrap(), "fd00::fffd/128".parse().unwrap()];
    let layouts = [world.add(&first), world.add(&second)];
    for (pod, layout) in [&first, &second].into_iter().zip(&layouts) {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    all_speak(&world, &[&first, &second]);
    for (family, extra) in [(V4, "10.0.0.253"), (V6, "fd00::fffd")] {
        let at = SocketAddr::new(extra.parse().unwrap(), 7003);
        let seen = ask(&first.netns, at, &world.vpc, at);
        assert_eq!(Some(seen), second.eni.addresses.get(family), "an extra route");
    }
}

pub(crate) fn networks_of_one_pod() {
    let world = World::new();
    let first = world.pod(&[V4, V6]);
    let layout = world.add(&first);
    let second = of_another_network(&world, &first, "net1");
    let before = first.record();
    let others = world.add(&second);
    assert_eq!(world.check(&second, &others), Vec::<String>::new());
    assert_eq!(world.check(&first, &layout), Vec::<String>::new());
    all_speak(&world, &[&first, &second]);
    let removed = world.del(&second);
    assert_eq!(removed.nics, [second.eni.mac]);
    similar(&before, &first.record());
    assert_eq!(world.check(&first, &layout), Vec::<String>::new());
}

pub(crate) fn a_second_default_route_is_refused() {
    let world = World::new();
    let first = world.pod(&[V4, V6]);
    world.add(&first);
    let mut second = of_another_network(&world, &first, "net1");
    second.plan.default_route = true;
    let before = (first.record(), world.record());
    let error = apply(&world.layout(&second), &world.context(&second, None)).unwrap_err();
    assert!(matches!(&error, ApplyError::DefaultRouteTaken { holder, .. } if holder == "eth0"), "{error:?}");
    let fault = error.fault();
    assert_eq!(fault.code, FaultCode::PlanInvalid);
    assert!(fault.remedy.contains("default_route to false"), "{fault}");
    similar(&before.0, &first.record());
    similar(&before.1, &world.record());
}

pub(crate) fn a_name_that_is_taken_is_refused() {
    let world = World::new();
    let first = world.pod(&[V4, V6]);
    world.add(&first);
    let clash = of_another_network(&world, &first, "veth1");
    let before = (first.record(), world.record());
    let error = apply(&world.layout(&clash), &world.context(&clash, None)).unwrap_err();
    assert_eq!(error.to_string(), "the pod has a link named veth1 already");
    similar(&before.0, &first.record());
    similar(&before.1, &world.record());
}
