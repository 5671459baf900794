//! Pods that use their ENI's RDMA device: the pod's end of the pair has the ENI's MAC, and nobody takes it for the ENI.
//! The node counts pairs of links as NICs here, so nothing but what the end says of itself tells the two apart.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use terway_datapath::kernel::{Netlink, Netns, NicRule, SmcEntry, SmcMember, SmcTable, find_nic};
use terway_datapath::names::{self, ENI_MAC_GROUP};
use terway_datapath::{ApplyError, Layout, Removal, Step, apply, remove};
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

/// The pod's entry in SMC-R's table comes and goes with its link, also where the ADD fails; nobody else's is touched. The
/// kernel takes entries of devices in the first namespace only, which the node is not here.
pub(crate) fn its_link_is_of_the_devices_network() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = pod(&mut eni, &world);
    let table = || SmcTable::open(&pod.netns).unwrap().unwrap();
    let entry = |network: &str, link: &str| SmcEntry {
        network: network.into(),
        member: SmcMember::Link(link.into()),
    };
    pod.ip("link add other0 type veth peer name other1");
    table().add(&entry("0", "other0")).unwrap();
    let there = table().entries().unwrap();

    let mut layout = world
        .layout_with(&pod, |facts| facts.find_rdma(&node_with_device(&eni), &world.node, eni.mac).unwrap());
    assert_eq!(layout.host.smc.len(), 1);
    let before = (world.record(), pod.record());
    let undone = |layout: &Layout, stop: Step| {
        let stopping = |step| {
            let made = table().entries().unwrap().contains(&entry("0", "eth0"));
            assert_eq!(made, step > Step::Pod, "{step}");
            if step == stop { Err("as asked".to_owned()) } else { Ok(()) }
        };
        let error = apply(layout, &world.context(&pod, Some(&stopping))).unwrap_err();
        assert!(matches!(error, ApplyError::Step { undo: None, .. }), "{error:?}");
        assert_eq!(table().entries().unwrap(), there);
        similar(&before.0, &world.record());
        similar(&before.1, &pod.record());
    };
    layout.host.smc.clear();
    for stop in [Step::Pod, Step::Host, Step::Loopback] {
        undone(&layout, stop);
    }
    apply(&layout, &world.context(&pod, None)).unwrap();
    assert_eq!(table().entries().unwrap(), [&there[..], &[entry("0", "eth0")]].concat());
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    assert!(table().add(&entry("0", "eth0")).unwrap_err().is_exists());
    table().remove("0").unwrap();
    assert_eq!(world.check(&pod, &layout), ["pod: SMC network 0 of link eth0 is missing"]);
    table().add(&entry("7", "eth0")).unwrap();
    assert_eq!(world.check(&pod, &layout), ["pod: SMC network 0 of link eth0 has network 7 instead of 0"]);
    table().add(&entry("7", "other0")).unwrap();
    world.del(&pod);
    assert_eq!(table().entries().unwrap(), [entry("7", "other0")]);
    let elsewhere = SmcTable::open(&world.node).unwrap().unwrap().entries().unwrap();
    assert_eq!(elsewhere, [], "each namespace has its own");
}

/// In the first namespace of a guest.
pub(crate) fn a_device_is_of_its_network(first: &Netns) {
    let mut table = SmcTable::open(first).unwrap().unwrap();
    let of = |network: &str, device: &str| SmcEntry {
        network: network.into(),
        member: SmcMember::Device(device.into()),
    };
    for entry in [of("0", "erdma_0"), of("10", "erdma_10")] {
        table.add(&entry).unwrap();
        assert!(table.entries().unwrap().contains(&entry));
    }
    assert!(table.add(&of("0", "erdma_0")).unwrap_err().is_exists());
    table.remove("0").unwrap();
    assert_eq!(table.entries().unwrap(), [of("10", "erdma_10")]);
    table.remove("10").unwrap();
}

/// The root folder of a node that has the ENI's device.
fn node_with_device(eni: &SharedEni) -> PathBuf {
    let root = PathBuf::from(format!("/run/root-of-{}", eni.mac.hex()));
    let device = root.join("sys/class/infiniband/erdma_0");
    fs::create_dir_all(&device).unwrap();
    let guid: Vec<_> =
        eni.mac.eui64().chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
    fs::write(device.join("node_guid"), guid.join(":") + "\n").unwrap();
    root
}
