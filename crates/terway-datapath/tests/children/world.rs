//! A VPC, a node with an ENI that stays, and pods that get children of it. The VPC's end of a trunk has a child for each
//! VLAN, with that member's gateway address; that of a shared ENI has the one gateway. It routes between them and the
//! node's own subnet.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::{ApplyError, AttachmentContext, HostFacts, Layout, Removal, Removed, Step};
use terway_types::{
    Addresses, AttachmentKey, Datapath, Gateways, InterfacePlan, IpFamily, MacAddr, PodRef, Queueing,
};

use crate::plan::{key, plan};
use crate::sandbox::run;
use crate::verbs;

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the pods get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Members of a trunk: the pod with the number 7 that with VLAN 7.
    Vlan,
    /// The same by tags that the trunk puts on and takes off.
    VlanTag,
    /// Addresses of a shared ENI: the pod with the number 7 the seventh.
    Ipvlan,
    /// The same by policy routing.
    PolicyRoute,
    /// The same, routed on the node.
    IpvlanL3s,
}

/// The ENI's hardware address.
pub(crate) const ENI: MacAddr = MacAddr([0, 0x16, 0x3e, 0, 3, 1]);

pub(crate) struct World {
    id: u32,
    kind: Kind,
    tx_queues: u32,
    pub(crate) vpc: Netns,
    pub(crate) node: Netns,
    pub(crate) rule: NicRule,
}

/// A pod that wants a child.
pub(crate) struct Pod {
    kind: Kind,
    number: u16,
    name: String,
    pub(crate) netns: Netns,
    pub(crate) key: AttachmentKey,
    pub(crate) queueing: Queueing,
}

impl World {
    /// For pods with these numbers (at most 250).
    pub(crate) fn new(kind: Kind, numbers: &[u16]) -> Self {
        Self::with_queues(kind, numbers, 1)
    }

    /// The same with an ENI that has so many queues.
    pub(crate) fn with_queues(kind: Kind, numbers: &[u16], tx_queues: u32) -> Self {
        let id = WORLDS.fetch_add(1, Ordering::Relaxed);
        let make = |name: &str| Netns::create_named(format!("/run/netns/{name}{id}")).unwrap();
        let (vpc, node) = (make("vpc"), make("node"));
        let world = Self { id, kind, tx_queues, vpc, node, rule: NicRule::with_kinds(["veth"]) };
        world.furnish_node();
        world.furnish_vpc(numbers);
        world
    }

    fn furnish_node(&self) {
        let (id, queues) = (self.id, self.tx_queues);
        let commands = format!(
            "link add eth0 address 00:16:3e:00:00:09 type veth peer name up0 netns vpc{id}
             link add eth1 address {ENI} numtxqueues {queues} type veth peer name trunk netns vpc{id}
             link set lo up
             link set eth0 addrgenmode none up
             addr add 10.0.0.9/24 dev eth0
             addr add fd00::9/64 dev eth0 nodad
             addr add fe80::9/64 dev eth0 nodad
             route add default via 10.0.0.253
             route add default via fd00::fffd dev eth0
            "
        );
        batch(&self.node_name(), &[], &commands);
        if ![Kind::VlanTag, Kind::PolicyRoute].contains(&self.kind) {
            self.node("link set eth1 addrgenmode none");
        }
    }

    /// Routers, which ask for neighbours with a link-local address of theirs.
    fn furnish_vpc(&self, numbers: &[u16]) {
        let port = |link: &str| {
            format!("link set {link} addrgenmode none up\naddr add fe80::fffd/64 dev {link} nodad\n")
        };
        let gateway = |subnet: u16, link: &str| {
            let v6 = if subnet == 0 { "fd00::fffd".to_owned() } else { format!("fd00:{subnet}::fffd") };
            format!("addr add 10.0.{subnet}.253/24 dev {link}\naddr add {v6}/64 dev {link} nodad\n")
        };
        let mut commands = port("up0") + &port("trunk") + &gateway(0, "up0");
        if self.kind == Kind::Vlan {
            for vlan in numbers {
                let link = format!("trunk.{vlan}");
                writeln!(commands, "link add link trunk name {link} type vlan id {vlan}").unwrap();
                commands += &(port(&link) + &gateway(*vlan, &link));
            }
        } else {
            commands += &gateway(1, "trunk");
        }
        if self.kind == Kind::IpvlanL3s {
            // Such children answer nobody who asks for them, and a VPC does not ask.
            for number in numbers {
                for address in [format!("10.0.1.{number}"), format!("fd00:1::{number}")] {
                    writeln!(commands, "neigh add {address} lladdr {ENI} dev trunk nud permanent").unwrap();
                }
            }
        }
        batch(&format!("vpc{}", self.id), &[], &commands);
        if self.kind == Kind::VlanTag {
            for number in numbers {
                self.alone(*number);
            }
        }
        let route = || {
            ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
                .iter()
                .try_for_each(|switch| fs::write(format!("/proc/sys/net/{switch}"), "1"))
        };
        self.vpc.run(route).unwrap().unwrap();
    }

