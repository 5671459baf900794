//! A VPC, a node and pods in namespaces. An ENI is one end of a veth pair in the node's namespace; the other end
//! is a port of the VPC's bridge, which drops what a VPC drops: packets whose source is not the ENI's.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use terway_datapath::describe::Object;
use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::{AttachmentContext, HostFacts, Layout, Removal, Step, diff_host, observe_host, repair};
use terway_types::{Addresses, AttachmentKey, Datapath, InterfacePlan, IpFamily, MacAddr, PodRef};

use crate::plan::{key, plan};
use crate::sandbox::run;
use crate::verbs;

/// Tells the namespaces of tests that run side by side apart.
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The hardware address of the node's own NIC.
pub(crate) const UPLINK: MacAddr = MacAddr([0, 0x16, 0x3e, 0, 0, 9]);

/// One VPC with one node.
pub(crate) struct World {
    id: u32,
    pub(crate) vpc: Netns,
    pub(crate) node: Netns,
    pub(crate) rule: NicRule,
    enis: AtomicU32,
}

/// An ENI's hardware address and the addresses the VPC gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eni {
    pub(crate) number: u32,
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Addresses,
}

/// Everything to make one attachment.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) netns: Netns,
    pub(crate) key: AttachmentKey,
    pub(crate) reference: PodRef,
    pub(crate) eni: Eni,
    pub(crate) plan: InterfacePlan,
}

