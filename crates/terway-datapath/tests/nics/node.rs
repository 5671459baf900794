//! A node in the guest's own namespace, with a card whose cable ends in a namespace that stands for the VPC. The
//! node's uplink is called `eth0`, as on most clouds: the name a pod's card has in the pod is taken at home.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use terway_datapath::kernel::{Link, Netlink, Netns, NicRule, find_nic};
use terway_datapath::{ApplyError, HostFacts, Layout, Removal, Removed};
use terway_types::{Addresses, AttachmentKey, IfName, InterfacePlan, IpFamily, MacAddr, PodRef};

use crate::card::Card;
use crate::plan::{key, plan};
use crate::verbs;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The node and its VPC. Everything made is gone with it, and the guest's cards are where they were.
pub(crate) struct Node {
    uplink: &'static str,
    pub(crate) card: Card,
    pub(crate) host: Netns,
    vpc: Netns,
    pub(crate) rule: NicRule,
}

impl Node {
    pub(crate) fn new(card: Card) -> Self {
        Self::with_uplink("eth0", card)
    }

    pub(crate) fn with_uplink(uplink: &'static str, card: Card) -> Self {
        fs::create_dir_all("/run/netns").unwrap();
        let host = Netns::current().unwrap();
        let vpc = Netns::create_named("/run/netns/vpc").unwrap();
        let node = Self { uplink, card, host, vpc, rule: NicRule::default() };
        run(&format!("ip link add {uplink} type veth peer name uplink netns vpc"));
        run("ip -n vpc link set uplink up");
        run(&format!("ip link set {uplink} addrgenmode none up"));
        run(&format!("ip addr add 10.0.0.9/24 dev {uplink}"));
        run(&format!("ip addr add fd00::9/64 dev {uplink} nodad"));
        run("ip route add default via 10.0.0.253");
        run(&format!("ip route add default via fd00::fffd dev {uplink}"));
        card.arrive();
        run(&format!("ip link set {} netns vpc name port0", node.find(card.far()).name));
        card.connect();
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
        self.try_add(pod, PATIENCE).unwrap()
    }

    pub(crate) fn try_add(&self, pod: &Pod, patience: Duration) -> Result<Layout, ApplyError> {
        let facts = HostFacts::observe(&self.host, IpFamily::BOTH).unwrap();
        let plan = pod.plan(self.card.mac());
        let layout = terway_datapath::layout(&plan, &pod.key, &pod.reference(), &facts).unwrap();
        let context = verbs::context(&self.host, &pod.netns, &self.rule, patience);
        terway_datapath::apply(&layout, &context).map(|_| layout)
    }

    pub(crate) fn check(&self, pod: &Pod, layout: &Layout) -> Vec<String> {
        verbs::check(layout, &self.host, &pod.netns)
    }

    pub(crate) fn del(&self, key: &AttachmentKey, pod: Option<&Netns>) -> Removed {
        let (mac, key) = (Some(self.card.mac()), key.clone());
        let removal = Removal { key, mac, addresses: Vec::new(), host_links: Vec::new() };
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

    /// The card's line of `ip -o link` once it is at home. What it is connected to (`@if7`) is left out.
    pub(crate) fn card_at_home(&self) -> String {
        let mac = self.card.mac().to_string();
        let line =
            eventually(|| run("ip -o link").lines().find(|line| line.contains(&mac)).map(str::to_owned));
        let (name, rest) = line.split_once(": <").unwrap();
        format!("{}: <{rest}", name.split('@').next().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let uplink = format!("ip link del {}", self.uplink);
        for line in [&*self.card.leave(), &uplink, "ip netns del vpc"] {
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
        let key = AttachmentKey { ifname: IfName::new(ifname).unwrap(), ..key(name) };
        Self { name, netns: Netns::create_named(format!("/run/netns/{name}")).unwrap(), key }
    }

    /// The runtime deletes the namespace.
    pub(crate) fn die(self) -> AttachmentKey {
        Netns::remove_named(format!("/run/netns/{}", self.name)).unwrap();
        self.key.clone()
    }

    fn reference(&self) -> PodRef {
        PodRef { namespace: "default".into(), name: self.name.into(), uid: None }
    }

    /// Without the pair to the node: it wants nf_tables, which not every kernel of the lab has.
    fn plan(&self, mac: MacAddr) -> InterfacePlan {
        let addresses = Addresses::new("10.0.1.1".parse().ok(), "fd00:1::1".parse().ok());
        InterfacePlan { service_cidrs: vec![], host_peer: false, ..plan(&self.key, mac, 1, addresses) }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Gone already, unless the test failed.
        _ = Netns::remove_named(format!("/run/netns/{}", self.name));
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
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}; links: {}", run("ip -o link"));
        std::thread::yield_now();
    }
}
