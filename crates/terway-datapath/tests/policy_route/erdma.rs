//! Pods that use their ENI's RDMA device: the pod's end of the pair has the ENI's MAC, and nobody takes it for the ENI.
//! The node counts pairs of links as NICs here, so nothing but what the end says of itself tells the two apart.

use std::net::SocketAddr;

use terway_datapath::kernel::{Netlink, NicRule, find_nic};
use terway_datapath::names::{self, ENI_MAC_GROUP};
use terway_datapath::{Removal, remove};
use terway_types::IpFamily;

use crate::shared::{self, SharedEni};
use crate::talk::ask;
use crate::world::{Pod, World, similar};

fn pod(eni: &mut SharedEni, world: &World) -> Pod {
    let mut pod = eni.pod(world, &IpFamily::BOTH);
    pod.plan.erdma = true;
    pod
}

pub(crate) fn its_end_has_the_enis_mac() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 3);
    let (one, other, plain) =
        (pod(&mut eni, &world), pod(&mut eni, &world), eni.pod(&world, &IpFamily::BOTH));
    let layouts = [&one, &other, &plain].map(|pod| (pod, world.add(pod)));
    for (pod, layout) in &layouts {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    let said = one.ip("-d link show dev eth0");
    assert!(
        said.contains(&format!("link/ether {}", eni.mac)) && said.contains(&format!("group {ENI_MAC_GROUP}")),
        "{said}"
    );
    assert!(!plain.ip("link show dev eth0").contains(&eni.mac.to_string()));
    for (at, pod) in [&one, &other, &plain].into_iter().enumerate() {
        for to in ["10.0.1.100", "fd00:1::100"] {
            let at = SocketAddr::new(to.parse().unwrap(), 7000 + u16::try_from(at).unwrap());
            let own = if at.is_ipv4() {
                pod.plan.addresses.v4.map(Into::into)
            } else {
                pod.plan.addresses.v6.map(Into::into)
            };
            assert_eq!(Some(ask(&pod.netns, at, &world.vpc, at)), own);
        }
    }
    let end = |pod: &Pod| {
        let name = names::host_link("cali", &pod.key, &pod.reference);
        Netlink::open(&world.node).unwrap().link_by_name(&name).unwrap().unwrap().mac
    };
    let told = [&one, &other, &plain].map(|pod| names::is_for_erdma(end(pod), &pod.key));
    assert_eq!(told, [Some(true), Some(true), Some(false)]);
}

/// The daemon is away and the runtime hands over ADD's result: the pod's interface has the MAC of the ENI.
pub(crate) fn its_end_is_never_taken_for_the_eni() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let before = world.record();
    let pod = pod(&mut eni, &world);
    for rule in [&world.rule, &NicRule::default()] {
        world.add(&pod);
        let in_pod = Netlink::open(&pod.netns).unwrap().links().unwrap();
        assert!(find_nic(&in_pod, eni.mac, rule).is_err(), "{in_pod:?}");
        let removal = Removal { mac: Some(eni.mac), ..pod.removal() };
        let removed = remove(&removal, &world.node, Some(&pod.netns), rule).unwrap();
        assert_eq!((removed.nics, removed.links), (vec![], vec!["eth0".to_owned()]));
        similar(&before, &world.record());
    }
}

/// Somebody put such a link on the node: the ENI is found beside it all the same.
pub(crate) fn the_eni_is_found_beside_it() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    world
        .node(&format!("link add copy0 address {} group {ENI_MAC_GROUP} type veth peer name copy1", eni.mac));
    let pod = pod(&mut eni, &world);
    let layout = world.add(&pod);
    assert_eq!(layout.host.nics[0].name, "ens4");
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
}
