//! One of two nodes in a guest's own namespace: `vec0` is an ENI for one pod, `vec1` one that stays, a trunk or shared.
//! Both lead to the other node's.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::{HostFacts, Layout, Removal};
use terway_types::{Addresses, AttachmentKey, Datapath, InterfacePlan, IpFamily, MacAddr, PodRef};

use crate::plan::{key, plan};
use crate::verbs;

/// Longest wait for the kernel.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last number of gateways' addresses.
pub(crate) const GATEWAY: u8 = 253;

pub(crate) struct Node {
    /// 1 or 2.
    number: u8,
    host: Netns,
    rule: NicRule,
}

pub(crate) struct Pod {
    name: &'static str,
    datapath: Datapath,
    pub(crate) netns: Netns,
    key: AttachmentKey,
}

impl Node {
    /// With a NIC of its own that leads nowhere.
    pub(crate) fn new(number: u8) -> Self {
        fs::create_dir_all("/run/netns").unwrap();
        run("ip link set lo up");
        run("ip link add eth0 type veth peer name uplink");
        run("ip link set uplink up");
        run("ip link set eth0 addrgenmode none up");
        run(&format!("ip addr add 10.0.0.{number}/24 dev eth0"));
        run(&format!("ip addr add fd00::{number}/64 dev eth0 nodad"));
        run("ip route add default via 10.0.0.253");
        run("ip route add default via fd00::fffd dev eth0");
        Self { number, host: Netns::current().unwrap(), rule: NicRule::default() }
    }

    fn mac(&self, pod: &Pod) -> MacAddr {
        mac(self.number, pod.datapath)
    }

    /// Without source translation, which not every kernel of the lab has: nothing leaves by the node's own NIC.
    pub(crate) fn add(&self, pod: &Pod) -> Layout {
        let plan = pod.plan(self.number, self.mac(pod));
        let mut facts = HostFacts::observe(&self.host, IpFamily::BOTH).unwrap();
        if pod.datapath != Datapath::Exclusive {
            facts.find_nic(&self.host, plan.mac, &self.rule, None, Instant::now() + PATIENCE).unwrap();
        }
        let reference = PodRef { namespace: "default".into(), name: pod.name.into(), uid: None };
        let mut layout = terway_datapath::layout(&plan, &pod.key, &reference, &facts).unwrap();
        layout.host.source_nat.clear();
        let context = verbs::context(&self.host, &pod.netns, &self.rule, PATIENCE);
        terway_datapath::apply(&layout, &context).unwrap();
        layout
    }

    pub(crate) fn check(&self, pod: &Pod, layout: &Layout) -> Vec<String> {
        verbs::check(layout, &self.host, &pod.netns)
    }

    pub(crate) fn del(&self, pod: Pod) {
        let addresses = pod.plan(self.number, self.mac(&pod)).addresses.iter().collect();
        let mac = (pod.datapath == Datapath::Exclusive).then(|| self.mac(&pod));
        let removal = Removal { key: pod.key, mac, addresses, host_links: Vec::new() };
        let removed = terway_datapath::remove(&removal, &self.host, Some(&pod.netns), &self.rule).unwrap();
        assert_eq!(removed.nics, Vec::from_iter(mac));
        Netns::remove_named(format!("/run/netns/{}", pod.name)).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After a test that failed, what is left need not look like this.
        _ = Command::new("ip").args(["link", "del", "eth0"]).output();
    }
}

impl Pod {
    pub(crate) fn new(name: &'static str, datapath: Datapath) -> Self {
        let key = key(name);
        Self { name, datapath, netns: Netns::create_named(format!("/run/netns/{name}")).unwrap(), key }
    }

    fn plan(&self, node: u8, mac: MacAddr) -> InterfacePlan {
        let gateways = addresses(self.datapath, GATEWAY);
        InterfacePlan {
            datapath: self.datapath,
            gateways,
            eni_gateways: gateways,
            ..plan(&self.key, mac, subnet(self.datapath).into(), addresses(self.datapath, node))
        }
    }
}

/// The ENI of a node for such pods.
pub(crate) fn mac(node: u8, datapath: Datapath) -> MacAddr {
    let card = u8::from(datapath != Datapath::Exclusive);
    MacAddr([0, 0x16, 0x3e, 0, 7, 0x10 * node + card])
}

/// The number in the addresses of such pods.
pub(crate) fn subnet(datapath: Datapath) -> u8 {
    match datapath {
        Datapath::Exclusive => 1,
        Datapath::Ipvlan => 2,
        Datapath::PolicyRoute => 3,
        Datapath::Vlan { .. } => 7,
        Datapath::VpcRoute => 8,
        Datapath::VlanTag { .. } => 9,
        Datapath::IpvlanL3s => 10,
    }
}

/// The addresses of such a pod on a node; the gateway's are those of the node 253.
pub(crate) fn addresses(datapath: Datapath, node: u8) -> Addresses {
    let subnet = subnet(datapath);
    let v6 = Ipv6Addr::new(0xfd00, subnet.into(), 0, 0, 0, 0, 0, node.into());
    Addresses::new(Some(Ipv4Addr::new(10, 0, subnet, node)), Some(v6))
}

/// Runs a command line. Fails the test with what it said if it fails.
pub(crate) fn run(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` failed: {said}");
}