impl World {
    pub(crate) fn new() -> Self {
        let id = WORLDS.fetch_add(1, Ordering::Relaxed);
        let make = |name: &str| Netns::create_named(format!("/run/netns/{name}{id}")).unwrap();
        let (vpc, node) = (make("vpc"), make("node"));
        let world = Self { id, vpc, node, rule: NicRule::with_kinds(["veth"]), enis: AtomicU32::new(1) };
        world.vpc("link set lo up");
        // A bridge without a MAC of its own takes one of its ports', and forgets its neighbours at each change.
        world.vpc("link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0 forward_delay 0");
        world.vpc("link set br0 addrgenmode none up");
        for address in ["10.0.0.253/24", "10.0.1.253/24", "10.0.1.100/24"] {
            world.vpc(&format!("addr add {address} dev br0"));
        }
        for address in ["fd00::fffd/64", "fd00:1::fffd/64", "fd00:1::100/64"] {
            world.vpc(&format!("addr add {address} dev br0 nodad"));
        }
        run(&format!(
            "ip netns exec vpc{id} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        ));
        world.port("eth0", UPLINK, &[Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok())]);
        world.boot();
        world
    }

    /// What the node's image does to its NIC.
    pub(crate) fn boot(&self) {
        self.node("link set lo up");
        self.node("link set eth0 addrgenmode none up");
        self.node("addr add 10.0.0.9/24 dev eth0");
        self.node("addr add fd00::9/64 dev eth0 nodad");
        self.node("route add default via 10.0.0.253");
        self.node("route add default via fd00::fffd dev eth0");
    }

    /// An ENI's link. The VPC knows who has which address and asks nobody; what asks for its gateway may do so with
    /// the node's address, because an ENI that pods share has none of its own.
    pub(crate) fn port(&self, name: &str, mac: MacAddr, addresses: &[Addresses]) {
        let (id, port) = (self.id, format!("p{}", mac.hex()));
        run(&format!(
            "ip -n node{id} link add {name} address {mac} type veth peer name {port} netns vpc{id}"
        ));
        self.vpc(&format!("link set {port} master br0 addrgenmode none up"));
        for address in addresses.iter().flat_map(Addresses::iter) {
            self.vpc(&format!("neigh replace {address} lladdr {mac} dev br0 nud permanent"));
        }
        let list = |family| {
            let own = addresses.iter().filter_map(|pair| pair.get(family));
            own.map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
        };
        let (v4, v6) = (list(IpFamily::V4), list(IpFamily::V6));
        let mut rules = String::new();
        writeln!(rules, "table netdev ports {{ chain {port} {{").unwrap();
        writeln!(rules, "type filter hook ingress device {port} priority 0;").unwrap();
        writeln!(rules, "ether saddr != {mac} drop").unwrap();
        writeln!(rules, "ether type ip ip saddr != {{ {v4} }} drop").unwrap();
        writeln!(rules, "ether type arp arp saddr ip != {{ {v4}, 10.0.0.9 }} drop").unwrap();
        writeln!(rules, "ether type ip6 ip6 saddr != {{ {v6}, fe80::/10, :: }} drop\n}}\n}}").unwrap();
        run(&format!("ip netns exec vpc{id} nft -f - <<'END'\n{rules}END"));
    }

    /// A new ENI, at home on the node, down.
    pub(crate) fn eni(&self) -> Eni {
        let number = self.enis.fetch_add(1, Ordering::Relaxed);
        let mac = MacAddr([0, 0x16, 0x3e, 0, 1, u8::try_from(number).unwrap()]);
        let v4 = format!("10.0.1.{number}").parse().ok();
        let v6 = format!("fd00:1::{number:x}").parse().ok();
        let eni = Eni { number, mac, addresses: Addresses::new(v4, v6) };
        self.port(&eni.home(), mac, &[eni.addresses]);
        eni
    }

    /// A pod without network yet, and the plan that gives it an ENI.
    pub(crate) fn pod(&self, families: &[IpFamily]) -> Pod {
        let eni = self.eni();
        self.sandbox(&format!("pod-{}", eni.number), eni, families)
    }

    /// A new sandbox of a pod.
    pub(crate) fn sandbox(&self, pod: &str, eni: Eni, families: &[IpFamily]) -> Pod {
        let name = format!("{}s{}", self.id, eni.number);
        let netns = Netns::create_named(format!("/run/netns/{name}")).unwrap();
        let key = key(&format!("c{}", eni.number));
        let has = |family| families.contains(&family);
        let addresses = Addresses::new(
            eni.addresses.v4.filter(|_| has(IpFamily::V4)),
            eni.addresses.v6.filter(|_| has(IpFamily::V6)),
        );
        let plan = InterfacePlan { nic_kinds: vec!["veth".into()], ..plan(&key, eni.mac, 1, addresses) };
        let reference = PodRef { namespace: "default".into(), name: pod.into(), uid: None };
        Pod { name, netns, key, reference, eni, plan }
    }

    pub(crate) fn layout(&self, pod: &Pod) -> Layout {
        self.layout_with(pod, |_| {})
    }

    /// The same on a node of which more is known.
    pub(crate) fn layout_with(&self, pod: &Pod, learn: impl FnOnce(&mut HostFacts)) -> Layout {
        let families = pod.plan.addresses.iter().map(|address| IpFamily::of(&address));
        let mut facts = HostFacts::observe(&self.node, families).unwrap();
        if pod.plan.datapath == Datapath::PolicyRoute {
            facts.find_nic(&self.node, pod.plan.mac, &self.rule, None, Instant::now() + PATIENCE).unwrap();
        }
        learn(&mut facts);
        terway_datapath::layout(&pod.plan, &pod.key, &pod.reference, &facts).unwrap()
    }

    pub(crate) fn context<'a>(
        &'a self,
        pod: &'a Pod,
        before_step: Option<&'a dyn Fn(Step) -> Result<(), String>>,
    ) -> AttachmentContext<'a> {
        let context = verbs::context(&self.node, &pod.netns, &self.rule, PATIENCE);
        AttachmentContext { before_step, ..context }
    }

    /// ADD, expected to succeed.
    pub(crate) fn add(&self, pod: &Pod) -> Layout {
        let layout = self.layout(pod);
        terway_datapath::apply(&layout, &self.context(pod, None)).unwrap();
        layout
    }

    /// DEL, expected to succeed.
    pub(crate) fn del(&self, pod: &Pod) -> terway_datapath::Removed {
        terway_datapath::remove(&pod.removal(), &self.node, Some(&pod.netns), &self.rule).unwrap()
    }

    /// CHECK: the drifts as text.
    pub(crate) fn check(&self, pod: &Pod, layout: &Layout) -> Vec<String> {
        verbs::check(layout, &self.node, &pod.netns)
    }

    /// Puts back what is missing on the node; all of it comes back, unless a link is what was taken away.
    pub(crate) fn mend(&self, layout: &Layout, taken: &Object) {
        let look = || diff_host(layout, &observe_host(layout, &self.node, None).unwrap());
        repair(layout, &look(), &self.node).unwrap();
        let left = look();
        let is_link = matches!(taken, Object::Link(_));
        assert_eq!(left.is_empty(), !is_link, "{taken} was taken away, and after the repair {left:?}");
    }

    /// `ip` in the VPC.
    pub(crate) fn vpc(&self, command: &str) -> String {
        run(&format!("ip -n vpc{} {command}", self.id))
    }

    /// `ip` on the node.
    pub(crate) fn node(&self, command: &str) -> String {
        run(&format!("ip -n node{} {command}", self.id))
    }

    /// Any program on the node.
    pub(crate) fn on_node(&self, command: &str) -> String {
        run(&format!("ip netns exec node{} {command}", self.id))
    }

    /// The name of the node's namespace.
    pub(crate) fn node_name(&self) -> String {
        format!("node{}", self.id)
    }

    /// Everything about the node's network, as text.
    pub(crate) fn record(&self) -> String {
        record(&self.node_name())
    }
}

