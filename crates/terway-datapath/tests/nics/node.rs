//! A node in the guest's own namespace, with a card whose cable ends in a namespace that stands for the VPC. The
//! node's uplink is called `eth0`, as on most clouds: the name a pod's card has in the pod is taken at home.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use terway_datapath::kernel::{Link, Netlink, Netns, NicRule, find_nic};
use terway_datapath::{AttachmentContext, HostFacts, Layout, Removal, Removed};
use terway_types::{
    Addresses, AttachmentKey, ContainerId, Datapath, Gateways, IfName, InterfacePlan, IpFamily, MacAddr,
    NetworkName, PodRef, Subnets,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The guest's card `vec0` and, at the other end of its cable, `vec1`.
pub(crate) const CARD: MacAddr = MacAddr([0, 0x16, 0x3e, 0, 7, 0]);
const FAR_END: MacAddr = MacAddr([0, 0x16, 0x3e, 0, 7, 1]);

/// The node and its VPC. Everything made is gone with it, and the cards are where they were.
pub(crate) struct Node {
    pub(crate) host: Netns,
    vpc: Netns,
    pub(crate) rule: NicRule,
}

impl Node {
    pub(crate) fn new() -> Self {
        fs::create_dir_all("/run/netns").unwrap();
        let host = Netns::current().unwrap();
        let node =
            Self { host, vpc: Netns::create_named("/run/netns/vpc").unwrap(), rule: NicRule::default() };
        run("ip link add eth0 type veth peer name uplink netns vpc");
        run("ip -n vpc link set uplink up");
        run("ip link set eth0 addrgenmode none up");
        run("ip addr add 10.0.0.9/24 dev eth0");
        run("ip addr add fd00::9/64 dev eth0 nodad");
        run("ip route add default via 10.0.0.253");
        run("ip route add default via fd00::fffd dev eth0");
        run(&format!("ip link set {} netns vpc name port0", node.find(FAR_END).name));
        run("ip -n vpc link set port0 addrgenmode none up");
        run("ip -n vpc addr add 10.0.1.253/24 dev port0");
        run("ip -n vpc addr add fd00:1::fffd/64 dev port0 nodad");
        node
    }

    /// The card with this MAC, by the rule under test.
    pub(crate) fn find(&self, mac: MacAddr) -> Link {
        let links = Netlink::open(&self.host).unwrap().links().unwrap();
        find_nic(&links, mac, &self.rule).unwrap().clone()
    }

    pub(crate) fn add(&self, pod: &Pod) -> Layout {
        let facts = HostFacts::observe(&self.host, [IpFamily::V4, IpFamily::V6]).unwrap();
        let layout = terway_datapath::layout(&pod.plan(), &pod.key, &pod.reference(), &facts).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let context = AttachmentContext {
            host: &self.host,
            pod: &pod.netns,
            rule: &self.rule,
            nic_index: None,
            deadline,
            before_step: None,
        };
        terway_datapath::apply(&layout, &context).unwrap();
        layout
    }

    pub(crate) fn check(&self, pod: &Pod, layout: &Layout) -> Vec<String> {
        let observed = terway_datapath::observe(layout, &self.host, &pod.netns).unwrap();
        terway_datapath::diff(layout, &observed).iter().map(ToString::to_string).collect()
    }

    pub(crate) fn del(&self, key: &AttachmentKey, pod: Option<&Netns>) -> Removed {
        let removal =
            Removal { key: key.clone(), mac: Some(CARD), addresses: Vec::new(), host_links: Vec::new() };
        terway_datapath::remove(&removal, &self.host, pod, &self.rule).unwrap()
    }

    /// A datagram from the pod to the VPC's gateway and back, in both families.
    pub(crate) fn speaks(&self, pod: &Pod) {
        for (inside, outside) in
            [("10.0.1.1:7000", "10.0.1.253:7000"), ("[fd00:1::1]:7000", "[fd00:1::fffd]:7000")]
        {
            let (one, other) = (bind(&pod.netns, inside), bind(&self.vpc, outside));
            one.send_to(b"there", outside).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = other.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"there"[..], inside.parse::<SocketAddr>().unwrap()));
            other.send_to(b"back", from).unwrap();
            assert_eq!(one.recv_from(&mut buffer).unwrap().0, 4);
        }
    }
}

/// The card's line of `ip -o link` once it is at home.
pub(crate) fn card_at_home() -> String {
    let mac = CARD.to_string();
    eventually(|| run("ip -o link").lines().find(|line| line.contains(&mac)).map(str::to_owned))
}

impl Drop for Node {
    fn drop(&mut self) {
        for line in ["ip -n vpc link set port0 netns 1 name vec1", "ip link del eth0", "ip netns del vpc"] {
            // After a test that failed, what is left need not look like this.
            _ = Command::new("sh").args(["-c", line]).output();
        }
    }
}

fn bind(netns: &Netns, address: &str) -> UdpSocket {
    let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A sandbox that wants the card under some name.
pub(crate) struct Pod {
    pub(crate) name: &'static str,
    pub(crate) netns: Netns,
    pub(crate) key: AttachmentKey,
}

impl Pod {
    pub(crate) fn new(name: &'static str, ifname: &str) -> Self {
        let key = AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new(name).unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        };
        Self { name, netns: Netns::create_named(format!("/run/netns/{name}")).unwrap(), key }
    }

    /// The runtime deletes the namespace.
    pub(crate) fn die(self) -> AttachmentKey {
        Netns::remove_named(format!("/run/netns/{}", self.name)).unwrap();
        self.key
    }

    fn reference(&self) -> PodRef {
        PodRef { namespace: "default".into(), name: self.name.into(), uid: None }
    }

    /// Without the pair to the node: it wants nf_tables, which not every kernel of the lab has.
    fn plan(&self) -> InterfacePlan {
        InterfacePlan {
            ifname: self.key.ifname.clone(),
            datapath: Datapath::Exclusive,
            eni: None,
            mac: CARD,
            addresses: Addresses::new("10.0.1.1".parse().ok(), "fd00:1::1".parse().ok()),
            subnets: Subnets::new("10.0.1.0/24".parse().ok(), "fd00:1::/64".parse().ok()),
            gateways: Gateways::new("10.0.1.253".parse().ok(), "fd00:1::fffd".parse().ok()),
            eni_gateways: Gateways::new("10.0.1.253".parse().ok(), "fd00:1::fffd".parse().ok()),
            default_route: true,
            extra_routes: vec![],
            service_cidrs: vec![],
            host_stack_cidrs: vec![],
            host_peer: false,
            host_prefix: "cali".into(),
            own_table: false,
            mtu: 1500,
            ingress: None,
            egress: None,
            nic_kinds: vec![],
        }
    }
}

/// Runs a command line and gives its output. Fails the test with what it said if it fails.
pub(crate) fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `look` finds, looked for again and again: a dying namespace tells nobody when it is gone.
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}; links: {}", run("ip -o link"));
        std::thread::yield_now();
    }
}