    /// A VLAN of the trunk that nothing without its tag gets into. The VPC does not ask who has an address.
    fn alone(&self, vlan: u16) {
        let name = format!("vlan{vlan}-{}", self.id);
        Netns::create_named(format!("/run/netns/{name}")).unwrap();
        self.vpc(&format!("link add link trunk name trunk.{vlan} type vlan id {vlan}"));
        self.vpc(&format!("link set trunk.{vlan} netns {name}"));
        let ip = |command: &str| run(&format!("ip -n {name} {command}"));
        ip(&format!("link set trunk.{vlan} addrgenmode none up"));
        for (gateway, elsewhere, member) in [
            (format!("10.0.{vlan}.253/24"), "172.18.0.1/32", format!("10.0.{vlan}.1")),
            (format!("fd00:{vlan}::fffd/64"), "fd00:18::1/128", format!("fd00:{vlan}::1")),
        ] {
            ip(&format!("addr add {gateway} dev trunk.{vlan} nodad"));
            ip(&format!("addr add {elsewhere} dev trunk.{vlan} nodad"));
            ip(&format!("neigh add {member} lladdr {ENI} dev trunk.{vlan} nud permanent"));
        }
    }

    /// What is behind the gateway of such a VLAN.
    pub(crate) fn vlan(&self, vlan: u16) -> Netns {
        Netns::open(format!("/run/netns/vlan{vlan}-{}", self.id)).unwrap()
    }

    pub(crate) fn pod(&self, name: &str, number: u16) -> Pod {
        let name = format!("{name}{}", self.id);
        let key = key(&name);
        let netns = Netns::create_named(format!("/run/netns/{name}")).unwrap();
        Pod { kind: self.kind, number, netns, name, key, queueing: Queueing::default() }
    }

    /// As planned, but without translation: not every kernel of the lab has nf_tables, and nothing here leaves the
    /// node with a pod's address by the node's own NIC.
    pub(crate) fn layout(&self, pod: &Pod) -> Layout {
        let mut layout = self.layout_of(&pod.plan(), pod);
        let passes_by_the_node = [Kind::VlanTag, Kind::PolicyRoute].contains(&self.kind);
        assert_eq!(layout.host.source_nat.len(), if passes_by_the_node { 0 } else { 2 });
        layout.host.source_nat.clear();
        layout
    }

    /// One of the pod's interfaces, as planned.
    pub(crate) fn layout_of(&self, plan: &InterfacePlan, pod: &Pod) -> Layout {
        let mut facts = HostFacts::observe(&self.node, IpFamily::BOTH).unwrap();
        facts.find_nic(&self.node, ENI, &self.rule, None, Instant::now() + PATIENCE).unwrap();
        terway_datapath::layout(plan, &pod.key, &pod.reference(), &facts).unwrap()
    }

    pub(crate) fn apply(
        &self,
        pod: &Pod,
        layout: &Layout,
        before_step: Option<&dyn Fn(Step) -> Result<(), String>>,
    ) -> Result<(), ApplyError> {
        terway_datapath::apply(layout, &self.context(pod, before_step)).map(drop)
    }