impl Eni {
    /// Its name on the node.
    pub(crate) fn home(&self) -> String {
        format!("eni{}", self.mac.hex())
    }
}

impl Pod {
    pub(crate) fn removal(&self) -> Removal {
        let own = (self.plan.datapath == Datapath::Exclusive).then_some(self.eni.mac);
        Removal {
            key: self.key.clone(),
            mac: own,
            addresses: self.plan.addresses.iter().collect(),
            host_links: Vec::new(),
        }
    }

    /// `ip` in the pod.
    pub(crate) fn ip(&self, command: &str) -> String {
        run(&format!("ip -n {} {command}", self.name))
    }

    /// Everything about the pod's network, as text.
    pub(crate) fn record(&self) -> String {
        record(&self.name)
    }

    /// The runtime deletes the namespace.
    pub(crate) fn delete_netns(self) {
        Netns::remove_named(format!("/run/netns/{}", self.name)).unwrap();
    }
}

const RECORDED: [&str; 7] = [
    "link",
    "addr",
    "-4 route show table all",
    "-6 route show table all",
    "-4 rule",
    "-6 rule",
    "neigh show nud permanent",
];

/// Links that are up get their carriers a moment later, and what depends on them with it. One whose other end is down has
/// none for good, so this ends in any case.
fn settle(netns: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    while run(&format!("ip -n {netns} -o link show up")).contains("NO-CARRIER") && Instant::now() < until {
        thread::yield_now();
    }
}

/// Links, addresses, routes, rules, permanent neighbours, limits and packet filter of a namespace. Left out is what
/// a link gets anew when it comes back: its index and the qdisc it has when it has none.
fn record(netns: &str) -> String {
    settle(netns);
    let mut text = String::new();
    for command in RECORDED {
        let said = run(&format!("ip -j -n {netns} {command}"));
        let list: Vec<serde_json::Value> = serde_json::from_str(said.trim()).unwrap_or_default();
        // A node that forwards has an anycast address more; that switch stays on.
        let kept = list.into_iter().filter(|object| object["type"] != "anycast");
        // The kernel takes its time over the link-local addresses of links that other pods have.
        let kept = kept.filter(|object| object["dst"].as_str().is_none_or(|to| !to.starts_with("fe80::")));
        for mut object in kept {
            let fields = object.as_object_mut().unwrap();
            if let Some(addresses) = fields.get_mut("addr_info").and_then(serde_json::Value::as_array_mut) {
                addresses.retain(|address| address["scope"] != "link" || address["family"] != "inet6");
            }
            for volatile in ["ifindex", "link_index", "qdisc"] {
                fields.remove(volatile);
            }
            writeln!(text, "ip {command}: {object}").unwrap();
        }
    }
    let qdiscs = run(&format!("tc -n {netns} qdisc"));
    for line in qdiscs.lines().filter(|line| !line.contains("noqueue")) {
        writeln!(text, "tc {line}").unwrap();
    }
    writeln!(text, "{}", run(&format!("ip netns exec {netns} nft list ruleset"))).unwrap();
    text
}

/// Two recordings are equal; if not, only the lines that differ are shown.
pub(crate) fn similar(before: &str, after: &str) {
    let lines =
        |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(before == after, "gone: {gone:#?}\nnew: {new:#?}");
}
