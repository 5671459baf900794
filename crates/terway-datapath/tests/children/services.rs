//! Services beside children, with all that the layout says: who is asked sees the node, because what passes the node bears
//! its address, and so the answer comes back the way the question went. And what the node lost comes back too.

use std::net::IpAddr;

use terway_datapath::describe::Object;
use terway_datapath::kernel::Netlink;
use terway_datapath::{Extras, can_repair, diff, diff_host, extras, observe, observe_host, repair};
use terway_types::{Addresses, InterfacePlan, PriorityClass, Queueing};

use crate::life::break_it;
use crate::sandbox::run;
use crate::talk::{ask, translate};
use crate::world::{Kind, Pod, World};

/// The node's own addresses.
const NODE: [&str; 2] = ["10.0.0.9", "fd00::9"];

/// The whole layout, translation too.
fn add(world: &World, pod: &Pod) {
    let layout = world.layout_of(&pod.plan(), pod);
    world.apply(pod, &layout, None).unwrap();
    assert_eq!(world.check(pod, &layout), Vec::<String>::new());
}

fn addresses(pod: &Pod) -> [IpAddr; 2] {
    let plan = pod.plan();
    [plan.addresses.v4.unwrap().into(), plan.addresses.v6.unwrap().into()]
}

pub(crate) fn backends_see_the_node(kind: Kind) {
    let world = World::new(kind, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    add(&world, &one);
    add(&world, &other);
    world.vpc("link set lo up");
    let elsewhere = ["172.18.0.1", "fd00:18::1"];
    for (address, length) in elsewhere.iter().zip([32, 128]) {
        world.vpc(&format!("addr add {address}/{length} dev lo"));
    }
    for version in [0, 1] {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let backends = [
            (addresses(&other)[version], &other.netns),
            (address(elsewhere[version]), &world.vpc),
            (address(NODE[version]), &world.node),
        ];
        for (number, (backend, at)) in (10..).zip(backends) {
            let service = address(&format!("{}{number}", ["172.16.0.", "fd00:172::"][version]));
            let listen = (backend, 7000).into();
            translate(&world.node, service, 80, listen);
            let seen = ask(&one.netns, (service, 80).into(), at, listen);
            // What the node serves itself does not go out of it.
            let stays = backend == address(NODE[version]);
            let wanted = if stays { addresses(&one)[version] } else { address(NODE[version]) };
            assert_eq!(seen, wanted, "{service} by {backend}");
        }
    }
}

/// A guard that knows the books alone learns from what is there what else the pod has on the node.
pub(crate) fn what_only_the_plugin_knew_is_put_back(kind: Kind) {
    let queueing = Queueing { paced: true, class: Some(PriorityClass::Guaranteed) };
    let queueing = if kind == Kind::IpvlanL3s { Queueing::default() } else { queueing };
    let world = World::with_queues(kind, &[7, 8], 2);
    let mut pods = [world.pod("one", 7), world.pod("other", 8)];
    for pod in &mut pods {
        pod.queueing = queueing;
    }
    let layouts = [world.add(&pods[0]), world.add(&pods[1])];
    let known = |pod: &Pod| {
        let plain = pod.plan();
        InterfacePlan { host_stack_cidrs: vec![], queueing: Queueing::default(), ..plain }
    };
    let mut learnt = [Extras::default(), Extras::default()];
    let node = Addresses::new(NODE[0].parse().ok(), NODE[1].parse().ok());
    let mut guard = || {
        let mut netlink = Netlink::open(&world.node).unwrap();
        let eni = netlink.link_by_name("eth1").unwrap().unwrap();
        let on_eni = extras::on_eni(&mut netlink, &eni).unwrap();
        for (pod, extras) in pods.iter().zip(&mut learnt) {
            extras.learn(&known(pod), node, &on_eni);
            let mut layout = world.layout_of(&extras.complete(&known(pod), &on_eni), pod);
            layout.host.source_nat.clear();
            let drifts = diff_host(&layout, &observe_host(&layout, &world.node, None).unwrap());
            repair(&layout, &drifts, &world.node).unwrap();
        }
    };
    guard();
    let harm: &[(&str, &str)] = if kind == Kind::IpvlanL3s {
        &[("ip", "route flush table all proto 157 type local"), ("ip", "route flush table all proto 157")]
    } else {
        &[("tc", "filter del dev eth1 parent 7001:"), ("tc", "qdisc del dev eth1 root")]
    };
    for (program, words) in harm {
        run(&format!("{program} -n {} {words}", world.node_name()));
        assert_ne!(world.check(&pods[0], &layouts[0]), Vec::<String>::new(), "{words} does harm");
        guard();
        for (pod, layout) in pods.iter().zip(&layouts) {
            assert_eq!(world.check(pod, layout), Vec::<String>::new(), "{words}");
        }
    }
}

/// Whatever can be put back on the node without the pod is, one by one.
pub(crate) fn what_the_node_lost_is_put_back(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    let layout = world.add(&pod);
    let mut count = 0;
    for object in layout.host.objects() {
        // Links take along what they are in the pod.
        if matches!(object, Object::Link(_) | Object::SharedNic(_)) {
            continue;
        }
        break_it(&world, &pod, false, &object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        assert!(!drifts.is_empty() && drifts.iter().all(can_repair), "{object}: {drifts:?}");
        repair(&layout, &drifts, &world.node).unwrap();
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new(), "{object}");
        count += 1;
    }
    assert!(count > 8, "{count}");
}
