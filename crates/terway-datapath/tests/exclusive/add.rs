//! ADD: the state it makes, read back by `ip`, and what it refuses.

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use terway_datapath::kernel::Netns;
use terway_datapath::{ApplyError, AttachmentContext, apply};
use terway_types::{FaultCode, IpFamily, IpFamily::V4, IpFamily::V6};

use crate::sandbox::run;
use crate::state::state;
use crate::world::{World, similar};

pub(crate) fn an_ipv4_pod() {
    compare(
        &[V4],
        "
pod link lo
pod link eth0 ENI mtu 1500 terway:terway/c1/eth0
pod link veth1 PODEND mtu 1500 terway:terway/c1/eth0
pod addr 10.0.1.1/32 dev eth0
pod addr 10.0.1.1/32 dev veth1
pod route default via 10.0.1.253 dev eth0 proto 157 onlink
pod route 10.0.0.9 via 169.254.1.1 dev veth1 proto 157 onlink
pod route 169.254.1.1 dev veth1 proto 157 scope link
pod route 172.16.0.0/16 via 169.254.1.1 dev veth1 proto 157 onlink
pod neigh 169.254.1.1 dev veth1 lladdr HOSTEND PERMANENT
pod sysctl ipv6/eth0/accept_ra 0
pod sysctl ipv6/veth1/accept_ra 0
node link CALI HOSTEND mtu 1500 terway:terway/c1/eth0
node route 10.0.1.1 dev CALI proto 157 scope link src 10.0.0.9
node neigh 10.0.1.1 dev CALI lladdr PODEND PERMANENT
node sysctl ipv4/CALI/forwarding 1
node sysctl ipv4/CALI/rp_filter 0
node sysctl ipv4/eth0/forwarding 1
node sysctl ipv6/CALI/accept_ra 0
node nft table ip terway {
node nft map pods {
node nft type ipv4_addr : ipv4_addr
node nft elements = { 10.0.1.1 comment \"terway:terway/c1/eth0\" : 10.0.0.9 }
node nft chain postrouting {
node nft type nat hook postrouting priority srcnat; policy accept;
node nft snat to ip saddr map @pods
node nft snat to ip daddr map @pods
",
    );
}

pub(crate) fn an_ipv6_pod() {
    compare(&[V6], IPV6);
}

pub(crate) fn a_dual_stack_pod() {
    let world = World::new();
    let pod = world.pod(&[V4, V6]);
    world.add(&pod);
    let made = state(&world, &pod);
    for line in IPV6.lines().filter(|line| !line.is_empty()) {
        assert!(made.iter().any(|other| other == line), "{line} is missing in\n{}", made.join("\n"));
    }
    for line in
        ["pod route default via 10.0.1.253 dev eth0 proto 157 onlink", "pod addr 10.0.1.1/32 dev veth1"]
    {
        assert!(made.iter().any(|other| other == line), "{line} is missing in\n{}", made.join("\n"));
    }
}

const IPV6: &str = "
pod link lo
pod link eth0 ENI mtu 1500 terway:terway/c1/eth0
pod link veth1 PODEND mtu 1500 terway:terway/c1/eth0
pod addr fd00:1::1/128 dev eth0 nodad
pod addr fd00:1::1/128 dev veth1 nodad
pod route default via fd00:1::fffd dev eth0 proto 157 metric 1024 onlink pref medium
pod route fd00:172::/112 via fe80::1 dev veth1 proto 157 metric 1024 onlink pref medium
pod route fd00::9 via fe80::1 dev veth1 proto 157 metric 1024 onlink pref medium
pod route fe80::1 dev veth1 proto 157 metric 1024 pref medium
pod neigh fe80::1 dev veth1 lladdr HOSTEND PERMANENT
pod sysctl ipv6/eth0/accept_ra 0
pod sysctl ipv6/eth0/accept_dad 0
pod sysctl ipv6/eth0/disable_ipv6 0
pod sysctl ipv6/veth1/accept_ra 0
pod sysctl ipv6/veth1/accept_dad 0
node link CALI HOSTEND mtu 1500 terway:terway/c1/eth0
node route fd00:1::1 dev CALI proto 157 src fd00::9 metric 1024 pref medium
node neigh fd00:1::1 dev CALI lladdr PODEND PERMANENT
node sysctl ipv6/CALI/accept_ra 0
node sysctl ipv6/CALI/forwarding 1
node sysctl ipv6/all/forwarding 1
node nft table ip6 terway {
node nft map pods {
node nft type ipv6_addr : ipv6_addr
node nft elements = { fd00:1::1 comment \"terway:terway/c1/eth0\" : fd00::9 }
node nft chain postrouting {
node nft type nat hook postrouting priority srcnat; policy accept;
node nft snat to ip6 saddr map @pods
node nft snat to ip6 daddr map @pods
";

/// Makes a pod and compares what is there, line by line, sysctls only those named.
fn compare(families: &[IpFamily], wanted: &str) {
    let world = World::new();
    let pod = world.pod(families);
    let layout = world.add(&pod);
    let is_read = |line: &&str| !line.is_empty();
    let wanted: Vec<_> = wanted.lines().filter(is_read).collect();
    let made = state(&world, &pod);
    let unwanted_sysctl = |line: &&String| line.contains(" sysctl ") && !wanted.contains(&line.as_str());
    let made: Vec<_> = made.iter().filter(|line| !unwanted_sysctl(line)).map(String::as_str).collect();
    let (mut sorted_made, mut sorted_wanted) = (made.clone(), wanted.clone());
    sorted_made.sort_unstable();
    sorted_wanted.sort_unstable();
    assert_eq!(sorted_made.join("\n"), sorted_wanted.join("\n"));
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
}

pub(crate) fn a_nic_that_comes_late_is_waited_for() {
    let world = World::new();
    let pod = world.pod(&[V4]);
    let home = pod.eni.home();
    let layout = world.layout(&pod);
    // Away in another namespace, as an ENI is before it is hot-plugged.
    let elsewhere = Netns::create_named(format!("/run/netns/elsewhere-{home}")).unwrap();
    world.node(&format!("link set {home} netns elsewhere-{home}"));
    thread::scope(|scope| {
        let adding = scope.spawn(|| apply(&layout, &world.context(&pod, None)).unwrap());
        run(&format!("ip -n elsewhere-{home} link set {home} netns {}", world.node_name()));
        adding.join().unwrap();
    });
    drop(elsewhere);
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
}

pub(crate) fn what_speaks_against_it_is_found_before_any_change() {
    let world = World::new();
    let pod = world.pod(&[V4]);
    let layout = world.layout(&pod);
    let refused = |what: &str, context: &AttachmentContext<'_>| {
        let before = (world.record(), pod.record());
        let error = apply(&layout, context).unwrap_err();
        assert!((world.record(), pod.record()) == before, "{what} changed something");
        error
    };
    let context = world.context(&pod, None);

    let same = AttachmentContext { pod: &world.node, ..world.context(&pod, None) };
    assert_eq!(refused("the host's namespace", &same).fault().code, FaultCode::NetnsInvalid);

    pod.ip("link add veth1 type veth peer name other");
    let error = refused("a taken name", &context);
    assert_eq!(
        (error.fault().code, error.to_string().as_str()),
        (FaultCode::InterfaceExists, "the pod has a link named veth1 already")
    );
    pod.ip("link del veth1");

    let home = pod.eni.home();
    world.node(&format!("link add twin address {} type veth peer name twin-peer", pod.eni.mac));
    assert_eq!(refused("an ambiguous MAC", &context).fault().code, FaultCode::NicAmbiguous);
    world.node("link del twin");

    world.node(&format!("link set {home} address 00:16:3e:77:77:77"));
    let short = AttachmentContext {
        deadline: Instant::now() + Duration::from_millis(5),
        ..world.context(&pod, None)
    };
    assert_eq!(refused("an absent NIC", &short).fault().code, FaultCode::NicMissing);
    world.node(&format!("link set {home} address {}", pod.eni.mac));

    world.node("link add br0 type bridge");
    world.node(&format!("link set {home} master br0"));
    assert!(matches!(refused("a bridge port", &context), ApplyError::NicInUse { .. }));
    world.node("link del br0");

    let name = layout.host.links[0].name.clone();
    world.node(&format!("link add {name} type bridge"));
    let error = refused("a host link that is not a pod's", &context);
    assert_eq!(error.fault().code, FaultCode::InterfaceExists);
    assert!(error.fault().remedy.contains(&name));
    world.node(&format!("link del {name}"));

    let mut wrong = layout.clone();
    wrong.pod.links[0].mac = terway_types::MacAddr([0, 0x16, 0x3e, 0, 0, 9]);
    let error = apply(&wrong, &context).unwrap_err();
    assert_eq!(error.to_string(), "eth0, the NIC with MAC 00:16:3e:00:00:09, is the node's uplink");
    apply(&layout, &context).unwrap();
}

pub(crate) fn ten_pods_at_once() {
    let world = World::new();
    let pods: Vec<_> = (0..10).map(|_| world.pod(&[V4, V6])).collect();
    let before = world.record();
    let layouts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| layouts.lock().unwrap().push((pod.key.clone(), world.add(pod))));
        }
    });
    for (key, layout) in layouts.into_inner().unwrap() {
        let pod = pods.iter().find(|pod| pod.key == key).unwrap();
        assert_eq!(world.check(pod, &layout), Vec::<String>::new());
    }
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| world.del(pod));
        }
    });
    similar(&before, &world.record());
}

pub(crate) fn advertisements_outlive_forwarding() {
    let world = World::new();
    let pod = world.pod(&[V6]);
    let read =
        || world.node.run(|| fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/accept_ra")).unwrap().unwrap();
    assert_eq!(read().trim(), "1");
    world.add(&pod);
    assert_eq!(read().trim(), "2");
}