    pub(crate) fn context<'a>(
        &'a self,
        pod: &'a Pod,
        before_step: Option<&'a dyn Fn(Step) -> Result<(), String>>,
    ) -> AttachmentContext<'a> {
        let context = verbs::context(&self.node, &pod.netns, &self.rule, PATIENCE);
        AttachmentContext { before_step, ..context }
    }

    pub(crate) fn add(&self, pod: &Pod) -> Layout {
        let layout = self.layout(pod);
        self.apply(pod, &layout, None).unwrap();
        layout
    }

    /// Takes the pod's link on the node away, and with it what tells whose its address is.
    pub(crate) fn forget(&self, pod: &Pod) {
        let layout = self.layout(pod);
        let own = layout.host.links.iter().map(|link| &link.name);
        own.for_each(|name| drop(self.node(&format!("link del {name}"))));
    }

    pub(crate) fn check(&self, pod: &Pod, layout: &Layout) -> Vec<String> {
        verbs::check(layout, &self.node, &pod.netns)
    }

    /// DEL by a caller who knows the addresses, and for the MAC what is given here.
    pub(crate) fn del(&self, pod: &Pod, mac: Option<MacAddr>) -> Removed {
        let addresses = pod.plan().addresses.iter().collect();
        let removal = Removal { key: pod.key.clone(), mac, addresses, host_links: Vec::new() };
        terway_datapath::remove(&removal, &self.node, Some(&pod.netns), &self.rule).unwrap()
    }

    /// The name of the node's namespace.
    pub(crate) fn node_name(&self) -> String {
        format!("node{}", self.id)
    }

    /// `ip` in the VPC.
    pub(crate) fn vpc(&self, command: &str) -> String {
        ip(&format!("-n vpc{} {command}", self.id))
    }

    /// `ip` on the node.
    pub(crate) fn node(&self, command: &str) -> String {
        ip(&format!("-n node{} {command}", self.id))
    }

    /// `tc` on the node.
    pub(crate) fn tc(&self, command: &str) -> String {
        run(&format!("tc -n node{} {command}", self.id))
    }

    /// What `tc` shows of the trunk's filters at a hook.
    pub(crate) fn filters(&self, hook: &str) -> String {
        run(&format!("tc -n node{} filter show dev eth1 {hook}", self.id))
    }

    /// Links, addresses, routes, rules, permanent neighbours and filters of node and pod.
    pub(crate) fn record(&self, pod: &Pod) -> String {
        let mut text = String::new();
        for netns in [format!("node{}", self.id), pod.name.clone()] {
            // The node keeps forwarding, and has an anycast address more because of it; `lo` stays up; the kernel
            // takes its time over link-local addresses.
            let stays = ["anycast", ": lo", "dev lo", "fe80::"];
            // The first until the kernel has looked after the carrier, the second from then on.
            let said = settled(&netns).replace("state UNKNOWN", "state UP");
            for line in said.lines().filter(|line| stays.iter().all(|word| !line.contains(word))) {
                writeln!(text, "{netns}: {line}").unwrap();
            }
        }
        for hook in ["ingress", "egress"] {
            text += &self.filters(hook);
        }
        text
    }
}

/// What there is in a namespace, once links that are up have their carriers: the kernel tells of them a moment later,
/// and gives routes with them. Two processes, however much there is to tell: starting one is what takes time in a guest.
fn settled(netns: &str) -> String {
    let awaits_carrier = |line: &str| {
        let flags = line.split(['<', '>']).nth(1).unwrap_or_default();
        let is_up = flags.split(',').any(|flag| flag == "UP") && !flags.contains("LOOPBACK");
        is_up && !line.contains("state UP") && !line.contains("state UNKNOWN")
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let said =
            batch(netns, &["-o", "-4"], "link\naddr\nroute show table all\nrule\nneigh show nud permanent\n")
                + &batch(
                    netns,
                    &["-o", "-6"],
                    "addr\nroute show table all\nrule\nneigh show nud permanent\n",
                );
        if !said.lines().any(awaits_carrier) {
            return said;
        }
        assert!(Instant::now() < until, "links without carrier:\n{said}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Runs `ip` with words without white space in them.
fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`ip {words}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs several commands of `ip` in one process.
fn batch(netns: &str, options: &[&str], commands: &str) -> String {
    let mut command = Command::new("ip");
    command.args(options).args(["-n", netns, "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{commands} failed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Pod {
    /// `ip` in the pod.
    pub(crate) fn ip(&self, command: &str) -> String {
        ip(&format!("-n {} {command}", self.name))
    }

    /// The name of its namespace.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Of its vSwitch.
    pub(crate) fn gateways(&self) -> [String; 2] {
        let gateways = self.plan().gateways;
        [gateways.v4.unwrap().to_string(), gateways.v6.unwrap().to_string()]
    }

    /// The number it has in this world.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The runtime deletes the namespace.
    pub(crate) fn die(&self) {
        Netns::remove_named(format!("/run/netns/{}", self.name)).unwrap();
    }

    fn reference(&self) -> PodRef {
        PodRef { namespace: "default".into(), name: self.name.clone(), uid: None }
    }

    pub(crate) fn plan(&self) -> InterfacePlan {
        let number = self.number;
        // The third part of the addresses, and the last.
        let (datapath, vswitch, host) = match self.kind {
            Kind::Vlan => (Datapath::Vlan { id: number }, number, 1),
            Kind::VlanTag => (Datapath::VlanTag { id: number }, number, 1),
            Kind::Ipvlan => (Datapath::Ipvlan, 1, number),
            Kind::PolicyRoute => (Datapath::PolicyRoute, 1, number),
            Kind::IpvlanL3s => (Datapath::IpvlanL3s, 1, number),
        };
        let addresses = Addresses::new(
            format!("10.0.{vswitch}.{host}").parse().ok(),
            format!("fd00:{vswitch}::{host}").parse().ok(),
        );
        InterfacePlan {
            datapath,
            // The trunk's own.
            eni_gateways: Gateways::new("10.0.1.253".parse().ok(), "fd00:1::fffd".parse().ok()),
            host_stack_cidrs: vec!["169.254.20.10/32".parse().unwrap()],
            queueing: self.queueing,
            nic_kinds: vec!["veth".into()],
            ..plan(&self.key, ENI, vswitch, addresses)
        }
    }
}
