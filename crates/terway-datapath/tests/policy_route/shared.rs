//! ENIs that pods share, and pods on them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use terway_types::{Addresses, Datapath, Gateways, IfName, IpFamily, MacAddr};

use crate::sandbox::run;
use crate::world::{Eni, PATIENCE, Pod, UPLINK, World};

/// Pods of all worlds of this process have addresses and names of their own.
static PODS: AtomicU32 = AtomicU32::new(1);

/// The VPC's way to the IPv4 addresses of pods.
const SUBNET: &str = "route replace 10.0.16.0/20 dev br0";

/// An ENI on the node, and the addresses the VPC gave it that no pod has yet.
pub(crate) struct SharedEni {
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    free: Vec<(u32, Addresses)>,
}

/// The ENI with this number, bare and down as it was plugged in, with `count` addresses.
pub(crate) fn eni(world: &World, number: u8, count: u32) -> SharedEni {
    let (name, mac) = (format!("ens{number}"), MacAddr([0, 0x16, 0x3e, 0, 2, number]));
    let free = addresses(count);
    let own: Vec<_> = free.iter().map(|(_, pair)| *pair).collect();
    world.port(&name, mac, &own);
    world.vpc(SUBNET);
    SharedEni { name, mac, free }
}

/// The node's own NIC, which got further addresses: made anew with all of them.
pub(crate) fn uplink(world: &World, count: u32) -> SharedEni {
    let mac = MacAddr([0, 0x16, 0x3e, 0, 0, 9]);
    let free = addresses(count);
    let node = Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok());
    let own: Vec<_> = [node].into_iter().chain(free.iter().map(|(_, pair)| *pair)).collect();
    world.node("link del eth0");
    let vpc = world.vpc.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    run(&format!("ip netns exec {vpc} nft delete table netdev ports"));
    world.port("eth0", mac, &own);
    world.vpc(SUBNET);
    world.boot();
    // As every NIC has one; neighbours are asked with it.
    world.node("addr add fe80::9/64 dev eth0 nodad");
    SharedEni { name: "eth0".into(), mac, free }
}

fn addresses(count: u32) -> Vec<(u32, Addresses)> {
    let numbers = (0..count).map(|_| PODS.fetch_add(1, Ordering::Relaxed));
    numbers
        .map(|number| {
            let (high, low) = (number / 200, number % 200 + 1);
            let v4 = format!("10.0.{}.{low}", 16 + high).parse().ok();
            (number, Addresses::new(v4, format!("fd00:1::1:{number:x}").parse().ok()))
        })
        .collect()
}

impl SharedEni {
    /// A pod without network yet, and the plan that gives it an address of this ENI.
    pub(crate) fn pod(&mut self, world: &World, families: &[IpFamily]) -> Pod {
        let (number, addresses) = self.free.pop().expect("the ENI has an address left");
        let mut pod =
            world.sandbox(&format!("pod-{number}"), Eni { number, mac: self.mac, addresses }, families);
        pod.plan.datapath = Datapath::PolicyRoute;
        pod
    }

    /// A further interface of a pod, on this ENI.
    pub(crate) fn second(&mut self, pod: &Pod, name: &str) -> Pod {
        let (_, addresses) = self.free.pop().expect("the ENI has an address left");
        let mut plan = pod.plan.clone();
        plan.ifname = IfName::new(name).unwrap();
        (plan.mac, plan.addresses, plan.default_route) = (self.mac, addresses, false);
        Pod {
            name: pod.name.clone(),
            netns: pod.netns.clone(),
            key: pod.key.clone(),
            reference: pod.reference.clone(),
            eni: pod.eni,
            plan,
        }
    }

    /// The number of its table.
    pub(crate) fn table(&self, world: &World) -> u32 {
        let said = world.node(&format!("-j link show {}", self.name));
        let links: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        1000 + u32::try_from(links[0]["ifindex"].as_u64().unwrap()).unwrap()
    }
}

/// The same pod with its address from the VPC's route table instead of an ENI.
pub(crate) fn routed(mut pod: Pod) -> Pod {
    (pod.plan.datapath, pod.plan.mac) = (Datapath::VpcRoute, UPLINK);
    pod.plan.gateways = Gateways::default();
    pod
}

/// A recording without what stays changed of the node itself: the ENIs are up and have the addresses the kernel gives
/// a link that is up, and its switches. Ready to compare once a first pod has been there.
pub(crate) fn used(world: &World, eni: &mut SharedEni) {
    let first = eni.pod(world, &IpFamily::BOTH);
    world.add(&first);
    world.del(&first);
}

/// Waits until the links of pods whose namespaces died are gone from the node, and only these are left.
pub(crate) fn wait_for_pods(world: &World, left: usize) {
    let until = Instant::now() + PATIENCE;
    while world.node("-o link").matches("cali").count() > left {
        assert!(Instant::now() < until, "the pods' links stay: {}", world.node("-o link"));
        std::thread::yield_now();
    }
}
